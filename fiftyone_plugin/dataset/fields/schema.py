"""Writing a run's results as fields: declared, described, indexed, one value per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


def write_numbers(
    dataset: Any, name: str, values: Mapping[str, float | int | None], description: str, *, integer: bool = False
) -> None:
    """Write one number per sample and index the field, so that the App filters and sorts it at once.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field, declared if it does not exist
        values: sample id to number
        description: shown by the App beside the field
        integer: whether to declare an IntField instead of a FloatField
    """
    import fiftyone as fo

    _declare(dataset, name, fo.IntField if integer else fo.FloatField, description)
    dataset.set_values(name, dict(values), key_field="id")
    if name not in dataset.list_indexes():
        dataset.create_index(name)


def write_strings(dataset: Any, name: str, values: Mapping[str, str | None], description: str) -> None:
    """Write one string per sample; the App lists the values in its sidebar."""
    import fiftyone as fo

    _declare(dataset, name, fo.StringField, description)
    dataset.set_values(name, dict(values), key_field="id")


def write_string_lists(dataset: Any, name: str, values: Mapping[str, list[str]], description: str) -> None:
    """Write several strings per sample; the App filters by each of them in its sidebar."""
    import fiftyone as fo

    _declare(dataset, name, fo.ListField, description, subfield=fo.StringField)
    dataset.set_values(name, dict(values), key_field="id")


def write_segmentations(
    dataset: Any, name: str, paths: Mapping[str, str], description: str, targets: Mapping[Any, str]
) -> None:
    """Write one mask on disk per sample.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        paths: sample id to PNG file
        description: shown by the App
        targets: mask value (or hex colour) to class name
    """
    import fiftyone as fo

    declare_segmentation(dataset, name, description, targets)
    labels = {sample_id: fo.Segmentation(mask_path=path) for sample_id, path in paths.items()}
    dataset.set_values(name, labels, key_field="id")


def declare_segmentation(dataset: Any, name: str, description: str, targets: Mapping[Any, str]) -> None:
    """Declare a field of masks, and what their values mean.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        description: shown by the App
        targets: mask value (or hex colour) to class name; empty if the values are no classes
    """
    import fiftyone as fo

    _declare(dataset, name, fo.EmbeddedDocumentField, description, embedded_doc_type=fo.Segmentation)
    if targets:
        dataset.mask_targets = {**dataset.mask_targets, name: dict(targets)}
        dataset.save()


def declare_detections(dataset: Any, name: str, description: str, attributes: Mapping[str, tuple[str, str]]) -> None:
    """Declare a field of Detections and their attributes, so that the App filters by them.

    Args:
        dataset: the `fiftyone.Dataset`
        name: the field
        description: shown by the App
        attributes: name of each to its kind, a class of fields of FiftyOne, and what the App says of it
    """
    import fiftyone as fo

    _declare(dataset, name, fo.EmbeddedDocumentField, description, embedded_doc_type=fo.Detections)
    for attribute, (kind, text) in attributes.items():
        _declare(dataset, f"{name}.detections.{attribute}", getattr(fo, kind), text)


def write_heatmaps(dataset: Any, name: str, paths: Mapping[str, str], description: str) -> None:
    """Write one 8-bit heatmap on disk per sample, with the range [0, 1]."""
    import fiftyone as fo

    _declare(dataset, name, fo.EmbeddedDocumentField, description, embedded_doc_type=fo.Heatmap)
    labels = {sample_id: fo.Heatmap(map_path=path, range=[0, 1]) for sample_id, path in paths.items()}
    dataset.set_values(name, labels, key_field="id")


def _declare(dataset: Any, name: str, ftype: Any, description: str, **kwargs: Any) -> None:
    if not dataset.has_field(name):
        dataset.add_sample_field(name, ftype, description=description, **kwargs)
