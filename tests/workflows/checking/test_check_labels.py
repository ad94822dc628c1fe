"""A check-up lists every fault of a dataset at once, with its images, and a clean-up can be taken back."""

from __future__ import annotations

import io
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin import (
    LabelQualityError,
    check_labels,
    clean_labels,
    delete_label_quality_run,
    score_label_quality,
    train_cross_validated,
    undo_clean_labels,
)
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.door.scan import scan_labels
from fiftyone_plugin.models.files import opening
from fiftyone_plugin.progress import silent
from fiftyone_plugin.quality.check_up import CHECKS
from fiftyone_plugin.workflows.checking.first_look import first_look
from fiftyone_plugin.workflows.scoring.sources import mask_source

FIELD = "ground_truth"
SIZE = (64, 80)
TARGETS = {1: "road", 2: "car", 3: "tree", 200: "unicorn"}


def scene(number: int) -> np.ndarray:
    """Road, a tree and a car whose place and size depend on the number."""
    rows, columns = np.indices(SIZE)
    mask = np.ones(SIZE, np.uint8)
    mask[rows * 9 < 150 + columns * (number % 5)] = 3
    mask[(rows - 40) ** 2 + (columns - 22 - 2 * (number % 17)) ** 2 < 50 + 9 * (number % 7)] = 2
    return mask


def put(mask, window, value):
    mask = mask.copy()
    mask[window] = value
    return mask


