"""Labels that go to an annotation tool through FiftyOne's `annotate` and come back as answers."""

from __future__ import annotations

import json
from pathlib import Path

import fiftyone as fo
import fiftyone.utils.annotations as foua
import fiftyone.utils.cvat as fouc
import numpy as np
import pytest

from fiftyone_plugin import begin_hand_edits, finish_hand_edits
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.workflows.correcting.correction_start import begin_correction

FIELD, OBJECTS = "ground_truth", "ground_truth_objects"
CLASSES = ["road", "car", "tree"]


class ToolConfig(foua.AnnotationBackendConfig):
    """Where the tool keeps what it is given, and whether it gives masks of whole images, as Label Studio does."""

    def __init__(
        self, name: str | None, label_schema: dict, path: str = "", whole: bool = False, **kwargs: object
    ) -> None:
        super().__init__(name or "tool", label_schema, **kwargs)
        self.path, self.whole = path, whole


class ToolResults(foua.AnnotationResults):
    """What was sent."""

    @classmethod
    def _from_dict(cls, d: dict, samples: object, config: ToolConfig, anno_key: str) -> ToolResults:
        return cls(samples, config, anno_key, d["id_map"])


class Tool(foua.AnnotationBackend):
    """CVAT without its server: shapes as its API takes and gives them, kept in a file, read by FiftyOne's own code."""

    supported_media_types = ("image",)
    supported_label_types = ("instances",)
    supported_scalar_types = ()
    supported_attr_types = ("text",)
    supports_keyframes = False
    supports_video_sample_fields = False
    requires_label_schema = True

    def recommend_attr_tool(self, name: str, value: object) -> dict:
        return {"type": "text"}

    def requires_attr_values(self, attr_type: str) -> bool:
        return False

    def upload_annotations(self, samples: object, anno_key: str, launch_editor: bool = False) -> ToolResults:
        shapes, ids = [], {}
        samples.compute_metadata()
        for sample in samples:
            width, height = sample.metadata.width, sample.metadata.height
            found = sample[OBJECTS].detections
            ids[sample.id] = [detection.id for detection in found]
            for detection in found:
                mask = detection.get_mask() > 0
                left, top = (round(at * of) for at, of in zip(detection.bounding_box, (width, height), strict=False))
                points = fouc.HasCVATBinaryMask._mask_to_cvat_rle(mask)
                points += [left, top, left + mask.shape[1] - 1, top + mask.shape[0] - 1]
                attributes = [{"spec_id": 1, "value": detection.id}]
                shape = {
                    "id": len(shapes), "type": "mask", "points": points, "label_id": CLASSES.index(detection.label),
                    "attributes": attributes,
                }  # fmt: skip
                shapes.append({"sample": sample.id, "width": width, "height": height, "shape": shape})
        Path(self.config.path).write_text(json.dumps(shapes))
        return ToolResults(samples, self.config, anno_key, {OBJECTS: ids})

    def download_annotations(self, results: ToolResults) -> dict:
        found: dict[str, dict[str, fo.Detection]] = {sample_id: {} for sample_id in results.id_map[OBJECTS]}
        names = dict(enumerate(CLASSES))
        for row in json.loads(Path(self.config.path).read_text()):
            size = {"width": row["width"], "height": row["height"]}
            attributes = {number: {"label_id": 1} for number in names}
            label = fouc.CVATShape(row["shape"], names, attributes, {}, size).to_instance()
            if self.config.whole:  # as FiftyOne makes an object of Label Studio's brush
                mask = pixels_of(row, (row["height"], row["width"])).astype(np.uint8) * 255
                [whole] = fo.Segmentation(mask=mask).to_detections({255: label.label}).detections
                whole.id = label.id
                label = whole
            found[row["sample"]][label.id] = label
        return {OBJECTS: {"detections": found}}


@pytest.fixture(params=[False, True], ids=["cvat", "label_studio"])
def edited(make_dataset, tmp_path, request):
    """Objects of two of four images in a tool."""
    dataset = make_dataset(4, wrong=())
    begin_correction(dataset, FIELD)
    view = dataset.limit(2)
    begin_hand_edits(view, FIELD, for_tool=True)
    path = tmp_path / "shapes.json"
    view.annotate(
        "tool", label_field=OBJECTS, label_type="instances", classes=CLASSES, backend=ToolConfig, path=str(path),
        whole=request.param,
    )  # fmt: skip
    return dataset, path


def corrected(sample: fo.Sample) -> np.ndarray:
    return read_mask_file(sample.ground_truth_corrected.mask_path)


def test_what_nobody_touched_comes_back_as_it_was(edited):
    dataset, path = edited
    assert len(json.loads(path.read_text())) >= 4
    before = [corrected(sample) for sample in dataset.limit(2)]
    dataset.load_annotations("tool")
    assert finish_hand_edits(dataset, FIELD).num_answers == 0
    assert all(np.array_equal(corrected(s), mask) for s, mask in zip(dataset.limit(2), before, strict=True))


def test_edits_in_the_tool_become_answers(edited):
    dataset, path = edited
    before = {sample.id: corrected(sample) for sample in dataset.limit(2)}
    shapes = json.loads(path.read_text())
    renamed, deleted = (
        next(row for row in shapes if CLASSES[row["shape"]["label_id"]] == name) for name in ("tree", "road")
    )
    renamed["shape"]["label_id"] = CLASSES.index("car")
    path.write_text(json.dumps([row for row in shapes if row is not deleted]))
    wanted = before[renamed["sample"]].copy()
    wanted[pixels_of(renamed, wanted.shape)] = 2
    dataset.load_annotations("tool")
    report = finish_hand_edits(dataset, FIELD, reviewer="ada")
    assert report.num_answers == 1  # what is deleted has no other class to become: these labels have no background
    for sample_id, mask in before.items():
        assert np.array_equal(corrected(dataset[sample_id]), wanted if sample_id == renamed["sample"] else mask)
    assert finish_hand_edits(dataset, FIELD).num_answers == 0


def pixels_of(row: dict, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of a shape, as CVAT counts them."""
    *runs, left, top, right, bottom = row["shape"]["points"]
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    whole = np.zeros(shape, bool)
    whole[top : bottom + 1, left : right + 1] = values.reshape(bottom - top + 1, right - left + 1)
    return whole
