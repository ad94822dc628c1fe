"""Labels in the forms that people bring are understood as FiftyOne means them, from scoring to the corrected copy."""

from __future__ import annotations

import ast
import json
import re

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_plugin import export_corrected_labels, load_report, plan_correction_queries, score_label_quality
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.scoring.evaluation import label_agreement

SIZE, NUM, WRONG = (24, 32), 4, 2
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
HEX = {"#000000": "bg", "#800000": "cat", "#008000": "dog"}


def truth_of(number, num_classes):
    truth = np.zeros(SIZE, np.int64)
    truth[4:14, 4 + number : 16 + number] = 1
    truth[14:22, 2:20] = num_classes - 1
    return truth


def grey(values):
    return lambda mask: Image.fromarray(np.array(values, np.uint8)[mask])


def bits(mask):
    return Image.fromarray(mask > 0)


def palette(mask):
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(COLOURS.ravel().tolist())
    return image


def rgb(mask):
    return Image.fromarray(COLOURS[mask])


@pytest.fixture
def build(tmp_path):
    """A function that makes images, `ground_truth` (one is wrong), `second` (the truth) and files of probabilities."""
    made = []

    def build(num_classes, label, targets, second=None, second_targets=None):
        samples = []
        for number in range(NUM):
            truth = truth_of(number, num_classes)
            given = np.roll(truth, 8, axis=1) if number == WRONG else truth
            probabilities = np.where(np.arange(num_classes)[:, None, None] == truth, 0.94, 0.06 / (num_classes - 1))
            stem = str(tmp_path / str(number))
            Image.fromarray(np.repeat((truth * 80)[..., None], 3, axis=2).astype(np.uint8)).save(stem + ".png")
            np.save(stem + ".npy", probabilities.astype(np.float32))
            label(given).save(stem + "_mask.png")
            (second or label)(truth).save(stem + "_second.png")
            samples.append(
                fo.Sample(
                    filepath=stem + ".png",
                    ground_truth=fo.Segmentation(mask_path=stem + "_mask.png"),
                    second=fo.Segmentation(mask_path=stem + "_second.png"),
                    probabilities=stem + ".npy",
                )
            )
        dataset = fo.Dataset()
        made.append(dataset)
        dataset.add_samples(samples, progress=False)
        chosen = {"ground_truth": targets, "second": second_targets if second else targets}
        dataset.mask_targets = {name: one for name, one in chosen.items() if one}
        dataset.save()
        return dataset

    yield build
    for dataset in made:
        dataset.delete()


def score(dataset, tmp_path, **source):
    options = source or {"probabilities": "probabilities"}
    return score_label_quality(
        dataset, "ground_truth", output_dir=str(tmp_path / "run"), write_regions=False, write_map=False,
        progress=silent, **options,
    )  # fmt: skip


def model_of(channels):
    """A model that reads the true class off the picture and gives it the channel of that place."""

    def model(batch):
        truth = ((batch[:, 0] * 0.229 + 0.485) * 255 / 80).round().long().clamp(0, 2)
        return torch.nn.functional.one_hot(torch.tensor(channels)[truth], 3).permute(0, 3, 1, 2).float() * 6

    return model


def worst(dataset):
    return int(np.argmin(dataset.values("label_quality")))


TABLES = {
    "0 and 255": (2, grey([0, 255]), None, ["0", "255"]),
    "1 bit": (2, bits, {1: "lesion"}, ["background", "lesion"]),
    "1 bit, unnamed": (2, bits, None, ["0", "255"]),
    "unlisted black": (3, rgb, {"#800000": "cat", "#008000": "dog"}, ["background", "cat", "dog"]),
    "listed order": (3, rgb, HEX, ["bg", "cat", "dog"]),
    "palette by colour": (3, palette, HEX, ["bg", "cat", "dog"]),
    "palette by index": (3, palette, {0: "bg", 1: "cat", 2: "dog"}, ["bg", "cat", "dog"]),
    "two of one name": (3, grey([0, 1, 2]), {0: "bg", 1: "pet", 2: "pet"}, ["bg", "pet (1)", "pet (2)"]),
}


