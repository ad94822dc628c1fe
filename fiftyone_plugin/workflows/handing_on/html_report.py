"""One HTML file that says what a scoring run found, for people without FiftyOne; it needs no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ... import quality
from ...dataset.fields.schema import ScoreFields
from ...dataset.runs import files, run_records
from ...errors import LabelQualityError
from ...models.files.images import image_size
from ...wording import count, percent
from ...written_files import write_file
from ..correcting.corrected_labels import CorrectionReport, apply_corrections
from ..correcting.correction_run import planned_fields
from ..reviewing.overview import RunOverview, how_much_is_wrong, run_overview, worst_images
from ..scoring.report import NONE_LIKELY, ScoringReport, likely_wrong, load_report
from .found_regions import FoundRegion, found_regions
from .pictures import COLORS, outlined

NUM_IMAGES: Final = 12
_REGIONS_OF_AN_IMAGE: Final = 8
_ADVICE: Final = {
    "done": "Every region has been reviewed.",
    "start": "Too few were reviewed to say anything about the others.",
    "go on": "Many of the others are probably errors, too: go on reviewing.",
    "choose": "Some of the others are probably errors, too.",
    "stop": "Few of the others are probably errors.",
}
_KINDS: Final = {
    "missing": "missing: an object is there, the label says its surroundings;",
    "spurious": "spurious: labelled, but nothing is there;",
    "wrong_class": "wrong class;",
    "boundary": "boundary: the border lies elsewhere.",
}
_STYLE: Final = """
:root{color-scheme:light dark;--line:#8886}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;
padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;
border-bottom:1px solid var(--line);
text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums}.big{font-size:2.2rem;font-weight:600;margin:0}
.warn{border-left:4px solid #d55e00;padding:.4rem .8rem;margin:1rem 0}.grid{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(17rem,1fr))}figure{margin:0}figure img{width:100%;border-radius:4px}
figcaption{font-size:.85rem}i.k{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px}
.quiet{opacity:.75}
"""


@files.disk_in_words()
def write_report(
    samples: Any,
    path: str | Path,
    *,
    key: str = "label_quality",
    num_images: int = NUM_IMAGES,
    words: Callable[[str], str] = str,
) -> Path:
    """Write what a scoring run found into one HTML file: how much is wrong, where, and what was done about it.

    Args:
        samples: the `fiftyone` dataset or a view of it; a run is of the whole dataset
        path: file to write, ending in .html; one that is there is replaced
        key: the scoring run
        num_images: how many of the worst images to show
        words: puts warnings, which name arguments in Python, into the words of those who read them

    Returns:
        the file

    Raises:
        LabelQualityError: if there is no such run, or the path does not end in .html

    Example:
        >>> write_report(dataset, "label_quality.html")  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".html", ".htm"):
        raise LabelQualityError(f"Expected `path` to end in .html, but got {path}")
    dataset = samples._root_dataset
    report, overview = load_report(dataset, key), run_overview(dataset, key)
    title = f"Label quality of {dataset.name}"
    parts = [
        f"<h1>{escape(title)}</h1>", *_judged(dataset, report), *_how_much(report, overview, words),
        *_worst(dataset, report, num_images), *_classes(overview), *_pairs(report), *_reviews(overview),
        *_before_and_after(dataset, report.label_field), *_limits(report),
    ]  # fmt: skip
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        + "\n".join(parts)
        + "</body></html>"
    )
    write_file(path, lambda file: file.write(page.encode()))
    return path


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose columns of numbers stand to the right, with their heads."""
    right = [any(map(_is_number, column)) for column in zip(*rows, strict=True)]
    lines = [_row("th", head, right), *(_row("td", row, right) for row in rows)]
    return "".join(["<table>", *lines, "</table>"])


def _row(kind: str, cells: Sequence[Any], right: Sequence[bool]) -> str:
    marks = [' class="n"' if one else "" for one in right]
    shown = (f"<{kind}{mark}>{escape(str(cell))}</{kind}>" for cell, mark in zip(cells, marks, strict=True))
    return "".join(["<tr>", *shown, "</tr>"])


def _is_number(cell: Any) -> bool:
    return str(cell).replace(",", "").replace(".", "").replace("%", "").strip().isdigit()


def _judged(dataset: Any, report: ScoringReport) -> Iterator[str]:
    record = run_records.find_run(dataset, report.key)
    parameters = {} if record is None else record.parameters
    source: Any = next(
        (parameters[name] for name in ("source", "model", "probabilities") if parameters.get(name)), "a model"
    )
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    yield (
        f"<p>{count(report.num_scored, 'image')}, labels <code>{escape(report.label_field)}</code>, "
        f"{count(len(report.classes), 'class')}, judged by "
        f"<code>{escape(_without_folders(str(source).partition('#')[0]))}</code>; run "
        f"<code>{escape(report.key)}</code>, written on {written}.</p>"
    )


def _without_folders(source: str) -> str:
    """Where probabilities come from, without the folders of this machine.

    Example:
        >>> _without_folders("cross-validation:/home/ada/model (frozen_features/lite0, 2 folds)")
        'cross-validation:model (frozen_features/lite0, 2 folds)'
    """
    return re.sub(r"(?:(?<!\w)/|\b[A-Za-z]:\\)[^\s]*[/\\]([^\s/\\]+)", r"\1", source)


def _how_much(report: ScoringReport, overview: RunOverview, words: Callable[[str], str]) -> Iterator[str]:
    yield "<h2>How much is wrong</h2>"
    if (told := how_much_is_wrong(overview)) is not None:
        yield f'<p class="big">{told.text}</p>'
        yield f'<p class="quiet">{told.how}</p>'
    if report.num_regions is not None:
        means = "" if report.num_likely or not report.num_regions else f" {NONE_LIKELY}."
        yield (
            f"<p>{count(report.num_regions, 'region')} where label and prediction differ, "
            f"{likely_wrong(report.num_likely, report.num_regions)}.{means}</p>"
        )
    for warning in overview.warnings:
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words(warning)))
        yield f'<p class="warn">{text}</p>'


def _worst(dataset: Any, report: ScoringReport, number: int) -> Iterator[str]:
    view = worst_images(dataset, report.key, number)
    yield "<h2>The worst images</h2>"
    yield (
        "<p>An outline is a place where the label is probably wrong, as the model suggests. Below: the image's score "
        "(0 = the label is probably wrong), then of each outline <i>given label &rarr; suggested label</i> and how "
        "surely it is wrong (1 = surely). The colour says what is wrong:</p>"
    )
    yield (
        "<p>"
        + " ".join(f'<i class="k" style="background:{color}"></i>{_KINDS[kind]}' for kind, color in COLORS.items())
        + "</p>"
    )
    regions: dict[str, list[FoundRegion]] = {}
    if dataset.has_field(ScoreFields(report.key).regions):
        found = found_regions(view, report.key, statuses=("pending", "accepted"))
        regions = {sample_id: list(group) for sample_id, group in groupby(found, lambda one: one.sample_id)}
    yield '<div class="grid">'
    for sample_id, filepath, score in zip(*view.values(["id", "filepath", report.key]), strict=True):
        yield _figure(filepath, score, regions.get(sample_id, []))
    yield "</div>"


def _figure(filepath: str, score: float, regions: list[FoundRegion]) -> str:
    likely = [one for one in regions if one.score >= quality.LIKELY or one.status == "accepted"]
    shown = (likely or regions[:1])[:_REGIONS_OF_AN_IMAGE]
    said = "; ".join(f"{one.given} &rarr; {one.suggested} ({one.score:.2f})" for one in map(_safe, shown))
    said = said or "no part surely wrong"
    name = escape(Path(filepath).name)
    try:
        size = image_size(filepath)
        picture = outlined(filepath, [(one.mask(size), COLORS.get(one.kind, "#cc79a7")) for one in shown])
    except (OSError, ValueError) as error:
        return f"<figure><figcaption>{name}: no picture ({escape(str(error))})</figcaption></figure>"
    return (
        f'<figure><img alt="{name}" src="{picture}"><figcaption><b>{score:.3f}</b> {name}<br>{said}</figcaption>'
        "</figure>"
    )


def _safe(region: FoundRegion) -> FoundRegion:
    return replace(region, given=escape(region.given), suggested=escape(region.suggested))


def _classes(overview: RunOverview) -> Iterator[str]:
    yield "<h2>Classes, least trusted first</h2>"
    rows = [
        (
            one.name, "" if one.score is None else f"{percent(one.score)} %",
            "" if one.issue_share is None else f"{percent(one.issue_share)} %", f"{one.num_pending:,}",
        )
        for one in overview.classes
    ]  # fmt: skip
    yield _table(("Class", "The model agrees with its labels", "Its pixels in regions", "Regions to review"), rows)


def _pairs(report: ScoringReport) -> Iterator[str]:
    if report.pairs:
        yield "<h2>What is taken for what</h2>"
        yield (
            "<p>Where labels and model differ most clearly: what the label says, what the model sees there instead, "
            "and in how many pixels. Many pixels of one pair point to two classes that labellers mix up, or that the "
            "model does. This says where to look, not how much is wrong.</p>"
        )
        rows = [(given, predicted, f"{pixels:,}") for given, predicted, pixels in report.pairs[:20]]
        yield _table(("The label says", "The model sees", "Pixels"), rows)


def _reviews(overview: RunOverview) -> Iterator[str]:
    if overview.regions is None:
        return
    review = overview.regions.review
    yield "<h2>What people said</h2>"
    if not review.accepted + review.rejected:
        yield "<p>Nobody has reviewed a region yet.</p>"
        return
    right = review.precision
    yield (
        f"<p>{count(review.accepted, 'region')} accepted as errors, {review.rejected:,} rejected: "
        f"{percent(right.estimate)} % of them are errors ({percent(right.low)} to {percent(right.high)} %).</p>"
    )
    if review.advice in _ADVICE:
        yield f"<p>{_ADVICE[review.advice]}</p>"


def _before_and_after(dataset: Any, label_field: str) -> Iterator[str]:
    if label_field not in planned_fields(dataset):
        return
    done: CorrectionReport = apply_corrections(dataset, label_field)
    yield "<h2>Before and after</h2>"
    yield (
        f"<p>{count(done.num_repaired, 'pixel', 'have')} another class now, in {done.num_changed:,} of "
        f"{count(done.num_images, 'image')}, in <code>{escape(label_field)}_corrected</code>. The given labels "
        "are as they were.</p>"
    )
    changes = sorted(done.changes.items(), key=lambda row: -row[1])[:20]
    if changes:
        yield _table(
            ("The given label says", "Now", "Pixels"), [(given, now, f"{pixels:,}") for (given, now), pixels in changes]
        )


def _limits(report: ScoringReport) -> Iterator[str]:
    yield "<h2>Limits</h2><ul>"
    yield "<li>Labels are judged by predictions. An error that the model makes, too, is not seen.</li>"
    yield "<li>Shares of wrong pixels are estimates with an interval, not counts.</li>"
    if report.rehearsed_found is not None:
        yield (
            f"<li>A test: of {count(report.num_rehearsed, 'error')}, put into copies of these labels on purpose, "
            f"{percent(report.rehearsed_found)} % are among the worst fifth of the images (20 % by chance).</li>"
        )
    if report.skipped:
        yield f"<li>Not judged: {count(len(report.skipped), 'sample')}.</li>"
    yield "</ul>"
