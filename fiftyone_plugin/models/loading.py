"""One way in for every kind of model: `load_segmenter`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from ..errors import LabelQualityError
from .files.checkpoints import StateDict
from .hardware.devices import choose_device
from .segmenters.channels import ChannelMapping
from .segmenters.fiftyone_models import fiftyone_source, is_fiftyone_model
from .segmenters.network import InputFormat, NetworkSegmenter, PredictionOptions
from .segmenters.onnx_models import onnx_source
from .segmenters.outputs import FromLogits
from .segmenters.probability_files import FileOfImage, ProbabilityFiles
from .segmenters.segmenter import Segmenter
from .segmenters.sources import (
    Source,
    export_source,
    folder_kind,
    module_source,
    script_source,
    smp_architecture,
    smp_folder,
    torchvision_source,
    weights_alone,
)
from .segmenters.stored_array import SUFFIXES
from .segmenters.transformers_models import is_transformers, transformers_module, transformers_source
from .training.folds import RECORD_NAME, WHOLE_RECORD_NAME, read_record

SegmenterSource = Segmenter | Callable[[torch.Tensor], Any] | str | Path | Mapping[str, FileOfImage]
_FOREIGN = frozenset({".h5", ".hdf5", ".keras", ".pb", ".tflite", ".engine", ".trt", ".mlmodel", ".pdmodel"})
_FORMS = (
    "a torch module or callable, 'smp:<folder>', 'smp:<architecture>/<encoder>' with `state_dict`, "
    "'torchvision:<name>', 'transformers:<name or folder>', a TorchScript .pt, torch.export .pt2 or .onnx file, "
    "a model of FiftyOne or transformers, 'probabilities:<folder>', or the folder of a cross-validation"
)


def load_segmenter(
    source: SegmenterSource,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    state_dict: StateDict | str | Path | None = None,
    input_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    stride: int | None = None,
    from_logits: FromLogits | None = None,
    channel_map: ChannelMapping | None = None,
    flips: bool | Sequence[str] = False,
    scales: Sequence[float] = (1.0,),
    tile: int | tuple[int, int] | None = None,
    overlap: int | None = None,
    amp: bool = True,
) -> Segmenter:
    """Make a segmenter of nearly anything that gives a score per pixel and class.

    Args:
        source: a torch module or any callable of (N, 3, H, W) normalised images; a model that FiftyOne or
            transformers loaded; "smp:<folder>" or a folder
            that segmentation-models-pytorch's `save_pretrained` wrote; "smp:unet/resnet34" with
            `state_dict`; "torchvision:deeplabv3_resnet50"; "transformers:<hub name or folder>"; a
            TorchScript .pt, torch.export .pt2 or ONNX .onnx file; "probabilities:<folder>" or a mapping from image name
            to file; the folder of `cross_validate`, whose models each predict what they have not seen; or a
            segmenter, which is returned as it is
        num_classes: label classes K; a model with another number of channels needs `channel_map`.
            None = as many as the model has
        class_names: names of the K classes; None = the model's, where it has them
        device: None = CUDA, then MPS, then CPU
        state_dict: weights of the whole model: a file, or names to tensors
        input_size: (height, width), or one number for both, to which images (or tiles) are resized for the
            model; None = what the model asks for, else the image's own size
        mean: subtracted per channel from images in [0, 1]; None = what the model was made for, else ImageNet's
        std: divided by; (1, 1, 1) with a mean of (0, 0, 0) switches normalisation off
        stride: images are padded to its multiples; None = the encoder's
        from_logits: the model returns logits (True) or probabilities (False); "auto" decides once, from the
            first batch: values in [0, 1] that sum to one are probabilities, values beyond [0, 1] are
            logits, anything else is an error. None = what is known of the source, else "auto"
        channel_map: {channel: class} or a class per channel, where the model's channels are not the label's
            classes; channels of one class are summed, channels of None are dropped, the rest renormalised
        flips: average with the mirror image (True), or any of "horizontal", "vertical"
        scales: average over the image resized by these factors
        tile: (height, width) of windows, or one number, for images larger than the model takes
        overlap: pixels that windows share at least; None = a quarter of the window
        amp: half precision on CUDA devices

    Returns:
        the segmenter

    Raises:
        LabelQualityError: the source is unknown, cannot be loaded, lacks a package, or an option has no
            meaning for it
        ModelMismatchError: the model is known to have another number of channels than `num_classes`

    Example:
        >>> segmenter = load_segmenter(torch.nn.Conv2d(3, 4, 1), num_classes=2, channel_map=[0, 1, 1, None])
        >>> segmenter.num_classes, segmenter.description
        (2, 'Conv2d')
    """
    given = {name: value for name, value in locals().items() if name != "source"}
    changed = {name for name, value in given.items() if not _is_default(name, value)}
    if isinstance(source, Segmenter):
        _refuse(changed - {"num_classes"}, "a segmenter that is ready already")
        return _same_classes(source, num_classes)
    if isinstance(source, Mapping):
        return _probabilities(source, given, changed)
    kind, name = ("module", "") if not isinstance(source, (str, Path)) else _kind(source)
    if kind == "probabilities":
        return _probabilities(name, given, changed)
    options = PredictionOptions(flips, tuple(scales), tile, overlap, amp)
    if kind == "folds":
        _refuse(changed & {"state_dict", "input_size", "mean", "std", "stride", "from_logits"}, f"the folds in {name}")
        from .frozen_features.segmenter import METHOD, FrozenFeatureFolds
        from .training.cross_validation import CrossValidatedSegmenter

        if read_record(Path(name)).config.get("arch") == METHOD:
            _refuse(changed & {"flips", "scales", "tile", "overlap"}, f"heads on frozen features, as in {name}")
            return FrozenFeatureFolds(
                name, num_classes=num_classes, class_names=class_names, device=device, channel_map=channel_map
            )
        return CrossValidatedSegmenter(
            name, num_classes=num_classes, class_names=class_names, device=device, options=options,
            channel_map=channel_map,
        )  # fmt: skip
    chosen = choose_device(device)
    known = _network(kind, source if kind == "module" else name, state_dict, _channels_hint(given), chosen)
    outputs = known.outputs if from_logits is None else replace(known.outputs, from_logits=from_logits)
    segmenter = NetworkSegmenter(
        known.network,
        num_classes=num_classes,
        class_names=class_names,
        description=known.description,
        device=chosen,
        inputs=_input_format(known.inputs, input_size, mean, std, stride),
        outputs=outputs,
        options=options,
        channel_map=channel_map,
    )
    segmenter.trained_on = _trained_on(Path(name)) if kind == "smp" else frozenset()
    return segmenter


def _trained_on(folder: Path) -> frozenset[str]:
    """Names of the images that a model has seen: a single fold's, loaded by itself, or one trained on all images."""
    if (folder / WHOLE_RECORD_NAME).is_file():
        return frozenset(read_record(folder, WHOLE_RECORD_NAME, "training").fold_of)
    fold = folder.name.removeprefix("fold_")
    if not fold.isdigit() or not (folder.parent / RECORD_NAME).is_file():
        return frozenset()
    return frozenset(key for key, held_out in read_record(folder.parent).fold_of.items() if held_out != int(fold))


