"""What a run found about single objects, as attributes and a tag of the objects themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId

if TYPE_CHECKING:
    from pymongo import UpdateOne


@dataclass(frozen=True)
class ObjectFinding:
    """What a run says of one object.

    Attributes:
        score: 0 (surely wrong) to 1 (fine); None where it cannot be told
        issue: kind of what seems to be wrong; None if nothing
        suggested: class that the predictions say instead; None without an issue
        issue_score: how surely it is wrong, 0 to 1; None without an issue
        tagged: whether it is more likely wrong than right
    """

    score: float | None = None
    issue: str | None = None
    suggested: str | None = None
    issue_score: float | None = None
    tagged: bool = False


@dataclass(frozen=True)
class ObjectAttributes:
    """Names of what a run writes on objects.

    Attributes:
        key: of the run
        path: of the list of objects, such as "instances.detections"

    Example:
        >>> ObjectAttributes("label_quality", "instances.detections").paths[:2]
        ['instances.detections.label_quality', 'instances.detections.label_quality_issue']
    """

    key: str
    path: str

    @property
    def tag(self) -> str:
        """Tag of objects that are more likely wrong than right."""
        return f"{self.key}_issue"

    @property
    def names(self) -> dict[str, str]:
        """Attribute to the part of a finding that it holds."""
        key = self.key
        return {
            key: "score", f"{key}_issue": "issue", f"{key}_suggested": "suggested", f"{key}_issue_score": "issue_score"
        }  # fmt: skip

    @property
    def paths(self) -> list[str]:
        """The attributes as fields."""
        return [f"{self.path}.{name}" for name in self.names]


def declare_findings(dataset: Any, attributes: ObjectAttributes) -> None:
    """Declare the attributes, so that the App filters and sorts by them.

    Args:
        dataset: the `fiftyone.Dataset`
        attributes: of the run
    """
    import fiftyone as fo

    texts = {
        "score": (fo.FloatField, "How good the object's label is, 0 (wrong) to 1 (fine)"),
        "issue": (fo.StringField, "What seems to be wrong: spurious, wrong_class or boundary"),
        "suggested": (fo.StringField, "Class that the predictions say instead"),
        "issue_score": (fo.FloatField, "How surely it is wrong, 0 to 1"),
    }
    for name, part in attributes.names.items():
        kind, text = texts[part]
        dataset.add_sample_field(f"{attributes.path}.{name}", kind, description=text)


def write_findings(
    dataset: Any, attributes: ObjectAttributes, findings: Mapping[str, Mapping[str, ObjectFinding]]
) -> None:
    """Write what a run says of objects; other attributes and tags stay, whoever changes them meanwhile.

    Args:
        dataset: the `fiftyone.Dataset`
        attributes: of the run
        findings: sample id to object id to finding
    """
    from pymongo import UpdateOne

    operations: list[Any] = []
    ids = [sample_id for sample_id, found in findings.items() if found]
    for sample_id in ids:
        found, where = findings[sample_id], {"_id": ObjectId(sample_id)}
        every = attributes.path if "." not in attributes.path else f"{attributes.path}.$[]"
        operations.append(UpdateOne(where, {"$pull": {f"{every}.tags": attributes.tag}}))
        values = {
            label_id: {name: getattr(finding, part) for name, part in attributes.names.items()}
            for label_id, finding in found.items()
        }
        operations.append(_on_objects(where, attributes.path, "$set", values))
        tags = {label_id: {"tags": attributes.tag} for label_id, finding in found.items() if finding.tagged}
        if tags:
            operations.append(_on_objects(where, attributes.path, "$addToSet", tags))
    if operations:
        dataset._bulk_write(operations, ids=ids)


def _on_objects(
    where: Mapping[str, Any], path: str, operator: str, changes: Mapping[str, Mapping[str, Any]]
) -> UpdateOne:
    """One change of several objects of a sample, each found by its id."""
    from pymongo import UpdateOne

    if "." not in path:
        (change,) = changes.values()
        return UpdateOne(where, {operator: {f"{path}.{name}": value for name, value in change.items()}})
    filters: list[Mapping[str, Any]] = [
        {f"o{number}._id": ObjectId(label_id)} for number, label_id in enumerate(changes)
    ]
    values = {
        f"{path}.$[o{number}].{name}": value
        for number, change in enumerate(changes.values())
        for name, value in change.items()
    }
    return UpdateOne(where, {operator: values}, array_filters=filters)


def forget_findings(dataset: Any, key: str, fields: list[str]) -> None:
    """Take a run's attributes and tag off objects; a call that was interrupted can be made again.

    Args:
        dataset: the `fiftyone.Dataset`
        key: of the run
        fields: that it wrote; those inside of objects have dots in their names
    """
    samples = dataset._sample_collection
    for path in (name for name in fields if "." in name):
        holder, _, attribute = path.rpartition(".")
        every, exists = (f"{holder}.$[]", f"{holder}.0") if "." in holder else (holder, f"{holder}._id")
        tag = ObjectAttributes(key, holder).tag
        for change in ({"$unset": {f"{every}.{attribute}": ""}}, {"$pull": {f"{every}.tags": tag}}):
            samples.update_many({exists: {"$exists": True}}, change)
