"""What a check-up found, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...quality.check_up import CHECKS
from ...wording import count

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        code: of the check
        title: what is wrong
        severity: error, warning or tip
        num_images: images in which it is; 0 where it is about the dataset
        num_spots: places in them
        note: what is special about it here
        examples: (sample id, file, note) of some of the images
        view: the saved view of all of them, if there is one
        way_out: what to do
        page: where it is explained
    """

    code: str
    title: str
    severity: str
    num_images: int
    num_spots: int
    note: str
    examples: list[tuple[str, str, str]]
    view: str | None
    way_out: str
    page: str

    def line(self) -> str:
        """One line for the warnings of another report."""
        where = f" in {count(self.num_images, 'image')}" if self.num_images else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.title}{where}{note} [{self.code}]"


@dataclass(frozen=True)
class CheckReport:
    """What a check-up found.

    Attributes:
        dataset: name of the dataset
        key: the run's key
        label_field: the field that was checked
        num_images: samples that were looked at
        findings: the gravest first
        passed: codes of checks that found nothing
        muted: codes that were muted
        left_out: code to why it could not be checked
        seconds: time taken
    """

    dataset: str
    key: str
    label_field: str
    num_images: int
    findings: list[Finding]
    passed: list[str]
    muted: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def finding(self, code: str) -> Finding | None:
        """What a check found, or None."""
        return next((found for found in self.findings if found.code == code), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as kept with the run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CheckReport:
        """The report that `as_dict` wrote."""
        rows = [
            Finding(**{**row, "examples": [(one, file, note) for one, file, note in row["examples"]]})
            for row in content["findings"]
        ]
        return cls(**{**content, "findings": rows})

    def markdown(self) -> str:
        """The report as a person reads it, in the App and in a terminal."""
        checked = f"`{self.label_field}` of {count(self.num_images, 'image')} ({self.seconds:.1f} s)"
        if not self.findings:
            lines = [f"**Nothing was found** in {checked}"]
        else:
            number = sum(found.severity == "error" for found in self.findings)
            kinds = count(len(self.findings), "kind")
            lines = [f"**{kinds} of faults, {number} of them errors,** in {checked}", ""]
            lines += _table(self.findings)
            lines += ["", *(_way_out(found) for found in self.findings)]
        lines += ["", f"- nothing found of: {_titles(self.passed) or 'none'}"]
        lines += [f"- could not be checked: {_titles([code])}, because {why}" for code, why in self.left_out.items()]
        if self.muted:
            codes = ", ".join(f"`{code}`" for code in self.muted)
            lines.append(f"- muted: {_titles(self.muted)} ({codes}); `mute` decides anew")
        return "\n".join(lines)


def _titles(codes: Iterable[str]) -> str:
    """What some checks look for, by their codes."""
    known = (CHECKS[code].title.partition(":")[0] if code in CHECKS else code for code in codes)
    return "; ".join(f"{title[0].lower()}{title[1:]}" for title in known)


def _table(findings: Iterable[Finding]) -> list[str]:
    rows = ["| what | severity | images | places | code |", "|---|---|---|---|---|"]
    for found in findings:
        note = f": {found.note}" if found.note else ""
        images = f"{found.num_images:,}" if found.num_images else "all"
        what = f"{found.title}{note}".replace("|", "/")
        rows.append(f"| {what} | {found.severity} | {images} | {found.num_spots:,} | `{found.code}` |")
    return rows


def _way_out(found: Finding) -> str:
    shown = "; ".join(
        f"{Path(file).name}{f' ({note})' if note else ''}" for _, file, note in found.examples[:_EXAMPLES]
    )
    lines = [f"- **{found.title.partition(':')[0]}:** {CHECKS[found.code].meaning} {found.way_out}"]
    if found.view:
        lines.append(f"  - saved view `{found.view}`: {shown}")
    return "\n".join(lines)


def make_finding(
    code: str, rows: list[tuple[str, str, str]], num_spots: int, note: str = "", view: str | None = None
) -> Finding:
    """What one check found.

    Args:
        code: of the check
        rows: (sample id, file, note) of every image that it is about
        num_spots: places in them
        note: what is special about it here
        view: the saved view, if there is one
    """
    check = CHECKS[code]
    return Finding(
        code, check.title, check.severity, len(rows), num_spots, note, rows[:20], view, check.way_out, check.page
    )
