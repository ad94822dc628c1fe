"""The check-up of labels on real masks: how long it takes, what it finds in them, and what of faults put in on purpose.

    python benchmarks/check_up.py --data ../shared/data [--seed 0]

CamVid and VOC are checked as they are. Then a third of VOC's masks get one fault each, of all kinds in turn, in a copy;
a fault counts as found if the image has its code. Codes that an image has now and had not before, but that of its
fault, count as false alarms.

For what neighbours say, a fifth of CamVid's masks get one wrong object or border each, and VOC's pictures are cut into
two tiles each, saved as JPEG, with a wrong object where they overlap in a fifth of the left ones. An error counts as
found where a place meets it; a place that meets no error, and is none of the masks as they are, is a false alarm.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from demo.isolation import isolated_environment
from demo.mongod import running_database
from fiftyone_plugin.quality.known_errors.errors import inject_error, plan_errors

CAMVID = {**{value: str(value) for value in range(11)}, 11: "void"}
VOC = {0: "background", **{value: str(value) for value in range(1, 21)}, 255: "void"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        environment = stack.enter_context(running_database(isolated_environment(folder)))
        os.environ.clear()
        os.environ.update(environment)
        camvid = [
            pair for split in ("train", "val") for pair in _pairs(options.data / "camvid" / split, "images", "masks")
        ]
        voc = _pairs(options.data / "voc_grounded_sam", "images", "masks")
        check(voc[:4], VOC, "")  # compiles
        check(camvid, CAMVID, "CamVid")
        before = check(voc, VOC, "VOC")
        check(_pairs(options.data / "voc_grounded_sam", "images", "masks_grounded_sam"), VOC, "Grounded-SAM on VOC")
        injected(voc, before, folder / "faulty", options.seed)
        frames(camvid, folder / "frames", options.seed)
        tiles(voc, folder / "tiles", options.seed)


def _pairs(folder: Path, images: str, masks: str) -> list[tuple[Path, Path]]:
    return [(path, folder / masks / f"{path.stem}.png") for path in sorted((folder / images).iterdir())]


def check(pairs: list[tuple[Path, Path]], targets: dict[int, str], title: str) -> dict[str, set[str]]:
    """Check masks and print what was found; the codes of each image."""
    return checked(pairs, targets, title)[0]


def checked(pairs: list[tuple[Path, Path]], targets: dict[int, str], title: str) -> tuple[dict[str, set], dict]:
    """Check masks and print what was found; the codes of each image, and where its neighbours disagree."""
    import fiftyone as fo

    from fiftyone_plugin import check_labels

    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(str(image), ground_truth=fo.Segmentation(mask_path=str(mask))) for image, mask in pairs],
        progress=False,
    )
    dataset.mask_targets = {"ground_truth": targets}
    dataset.save()
    wall, work = time.perf_counter(), time.process_time()
    report = check_labels(dataset, progress=lambda done, total, label: None)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    if title:
        thousand = 1_000 / len(pairs)
        print(
            f"\n{title}: {len(pairs)} images; s per 1,000: {wall * thousand:.1f} wall, {work * thousand:.1f} of a core"
        )
        for found in report.findings:
            print(f"  {found.code}: {found.num_spots} in {found.num_images} images {found.note}")
    stems = [Path(path).stem for path in dataset.values("filepath")]
    codes = {stem: set(found) for stem, found in zip(stems, dataset.values("label_check"), strict=True)}
    every = (spots.detections if spots else [] for spots in dataset.values("label_check_spots"))
    boxes = {
        stem: [tuple(spot.bounding_box) for spot in spots if spot.label == "neighbours_disagree"]
        for stem, spots in zip(stems, every, strict=True)
    }
    dataset.delete()
    return codes, boxes


def frames(pairs: list[tuple[Path, Path]], folder: Path, seed: int) -> None:
    """Put an error into a fifth of the masks of a sequence; print how many their neighbours tell."""
    rng = np.random.default_rng(seed)
    before = checked(pairs, CAMVID, "")[1]
    kinds = plan_errors(len(pairs), 0.2, ["drop_object", "add_object", "wrong_class", "erode", "dilate"], seed)
    changed: dict[str, tuple[str, np.ndarray]] = {}
    folder.mkdir()
    faulty = []
    for (image, mask), kind in zip(pairs, kinds, strict=True):
        error = inject_error(np.array(Image.open(mask)), kind, rng, ignore_index=11) if kind else None
        if error is not None:
            changed[image.stem] = (str(kind), error.changed)
            mask = folder / mask.name
            Image.fromarray(error.mask).save(mask)
        faulty.append((image, mask))
    tell(before, checked(faulty, CAMVID, "CamVid with errors")[1], changed)


def tiles(pairs: list[tuple[Path, Path]], folder: Path, seed: int) -> None:
    """Cut each picture into two tiles that share a fifth of it; put an error into the common part of some."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    cut, changed = [], {}
    for number, (image, mask) in enumerate(pairs):
        picture, label = Image.open(image), np.array(Image.open(mask))
        width = round(0.6 * label.shape[1])
        for side, left in enumerate((0, label.shape[1] - width)):
            stem = f"{image.stem}_{left}"
            part = label[:, left : left + width].copy()
            if number % 5 == 0 and side == 0:
                top = int(rng.integers(0, label.shape[0] * 3 // 4))
                wrong = np.zeros(part.shape, bool)
                wrong[top : top + label.shape[0] // 4, label.shape[1] - width :] = True
                changed[stem] = ("tile", wrong)
                part[wrong] = (int(part[wrong][0]) + 1) % 21
            picture.crop((left, 0, left + width, label.shape[0])).save(folder / f"{stem}.jpg", quality=90)
            Image.fromarray(part).save(folder / f"{stem}.png")
            cut.append((folder / f"{stem}.jpg", folder / f"{stem}.png"))
    tell({}, checked(cut, VOC, "VOC in tiles with errors")[1], changed)


def tell(before: dict[str, list], after: dict[str, list], changed: dict[str, tuple[str, np.ndarray]]) -> None:
    """Print how many of the errors were found, by kind, and what was found where there is none."""
    put_in, found, hits = Counter(kind for kind, _ in changed.values()), Counter(), 0
    for stem, (kind, wrong) in changed.items():
        met = [box for box in after[stem] if wrong[_window(box, wrong.shape)].any()]
        found[kind] += bool(met)
        hits += len(met)
    others = sum(len(set(boxes) - set(before.get(stem, []))) for stem, boxes in after.items() if stem not in changed)
    print(f"  as they are: {sum(map(len, before.values()))} places in {sum(map(bool, before.values()))} images")
    print(f"  found, of put in: {', '.join(f'{kind} {found[kind]} of {many}' for kind, many in put_in.items())}")
    print(f"  new places: {hits} on errors, {others} in images without one (a neighbour's error is seen in both)")


def _window(box: tuple[float, ...], shape: tuple[int, int]) -> tuple[slice, slice]:
    left, top, width, height = box
    rows = slice(round(top * shape[0]), round((top + height) * shape[0]))
    return rows, slice(round(left * shape[1]), round((left + width) * shape[1]))


def injected(pairs: list[tuple[Path, Path]], before: dict[str, set[str]], folder: Path, seed: int) -> None:
    """Put a fault into every third mask and print how many were found."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    kinds, fault_of, faulty = list(FAULTS), {}, []
    for number, (image, mask) in enumerate(pairs):
        if number % 3:
            faulty.append((image, mask))
            continue
        kind = kinds[number // 3 % len(kinds)]
        fault_of[image.stem] = kind
        path = folder / f"{image.stem}{'.jpg' if kind == 'lossy_mask' else '.png'}"
        Image.fromarray(FAULTS[kind](np.array(Image.open(mask)), rng)).save(path)
        faulty.append((image, path))
    after = check(faulty, VOC, "VOC with faults")
    found, false = Counter(), Counter()
    for stem, codes in after.items():
        kind = fault_of.get(stem)
        expected = before[stem] | {_code(kind)} if kind else before[stem]
        found[kind] += _code(kind) in codes if kind else 0
        false.update(codes - expected)
    print("\nfault: found of put in")
    for kind in kinds:
        print(f"  {kind}: {found[kind]} of {list(fault_of.values()).count(kind)}")
    print(f"false alarms, by code: {dict(false) or 'none'}")


def _code(kind: str | None) -> str:
    return {"compressed": "lossy_mask", "turned": "other_orientation"}.get(kind or "", kind or "")


def _put(value: int, many: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def put(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Single pixels amid a class."""
        mask, before = mask.copy(), mask
        for _ in range(10_000):
            row, column = (int(rng.integers(5, side - 5)) for side in mask.shape)
            window = before[row - 4 : row + 5, column - 4 : column + 5]
            if (window == before[row, column]).all() and before[row, column] not in (value, 255):
                mask[row, column] = value
                many_left = int((mask != before).sum()) < many
                if not many_left:
                    break
        return mask

    return put


def _resized(how: Image.Resampling, factor: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def resize(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Smaller by repeating nothing, then back."""
        size = (round(mask.shape[1] / factor), round(mask.shape[0] / factor))
        small = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
        return np.asarray(small.resize(mask.shape[::-1], how))

    return resize


def _compressed(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import io

    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))


def _strip(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mask = mask.copy()
    mask[:, 0] = np.where(mask[:, 1] == 20, 19, 20)
    return mask


def _region(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mask = mask.copy()
    mask[: mask.shape[0] // 5] = 77
    return mask


FAULTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "speck": _put(7, 3),
    "stray_value": _put(99, 3),
    "blended_border": _resized(Image.Resampling.BILINEAR, 1.5),
    "jagged_mask": _resized(Image.Resampling.NEAREST, 3.3),
    "lossy_mask": lambda mask, rng: mask,
    "compressed": _compressed,
    "edge_strip": _strip,
    "value_without_class": _region,
    "other_size": lambda mask, rng: mask[:, : mask.shape[1] // 2],
    "turned": lambda mask, rng: np.rot90(mask),
    "empty_mask": lambda mask, rng: np.zeros_like(mask),
    "constant_mask": lambda mask, rng: np.full_like(mask, 8),
}


if __name__ == "__main__":
    main()
