"""The picture of the README: rendered scenes whose labels have an error, and what is found in them.

`python -m demo.picture docs/images/label_errors.png`. A softened copy of the true mask stands in for a model's
probabilities, so that the picture is the same everywhere and takes seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from demo.scenes import SCENE_CLASSES, SCENE_COLORS, render_scene
from fiftyone_plugin import quality
from fiftyone_plugin.quality import known_errors
from fiftyone_plugin.workflows.handing_on.pictures import COLORS, draw_outline

SCENES = (3, 7)
"""Seeds of the scenes; in each label all pixels of one class are missing."""

_CAPTION = 22
_SMALL = 20
_COLORS_OF_FILE = 96


def picture() -> Image.Image:
    """Draw it.

    Returns:
        one row per scene: the image, the given label over it, and the regions that were found

    Example:
        >>> picture().size
        (768, 428)
    """
    rows = [_row(seed) for seed in SCENES]
    drawn = Image.fromarray(np.concatenate(rows))
    return drawn.convert("P", palette=Image.Palette.ADAPTIVE, colors=_COLORS_OF_FILE)


def _row(seed: int) -> np.ndarray:
    scene = render_scene(seed)
    rng = np.random.default_rng(seed)
    given = known_errors.inject_error(scene.mask, "drop", rng, class_ids=list(SCENE_CLASSES)).mask
    names = list(SCENE_CLASSES.values())
    index = {value: place for place, value in enumerate(SCENE_CLASSES)}
    label = np.vectorize(index.get)(given)
    logits = 8 * gaussian_filter(
        np.stack([(scene.mask == value) for value in SCENE_CLASSES]).astype(float), (0, 1.5, 1.5)
    )
    regions = quality.issue_regions([label], [np.exp(logits) / np.exp(logits).sum(0)])
    shown = [one for one in regions if one.score >= quality.LIKELY and one.area > _SMALL]
    outlined = scene.image.copy()
    for region in shown:
        found = np.zeros(label.shape, bool)
        top, left, bottom, right = region.bbox
        found[top:bottom, left:right] = region.mask
        draw_outline(outlined, found, COLORS[region.kind])
    colors = np.zeros((max(SCENE_CLASSES) + 1, 3))
    for value in SCENE_CLASSES:
        colors[value] = [int(SCENE_COLORS[value].lstrip("#")[place : place + 2], 16) for place in (0, 2, 4)]
    tinted = (0.4 * scene.image + 0.6 * colors[given]).astype(np.uint8)
    text = ", ".join(dict.fromkeys(f"{names[one.given]} -> {names[one.suggested]}" for one in shown))
    tiles = [(scene.image, "image"), (tinted, "given label"), (outlined, f"found: {text}")]
    return np.concatenate([_captioned(pixels, said) for pixels, said in tiles], axis=1)


def _captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    held = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + _CAPTION), "white")
    held.paste(Image.fromarray(pixels), (0, _CAPTION))
    ImageDraw.Draw(held).text((6, 5), text, fill="black")
    return np.asarray(held)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    picture().save(target, optimize=True)
