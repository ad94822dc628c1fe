"""What a scoring run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import quality
from ...dataset.fields import schema as sample_fields
from ...errors import LabelQualityError


@dataclass(frozen=True)
class ScoringPlan:
    """What a scoring run is asked to do.

    Attributes:
        label_field: the Segmentation field
        methods: image scores to compute; softmin is always among them
        score: the one that the field `{key}` holds
        key: name of the run and prefix of its fields
        predicted_mask: whether a second mask stands for the predictions
        ignore_index: mask value(s) or class name(s) that count for nothing, None, or "auto"
        class_mapping: model channel to mask value, where neither names nor order tell
        unmatched: what to do about classes without a channel
        temperature: of softmin
        from_logits: whether probability files hold logits; a segmenter always gives probabilities
        write_map: whether to write `{key}_map`
        write_issues: whether to write `{key}_issues`
        write_regions: whether to write `{key}_regions`
        min_region_area: pixels of the smallest region, None for a share of the image
        max_regions_per_image: regions to keep of each image
        overwrite: whether to replace a run under the same key
        resume: whether to go on with an interrupted run
    """

    label_field: str
    methods: tuple[str, ...]
    score: str
    key: str
    predicted_mask: bool
    ignore_index: Any
    class_mapping: Mapping[int | str, int | str] | None
    unmatched: str
    temperature: float
    from_logits: bool
    write_map: bool
    write_issues: bool
    write_regions: bool
    min_region_area: int | None
    max_regions_per_image: int
    overwrite: bool
    resume: bool

    @property
    def fields(self) -> sample_fields.ScoreFields:
        """Names of the fields that the run writes."""
        return sample_fields.ScoreFields(self.key)

    def field_names(self) -> list[str]:
        """All fields that the run writes."""
        names = [self.key, self.fields.softmin, *(self.fields.method(method) for method in self.methods)]
        names += [self.fields.method(quality.COMBINED)] if self.write_regions else []
        names += [self.fields.issue_share]
        names += [self.fields.issues] if self.write_issues else []
        names += [self.fields.map] if self.write_map else []
        names += [self.fields.regions, self.fields.num_regions] if self.write_regions else []
        return list(dict.fromkeys(names))


def require_methods(methods: Sequence[str], score: str | None, write_regions: bool) -> tuple[tuple[str, ...], str]:
    """Choose the image scores of a run.

    Args:
        methods: names of image scores, one or several
        score: the one that the field `{key}` holds, or None
        write_regions: whether there will be regions, of which the combined score is made

    Returns:
        methods to compute for each image, softmin among them, and the one that the field `{key}` holds

    Raises:
        LabelQualityError: if a name is unknown, or the combined score is wanted without regions
    """
    asked = [methods] if isinstance(methods, str) else list(methods)
    wanted = list(dict.fromkeys([*asked, *([score] if score else []), "softmin"]))
    unknown = [name for name in wanted if name not in quality.RANKING_TITLES]
    if unknown:
        raise LabelQualityError(f"Expected `methods` among {list(quality.RANKING_TITLES)}, but got {unknown}")
    if quality.COMBINED in wanted and not write_regions:
        raise LabelQualityError(
            f"Expected `write_regions=True` for the score {quality.COMBINED!r}, which is made of regions, but got "
            "False; choose another score"
        )
    default = asked[0] if asked else quality.COMBINED if write_regions else "softmin"
    return tuple(name for name in wanted if name != quality.COMBINED), score or default
