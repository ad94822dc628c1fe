"""What a user may choose about pseudo labels."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import LabelQualityError
from ...options import option

BACKGROUND = 0
"""Mask value of the background."""


@dataclass(frozen=True, kw_only=True)
class PseudoLabelOptions:
    """What a user may choose about pseudo labels; see each option's text."""

    detector: str | None = option(
        None,
        "what finds objects by name: GroundingDINO, OWLv2 or SAM 3 of transformers, a folder or a name on the hub "
        "(IDEA-Research/grounding-dino-base, google/owlv2-base-patch16-ensemble, facebook/sam3)",
    )
    boxes: str | None = option(None, "instead, a Detections field with boxes of any detector")
    instances: str | None = option(None, "instead of boxes and SAM, a Detections field with instance masks")
    checkpoint: str | None = option(
        None,
        "of SAM, which turns boxes into masks: a .pth file, a folder or name on the hub of transformers, or a model of "
        "FiftyOne's zoo; not needed with instance masks, and with SAM 3, which makes masks by itself",
        label="SAM checkpoint",
    )
    box_threshold: float = option(
        0.2, "least probability of an object, itself excluded", label="Box threshold", minimum=0, maximum=1
    )
    unpainted: str = option(
        "background",
        "what pixels become that no mask covers",
        label="What no mask covers becomes",
        choices={"background": "Background (mask value 0)", "ignore": "Nothing: no label there (255)"},
    )
    nms_iou: float | None = option(
        None,
        "of two objects that overlap by more than this IoU, of whatever class, only the better one stays; all stay if "
        "None",
        label="Remove overlaps",
        kind=float,
        minimum=0,
        maximum=1,
    )
    min_area: int = option(1, "pixels of the smallest mask", minimum=1)
    write_confidence: bool = option(
        False, "whether to write `{key}_confidence`, a heatmap of how probable each pixel's label is"
    )
    batch_size: int = option(4, "images in one pass of the detector; halved where memory runs out", minimum=1)
    half: bool | None = option(None, "whether to compute in half precision; where that is faster if None", kind=bool)
    output_dir: str | None = option(None, "folder of the PNGs; beside FiftyOne's dataset files if None")

    @property
    def source(self) -> tuple[str, str]:
        """Which of `detector`, `boxes` and `instances` is given, and its value."""
        named = {name: getattr(self, name) for name in SOURCES}
        given = [name for name, value in named.items() if value]
        if len(given) != 1:
            raise LabelQualityError(
                f"Expected one of `detector`, `boxes` and `instances`, but got {' and '.join(given) or 'none'}"
            )
        return given[0], str(named[given[0]])


SOURCES = ("detector", "boxes", "instances")
"""Options of which one is given."""

DECIDING = ("box_threshold", "unpainted", "nms_iou", "min_area", "write_confidence")
"""Options that decide the results, besides where objects come from."""


def require_options(options: PseudoLabelOptions) -> None:
    """Check options that nothing later checks.

    Args:
        options: as the user chose them

    Raises:
        LabelQualityError: if one is out of range
    """
    if options.unpainted not in ("background", "ignore"):
        raise LabelQualityError(
            f"Expected `unpainted` to be one of ['background', 'ignore'], but got {options.unpainted!r}"
        )
    if not 0 <= options.box_threshold < 1:
        raise LabelQualityError(f"Expected `box_threshold` in [0, 1), but got {options.box_threshold}; 0.2 is usual")
    if options.nms_iou is not None and not 0 <= options.nms_iou <= 1:
        raise LabelQualityError(f"Expected `nms_iou` in [0, 1] or None, but got {options.nms_iou}")
