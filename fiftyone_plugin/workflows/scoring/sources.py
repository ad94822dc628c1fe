"""Where the probabilities of a scoring run come from, behind one face."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

import numpy as np

from ... import models, quality
from ...dataset.door.account import account_of
from ...dataset.door.classes import (
    IGNORED,
    ClassMap,
    background_value,
    list_classes,
    match_channels,
    parse_mapping,
)
from ...dataset.door.masks import mask_digest, resize_nearest
from ...dataset.door.scan import (
    LabelledImage,
    LabelScan,
    all_values,
    file_stamp,
    mask_reader,
    mask_targets_of,
    require_same_shape,
    scan_labels,
    segmentation_fields,
    string_fields,
)
from ...dataset.door.zoo import zoo_segmenter
from ...errors import LabelQualityError
from ...models.segmenters.class_names import are_names, plain_name
from ..checking.first_look import refuse_changed_values
from .model_names import require_model

if TYPE_CHECKING:
    from ...models.segmenters.outputs import FromLogits


class ProbabilitySource(Protocol):
    """Gives (K, H, W) probabilities at label size for each image."""

    @property
    def description(self) -> str:
        """Tells one source from another, also between two states of a model."""

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the channels, if they are known."""

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Yield each image with its probabilities, or with the exception that kept it from having any."""

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """Groups of images that can be streamed apart: the probabilities are the same to the bit."""

    def state(self, image: LabelledImage) -> str:
        """Tells whether what one image's probabilities are made of has changed; "" if `description` tells all."""

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """The images to try first."""

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """How many of the images the model is known to have been trained on."""


@dataclass
class MaskSource:
    """Another mask of each image, by another annotator or by a model that gives classes only.

    Its mask values are its channels. They are matched with the classes of the labels by name where both fields have
    names, otherwise by value.

    Attributes:
        read_prediction: sample id to mask values
        description: names the field
        targets: its `mask_targets`; may be empty
        values: mask values that occur, each with the number of its images, where they must be known to be understood
        classes: which class of the labels each value means, set when the classes are settled
    """

    read_prediction: Callable[[str], np.ndarray]
    description: str
    targets: Mapping[int | str, str] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)
    classes: ClassMap | None = None
    class_names: Sequence[str] | None = None

    def values_beside(self, labels: Mapping[int, int]) -> dict[int, int]:
        """The values of both fields, for labels without names: also one that only predictions have is a class.

        Args:
            labels: mask values of the labels, each with the number of its images

        Returns:
            the same for both fields; that of the labels if both are binary, whatever the second value is
        """
        binary = len({0, *labels}) == len({0, *self.values}) == 2
        return dict(labels) if self.targets or binary else {**self.values, **labels}

    def settle(
        self, classes: ClassMap, class_mapping: Mapping[int | str, int | str] | None, unmatched: str
    ) -> ClassMap:
        """Match the mask values with the classes of the labels.

        Args:
            classes: of the label field
            class_mapping: mask value or name of the predictions to mask value or class name of the labels
            unmatched: what to do about classes that the predictions do not name: "error", or "ignore" their pixels

        Returns:
            the classes, each with the places of its values among those of the predictions

        Raises:
            LabelQualityError: if a class has no counterpart
        """
        own = self._own_classes(classes)
        place_of = {value: place for place, value in enumerate(own.values)}
        mapping = {place_of.get(key, key) if isinstance(key, int) else key: value
                   for key, value in (class_mapping or {}).items()}  # fmt: skip
        found = match_channels(classes, len(own), own.names, mapping, unmatched)
        values = [[own.values[place] for place in places] for places in found.channels]
        self.classes = ClassMap(
            tuple(one[0] for one in values),
            found.names,
            own.ignored,
            own.rgb,
            further=tuple((v, i) for i, one in enumerate(values) for v in one[1:] if v is not None),
            only_listed=classes.only_listed,
        )
        return found

    def _own_classes(self, classes: ClassMap) -> ClassMap:
        """The values of this field as channels: what it calls them, or those of the labels if it has no names."""
        if self.targets and are_names(classes.names):
            return self._named_classes(classes)
        values = list(classes.values)
        seen = [value for value in self.values if value]
        if len(values) == 2 and 0 in values and len(seen) == 1:  # both are binary: what is not 0 is the other class
            values = [0 if value == 0 else seen[0] for value in values]
        ignored = classes.ignored.difference(value for value in values if value is not None)
        return ClassMap(tuple(values), classes.names, ignored, classes.rgb)

    def _named_classes(self, classes: ClassMap) -> ClassMap:
        there = {0: 1} if background_value(dict(enumerate(classes.names))) is not None else {}
        own = list_classes(self.targets, there)
        left_out = {plain_name(name) for _, name, _ in classes.reasons if name}
        rows = zip(own.values, own.names, own.listed_names, strict=True)
        kept = [(value, name) for value, name, listed in rows if plain_name(listed) not in left_out]
        values = tuple(value for value, _ in kept)
        ignored = own.ignored.union(v for v in own.values if v is not None).difference(
            v for v in values if v is not None
        )
        return ClassMap(values, tuple(name for _, name in kept), ignored, own.rgb)

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Read one mask per image; a missing or broken one yields its exception.

        The probabilities are NaN where the prediction is ignored: nothing is known of the label there.
        """
        for image in images:
            try:
                yield image, self._probabilities(image)
            except (OSError, ValueError) as error:
                yield image, LabelQualityError(f"no usable prediction for {image.filepath}: {error}")

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """A few images each."""
        return _chunks(images, _PIXELS_AT_ONCE)

    def _probabilities(self, image: LabelledImage) -> np.ndarray:
        if self.classes is None:
            raise RuntimeError("The classes must be settled before predictions are read")
        mask = self.read_prediction(image.sample_id)
        require_same_shape(mask.shape[:2], image.size, image.filepath)
        return mask_probabilities(self.classes, mask, image.size)

    def state(self, image: LabelledImage) -> str:
        """Differs after the image's second mask was changed."""
        try:
            return mask_digest(self.read_prediction(image.sample_id))
        except (OSError, ValueError):
            return "none"

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """The first images."""
        return list(images[:count])

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """Masks say nothing about training."""
        return 0


