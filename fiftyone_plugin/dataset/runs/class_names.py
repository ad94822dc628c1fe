"""Classes that were renamed in `mask_targets` since a run: its record and its regions get the new names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..door.renamed_classes import names_now, values_of_names
from ..fields.regions import rename_class
from ..fields.schema import ScoreFields
from . import run_records

_BY_CLASS = ("class_scores", "class_pixels")


def follow_class_names(dataset: Any, record: run_records.RunRecord) -> run_records.RunRecord:
    """Give a run the names that its classes have now; where none was renamed, do nothing.

    One class at a time, first the regions and then the record, so that a call after an interruption goes on. A name
    that another class of the run keeps is not taken.

    Args:
        dataset: the `fiftyone.Dataset`
        record: of a run with regions

    Returns:
        the record with the new names
    """
    while renamed := _renamed(dataset, record):
        names = {row["name"] for row in record.summary["class_rows"]}
        free = [old for old, new in renamed.items() if new not in names]
        old = free[0] if free else next(iter(renamed))
        new = renamed[old] if free else f"{renamed[old]} (renamed)"  # names that were exchanged need a third one
        rename_class(dataset, ScoreFields(record.key).regions, old, new)
        record = replace(record, summary=_with_name(record.summary, old, new))
        run_records.register_run(dataset, record, touch=False)
    return record


def _renamed(dataset: Any, record: run_records.RunRecord) -> dict[str, str]:
    rows = record.summary.get("class_rows", ())
    now = names_now(dataset, record.label_field) if dataset.has_field(record.label_field) else {}
    found = {name: now[value] for name, value in values_of_names(rows).items() if now.get(value, name) != name}
    while taken := [old for old, new in found.items() if new in {row["name"] for row in rows} - set(found)]:
        found = {old: new for old, new in found.items() if old not in taken}
    return found


def _with_name(summary: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """What a run found, with another name of a class.

    Example:
        >>> summary = {"classes": ["car"], "pairs": [("car", "road", 9)], "class_rows": [{"name": "car"}]}
        >>> _with_name(summary, "car", "auto")
        {'classes': ['auto'], 'pairs': [('auto', 'road', 9)], 'class_rows': [{'name': 'auto'}]}
    """

    def named(name: str) -> str:
        return new if name == old else name

    changed = dict(summary)
    if "classes" in summary:
        changed["classes"] = [named(name) for name in summary["classes"]]
    if "pairs" in summary:
        changed["pairs"] = [(named(given), named(predicted), pixels) for given, predicted, pixels in summary["pairs"]]
    changed["class_rows"] = [{**row, "name": named(row["name"])} for row in summary["class_rows"]]
    return changed | {
        key: {named(name): value for name, value in summary[key].items()} for key in _BY_CLASS if key in summary
    }
