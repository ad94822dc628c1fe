"""Names by which foundation models are found: in FiftyOne's zoo, and on the hub. Nothing is imported for them."""

from __future__ import annotations

ZOO_CHECKPOINTS = {
    "segment-anything-vitb-torch": "sam_vit_b_01ec64.pth",
    "segment-anything-vitl-torch": "sam_vit_l_0b3195.pth",
    "segment-anything-vith-torch": "sam_vit_h_4b8939.pth",
}
"""FiftyOne zoo name -> file name of the checkpoint that the zoo downloads."""

ZOO_ON_THE_HUB = {
    **{
        f"segment-anything-{version}-hiera-{size}-image-torch": f"facebook/sam{version}-hiera-{size}"
        for version in ("2", "2.1")
        for size in ("tiny", "small", "base-plus", "large")
    },
    "segment-anything-3-image-torch": "facebook/sam3",
}
"""FiftyOne zoo name -> the same weights on the hub, in the form that transformers reads."""

SAM_ON_THE_HUB = ("facebook/sam-vit-base", "syscv-community/sam-hq-vit-base", "yonigozlan/EdgeTAM-hf")
"""Further networks of the SAM family that transformers reads."""

DETECTORS = (
    "IDEA-Research/grounding-dino-base",
    "IDEA-Research/grounding-dino-tiny",
    "google/owlv2-base-patch16-ensemble",
    "google/owlv2-large-patch14-ensemble",
    "facebook/sam3",
)
"""Detectors on the hub that are told names; SAM 3 makes masks, too."""