class Folder:
    """Images whose masks lie three pixels too high, and masks; each pair becomes a sample."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, {}

    def add(self, name, mask, *, number=None, ending="png", moved=3, image=None):
        number = len(self.rows) if number is None else number
        image_path = self.path / f"{name}.png"
        mask_path = self.path / "masks" / f"{name.replace('/', '-')}.{ending}"
        for path in (image_path, mask_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if image is None:
            noise = np.random.default_rng(number).normal(0, 5, SIZE)
            waves = 40 * np.sin(np.arange(SIZE[1]) / (3 + number % 11) + number)
            image = np.roll(scene(number), moved, 0) * 50.0 + noise + waves + 40
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(image_path)
        if mask is not None:
            Image.fromarray(mask).save(mask_path)
        self.rows[name] = [str(image_path), None if mask is None else str(mask_path)]
        return image

    def dataset(self):
        import fiftyone as fo

        dataset = fo.Dataset()
        samples = [
            fo.Sample(image, ground_truth=fo.Segmentation(mask_path=mask) if mask else None, name=name)
            for name, (image, mask) in self.rows.items()
        ]
        dataset.add_samples(samples, progress=False)
        dataset.mask_targets = {"ground_truth": TARGETS}
        dataset.save()
        return dataset


@pytest.fixture
def faulty(tmp_path):
    """A dataset with every fault there is a check for: name of the sample = codes that it must have."""
    folder = Folder(tmp_path)
    for number in range(12):
        folder.add(f"right{number}", scene(number))
    half = np.asarray(Image.fromarray(scene(20)).resize((40, 32), Image.Resampling.NEAREST))
    soft = Image.fromarray(put(scene(21), np.s_[30:50, 30:60], 255))
    noise = np.random.default_rng(0).integers(1, 4, (16, 20)).astype(np.uint8)
    for name, mask in {
        "no_label": None,
        "unreadable_file": scene(30),
        "gigantic_file": scene(31),
        "other_orientation": np.rot90(scene(32)).copy(),
        "other_size": scene(33)[:, :40].copy(),
        "other_scale": half,
        "blended_border": np.asarray(soft.resize((81, 65), Image.Resampling.BILINEAR))[:64, :80].copy(),
        "value_without_class": put(scene(34), np.s_[5:15, 5:25], 9),
        "stray_value": put(scene(35), np.s_[2, 4:6], 77),
        "jagged_mask": np.kron(noise, np.ones((4, 4), np.uint8)),
        "empty_mask": put(scene(36), np.s_[:], 255),
        "constant_mask": put(scene(37), np.s_[:], 1),
        "speck": put(scene(38), np.s_[60, 70], 3),
        "pinhole": put(scene(39), np.s_[60, 70], 255),
        "edge_strip": put(scene(40), np.s_[:, -1], 0),
        "copied_mask": scene(5),
    }.items():
        folder.add(name, mask, number=50 + len(folder.rows))
    folder.add("lossy_mask", scene(41), ending="jpg")
    image = folder.add("duplicates_disagree", scene(42), number=42)
    folder.add("duplicates_disagree_again", put(scene(42), np.s_[50:62, 2:30], 2), image=image + 3)
    image = folder.add("neighbours_disagree7", scene(43), number=43, moved=0)
    folder.add("neighbours_disagree8", put(scene(43), np.s_[28:52, 30:58], 1), image=np.roll(image, 2, 1))
    for name in ("name_not_unique", "elsewhere/name_not_unique"):
        folder.add(name, scene(len(folder.rows)))
    folder.add("shared_mask_file", scene(0))
    folder.rows["shared_mask_file"][1] = folder.rows["right0"][1]
    broken = Path(folder.rows["unreadable_file"][0])
    broken.write_bytes(broken.read_bytes()[:300])
    Image.new("1", (20_000, 9_500)).save(folder.rows["gigantic_file"][0])
    dataset = folder.dataset()
    yield dataset
    dataset.delete()


def test_every_fault_is_listed_at_once(faulty, capsys):
    report = check_labels(faulty, progress=silent)
    found = {finding.code: finding for finding in report.findings}
    assert set(found) == set(CHECKS), report.markdown()
    assert report.passed == []
    for name in faulty.values("name"):
        codes = set(faulty.match({"name": name}).first().label_check) - {"shifted_masks", "name_not_unique"}
        wanted = name.split("/")[-1].replace("_again", "").rstrip("78")
        if wanted.startswith("right"):
            assert codes <= {"shared_mask_file", "copied_mask"}, name
        elif wanted != "name_not_unique":
            assert codes == {wanted}, name
    assert found["class_without_pixels"].note == "unicorn"
    assert found["value_without_class"].note == "9 (in 1 image)"
    assert "by 3 pixels down and 0 right" in found["shifted_masks"].note
    assert found["speck"].view == "label_check speck"
    assert faulty.load_saved_view("label_check speck").values("name") == ["speck"]
    spot = faulty.match({"name": "speck"}).first().label_check_spots.detections[0]
    assert (spot.label, spot.severity, spot.area) == ("speck", "warning", 1)
    assert np.allclose(spot.bounding_box, [70 / 80, 60 / 64, 1 / 80, 1 / 64])
    muted = check_labels(faulty, mute=["speck", "lossy_mask"], progress=silent)
    assert muted.finding("speck") is None
    assert not faulty.has_saved_view("label_check speck")
    assert main(["check", faulty.name]) == 0  # mutes what was muted the last time
    assert "muted: specks; lossy masks (speck, lossy_mask)" in capsys.readouterr().out
    with pytest.raises(LabelQualityError, match="spek"):
        check_labels(faulty, mute="spek", progress=silent)
    delete_label_quality_run(faulty, "label_check")
    assert not faulty.has_field("label_check")
    assert not faulty.has_field("label_check_spots")
    assert faulty.list_saved_views() == []


def test_all_of_a_row_is_compared_only_where_some_of_it_overlaps(tmp_path):
    folder, seen = Folder(tmp_path), []
    image = folder.add("still0", scene(3), number=3, moved=0)
    for number in range(1, 60):
        mask = put(scene(3), np.s_[28:52, 24:58], 1) if number == 40 else scene(3)
        folder.add(f"still{number}", put(mask, (number, 0), 2), image=np.roll(image, number % 3, 1))
    for number in range(60):
        noise = np.random.default_rng(number).normal(120, 40, SIZE)
        folder.add(f"other_{number}", put(scene(number), (number, 0), 2), image=noise)
    dataset = folder.dataset()
    check_labels(dataset, progress=lambda done, total, what: seen.append((done, total, what)))
    found = dataset.match({"label_check": "neighbours_disagree"}).values("name")
    assert found == ["still39", "still40", "still41"]
    steps = [done for done, _, what in seen if what == "comparing frames and tiles"]
    assert steps == sorted(steps), "progress never goes back"
    assert len(steps) == 59 + 24, "the second row is given up after its probes"
    dataset.delete()


def test_right_labels_pass(make_dataset, tmp_path):
    folder = Folder(tmp_path)
    for number in range(10):
        folder.add(f"{number}", scene(number), moved=0)
    dataset = folder.dataset()
    dataset.mask_targets = {}
    dataset.save()
    report = check_labels(dataset, progress=silent)
    assert report.findings == []
    assert set(report.left_out) == {"value_without_class", "stray_value", "class_without_pixels"}
    assert len(report.passed) == len(CHECKS) - 3
    dataset.delete()


def test_cleaning_goes_into_the_corrected_labels_and_can_be_taken_back(tmp_path):
    folder = Folder(tmp_path)
    specks = put(put(scene(1), np.s_[60, 70], 3), np.s_[57, 3:5], 2)
    soft = Image.fromarray(put(scene(2), np.s_[30:50, 30:60], 255)).resize((81, 65), Image.Resampling.BILINEAR)
    masks = {"right": scene(0), "speck": specks, "pinhole": put(scene(3), np.s_[60, 70], 255),
             "blended": np.asarray(soft)[:64, :80].copy()}  # fmt: skip
    for name, mask in masks.items():
        folder.add(name, mask)
    dataset = folder.dataset()

    def corrected():
        paths = dict(zip(*dataset.values(["name", "ground_truth_corrected.mask_path"]), strict=True))
        return {name: read_mask_file(path) for name, path in paths.items()}

    report = clean_labels(dataset, progress=silent)
    now = corrected()
    assert (now["right"] == masks["right"]).all()
    assert (now["speck"] == scene(1)).all()
    assert (now["pinhole"] == scene(3)).all()
    assert set(np.unique(now["blended"])) <= {1, 2, 3, 255}
    assert report.pixels["speck"] == 3
    assert report.num_images == 3
    for name, path in zip(*dataset.values(["name", "ground_truth.mask_path"]), strict=True):
        assert (read_mask_file(path) == masks[name]).all()
    again = clean_labels(dataset, progress=silent)
    assert again.corrections.num_repaired == report.corrections.num_repaired
    undo_clean_labels(dataset, codes="speck", progress=silent)
    assert (corrected()["speck"] == masks["speck"]).all()
    assert (corrected()["pinhole"] == scene(3)).all()
    assert main(["clean", dataset.name, "--undo"]) == 0
    assert all((corrected()[name] == mask).all() for name, mask in masks.items())
    with pytest.raises(LabelQualityError, match="edge_strip"):
        clean_labels(dataset, codes=["edge_strip"], progress=silent)
    dataset.delete()


def jpeg(mask):
    """The values that a JPEG file leaves of a mask."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))


