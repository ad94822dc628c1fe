"""What a scoring run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from ... import quality
from ...dataset.fields import schema as sample_fields
from ...errors import LabelQualityError
from ...options import option
from ..engines.engine import ENGINES
from .issue_regions import check_region_options


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """What a user may choose about a scoring run; see each option's text."""

    methods: Sequence[str] = option(
        (),
        "more image scores to write; softmin is always written, and `combined` with regions",
        label="Further scores",
        kind=list,
        choices=quality.METHOD_TITLES,
    )
    score: str | None = option(
        None,
        "the score that ranks the images; if None the first of `methods`, or `combined` if there are none",
        choices=quality.RANKING_TITLES,
    )
    key: str = option("label_quality", "name of the run and prefix of its fields")
    ignore_index: int | str | Sequence[int | str] | None = option(
        "auto",
        "mask value(s) or class name(s) that count for nothing; `auto`: 255 and classes called void or ignore; None: "
        "every pixel counts",
        label="Ignored values",
    )
    class_mapping: Mapping[int | str, int | str] | None = option(
        None,
        "model channel (number or name) to mask value or class name, for the classes that names do not tell; several "
        "channels of one class are summed",
        kind=dict,
    )
    unmatched: str = option(
        "error",
        "what to do about classes of the labels that the model does not have: `error`, or `ignore` their pixels",
        label="Classes that the model does not have",
        choices=("error", "ignore"),
    )
    temperature: float = option(
        0.1,
        "of softmin; small looks at the worst pixels, large at the average",
        label="Softmin temperature",
        minimum=1e-3,
    )
    from_logits: bool | None = option(
        None,
        "whether the model or the files give logits; noticed by itself if None",
        kind=bool,
    )
    write_map: bool = option(True, "whether to write `{key}_map`, a heatmap of suspicion", label="Write heatmaps")
    write_issues: bool = option(True, "whether to write `{key}_issues`, the flagged pixels", label="Write issue masks")
    write_regions: bool = option(
        True,
        "whether to write `{key}_regions`, where the label is probably wrong and what it should be, and "
        "`{key}_num_regions`. What was reviewed earlier is remembered: rejected regions stay away, and the scores "
        "learn from all decisions",
        label="Write regions",
    )
    min_region_area: int | None = option(
        None,
        "pixels of the smallest region; a 20,000th of the image if None",
        label="Smallest region",
        kind=int,
        minimum=1,
    )
    max_regions_per_image: int = option(
        quality.MAX_PER_IMAGE,
        "regions to keep of each image, those with the highest scores; the report says how many there were beyond",
        label="Regions per image",
        minimum=1,
    )
    output_dir: str | None = option(
        None, "folder for masks and maps; beside FiftyOne's dataset files if None", label="Folder"
    )
    batch_size: int | None = option(
        None, "images per forward pass; chosen by itself if None", label="Batch size", kind=int, minimum=1
    )
    engine: str = option("local", "where the job runs", label="Where it runs", choices=ENGINES)
    workers: int | None = option(
        None, "workers on the cluster; as many as it has room for if None", label="Workers", kind=int, minimum=1
    )
    overwrite: bool = option(False, "whether to replace a run under the same key")
    resume: bool = option(True, "whether to go on with an interrupted run")


@dataclass(frozen=True, kw_only=True)
class ScoringPlan(ScoringOptions):
    """Options that were checked and completed, and what they are about.

    Attributes:
        label_field: the Segmentation field
        predicted_mask: whether a second mask stands for the predictions
        methods: image scores to compute; softmin is always among them
        score: the one that the field `{key}` holds
    """

    label_field: str
    predicted_mask: bool
    methods: tuple[str, ...]
    score: str

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


def plan_scoring(options: ScoringOptions, label_field: str, *, predicted_mask: bool) -> ScoringPlan:
    """Check options and complete them.

    Args:
        options: as the user chose them
        label_field: the Segmentation field
        predicted_mask: whether a second mask stands for the predictions

    Returns:
        the plan

    Raises:
        LabelQualityError: if an option is out of range
    """
    methods, score = require_methods(options.methods, options.score, options.write_regions)
    check_region_options(options.min_region_area, options.max_regions_per_image)
    completed = replace(options, methods=methods, score=score)
    chosen = {one.name: getattr(completed, one.name) for one in fields(ScoringOptions)}
    return ScoringPlan(label_field=label_field, predicted_mask=predicted_mask, **chosen)


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
