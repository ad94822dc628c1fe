"""Clean-up of specks, pinholes and blended borders: answers by rule, which can be taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...correction.answers.replay import tight
from ...dataset.door.masks import mask_digest
from ...dataset.door.scan import mask_targets_of, require_label_field, scan_labels
from ...dataset.fields.regions import utc_now
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import CLEANED, Answer
from ...errors import LabelQualityError
from ...progress import Progress, terminal_bar
from ...quality import check_up
from ...wording import count
from ..checking.looking import legend_of
from .corrected_labels import CorrectionReport, apply_corrections, derive
from .correction_run import CorrectionRun, open_correction
from .correction_start import begin_correction


@dataclass(frozen=True)
class CleanReport:
    """What a clean-up changed.

    Attributes:
        pixels: code to pixels that got another class
        num_images: images they are in
        unreadable: (sample id, reason) of labels that were left out
        corrections: what all answers together have changed
    """

    pixels: dict[str, int]
    num_images: int
    corrections: CorrectionReport
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**Cleaned: {count(sum(self.pixels.values()), 'pixel')} in {count(self.num_images, 'image')}**"]
        lines += [f"- `{code}`: {count(number, 'pixel')}" for code, number in self.pixels.items()]
        if self.unreadable:
            sample_id, reason = self.unreadable[0]
            lines.append(
                f"- {count(len(self.unreadable), 'label', 'were')} left out, for instance sample {sample_id}: {reason}"
            )
        return "\n".join([*lines, self.corrections.markdown()])


def clean_labels(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    codes: str | Sequence[str] = check_up.CLEANED,
    ignore_index: Any = "auto",
    max_speck_area: int | None = None,
    on_edited: str = "refuse",
    progress: Progress | None = None,
) -> CleanReport:
    """Give specks, pinholes and blended borders the class around them, in `{label_field}_corrected`.

    The original field is never written. Each change is an answer like those of a person, but never lies over one;
    cleaning again replaces what was cleaned before, and `undo_clean_labels` takes it back.

    Args:
        samples: a `fiftyone` dataset or view of images
        label_field: its `Segmentation` field
        codes: what to clean, of "blended_border", "pinhole" and "speck"
        ignore_index: as in `check_labels`
        max_speck_area: as in `check_labels`
        on_edited: what to do with answers about labels that were edited since, see `apply_corrections`
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what was changed

    Raises:
        LabelQualityError: if there is no such field or code, or the correction cannot be begun
    """
    wanted = _codes(codes)
    if progress is None:
        with terminal_bar("cleaning labels") as bar:
            return _clean(samples, label_field, wanted, ignore_index, max_speck_area, on_edited, bar)
    return _clean(samples, label_field, wanted, ignore_index, max_speck_area, on_edited, progress)


def undo_clean_labels(
    samples: Any,
    label_field: str = "ground_truth",
    *,
    codes: str | Sequence[str] = check_up.CLEANED,
    progress: Progress | None = None,
) -> CleanReport:
    """Take back what `clean_labels` did; all other answers stay.

    Args:
        samples: the `fiftyone` dataset or a view of it
        label_field: the field that was cleaned
        codes: which of it
        progress: told how far the job is; a bar in the terminal if None

    Returns:
        what is left; nothing of these codes

    Raises:
        LabelQualityError: if the field was never cleaned or corrected
    """
    wanted = _codes(codes)
    run = open_correction(samples, label_field)
    taken = [
        replace(answer, status="pending", time=utc_now())
        for answer in _cleaned(run, _ids(samples, run))
        if _code_of(answer) in wanted
    ]
    answer_log.add_answers(run.dataset, taken)
    for sample_id in dict.fromkeys(answer.sample_id for answer in taken):
        derive(run, sample_id)
    return CleanReport({}, 0, apply_corrections(run.dataset, label_field, progress=progress))


def _codes(codes: str | Sequence[str]) -> tuple[str, ...]:
    wanted = (codes,) if isinstance(codes, str) or not isinstance(codes, Sequence) else tuple(codes)
    unknown = [code for code in wanted if code not in check_up.CLEANED]
    if unknown or not wanted:
        raise LabelQualityError(f"Expected `codes` among {list(check_up.CLEANED)}, but got {unknown or 'none'}")
    return wanted


def _ids(samples: Any, run: CorrectionRun) -> list[str]:
    return list(samples.values("id") if samples._dataset is run.dataset else samples.values("sample_id"))


def _clean(
    samples: Any,
    label_field: str,
    codes: tuple[str, ...],
    ignore_index: Any,
    max_area: int | None,
    on_edited: str,
    progress: Progress,
) -> CleanReport:
    run = _begun(samples, label_field, ignore_index, on_edited, progress)
    legend, _, _ = legend_of(mask_targets_of(samples, label_field), ignore_index)
    ids = _ids(samples, run)
    before = {answer.query_id: answer for answer in _cleaned(run, ids)}
    pixels: Counter[str] = Counter()
    images, unreadable = 0, []
    for done, sample_id in enumerate(ids, start=1):
        try:
            raw = run.read_label(sample_id)
        except (OSError, LabelQualityError) as error:
            unreadable.append((sample_id, str(error)))
            continue
        values = run.classes().mask_values(raw)
        found = check_up.repairs(values, codes, legend.named, legend.ignored, legend.nothing, max_area)
        rows = _answers(run, sample_id, found, mask_digest(raw))
        for repair in found:
            pixels[repair.code] += int(repair.mask.sum())
        images += bool(found)
        earlier = {key: one for key, one in before.items() if one.sample_id == sample_id and _code_of(one) in codes}
        if _replace(run, earlier, rows):
            derive(run, sample_id)
        progress(done, len(ids), "cleaning labels")
    report = apply_corrections(run.dataset, label_field, progress=progress)
    return CleanReport(dict(pixels), images, report, unreadable)


def _begun(samples: Any, label_field: str, ignore_index: Any, on_edited: str, progress: Progress) -> CorrectionRun:
    """The correction of the field; values without a class count for nothing until they are cleaned."""
    try:
        run = open_correction(samples, label_field)
    except LabelQualityError:
        require_label_field(samples, label_field)
        legend, _, _ = legend_of(mask_targets_of(samples, label_field), ignore_index)
        seen = scan_labels(samples._root_dataset, label_field, progress=progress).values
        unnamed = sorted(set(seen) - legend.named) if legend.named else []
        ignored = [*sorted(legend.ignored), *unnamed] if unnamed else ignore_index
        return begin_correction(
            samples._root_dataset, label_field, ignore_index=ignored, on_edited=on_edited, progress=progress
        )
    report = apply_corrections(samples._root_dataset, label_field, on_edited=on_edited, progress=progress)
    if report.edited:
        raise LabelQualityError(
            f"Expected the labels that the answers are about, but those of {len(report.edited)} images were edited "
            'since; choose `on_edited="replay"` or "discard"'
        )
    return run


def _cleaned(run: CorrectionRun, sample_ids: Sequence[str]) -> list[Answer]:
    """What was cleaned and counts."""
    found = answer_log.read_answers(run.dataset, run.label_field, sample_ids=sample_ids)
    return [answer for answer in answer_log.answers_that_count(found) if answer.source == CLEANED]


def _code_of(answer: Answer) -> str:
    return answer.query_id.split("-")[1]


def _answers(run: CorrectionRun, sample_id: str, found: Sequence[check_up.Repair], digest: str) -> dict[str, Answer]:
    name_of = run.classes().value_names
    rows = {}
    for repair in found:
        bbox, mask = tight(repair.mask)
        query_id = f"clean-{repair.code}-{repair.value}-{sample_id}"
        rows[query_id] = Answer(
            label_field=run.label_field,
            sample_id=sample_id,
            query_id=query_id,
            status="corrected",
            given=name_of.get(repair.before, "no class"),
            answer=name_of.get(repair.value, "no class"),
            value=repair.value,
            bbox=bbox,
            shape=(int(repair.mask.shape[0]), int(repair.mask.shape[1])),
            mask=mask,
            source=CLEANED,
            digest=digest,
            repaired=int(mask.sum()),
        )
    return rows


def _replace(run: CorrectionRun, earlier: dict[str, Answer], rows: dict[str, Answer]) -> bool:
    """Add answers; those of an earlier clean-up that say something else are taken back first. Whether any changed."""
    if {key: _state(one) for key, one in earlier.items()} == {key: _state(one) for key, one in rows.items()}:
        return False
    taken = [replace(one, status="pending", time=utc_now()) for one in earlier.values()]
    answer_log.add_answers(run.dataset, taken)
    # Keys are in the order of time, and blended borders are repaired before what lies beside them.
    fresh = list(rows.values())
    answer_log.add_answers(run.dataset, fresh)
    return True


def _state(answer: Answer) -> tuple[Any, ...]:
    return answer.value, answer.bbox, answer.shape, np.packbits(answer.mask).tobytes()
