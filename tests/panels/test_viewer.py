"""A question becomes a picture for the component and one for Plotly, whatever its size."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def viewer():
    """The viewer as FiftyOne loads it, in the plugin's package."""
    import fiftyone.operators as foo

    panel = foo.get_operator("@label-quality/segmentation/label_correction")
    return sys.modules[type(panel).__module__.rsplit(".", 1)[0] + ".viewer"]


@pytest.fixture
def ask(viewer):
    """A function that makes a question about a part of a small image."""

    def make(region, labels=None, **changes):
        region = np.asarray(region, bool)
        height, width = region.shape
        rows, columns = np.nonzero(region) if region.any() else ([0], [0])
        values = {
            "query_id": "q", "sample_id": "s", "filepath": "f", "given": "road", "alternatives": ("car",),
            "classes": ("road", "car"), "number": 1, "round": 1, "audit": False, "answered": None, "refined": False,
            "window": (0, 0, height, width), "scale": 1.0, "image": np.zeros((height, width, 3), np.uint8),
            "region": region, "labels": np.zeros((height, width), np.uint8) if labels is None else labels,
            "point": (int(columns[0]), int(rows[0])), "points": [],
            "box": (min(rows), min(columns), max(rows) + 1, max(columns) + 1),
        }  # fmt: skip
        return viewer.Question(**{**values, **changes})

    return make


def shown(viewer, question, **look):
    return viewer.canvas_view(question, viewer.Look(**look), "uri#act").to_json()


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize(
    ("region", "part", "at"),
    [
        ([[0, 0, 0], [0, 0, 1]], [[1]], [2, 1]),
        ([[1]], [[1]], [0, 0]),
        ([[0, 1, 0], [0, 0, 1]], [[1, 0], [0, 1]], [1, 0]),
        ([[0, 0], [0, 0]], [[0]], [0, 0]),
    ],
    ids=["one-pixel", "image-of-one-pixel", "diagonal", "empty"],
)
def test_only_the_box_of_the_region_is_sent(viewer, ask, region, part, at):
    view = shown(viewer, ask(region))
    assert (pixels(view["region"]) > 0).astype(int).tolist() == part
    assert view["region_at"] == at


def test_labels_are_exact_also_at_255(viewer, ask):
    labels = np.array([[0, 1, 254, 255]], np.uint8)
    assert pixels(shown(viewer, ask([[1, 0, 0, 0]], labels))["labels"]).tolist() == labels.tolist()


def test_small_images_are_exact_and_large_ones_nearly(viewer, ask, rng):
    small = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(pixels(viewer.photo_uri(small)), small)
    large = np.asarray(Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize((600, 400)))
    found = pixels(viewer.photo_uri(large)).astype(int)
    assert viewer.photo_uri(large).startswith("data:image/jpeg")
    assert np.abs(found - large).mean() < 3


def test_another_label_is_another_picture(viewer, ask):
    one, other = ask([[1, 0]]), ask([[1, 0]], np.array([[0, 1]], np.uint8))
    assert viewer.picture_name(one) != viewer.picture_name(other)
    assert viewer.picture_name(one) == viewer.picture_name(ask([[0, 1]]))
    assert shown(viewer, one, held=[viewer.picture_name(one)])["image"] == ""
    assert shown(viewer, one, held=[viewer.picture_name(other)])["image"] != ""


def test_classes_have_their_colours_and_others_are_grey(viewer, ask):
    view = shown(viewer, ask([[1]]), colors={"road": "#0a141e"})
    assert view["colours"] == [[10, 20, 30], [128, 128, 128]]


def test_the_overlay_of_the_plain_viewer(viewer, ask):
    labels = np.array([[0, 0, 0, 1], [255, 0, 0, 0]], np.uint8)
    question = ask([[1, 0, 0, 0], [0, 0, 0, 0]], labels)
    colors = {"road": "#0a0b0c", "car": "#141516"}
    black, white, shade = [0, 0, 0, 255], [255, 255, 255, 255], [0, 0, 0, 77]
    tint = viewer.overlay_pixels(question, viewer.Look(overlay="tint", colors=colors)).tolist()
    assert tint[0] == [white, black, [10, 11, 12, 110], [20, 21, 22, 110]]
    assert tint[1] == [black, *[[10, 11, 12, 110]] * 3]
    outline = viewer.overlay_pixels(question, viewer.Look(overlay="outline", colors=colors)).tolist()
    assert outline[0] == [white, black, [10, 11, 12, 255], [20, 21, 22, 255]]
    assert outline[1] == [black, [10, 11, 12, 255], shade, [10, 11, 12, 255]]
    off = viewer.overlay_pixels(question, viewer.Look(overlay="off")).tolist()
    assert off == [[white, black, shade, shade], [black, shade, shade, shade]]


def test_plotly_begins_at_the_region_and_within_the_image(viewer, ask):
    region = np.zeros((300, 400), bool)
    region[100:140, 380:400] = True
    layout = viewer.plotly_view(ask(region), viewer.Look())["layout"]
    assert layout["xaxis"]["range"] == [239.5, 399.5]  # 160 pixels, moved in from the right edge
    assert layout["yaxis"]["range"] == [199.5, 39.5]  # downwards
    tiny = viewer.plotly_view(ask([[1, 0]]), viewer.Look())["layout"]
    assert tiny["xaxis"]["range"] == [-0.5, 1.5]


def test_a_click_on_a_reduced_picture_is_a_pixel_of_the_image(viewer, ask):
    panel = sys.modules[viewer.__name__.replace("viewer", "label_correction")]
    told = []

    class Sitting:
        def refine(self, *place):
            told.append(place)

    question = ask(np.ones((500, 500)), window=(1000, 2000, 2000, 3000), scale=0.5)
    for x, y in ((0, 0), (499, 0), (10, 20)):
        panel._refine(Sitting(), question, {"x": x, "y": y, "positive": True})
    assert told == [(2001, 1001, True), (2999, 1001, True), (2021, 1041, True)]
