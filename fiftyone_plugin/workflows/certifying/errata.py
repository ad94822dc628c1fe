"""Errata of a dataset: what was corrected, as a file that anybody with the same images and labels can apply."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...correction.answers.replay import tight
from ...correction.errata import errata_file
from ...correction.errata.errata_file import Conflict, Erratum
from ...dataset.door.classes import ClassMap
from ...dataset.door.masks import mask_digest
from ...dataset.door.slices import samples_behind
from ...dataset.fields.values import text_or_none
from ...dataset.journals import answers as answer_log
from ...dataset.journals.answers import ERRATA, Answer
from ...dataset.runs import files
from ...errors import LabelQualityError
from ...models.files.opening import require_file
from ...progress import Progress, silent
from ...wording import count
from ..correcting.corrected_labels import CorrectionReport, apply_corrections, corrected_mask, derive
from ..correcting.correction_run import CorrectionRun, open_correction
from ..correcting.correction_start import begin_correction

_SHOWN = 10


@dataclass(frozen=True)
class ErrataReport:
    """What was made, applied or put together.

    Attributes:
        num_errata: repairs that were taken
        num_images: images that they are about
        known: repairs that had been applied before
        conflicts: repairs that were not taken
        signed_by: public key by which the file is signed, hexadecimal; empty if it is not signed
        corrections: what all answers together have changed, after applying
        left_out: images that could not be read, with the reason
    """

    num_errata: int
    num_images: int
    known: int = 0
    conflicts: tuple[Conflict, ...] = ()
    signed_by: str = ""
    corrections: CorrectionReport | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """The report as a person reads it."""
        lines = [f"**{count(self.num_errata, 'repair')} of {count(self.num_images, 'label')}**"]
        lines.append(f"- Signed by {self.signed_by}" if self.signed_by else "- Not signed")
        if self.known:
            lines.append(f"- applied before: {self.known:,}")
        if self.conflicts:
            lines.append(f"- **Not taken: {len(self.conflicts):,}**")
            reasons = Counter((one.erratum.image, one.reason) for one in self.conflicts)
            lines += [f"  - {image}: {reason}" for image, reason in list(reasons)[:_SHOWN]]
            lines += [f"  - and {len(reasons) - _SHOWN:,} more"] if len(reasons) > _SHOWN else []
        if self.left_out:
            image, reason = next(iter(self.left_out.items()))
            lines.append(f"- **{count(len(self.left_out), 'image', 'were')} left out**, for instance {image}: {reason}")
        if self.corrections is not None:
            lines.append(self.corrections.markdown())
        return "\n".join(lines)


def make_errata(
    samples: Any,
    path: str | Path,
    label_field: str = "ground_truth",
    *,
    key: str | Path | None = None,
    csv: str | Path | None = None,
    coco: str | Path | None = None,
    progress: Progress = silent,
) -> ErrataReport:
    """Write what was corrected as a small file: which regions of which labels, what they were given and what they are.

    Args:
        samples: the `fiftyone` dataset or a view of it
        path: the JSON file to write
        label_field: the field that is corrected
        key: file with an Ed25519 private key (PEM) to sign with: `openssl genpkey -algorithm ed25519 -out key.pem`
        csv: also write a list for a spreadsheet
        coco: also write the regions as COCO annotations
        progress: told how many images are done

    Returns:
        what was written

    Raises:
        LabelQualityError: if the field is not being corrected, or the key is none
    """
    run = open_correction(samples, label_field)
    private_key = None if key is None else _content(key, "a private key")
    found: list[Erratum] = []
    left_out = {}
    digests, ids = run.digests(), samples_behind(samples).values("id")
    for done, sample_id in enumerate(ids, start=1):
        try:
            if sample_id in digests:
                found += _errata_of(run, sample_id, digests[sample_id])
        except (OSError, LabelQualityError) as error:
            left_out[str(samples._root_dataset[sample_id].filepath)] = str(error)
        progress(done, len(ids), "collecting repairs")
    content = errata_file.write(found, private_key)
    files.write_bytes(Path(path), content)
    if csv is not None:
        files.write_bytes(Path(csv), errata_file.as_csv(found).encode())
    if coco is not None:
        files.write_bytes(Path(coco), json.dumps(errata_file.as_coco(found)).encode())
    signed_by = errata_file.read(content).public_key
    return ErrataReport(len(found), len({one.image_digest for one in found}), signed_by=signed_by, left_out=left_out)


def _errata_of(run: CorrectionRun, sample_id: str, digest: str) -> list[Erratum]:
    found = answer_log.read_answers(run.dataset, run.label_field, sample_ids=[sample_id])
    valid = answer_log.answers_that_count(found)
    if not valid:
        return []
    raw = run.read_label(sample_id)
    if mask_digest(raw) != digest:
        raise LabelQualityError("its label was edited since it was asked about; run `apply_corrections` first")
    classes = run.classes()
    given, owners = classes.mask_values(raw), np.full(raw.shape[:2], -1, np.int32)
    corrected = corrected_mask(run, sample_id, raw, valid)
    for number, answer in enumerate(valid):
        if (part := answer.repaint()) is not None:
            top, left, bottom, right = part.bbox
            owners[top:bottom, left:right][part.mask] = number
    filepath = run.filepath(sample_id)
    common = {"image": Path(filepath).name, "image_digest": _image_digest(filepath), "label_digest": digest}
    return errata_file.errata_of(
        given, corrected, owners, common, [_author(answer) for answer in valid], _names_of(classes)
    )


def _author(answer: Answer) -> dict[str, str]:
    asked = f"question of round {answer.round}" if answer.round else answer.source.replace("_", " ")
    return {
        "reviewer": answer.reviewer or "",
        "evidence": f"{asked}: {answer.status}" + (", drawn at random" if answer.audit else ""),
        "time": answer.time.isoformat(timespec="seconds"),
    }


def _names_of(classes: ClassMap) -> dict[int, str]:
    named = zip(classes.values, classes.names, strict=True)
    return {int(value): name for value, name in named if value is not None}


def apply_errata(
    samples: Any,
    path: str | Path,
    label_field: str = "ground_truth",
    *,
    trusted: str | None = None,
    reviewer: str | None = None,
    progress: Progress = silent,
) -> ErrataReport:
    """Apply errata to the corrected labels of a dataset; the given labels are never written.

    Images are known by their digest, whatever they are called here. A repair is taken only if every pixel of its
    region has the class that it was given, or the corrected one; all others are listed. Repairs are answers: they can
    be taken back, and applying a file twice changes nothing.

    Args:
        samples: the `fiftyone` dataset or a view of it
        path: the errata file
        label_field: the field that is corrected
        trusted: public key, hexadecimal, by which the file must be signed; None to take any
        reviewer: who applies it, where a repair names nobody
        progress: told how many images are done

    Returns:
        what was applied, and what was not

    Raises:
        LabelQualityError: if the file is none, was changed, or is not signed as it must be
    """
    reviewer = text_or_none("reviewer", reviewer)
    content = errata_file.read(_content(path, "an errata file"), trusted)
    try:
        run = open_correction(samples, label_field)
    except LabelQualityError:
        run = begin_correction(samples._root_dataset, label_field, progress=progress)
    by_image: dict[str, list[Erratum]] = defaultdict(list)
    for one in content.errata:
        by_image[one.image_digest].append(one)
    places = _places(samples, by_image)
    known = {
        answer.query_id
        for answer in answer_log.answers_that_count(answer_log.read_answers(run.dataset, label_field, masks=False))
    }
    taken, conflicts, num_known, touched = 0, list[Conflict](), 0, 0
    for done, (digest, errata) in enumerate(by_image.items(), start=1):
        if digest not in places:
            conflicts += [Conflict(one, "no image here has its digest") for one in errata]
        for sample_id in places.get(digest, ()):
            fresh = [one for one in errata if _query_id(one, sample_id) not in known]
            num_known += len(errata) - len(fresh)
            answers, refused = _answers_of(run, sample_id, fresh, reviewer)
            conflicts += refused
            if answers:
                answer_log.add_answers(run.dataset, answers)
                derive(run, sample_id)
                taken, touched = taken + len(answers), touched + 1
        progress(done, len(by_image), "applying errata")
    report = apply_corrections(run.dataset, label_field, progress=progress)
    return ErrataReport(taken, touched, num_known, tuple(conflicts), content.public_key, report)


def _places(samples: Any, wanted: dict[str, list[Erratum]]) -> dict[str, list[str]]:
    """Samples by the digest of their image; those of the right name first, the others only if images are missing."""
    ids, paths = samples_behind(samples).values(["id", "filepath"])
    names = {one.image for errata in wanted.values() for one in errata}
    rows = sorted(zip(ids, paths, strict=True), key=lambda row: Path(row[1]).name not in names)
    places: dict[str, list[str]] = defaultdict(list)
    for sample_id, filepath in rows:
        if Path(filepath).name not in names and len(places) == len(wanted):
            break
        try:
            digest = _image_digest(filepath)
        except OSError:
            continue
        if digest in wanted:
            places[digest].append(sample_id)
    return places


def _query_id(erratum: Erratum, sample_id: str) -> str:
    return f"errata-{erratum.name}-{sample_id}"


def _answers_of(
    run: CorrectionRun, sample_id: str, errata: Sequence[Erratum], reviewer: str | None
) -> tuple[list[Answer], list[Conflict]]:
    """What errata say about one sample, and what of them does not fit it."""
    if not errata:
        return [], []
    try:
        raw = run.read_label(sample_id)
    except (OSError, LabelQualityError) as error:
        return [], [Conflict(one, f"its label cannot be read here: {error}") for one in errata]
    classes, digest = run.classes(), mask_digest(raw)
    if digest != run.digests().get(sample_id, digest):
        return [], [Conflict(one, "its label was edited here since it was asked about") for one in errata]
    names = _names_of(classes)
    now = corrected_mask(
        run, sample_id, raw, answer_log.read_answers(run.dataset, run.label_field, sample_ids=[sample_id])
    )
    given = classes.mask_values(raw)
    answers, conflicts = [], []
    for one in errata:
        reason = errata_file.refusal(one, given, names) or _said_otherwise(one, given, now)
        if reason:
            conflicts.append(Conflict(one, reason))
        else:
            answers.append(_answer(run, one, sample_id, digest, now, reviewer))
    return answers, conflicts


def _said_otherwise(erratum: Erratum, given: np.ndarray, now: np.ndarray) -> str:
    """Whether somebody has corrected the region here already, to something else."""
    region = erratum.mask
    others = int(((now[region] != given[region]) & (now[region] != erratum.corrected)).sum())
    return f"{count(others, 'pixel', 'were')} corrected here to something else" if others else ""


def _answer(
    run: CorrectionRun, erratum: Erratum, sample_id: str, digest: str, now: np.ndarray, reviewer: str | None
) -> Answer:
    bbox, mask = tight(erratum.mask)
    return Answer(
        label_field=run.label_field,
        sample_id=sample_id,
        query_id=_query_id(erratum, sample_id),
        status="corrected",
        given=erratum.given_name or str(erratum.given),
        answer=erratum.corrected_name or str(erratum.corrected),
        value=erratum.corrected,
        bbox=bbox,
        shape=(erratum.height, erratum.width),
        mask=mask,
        source=ERRATA,
        digest=digest,
        repaired=int((now[erratum.mask] != erratum.corrected).sum()),
        area=int(mask.sum()),
        reviewer=erratum.reviewer or reviewer,
    )


def merge_errata(
    first: str | Path, second: str | Path, path: str | Path, *, key: str | Path | None = None
) -> ErrataReport:
    """Put two errata files together; where they contradict each other, the first counts.

    Args:
        first: an errata file
        second: another one
        path: the file to write
        key: as in `make_errata`; without it the new file is not signed

    Returns:
        what was written, with the repairs of the second that were not taken

    Raises:
        LabelQualityError: if one is no errata file or was changed, or the key is none
    """
    parts = [errata_file.read(_content(name, "an errata file")).errata for name in (first, second)]
    kept, conflicts = errata_file.merge(*parts)
    content = errata_file.write(kept, None if key is None else _content(key, "a private key"))
    files.write_bytes(Path(path), content)
    return ErrataReport(
        len(kept),
        len({one.image_digest for one in kept}),
        conflicts=tuple(conflicts),
        signed_by=errata_file.read(content).public_key,
    )


def _content(path: str | Path, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise LabelQualityError(f"Expected {what}, but {path} cannot be read: {error}") from error


def _image_digest(path: str) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: str) -> Iterator[bytes]:
    require_file(path)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            yield block