def mask_probabilities(classes: ClassMap, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities that stand for a mask of another annotator or of a model that gives classes only.

    Args:
        classes: of mask values
        mask: (h, w) mask values or (h, w, 3) colours
        size: (H, W) of the label

    Returns:
        (K, H, W), NaN where the mask is ignored
    """
    predicted = resize_nearest(classes.indices(mask), size)
    probabilities = quality.hard_mask_probabilities(predicted, len(classes), ignore_index=IGNORED)
    probabilities[:, predicted == IGNORED] = np.nan
    return probabilities


@dataclass
class ModelSource:
    """Probabilities by a model, computed in batches."""

    segmenter: Any
    description: str
    batch_size: int | None = None
    trained_on: Callable[[str], bool] = field(default=lambda filepath: False)

    @property
    def class_names(self) -> Sequence[str] | None:
        """The model's own class names, if it knows them."""
        return self.segmenter.class_names

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Predict image by image; a failing image yields its exception."""
        items = [_item_of(image) for image in images]
        image_of = {id(item): image for item, image in zip(items, images, strict=True)}
        for item, result in self.segmenter.stream(items, batch_size=self.batch_size):
            yield image_of[id(item)], result

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """The model's own batches."""
        items = [_item_of(image) for image in images]
        place_of = {id(item): place for place, item in enumerate(items)}
        plan = self.segmenter.plan(items, batch_size=self.batch_size)
        return ([images[place_of[id(item)]] for item in batch] for batch in plan)

    def state(self, image: LabelledImage) -> str:
        """The description tells all that decides the probabilities, but the image itself."""
        return f"{_file_state(Path(image.filepath))} {getattr(image.filepath, 'window', None)}"

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """The first images."""
        return list(images[:count])

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """Count the images that are recorded as having been trained on."""
        return sum(self.trained_on(image.filepath) for image in images)


def _item_of(image: LabelledImage) -> models.ImageItem:
    return models.ImageItem(name=image.filepath, path=image.filepath, size=image.size)


@dataclass
class FileSource:
    """Probabilities that are on disk already.

    Attributes:
        files: sample id to the file, or to why it has none
        reader: of all files
        description: names the field or folder
    """

    files: Mapping[str, Path | LabelQualityError]
    reader: models.ProbabilityFiles
    description: str

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the channels, if they were given."""
        return self.reader.class_names

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Read one file per image; a missing or broken one yields its exception."""
        for image in images:
            try:
                yield image, self.reader.read(self._file(image), size=image.size)
            except Exception as error:  # a broken file may raise nearly anything
                text = str(error) if isinstance(error, LabelQualityError) else f"{type(error).__name__}: {error}"
                yield image, LabelQualityError(f"{image.filepath}: {text}")

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """A few images each."""
        return _chunks(images, _PIXELS_AT_ONCE)

    def _file(self, image: LabelledImage) -> Path:
        file = self.files[image.sample_id]
        if isinstance(file, LabelQualityError):
            raise file
        return file

    def state(self, image: LabelledImage) -> str:
        """Differs after the image's file was replaced."""
        file = self.files[image.sample_id]
        return "" if isinstance(file, LabelQualityError) else _file_state(file)

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """Some images that have a file; the number of channels that most files have is settled on the way."""
        having = [image for image in images if isinstance(self.files[image.sample_id], Path)]
        if self.reader.num_classes is None:
            looked = (self._num_channels(image) for image in having[:: max(len(having) // _LOOKED_AT, 1)])
            counts = Counter(count for count in looked if count is not None)
            if counts:
                self.reader.num_classes = max(counts.most_common(1)[0][0], 2)
        fitting = [image for image in having[:_LOOKED_AT] if self._num_channels(image) == self.reader.num_classes]
        return (fitting or having or list(images))[:count]

    def _num_channels(self, image: LabelledImage) -> int | None:
        try:
            return models.num_channels(self._file(image), size=image.size)
        except LabelQualityError:
            return None

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """Files say nothing about training."""
        return 0


@dataclass
class MeanSource:
    """Several sources as one: the mean of their probabilities, so that what they do not agree on is unsure.

    Sources that name their channels must name the same classes; the order may differ, the first one's counts.

    Attributes:
        sources: at least one
        orders: for each source the places of the channels in it, None = as they come

    Raises:
        LabelQualityError: the sources name different classes
    """

    sources: Sequence[ProbabilitySource]
    orders: Sequence[Sequence[int] | None] = field(init=False)

    def __post_init__(self) -> None:
        wanted = self.class_names
        self.orders = [_order_of(source, wanted) for source in self.sources]

    @property
    def description(self) -> str:
        """Names all sources."""
        return " + ".join(source.description for source in self.sources)

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the channels, if any source knows them."""
        return next((source.class_names for source in self.sources if source.class_names), None)

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Predict a few images by each source in turn; an image that one source fails on yields its exception."""
        for chunk in _chunks(images, _PIXELS_AT_ONCE):
            results: dict[str, list[Any]] = {image.sample_id: [] for image in chunk}
            for source, order in zip(self.sources, self.orders, strict=True):
                for image, result in source.stream(chunk):
                    known = order is None or isinstance(result, Exception)
                    results[image.sample_id].append(result if known else result[order])
            for image in chunk:
                yield image, self._mean(image, results[image.sample_id])

    def _mean(self, image: LabelledImage, results: Sequence[Any]) -> Any:
        failure = next((result for result in results if isinstance(result, Exception)), None)
        if failure is not None:
            return failure
        arrays = [np.asarray(result.detach().cpu() if hasattr(result, "detach") else result) for result in results]
        shapes = [array.shape for array in arrays]
        if len(set(shapes)) > 1:
            return LabelQualityError(
                f"Expected all models to give the same classes and size for {image.filepath}, but got shapes {shapes}; "
                "map the channels of each model to the label's classes first (`models.load_segmenter(channel_map=)`)"
            )
        return np.mean(arrays, axis=0, dtype=np.float32)

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """The images that all sources predict in turn."""
        return _chunks(images, _PIXELS_AT_ONCE)

    def state(self, image: LabelledImage) -> str:
        """Differs where that of any source does."""
        return " ".join(source.state(image) for source in self.sources)

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """Those that the first source chooses, and what the others must settle is settled."""
        first, *others = self.sources
        for source in others:
            source.probes(images, count)
        return first.probes(images, count)

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """The most that any source has been trained on."""
        return max(source.seen_in_training(images) for source in self.sources)


def _order_of(source: ProbabilitySource, wanted: Sequence[str] | None) -> list[int] | None:
    """Where the wanted classes are among the channels of a source that names them."""
    if not source.class_names or not wanted or list(source.class_names) == list(wanted):
        return None
    own, names = ([plain_name(name) for name in these] for these in (source.class_names, wanted))
    if sorted(own) != sorted(names) or len(set(own)) < len(own):
        other = [name for name in names if name not in own], [name for name in own if name not in names]
        raise LabelQualityError(
            f"Expected models of the same classes for a mean, but {source.description} lacks {other[0][:8]} and has "
            f"{other[1][:8]} besides; map the channels of each to the label's classes first "
            "(`models.load_segmenter(channel_map=)`)"
        )
    return [own.index(name) for name in names]


UNKNOWN_STATE = "state cannot be told"
"""In the description of a model of which it is unknown whether it is still the same: an interrupted run starts over."""

_PIXELS_AT_ONCE = 1 << 22
_PROBES = 5
_LOOKED_AT = 50
"""Files whose heads are looked at to learn how many channels most of them have."""


def _file_state(path: Path) -> str:
    """What tells whether a file, or any file of a folder such as a zarr array's, has changed."""
    inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    text = repr([(str(file), file_stamp(str(file))) for file in inside])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _chunks(images: Sequence[LabelledImage], pixels: int) -> Iterator[list[LabelledImage]]:
    """Yield runs of images of about so many pixels, at least one image each."""
    chunk: list[LabelledImage] = []
    for image in images:
        chunk.append(image)
        if sum(one.size[0] * one.size[1] for one in chunk) >= pixels:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@dataclass(frozen=True)
class SourceInputs:
    """Where probabilities come from, as the user said; see `open_source`.

    Attributes:
        label_field: the Segmentation field that is to be judged
        model: a model, its name, file or folder, or a list of them
        probabilities: a field or folder of files, or a list of them
        predictions: a second Segmentation field
        batch_size: images per forward pass
        options: of the model
    """

    label_field: str
    model: Any = None
    probabilities: str | Sequence[str] | None = None
    predictions: str | None = None
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether a worker needs a GPU: there is a model, and it goes to one."""
        device = self.options.get("device")
        return self.model is not None and models.choose_device(device).type == "cuda"

    def open(self, samples: Any) -> ProbabilitySource:
        """Open the source."""
        return open_source(
            samples, label_field=self.label_field, model=self.model, probabilities=self.probabilities,
            predictions=self.predictions, batch_size=self.batch_size, **self.options,
        )  # fmt: skip


def closed_source(source: ProbabilitySource) -> Any:
    """What was settled about a source, without the model, files and database behind it.

    Args:
        source: of `settle_classes`

    Returns:
        what `reopen_source` takes; can be pickled
    """
    if isinstance(source, MaskSource):
        return replace(source, read_prediction=_closed)
    return replace(source, source=cast(Any, None)) if isinstance(source, ClassSource) else source


def _closed(sample_id: str) -> np.ndarray:
    raise RuntimeError("The source must be opened again before predictions are read")


def reopen_source(samples: Any, inputs: SourceInputs, closed: Any) -> ProbabilitySource:
    """Open a source again in another process, with the classes that were settled.

    Args:
        samples: the dataset
        inputs: where probabilities come from
        closed: of `closed_source`

    Returns:
        the source
    """
    opened = inputs.open(samples)
    if isinstance(closed, MaskSource) and isinstance(opened, MaskSource):
        return replace(closed, read_prediction=opened.read_prediction)
    return replace(closed, source=opened)


def open_source(
    samples: Any,
    *,
    label_field: str = "ground_truth",
    model: Any = None,
    probabilities: str | Sequence[str] | None = None,
    predictions: str | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> ProbabilitySource:
    """Open where probabilities come from.

    Args:
        samples: the dataset or view
        label_field: the Segmentation field that is to be judged
        model: anything `models.load_segmenter` takes, models that FiftyOne loaded among it, `"zoo:<name>"` for
            FiftyOne's model zoo, or the key of a cross-validated training run on the dataset; a list of them for the
            mean of their probabilities
        probabilities: instead of a model, a sample field with the paths of npy, npz or zarr files, or a folder
            with one such file per image, named like it; a list of them for their mean
        predictions: instead of either, a second Segmentation field with the same mask values
        batch_size: images per forward pass; chosen by itself if None
        options: further options of `models.load_segmenter` (device, flips, scales, tile, ...)

    Returns:
        the source

    Raises:
        LabelQualityError: if not exactly one of `model`, `probabilities` and `predictions` is given, or it cannot be
            opened
    """
    named = {"model": model, "probabilities": probabilities, "predictions": predictions}
    given = [f"`{name}`" for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise LabelQualityError(
            f"Expected one of `model`, `probabilities` and `predictions`, but got {' and '.join(given) or 'none'}; for "
            "a dataset without a model run `train_cross_validated` first and pass its key as `model`"
        )
    if predictions is not None:
        return mask_source(samples, label_field, predictions)
    several = [value for value in (model, probabilities) if isinstance(value, list | tuple)]
    if several:
        name = "model" if model is not None else "probabilities"
        if not several[0]:
            raise LabelQualityError(f"Expected at least one entry in `{name}`, but got an empty list")
        rest: dict[str, Any] = {"label_field": label_field, "batch_size": batch_size, **options}
        return MeanSource([open_source(samples, **{name: one}, **rest) for one in several[0]])
    if isinstance(model, str) and model.startswith("probabilities:"):
        probabilities = model.removeprefix("probabilities:")
    if probabilities is not None:
        from_logits = options.pop("from_logits", None)
        if options:
            raise LabelQualityError(f"The options {sorted(options)} have no meaning for probabilities on disk")
        return _file_source(samples, str(probabilities), from_logits)
    model, segmenter = _segmenter(samples, model, options)
    name = model if isinstance(model, str) and model.startswith("zoo:") else segmenter.description
    description = f"{name}#{_state(model, options, batch_size)}"
    return ModelSource(segmenter, description, batch_size, _trained_on(model))


def _trained_on(model: Any) -> Callable[[str], bool]:
    """Whether an image was trained on, as far as that is recorded: one fold's model saw all folds but its own."""
    folder = Path(model).expanduser() if isinstance(model, str | Path) else None
    if folder is None or not (folder.parent / "folds.json").is_file() or not folder.name.startswith("fold_"):
        return lambda filepath: False
    own = int(folder.name.removeprefix("fold_"))
    fold_of = models.read_cross_validation(folder.parent).fold_of
    return lambda filepath: fold_of.get(filepath, own) != own


def _segmenter(samples: Any, model: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Load a model; the name of a run becomes that of its models' folder."""
    from ...dataset.runs.run_records import find_run

    if isinstance(model, str) and model.startswith("zoo:"):
        return model, zoo_segmenter(model[4:], **options)
    if isinstance(model, str) and (run := find_run(samples._dataset, model)) is not None:
        if "model_folder" not in run.parameters:
            raise LabelQualityError(
                f"Expected the key of a training run as `model`, but {model!r} has no out-of-fold models; pass that of "
                "a cross-validated training, or of a noise-robust one with `out_of_fold=True`"
            )
        model = str(run.parameters["model_folder"])
    if isinstance(model, str):
        require_model(samples, model)
    return model, models.load_segmenter(model, **options)


def _state(model: Any, options: Mapping[str, Any], batch_size: int | None) -> str:
    """Tells two states of a model apart, so that an interrupted run never goes on with another one."""
    deciding = {name: value for name, value in sorted(options.items()) if name != "device"}
    try:
        return models.model_state(model, deciding, batch_size)
    except models.UnknownStateError as error:
        return f"{UNKNOWN_STATE} ({error}) {uuid4().hex}"


def mask_source(
    samples: Any, label_field: str, predictions: str, targets: Mapping[int | str, str] | None = None
) -> MaskSource:
    """Open a second Segmentation field as a source; its classes are settled later.

    Args:
        samples: the dataset or view
        label_field: the Segmentation field that is to be judged
        predictions: the other one
        targets: instead of the `mask_targets` of both fields

    Returns:
        the source

    Raises:
        LabelQualityError: if there is no such field
    """
    choices = [name for name in segmentation_fields(samples) if name != label_field]
    if predictions not in choices:
        raise LabelQualityError(
            f"Expected `predictions` to be one of the Segmentation fields {choices} beside {label_field!r}, but got "
            f"{predictions!r}; for files of probabilities pass `probabilities`"
        )
    of_labels, own = (targets or mask_targets_of(samples, name) for name in (label_field, predictions))
    read_as = own or of_labels
    clear = of_labels and (own or len(of_labels) > 2)  # two values without names may be any two
    read = mask_reader(samples, predictions, read_as)
    if clear:
        return MaskSource(read, f"masks:{predictions}", own)
    scan = scan_labels(samples, predictions, targets=read_as)
    refuse_changed_values(samples, predictions, scan)
    return MaskSource(read, f"masks:{predictions}", own, scan.values)


def _file_source(samples: Any, probabilities: str, from_logits: bool | None) -> FileSource:
    logits: FromLogits = "auto" if from_logits is None else from_logits
    ids, filepaths = all_values(samples, ["id", "filepath"])
    if samples._root_dataset.has_field(probabilities):
        (paths,) = all_values(samples, [probabilities])
        wrong = next((path for path in paths if path is not None and not isinstance(path, str)), None)
        if wrong is not None:
            raise LabelQualityError(
                f"Expected the field {probabilities!r} to hold paths of npy, npz or zarr files, "
                f"but it holds {type(wrong).__name__}"
            )
        none = LabelQualityError(f"no probability file: `{probabilities}` is empty")
        files = {sample_id: Path(path) if path else none for sample_id, path in zip(ids, paths, strict=True)}
        reader = models.ProbabilityFiles({}, device="cpu", from_logits=logits)
        return FileSource(files, reader, f"field:{probabilities}")
    if not Path(probabilities).expanduser().is_dir():
        raise LabelQualityError(
            f"Expected `probabilities` to be a folder or one of the string fields {string_fields(samples)}, "
            f"but got {probabilities!r}"
        )
    folder = models.ProbabilityFolder(probabilities, filepaths)
    found = {sample_id: _found(folder, path) for sample_id, path in zip(ids, filepaths, strict=True)}
    reader = models.ProbabilityFiles(folder, device="cpu", from_logits=logits)
    return FileSource(found, reader, f"folder:{folder}")


def _found(folder: models.ProbabilityFolder, filepath: str) -> Path | LabelQualityError:
    try:
        return folder.find(filepath)
    except LabelQualityError as error:
        return error


@dataclass(frozen=True)
class ClassSource:
    """A source whose channels are the classes.

    Channels of one class are summed, a single channel becomes the second of two classes, and an image with another
    number of channels yields an error that names it.

    Attributes:
        source: of the probabilities of the channels
        classes: with the channels of each
        num_channels: of the source
    """

    source: ProbabilitySource
    classes: ClassMap
    num_channels: int

    @property
    def description(self) -> str:
        """That of the source."""
        return self.source.description

    @property
    def class_names(self) -> Sequence[str]:
        """Those of the classes."""
        return self.classes.names

    def stream(self, images: Sequence[LabelledImage]) -> Iterator[tuple[LabelledImage, Any]]:
        """Yield each image with (K, H, W) for the classes, or with the exception that kept it from having any."""
        for image, result in self.source.stream(images):
            yield image, result if isinstance(result, Exception) else self._of_classes(image, result)

    def _of_classes(self, image: LabelledImage, result: Any) -> Any:
        found = with_background(result)
        if found.shape[0] != self.num_channels:
            return LabelQualityError(
                f"Expected {self.num_channels} classes as for the other images, but got {int(found.shape[0])} for "
                f"{image.filepath}; predict all images with the same model"
            )
        if self.classes.channels == tuple((channel,) for channel in range(self.num_channels)):
            return found
        return models.sum_channels(found, self.classes.channels)

    def batches(self, images: Sequence[LabelledImage]) -> Iterable[Sequence[LabelledImage]]:
        """Those of the source."""
        return self.source.batches(images)

    def state(self, image: LabelledImage) -> str:
        """As the source says."""
        return self.source.state(image)

    def probes(self, images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
        """As the source says."""
        return self.source.probes(images, count)

    def seen_in_training(self, images: Sequence[LabelledImage]) -> int:
        """As the source says."""
        return self.source.seen_in_training(images)


def settle_classes(
    samples: Any,
    label_field: str,
    scan: LabelScan,
    source: ProbabilitySource,
    *,
    targets: Mapping[int | str, str] | None = None,
    ignore_index: Any = "auto",
    class_mapping: Mapping[int | str, int | str] | None = None,
    unmatched: str = "error",
) -> tuple[ClassMap, ProbabilitySource]:
    """Settle once which mask value is which class, and which channel of the source predicts it.

    Args:
        samples: the dataset or view
        label_field: its Segmentation field
        scan: of its masks; the first few images are predicted, to learn how many channels there are
        source: of probabilities
        targets: instead of the field's own `mask_targets`; values that they do not name are then ignored
        ignore_index: mask value(s) or class name(s) that count for nothing
        class_mapping: channel number or name to mask value or class name
        unmatched: what to do about classes without a channel: "error", or "ignore" their pixels

    Returns:
        the classes in the order of their channels, and the source of their probabilities

    Raises:
        LabelQualityError: if no image gives probabilities, or classes and channels do not fit
    """
    class_mapping = parse_mapping(class_mapping)
    named = mask_targets_of(samples, label_field) if targets is None else targets
    seen = source.values_beside(scan.values) if isinstance(source, MaskSource) and not named else scan.values
    classes = account_of(samples, label_field, seen, ignore_index, targets=targets)
    if isinstance(source, MaskSource):
        classes = source.settle(classes, class_mapping, unmatched)
        _channels_of(source, scan.images)
        return classes, source
    num_channels = _channels_of(source, scan.images)
    classes = match_channels(classes, num_channels, source.class_names, class_mapping, unmatched)
    return classes, ClassSource(source, classes, num_channels)


def _channels_of(source: ProbabilitySource, images: Sequence[LabelledImage]) -> int:
    """How many channels most of the first images have; a model has one number and is asked about one image."""
    channels: list[int] = []
    failure: Exception | None = None
    probes = source.probes(images, _PROBES)
    for image, result in chain.from_iterable(source.stream([probe]) for probe in probes):  # no batch of them
        if isinstance(result, Exception):
            failure = failure or result
            continue
        if result.ndim != 3:
            raise LabelQualityError(
                f"Expected probabilities of shape (K, H, W), but got {tuple(result.shape)} for {image.filepath}"
            )
        channels.append(int(with_background(result).shape[0]))
        if not isinstance(source, FileSource):
            break
    if channels:
        return Counter(channels).most_common(1)[0][0]
    if isinstance(failure, LabelQualityError):
        raise failure
    raise LabelQualityError(f"The first {min(_PROBES, len(images))} images gave no probabilities: {failure}")


def with_background(probabilities: Any) -> Any:
    """Two classes for the single channel of a binary model: what is left, and what the channel says.

    Args:
        probabilities: (K, H, W) array or tensor

    Returns:
        (2, H, W) if K is 1, otherwise the same array

    Example:
        >>> with_background(np.array([[[0.25]]])).ravel().tolist()
        [0.75, 0.25]
    """
    if probabilities.shape[0] != 1:
        return probabilities
    single = np.asarray(probabilities.detach().cpu() if hasattr(probabilities, "detach") else probabilities)
    return np.concatenate([1 - single, single])