def _kind(source: str | Path) -> tuple[str, str]:
    """Return (kind, what follows the prefix) of a source that is text or a path."""
    text = str(source)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in ("torchvision", "transformers", "probabilities"):
        return prefix, rest
    if colon and prefix == "smp":
        return ("smp" if Path(rest).is_dir() else "architecture"), rest
    if prefix == "zoo" and colon:
        raise LabelQualityError(f"{text} is a model of FiftyOne's zoo; load it with FiftyOne and pass the model.")
    path = Path(text)
    if path.is_file() or (path.is_dir() and path.suffix in SUFFIXES):
        return _file_kind(path), text
    kind = folder_kind(path) if path.is_dir() else None
    if kind is None:
        where = "holds no model" if path.is_dir() else "does not exist"
        raise LabelQualityError(f"Cannot load {text!r}: it {where}. Expected {_FORMS}.")
    return kind, text


def _file_kind(path: Path) -> str:
    """The kind of model in a file; of files that hold none, what to pass instead."""
    ending = path.suffix.lower()
    if ending == ".safetensors":
        if folder_kind(path.parent) is not None:
            raise LabelQualityError(
                f"{path} holds the weights of a model alone; pass its folder: {str(path.parent)!r}."
            )
        raise LabelQualityError(weights_alone(path))
    if ending in SUFFIXES:
        raise LabelQualityError(
            f"{path} holds an array, no model; pass the folder of such files, one per image and named like it, as "
            f"`probabilities={str(path.parent)!r}`."
        )
    if ending in _FOREIGN:
        raise LabelQualityError(
            f"{path} is a model of another library; export it as ONNX (for TensorFlow and Keras: "
            "`python -m tf2onnx.convert`), or predict with it and pass the files as `probabilities`."
        )
    return {".pt2": "export", ".onnx": "onnx"}.get(ending, "script")


