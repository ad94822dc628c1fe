"""Writing a run's results as fields: declared, described, indexed, one value per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any


@dataclass(frozen=True)
class ScoreFields:
    """Names of the fields of a scoring run.

    Example:
        >>> ScoreFields("label_quality").map
        'label_quality_map'
    """

    key: str

    @property
    def softmin(self) -> str:
        """Image score by softmin, always written."""
        return f"{self.key}_softmin"

    @property
    def issues(self) -> str:
        """Segmentation of flagged pixels."""
        return f"{self.key}_issues"

    @property
    def map(self) -> str:
        """Heatmap of suspicion."""
        return f"{self.key}_map"

    @property
    def issue_share(self) -> str:
        """Share of the image's labelled pixels that are flagged."""
        return f"{self.key}_issue_share"

    @property
    def regions(self) -> str:
        """Detections with masks: where the label is probably wrong."""
        return f"{self.key}_regions"

    @property
    def num_regions(self) -> str:
        """How many of them the image has."""
        return f"{self.key}_num_regions"

    def method(self, name: str) -> str:
        """Image score by any other method."""
        return f"{self.key}_{name}"


_AT_ONCE = 1_000


class Columns:
    """Fields of a run, written together: one operation per sample however many fields there are.

    Args:
        dataset: the `fiftyone.Dataset`
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._values: dict[str, Mapping[str, Any]] = {}
        self._labels: dict[str, Callable[[str], Any]] = {}
        self._numbers: list[str] = []
        self._fields: dict[str, Any] = {}
        self._targets: dict[str, dict[Any, str]] = {}

    def add_numbers(
        self, name: str, values: Mapping[str, float | int | None], description: str, *, integer: bool = False
    ) -> None:
        """Add one number per sample; the field is indexed, so that the App filters and sorts it at once.

        Args:
            name: the field, declared if it does not exist
            values: sample id to number
            description: shown by the App beside the field
            integer: whether to declare an IntField instead of a FloatField
        """
        import fiftyone as fo
        from fiftyone.core.odm import create_field

        self._fields[name] = create_field(name, fo.IntField if integer else fo.FloatField, description=description)
        self._values[name] = values
        self._numbers.append(name)

    def add_segmentations(
        self, name: str, paths: Mapping[str, str], description: str, targets: Mapping[Any, str]
    ) -> None:
        """Add one mask on disk per sample, and what its values mean; none if the values are no classes."""
        import fiftyone as fo

        self._fields[name] = _labels(name, fo.Segmentation, description)
        self._targets |= {name: dict(targets)} if targets else {}
        self._values[name], self._labels[name] = paths, lambda path: fo.Segmentation(mask_path=path)

    def add_heatmaps(self, name: str, paths: Mapping[str, str], description: str) -> None:
        """Add one 8-bit heatmap on disk per sample, with the range [0, 1]."""
        import fiftyone as fo

        self._fields[name] = _labels(name, fo.Heatmap, description)
        self._values[name], self._labels[name] = paths, lambda path: fo.Heatmap(map_path=path, range=[0, 1])

    def write(self) -> None:
        """Write all fields, a thousand samples at once, and index the numbers."""
        from bson import ObjectId
        from pymongo import IndexModel, UpdateOne

        declare(self._dataset, self._fields, self._targets)
        ids = list(dict.fromkeys(sample_id for values in self._values.values() for sample_id in values))
        for start in range(0, len(ids), _AT_ONCE):
            some, now = ids[start : start + _AT_ONCE], datetime.now(timezone.utc)
            changes = []
            for sample_id in some:
                row = {name: self._stored(name, of[sample_id]) for name, of in self._values.items() if sample_id in of}
                row["last_modified_at"] = now
                changes.append(UpdateOne({"_id": ObjectId(sample_id)}, {"$set": row}))
            self._dataset._bulk_write(changes, ids=some)
        if self._numbers:  # those that are there cost nothing
            self._dataset._sample_collection.create_indexes([IndexModel([(name, 1)]) for name in self._numbers])

    def _stored(self, name: str, value: Any) -> Any:
        """A value as the database keeps it; labels are made of their paths only now, since they are large."""
        from fiftyone.core.odm.utils import serialize_value

        return serialize_value(self._labels[name](value) if name in self._labels else value)


def write_numbers(
    dataset: Any, name: str, values: Mapping[str, float | int | None], description: str, *, integer: bool = False
) -> None:
    """Write one number per sample into an indexed field, see `Columns.add_numbers`."""
    columns = Columns(dataset)
    columns.add_numbers(name, values, description, integer=integer)
    columns.write()


def write_strings(dataset: Any, name: str, values: Mapping[str, str | None], description: str) -> None:
    """Write one string per sample; the App lists the values in its sidebar."""
    import fiftyone as fo
    from fiftyone.core.odm import create_field

    declare(dataset, {name: create_field(name, fo.StringField, description=description)})
    dataset.set_values(name, dict(values), key_field="id")


def write_string_lists(dataset: Any, name: str, values: Mapping[str, list[str]], description: str) -> None:
    """Write several strings per sample; the App filters by each of them in its sidebar."""
    import fiftyone as fo
    from fiftyone.core.odm import create_field

    field = create_field(name, fo.ListField, subfield=fo.StringField, description=description)
    declare(dataset, {name: field})
    dataset.set_values(name, dict(values), key_field="id")


def write_segmentations(
    dataset: Any, name: str, paths: Mapping[str, str], description: str, targets: Mapping[Any, str]
) -> None:
    """Write one mask on disk per sample, see `Columns.add_segmentations`."""
    columns = Columns(dataset)
    columns.add_segmentations(name, paths, description, targets)
    columns.write()


def declare_segmentation(dataset: Any, name: str, description: str, targets: Mapping[Any, str]) -> None:
    """Declare a field of masks, and what their values mean.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        description: shown by the App
        targets: mask value (or hex colour) to class name; empty if the values are no classes
    """
    import fiftyone as fo

    declare(dataset, {name: _labels(name, fo.Segmentation, description)}, {name: dict(targets)} if targets else {})


def declare_detections(dataset: Any, name: str, description: str, attributes: Mapping[str, tuple[str, str]]) -> None:
    """Declare a field of Detections and their attributes, so that the App filters by them.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        description: shown by the App
        attributes: name of each to its kind, a class of fields of FiftyOne, and what the App says of it
    """
    import fiftyone as fo

    declare(dataset, {name: _labels(name, fo.Detections, description)})
    declare(
        dataset,
        {f"{name}.detections.{path}": getattr(fo, kind)(description=text) for path, (kind, text) in attributes.items()},
    )


def write_heatmaps(dataset: Any, name: str, paths: Mapping[str, str], description: str) -> None:
    """Write one heatmap on disk per sample, see `Columns.add_heatmaps`."""
    columns = Columns(dataset)
    columns.add_heatmaps(name, paths, description)
    columns.write()


def declare(dataset: Any, fields: Mapping[str, Any], targets: Mapping[str, dict[Any, str]] | None = None) -> None:
    """Declare fields that do not exist, all at once: FiftyOne writes and reads the whole dataset document each time.

    Args:
        dataset: the `fiftyone.Dataset`
        fields: path to field
        targets: mask field to mask value to class name
    """
    missing = {path: field for path, field in fields.items() if not dataset.has_field(path)}
    if missing:
        dataset._merge_sample_field_schema(missing)
    if targets:
        dataset.mask_targets = {**dataset.mask_targets, **targets}
        dataset.save()


def _labels(name: str, kind: Any, description: str) -> Any:
    import fiftyone as fo
    from fiftyone.core.odm import create_field

    return create_field(name, fo.EmbeddedDocumentField, embedded_doc_type=kind, description=description)