def blended(mask):
    """A mask that was made smaller and larger again by interpolation."""
    small = Image.fromarray(mask).resize((37, 29), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(mask.shape[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("targets", [{}, {0: "nothing", 255: "lesion"}])
@pytest.mark.parametrize(("change", "what"), [(jpeg, "compression"), (blended, "resizing that blends")])
def test_changed_values_are_refused_in_any_kind_of_file(make_dataset, change, what, targets):
    dataset = make_dataset(4)
    for number, sample in enumerate(dataset.iter_samples(autosave=True)):
        mask = np.zeros((48, 64), np.uint8)
        mask[10 + number : 30, 20 : 44 - 2 * number] = 255
        sample["second"] = fo.Segmentation(mask=change(mask) if number else mask)
        sample["right"] = fo.Segmentation(mask=mask)
    dataset.mask_targets = {"second": targets, "right": targets}
    dataset.save()
    with pytest.raises(LabelQualityError, match=f"{what} has changed the values of `second`"):
        first_look(dataset, "second", scan_labels(dataset, "second"))
    if not targets:
        with pytest.raises(LabelQualityError, match="has changed the values of `second`"):
            mask_source(dataset, "right", "second")
    for field in ("right", "ground_truth"):
        first_look(dataset, field, scan_labels(dataset, field))


def test_gigantic_masks_are_said_by_their_name(make_dataset, monkeypatch):
    dataset = make_dataset(3)
    sample = dataset.first()
    Image.new("L", (64, 48)).save(sample.ground_truth.mask_path)
    monkeypatch.setattr(opening, "MAX_PIXELS", 24 * 32)
    scan = scan_labels(dataset, FIELD)
    assert [skip.reason.partition(":")[0] for skip in scan.skipped] == ["gigantic mask"]
    assert any("1 sample. See `check_labels` (gigantic_file)" in text for text in first_look(dataset, FIELD, scan))


def test_jobs_say_what_they_saw_and_refuse_lossy_masks(make_dataset, tmp_path):
    dataset = make_dataset(6)
    dataset.mask_targets = {"ground_truth": {**dataset.mask_targets["ground_truth"], 200: "unicorn"}}
    last = dataset.last()
    last.ground_truth.mask_path = dataset.first().ground_truth.mask_path
    last.save()
    report = score_label_quality(
        dataset, "ground_truth", probabilities="probabilities", write_regions=False, class_mapping={0: 1, 1: 2, 2: 3},
        ignore_index=["void", "unicorn"], output_dir=str(tmp_path / "score"), progress=silent,
    )  # fmt: skip
    assert [text for text in report.warnings if "shared_mask_file" in text] == [
        "Several images with one mask file: 2 samples. See `check_labels` (shared_mask_file)"
    ]
    scan = scan_labels(dataset, "ground_truth")
    assert "Classes without pixels: unicorn. See `check_labels` (class_without_pixels)" in first_look(
        dataset, "ground_truth", scan
    )
    for sample in dataset.iter_samples(autosave=True):
        path = Path(sample.ground_truth.mask_path).with_suffix(".jpg")
        Image.fromarray(read_mask_file(sample.ground_truth.mask_path) * 60).save(path)
        sample.ground_truth.mask_path = str(path)
    dataset.mask_targets = {}
    dataset.save()
    with pytest.raises(LabelQualityError, match="JPEG"):
        score_label_quality(dataset, "ground_truth", probabilities="probabilities", key="again", progress=silent)
    with pytest.raises(LabelQualityError, match="JPEG"):
        train_cross_validated(dataset, "ground_truth", progress=silent)
