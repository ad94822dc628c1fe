"""What a user may choose about the questions of a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...correction.answers.propagation import WRONG
from ...correction.questions.acquisition import ACQUISITIONS, DEFAULT_ACQUISITION
from ...correction.questions.expansion import EXPANSIONS
from ...errors import LabelQualityError
from ...options import option
from ..engines.engine import ENGINES

REMEMBERED = (
    "superpixels", "superpixel_method", "superpixel_size", "acquisition", "audits", "propagate", "propagate_wrong",
    "recheck", "hidden", "expansion", "similarity", "missed_objects",
)  # fmt: skip
"""Options that the next round takes over unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a user may choose about the questions of a round; see each option's text."""

    superpixels: str | None = option(
        None,
        "a field of `compute_superpixels`, or any Segmentation field of ids; cut on the fly if None. What no "
        "superpixel covers is cut on the fly, too",
    )
    superpixel_method: str = option(
        "slic", "how superpixels are cut on the fly", choices=("slic", "felzenszwalb"), label="Cut by"
    )
    superpixel_size: int | None = option(
        None,
        "on the fly: pixels per superpixel; a 175th of the image if None",
        label="Pixels per superpixel",
        kind=int,
        minimum=1,
    )
    budget: int = option(500, "number of questions", label="Questions", minimum=1)
    acquisition: str = option(
        DEFAULT_ACQUISITION,
        "which questions come first",
        label="Order of the questions",
        choices=ACQUISITIONS,
    )
    audits: float = option(
        0.1,
        "share of the questions that is drawn at random: they tell how much is still wrong and when to stop; 0: none",
        label="Share of random questions",
        minimum=0,
        maximum=1,
    )
    propagate: bool = option(
        True,
        "whether superpixels that nobody was asked about get another class where the answers make it certain and the "
        "random questions confirm it; a person's answer always counts more",
        label="Relabel what is like the answered",
    )
    propagate_wrong: float = option(
        WRONG,
        "share of what is so relabelled that may be wrong, with 95 % confidence: the fewer, the more answers to random "
        "questions it takes (0.1 takes about 30, 0.05 about 60)",
        label="Share of the relabelled that may be wrong",
        minimum=0.01,
        maximum=0.5,
    )
    recheck: bool = option(
        True,
        "whether a question is asked again, up to three times, where its answer is doubtful and asking again is worth "
        "more than a new question: finds slips",
        label="Ask again where an answer is doubtful",
    )
    hidden: float = option(
        0.0,
        "share of the questions whose answer is known already, hidden among the others: they tell how reliable each "
        "person is, and never change a label. Most show a wrong class on purpose; 0: none",
        label="Share of hidden known questions",
        minimum=0,
        maximum=1,
    )
    missed_objects: bool = option(
        False,
        "whether an object that the model sees where no superpixel is gets one question; otherwise such places are cut "
        "up by colour",
        label="Ask about objects that only the model sees",
    )
    expansion: str = option(
        "superpixel",
        "which part of a superpixel a question is about: `superpixel`: all of it; `similar`: the pixels whose "
        "prediction is like that of the marked one; `doubted`: those whose prediction is not their label",
        label="A question is about",
        choices={
            "superpixel": "All of the superpixel",
            "similar": "Pixels whose prediction is like that of the marked one",
            "doubted": "Pixels whose prediction is not their label",
        },
    )
    similarity: float = option(
        0.9, "for `similar`: least cosine between the probabilities of two pixels", minimum=0, maximum=1
    )
    ignore_index: int | str | Sequence[int | str] | None = option("auto", "as in `score_label_quality`")
    class_mapping: Mapping[int | str, int | str] | None = option(None, "as in `score_label_quality`", kind=dict)
    unmatched: str = option(
        "error",
        "what to do about classes of the labels that the model does not have: `error`, or `ignore` their pixels",
        label="Classes that the model does not have",
        choices=("error", "ignore"),
    )
    on_edited: str = option(
        "refuse",
        "what to do with earlier answers about labels that were edited since, see `apply_corrections`",
        choices=("refuse", "replay", "discard"),
    )
    output_dir: str | None = option(None, "folder of the files; beside FiftyOne's dataset files if None")
    batch_size: int | None = option(
        None, "images per forward pass; chosen by itself if None", label="Batch size", kind=int, minimum=1
    )
    engine: str = option("local", "where the model predicts and candidates are found", choices=ENGINES)
    workers: int | None = option(
        None, "workers on the cluster; as many as it has room for if None", label="Workers", kind=int, minimum=1
    )
    seed: int = option(0, "of what is drawn at random")


@dataclass(frozen=True, kw_only=True)
class QueryPlan(PlanOptions):
    """Options that were checked, and the label field that they are about."""

    label_field: str


def require_plan_options(options: PlanOptions) -> None:
    """Check options that nothing later checks.

    Args:
        options: as the user chose them

    Raises:
        LabelQualityError: if one is out of range
    """
    if options.acquisition not in ACQUISITIONS:
        raise LabelQualityError(
            f"Expected `acquisition` to be one of {list(ACQUISITIONS)}, but got {options.acquisition!r}"
        )
    if options.expansion not in EXPANSIONS:
        raise LabelQualityError(f"Expected `expansion` to be one of {list(EXPANSIONS)}, but got {options.expansion!r}")
    if options.budget < 1:
        raise LabelQualityError(f"Expected `budget` to be at least 1 question, but got {options.budget}")
    if not 0 < options.propagate_wrong < 1:
        raise LabelQualityError(
            f"Expected `propagate_wrong` between 0 and 1, but got {options.propagate_wrong}; 0.1 lets a tenth be"
        )