def _network(
    kind: str, source: object, state_dict: StateDict | str | Path | None, channels: int | None, device: torch.device
) -> Source:
    if kind not in ("module", "architecture", "torchvision") and state_dict is not None:
        _refuse({"state_dict"}, str(source))
    if kind == "module":
        return _given(source, state_dict)
    name = str(source)
    if kind == "architecture":
        return smp_architecture(name, state_dict, channels)
    if kind == "torchvision":
        return torchvision_source(name, state_dict, channels)
    if kind == "export":
        return export_source(Path(name), device)
    if kind == "onnx":
        return onnx_source(Path(name), device)
    plain: dict[str, Callable[[], Source]] = {
        "smp": lambda: smp_folder(Path(name)),
        "script": lambda: script_source(Path(name)),
        "transformers": lambda: transformers_source(name),
    }
    return plain[kind]()


def _given(source: object, state_dict: StateDict | str | Path | None) -> Source:
    """A model that the caller has in hand."""
    if is_transformers(source) and state_dict is None:
        return transformers_module(source, type(source).__name__)
    wrapped = getattr(source, "model", None)
    if isinstance(source, torch.nn.Module) or not (is_fiftyone_model(source) or is_transformers(wrapped)):
        return _callable(source, state_dict)
    if state_dict is not None:
        _refuse({"state_dict"}, type(source).__name__)
    if is_fiftyone_model(source) or not is_transformers(wrapped):
        return fiftyone_source(source)
    return transformers_module(wrapped, type(source).__name__, getattr(source, "image_processor", None))  # a pipeline


def _callable(source: object, state_dict: StateDict | str | Path | None) -> Source:
    if inspect.isclass(source):
        raise LabelQualityError(
            f"Expected a model, but got the class {source.__name__}, of which none has been made; make one, load its "
            f"weights, and pass that: `{source.__name__}(...)`."
        )
    if not callable(source):
        raise LabelQualityError(f"Cannot load a {type(source).__name__}. Expected {_FORMS}.")
    return module_source(source, state_dict)


def _probabilities(
    files: str | Mapping[str, FileOfImage], given: Mapping[str, Any], changed: set[str]
) -> ProbabilityFiles:
    own = ("num_classes", "class_names", "device", "from_logits", "channel_map")
    _refuse(changed - set(own), "probabilities on disk")
    arguments = {name: given[name] for name in own}
    arguments["from_logits"] = "auto" if given["from_logits"] is None else given["from_logits"]
    return ProbabilityFiles(files, **arguments)


def _channels_hint(given: Mapping[str, Any]) -> int | None:
    """Channels of a model about to be built: the classes, or what a channel map names."""
    mapping = given["channel_map"]
    if mapping is None:
        return cast("int | None", given["num_classes"])
    return None if isinstance(mapping, Mapping) else len(mapping)


def _input_format(
    known: InputFormat,
    input_size: int | tuple[int, int] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    stride: int | None,
) -> InputFormat:
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    return replace(
        known,
        size=known.size if size is None else (int(size[0]), int(size[1])),
        mean=known.mean if mean is None else tuple(float(value) for value in mean),
        std=known.std if std is None else tuple(float(value) for value in std),
        stride=known.stride if stride is None else stride,
    )


def _same_classes(segmenter: Segmenter, num_classes: int | None) -> Segmenter:
    if num_classes not in (None, segmenter.num_classes) and segmenter.num_classes is not None:
        raise LabelQualityError(
            f"Expected a segmenter of {num_classes} classes, but it has {segmenter.num_classes}; "
            "load it again with `num_classes` and `channel_map`."
        )
    return segmenter


def _is_default(name: str, value: object) -> bool:
    default = inspect.signature(load_segmenter).parameters[name].default
    return value is default or bool(value == default)


def _refuse(options: set[str], what: str) -> None:
    if options:
        raise LabelQualityError(f"The options {sorted(options)} have no meaning for {what}; leave them out.")