@pytest.mark.parametrize(("num_classes", "label", "targets", "names"), TABLES.values(), ids=TABLES)
def test_a_table_is_understood_and_its_corrected_copy_read_alike(build, tmp_path, num_classes, label, targets, names):
    dataset = build(num_classes, label, targets)
    report = score(dataset, tmp_path)
    assert (report.classes, worst(dataset)) == (names, WRONG)
    assert min(report.class_scores.values()) > 0.5
    score(dataset, tmp_path / "second", predictions="second", overwrite=True)
    assert worst(dataset) == WRONG
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=2, output_dir=tmp_path / "plan", progress=silent
    )
    for sample in dataset:
        assert np.array_equal(sample.ground_truth.get_mask(), sample.ground_truth_corrected.get_mask())


def test_the_account_of_classes_is_a_table_of_the_report_and_of_the_run(build, tmp_path):
    dataset = build(3, grey([0, 1, 2]), {0: "background", 1: "car", 2: "tram"})
    report = score(
        dataset, tmp_path, model=model_of([1, 0, 2]), unmatched="ignore",
        class_names=["Car", "__background__", "dog"], device="cpu",
    )  # fmt: skip
    rows = load_report(dataset).class_rows
    assert rows == report.class_rows
    assert [(row["value"], row["name"], row["channel"], row["found"][:10]) for row in rows] == [
        ("1", "car", "0 Car", "equal name"),
        ("0", "background", "1 __background__", "equal name"),
        ("255", "", "", "not judged"),
        ("2", "tram", "", "not judged"),
        ("", "dog", "2 dog", "no counter"),
    ]
    assert "The other 2 class names are equal" in report.markdown()


def test_a_swapped_table_is_noticed_and_the_mapping_to_use_is_told(build, tmp_path):
    dataset = build(3, grey([0, 1, 2]), {0: "background", 1: "tram", 2: "car"})
    names = ["background", "car", "tram"]
    report = score(dataset, tmp_path, model=model_of([0, 1, 2]), class_names=names, device="cpu")
    (warning,) = [one for one in report.warnings if "shifted or swapped" in one]
    assert "car as tram" in warning
    mapping = ast.literal_eval(re.search(r"class_mapping=({.*?})", warning)[1])
    assert mapping == {"background": "background", "tram": "car", "car": "tram"}
    report = score(
        dataset, tmp_path, model=model_of([0, 1, 2]), class_names=names, device="cpu", class_mapping=mapping,
        overwrite=True,
    )  # fmt: skip
    assert worst(dataset) == WRONG
    assert not [one for one in report.warnings if "shifted" in one]
    plan = {"model": model_of([0, 1, 2]), "class_names": names, "device": "cpu", "budget": 2, "progress": silent}
    asked = plan_correction_queries(dataset, "ground_truth", output_dir=str(tmp_path / "plan"), **plan)
    assert "plan again with `class_mapping={'background': 'background', 'tram': 'car'" in asked.warnings[0]
    assert "3 class names are equal" in asked.markdown()
    assert asked.class_rows == dict(dataset.get_run_info("ground_truth_correction").config.summary)["class_rows"]
    seen = label_agreement(dataset, "ground_truth", "second")
    assert seen.warning is None
    dataset.mask_targets = {**dataset.mask_targets, "second": {0: "background", 1: "car", 2: "tram"}}
    assert "shifted or swapped" in label_agreement(dataset, "ground_truth", "second").warning


def test_exported_labels_say_what_their_values_mean(build, tmp_path):
    dataset = build(3, palette, {0: "bg", 1: "cat", 2: "dog"})
    plan_correction_queries(
        dataset, "ground_truth", probabilities="probabilities", budget=2, output_dir=tmp_path / "plan", progress=silent
    )
    export_corrected_labels(dataset, tmp_path / "masks")
    told = json.loads((tmp_path / "masks" / "classes.json").read_text())
    assert told["mask_targets"] == {"0": "bg", "1": "cat", "2": "dog"}
    assert [row["name"] for row in told["classes"]] == ["bg", "cat", "dog", ""]
    export_corrected_labels(dataset, tmp_path / "coco", dataset_type=fo.types.COCODetectionDataset)
    coco = json.loads((tmp_path / "coco" / "labels.json").read_text())
    assert {row["name"] for row in coco["categories"]} == {"cat", "dog"}
