"""Check the labels of a dataset without a model, before anything is computed with them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ...dataset.door.scan import mask_reader, require_label_field
from ...dataset.door.slices import slices_with
from ...dataset.fields import appearance, schema
from ...dataset.fields.regions import write_regions
from ...dataset.runs import run_records
from ...dataset.runs.run_writing import write_run
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...quality.check_up import CHECKS, Spot
from .comparing import Comparison, compare_values
from .likeness import compare_images
from .looking import Looks, SampleLook, look_at_samples
from .report import CheckReport, Finding, make_finding

DEFAULT_KEY = "label_check"

_MOST_SPOTS: Final = 50
"""Places of one kind that are shown in one image; the report counts all."""

_ATTRIBUTES: Final = {
    "severity": ("StringField", "error, warning or tip"),
    "note": ("StringField", "What is special about this one"),
    "area": ("IntField", "Pixels"),
}


def check_labels(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    mute: str | Sequence[str] | None = None,
    ignore_index: Any = "auto",
    max_speck_area: int | None = None,
    key: str = DEFAULT_KEY,
    progress: Progress | None = None,
) -> CheckReport:
    """List all that can be told to be wrong with labels without a model.

    All offenders are listed at once, and nothing stops at the first. What was found is written as fields: `{key}`, the
    codes of each sample, and `{key}_spots`, where they are; each code has a saved view. Labels are never changed; see
    `clean_labels`. docs/checks.md explains every code.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field
        mute: codes that are not looked at; None for those that were muted the last time, () for none
        ignore_index: mask value(s) or class name(s) that count for nothing; None for none; "auto" for classes called
            void or ignore, and 255 where it is no class
        max_speck_area: pixels of the largest speck or pinhole; a 50,000th of the image, but 2 to 12, if None
        key: name of the run and prefix of its fields; an earlier check-up of this name is replaced
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what was found, what was passed and what could not be checked

    Raises:
        LabelQualityError: if there is no such field, or a code that does not exist is muted

    Example:
        >>> report = check_labels(dataset, "ground_truth", mute=["name_not_unique"])  # doctest: +SKIP
        >>> print(report.markdown())                                                 # doctest: +SKIP
    """
    samples = require_label_field(samples, label_field)
    dataset = samples._root_dataset
    names = [key, f"{key}_spots"]
    run_records.require_free_key(dataset, key, names, overwrite=True, method=run_records.CHECK_UP)
    muted = _muted(dataset, key, mute)
    if progress is not None:
        return _run(samples, label_field, muted, ignore_index, max_speck_area, key, progress)
    with terminal_bar("checking labels") as bar:
        return _run(samples, label_field, muted, ignore_index, max_speck_area, key, bar)


def muted_before(dataset: Any, key: str = DEFAULT_KEY) -> list[str]:
    """Codes that the last check-up of this name did not look at.

    Args:
        dataset: the `fiftyone.Dataset`
        key: name of the run

    Returns:
        the codes; none where there was no check-up

    Example:
        >>> muted_before(dataset)  # doctest: +SKIP
        ['speck']
    """
    earlier = run_records.find_run(dataset, key)
    return [code for code in (earlier.parameters.get("mute", []) if earlier else []) if code in CHECKS]


def _muted(dataset: Any, key: str, mute: str | Sequence[str] | None) -> list[str]:
    if mute is None:
        return muted_before(dataset, key)
    codes = [mute] if isinstance(mute, str) else list(mute)
    unknown = [code for code in codes if code not in CHECKS]
    if unknown:
        raise LabelQualityError(f"Expected codes of checks in `mute`, but got {unknown}; there are {list(CHECKS)}")
    return codes


def _run(
    samples: Any,
    label_field: str,
    muted: list[str],
    ignore_index: Any,
    max_area: int | None,
    key: str,
    progress: Progress,
) -> CheckReport:
    started = time.monotonic()
    dataset = samples._root_dataset
    looks = look_at_samples(samples, label_field, ignore_index=ignore_index, max_area=max_area, progress=progress)
    found = Comparison()
    compare_values(looks, found)
    compare_images(looks, found, mask_reader(samples, label_field), progress)
    spots = {
        look.sample_id: _kept([*look.spots, *found.spots.get(look.sample_id, [])], muted) for look in looks.samples
    }
    findings = _findings(looks.samples, spots, found, muted, key)
    report = CheckReport(
        dataset=dataset.name,
        key=key,
        label_field=label_field,
        num_images=len(looks.samples),
        findings=findings,
        passed=[code for code in CHECKS if not _is_known(code, findings, found, muted)],
        muted=muted,
        left_out={code: why for code, why in found.left_out.items() if code not in muted},
        seconds=round(time.monotonic() - started, 2),
    )
    parameters = {"mute": muted, "ignore_index": ignore_index, "max_speck_area": max_area}
    record = run_records.RunRecord(
        key, run_records.CHECK_UP, label_field, parameters, [key, f"{key}_spots"],
        views=[finding.view for finding in findings if finding.view], summary=report.as_dict(),
    )  # fmt: skip
    progress(0, 1, "writing marks")
    with write_run(dataset, replace(record, views=[]), None, {}, overwrite=True) as run:
        run.replace_results(record.views)
        _write(dataset, key, label_field, looks, spots, findings)
        run.finish(record)
    return report


def _kept(spots: Iterable[Spot], muted: Sequence[str]) -> list[Spot]:
    return [spot for spot in spots if spot.code not in muted]


def _is_known(code: str, findings: Sequence[Finding], found: Comparison, muted: Sequence[str]) -> bool:
    return code in muted or code in found.left_out or any(finding.code == code for finding in findings)


def _findings(
    samples: Sequence[SampleLook], spots: Mapping[str, list[Spot]], found: Comparison, muted: Sequence[str], key: str
) -> list[Finding]:
    """One for each code that anything was found under, in the order of `CHECKS`."""
    rows: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    numbers: dict[str, int] = defaultdict(int)
    for look in samples:
        notes: dict[str, str] = {}
        for spot in spots[look.sample_id]:
            notes.setdefault(spot.code, spot.note)
            numbers[spot.code] += 1
        for code, note in notes.items():
            rows[code].append((look.sample_id, look.filepath, note))
    wanted = [code for code in CHECKS if code not in muted and (code in rows or code in found.notes)]
    return [
        make_finding(
            code, rows[code], numbers[code], found.notes.get(code, ""), f"{key} {code}" if rows[code] else None
        )
        for code in wanted
    ]


def _write(
    dataset: Any,
    key: str,
    label_field: str,
    looks: Looks,
    spots: Mapping[str, list[Spot]],
    findings: Sequence[Finding],
) -> None:
    """Put codes, places and views on the dataset."""
    codes = {sample_id: list(dict.fromkeys(spot.code for spot in rows)) for sample_id, rows in spots.items()}
    schema.write_string_lists(dataset, key, codes, f"What `check_labels` found in `{label_field}`")
    text = f"Where `check_labels` found something in `{label_field}`"
    schema.declare_detections(dataset, f"{key}_spots", text, _ATTRIBUTES)
    placed = {look.sample_id: _documents(spots[look.sample_id], look.size) for look in looks.samples}
    write_regions(dataset, f"{key}_spots", {sample_id: rows for sample_id, rows in placed.items() if rows})
    home = slices_with(dataset, codes)
    for finding in findings:
        if finding.view:
            appearance.save_view(dataset, finding.view, home.match({key: finding.code}), finding.title)


def _documents(spots: Iterable[Spot], size: tuple[int, int] | None) -> list[dict[str, Any]]:
    """Places as FiftyOne keeps Detections in MongoDB."""
    from bson import ObjectId

    if size is None:
        return []
    height, width = size
    rows: list[dict[str, Any]] = []
    numbers: dict[str, int] = defaultdict(int)
    for spot in spots:
        numbers[spot.code] += 1
        if spot.bbox is None or numbers[spot.code] > _MOST_SPOTS:
            continue
        top, left, bottom, right = spot.bbox
        box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
        rows.append(
            {
                "_id": ObjectId(), "_cls": "Detection", "attributes": {}, "tags": [], "label": spot.code,
                "bounding_box": box, "severity": CHECKS[spot.code].severity, "note": spot.note, "area": spot.area,
            }
        )  # fmt: skip
    return rows
