"""Kill a job at any moment, start it again, and compare what there is then with what an undisturbed job leaves."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import torch
from PIL import Image

import fiftyone_plugin as lq
from fiftyone_plugin.dataset.journals.answers import answers_that_count, read_answers
from fiftyone_plugin.dataset.runs import run_records
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting.label_changes import find_label_changes

CLASSES = {1: "road", 2: "car", 3: "tree", 255: "void"}
_WRITES = {"insert", "update", "delete", "findAndModify", "create", "createIndexes", "drop", "dropIndexes"}
_HANGS = 120


@dataclass
class Scene:
    """A small dataset in a folder of its own."""

    dataset: Any
    root: Path

    def options(self, name: str) -> dict[str, Any]:
        return {"output_dir": str(self.root / name), "progress": silent}

    def close(self) -> None:
        if not self.dataset.deleted:
            self.dataset.delete()
        shutil.rmtree(self.root, ignore_errors=True)


def make_scene(number: int = 4, size: int = 32) -> Scene:
    """Images with masks, of which some are wrong, and probabilities of a model that knows better."""
    root, rng, samples = Path(tempfile.mkdtemp(prefix="faults-")), np.random.default_rng(0), []
    for sub in ("images", "masks", "probs"):
        (root / sub).mkdir()
    for i in range(number):
        truth = np.ones((size, size), np.uint8)
        truth[: size // 3] = 3
        y, x = rng.integers(size // 3, size - 8, 2)
        truth[y : y + 8, x : x + 8] = 2
        given = truth.copy()
        if i % 2 == 0:
            given[-9:-1, 2:14] = 2
        names = [root / sub / f"{i}.{end}" for sub, end in (("images", "png"), ("masks", "png"), ("probs", "npy"))]
        Image.fromarray(np.repeat(truth[..., None] * 60, 3, 2)).save(names[0])
        Image.fromarray(given).save(names[1])
        logits = rng.normal(0, 0.3, (3, size, size)) + 5 * (np.arange(3)[:, None, None] == truth - 1)
        np.save(names[2], (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32))
        label = fo.Segmentation(mask_path=str(names[1]))
        samples.append(fo.Sample(filepath=str(names[0]), ground_truth=label, probabilities=str(names[2])))
    dataset = fo.Dataset(persistent=True)
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {"ground_truth": CLASSES}
    dataset.save()
    return Scene(dataset, root)


# --- jobs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What is killed.

    Attributes:
        work: the call, which can be made again
        before: what was done before it
        key: of the run that it writes; empty if it writes none
        again: how it is called after a finished run; None if it then must not be called again
    """

    work: Callable[[Scene], Any]
    before: Callable[[Scene], Any] = lambda scene: None
    key: str = ""
    done: Callable[[Scene], bool] = lambda scene: False


def _score(scene: Scene, **options: Any) -> Any:
    return lq.score_label_quality(
        scene.dataset, "ground_truth", probabilities="probabilities", **scene.options("score"), **options
    )


def _scored(scene: Scene, key: str = "label_quality") -> bool:
    return run_records.find_run(scene.dataset, key) is not None


def _plan(scene: Scene) -> Any:
    return lq.plan_correction_queries(
        scene.dataset, "ground_truth", probabilities="probabilities", superpixel_size=40, budget=60,
        propagate=False, **scene.options("correction"),
    )  # fmt: skip


def _answer(scene: Scene, number: int = 6) -> None:
    sitting = lq.open_sitting(scene.dataset, "ground_truth", sitting_id="somebody")
    for _ in range(number - len(answers_that_count(read_answers(scene.dataset, "ground_truth")))):
        sitting.correct(sitting.question.alternatives[0], seconds=2)  # plans count with the time that answers take
    sitting.flush()
    sitting.close()
    lq.apply_corrections(scene.dataset, "ground_truth", progress=silent)


def _edit(scene: Scene) -> None:
    for sample in scene.dataset.iter_samples(autosave=True):
        for detection in sample.ground_truth_objects.detections:
            detection.label = "tree" if detection.label == "car" else detection.label


def _scored_and_reviewed(scene: Scene) -> None:
    _score(scene)
    ids = scene.dataset.values("label_quality_regions.detections.id", unwind=True)
    lq.review_regions(scene.dataset, "accepted", label_ids=ids[:1])


def _with_specks(scene: Scene) -> None:
    for path in (scene.root / "masks").iterdir():
        mask = np.array(Image.open(path))
        mask[2, 3] = 1
        Image.fromarray(mask).save(path)


def _with_objects(scene: Scene) -> None:
    boxes = [("car", [0.1, 0.5, 0.4, 0.3]), ("tree", [0.0, 0.0, 1.0, 0.3])]
    scene.dataset.add_sample_field("found", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    for i, sample in enumerate(scene.dataset.iter_samples(autosave=True)):
        found = [
            fo.Detection(label=label, bounding_box=box, mask=np.ones((3, 5), bool)) for label, box in boxes[: i % 3]
        ]
        sample["found"] = fo.Detections(detections=found)


def _planned_and_answered(scene: Scene) -> None:
    _plan(scene)
    _answer(scene)


def _cleaned(scene: Scene) -> None:
    _with_specks(scene)
    lq.clean_labels(scene.dataset, "ground_truth", progress=silent)


def _with_scored_objects(scene: Scene) -> None:
    _with_objects(scene)
    lq.score_label_quality(scene.dataset, "found", probabilities="probabilities", **scene.options("score"))


def _with_errata(scene: Scene) -> None:
    """Repairs that somebody else made of the same labels."""
    other = Scene(scene.dataset.clone(), scene.root / "other")
    _planned_and_answered(other)
    lq.make_errata(other.dataset, scene.root / "errata.json", "ground_truth")
    other.close()


_NETWORK = {"encoder": "tu-mobilenetv3_small_050", "weights": None, "crop_size": 32, "device": "cpu", "batch_size": 2,
            "model_options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}}  # fmt: skip
_HEADS = {"method": "frozen_features", "encoder": "test_efficientnet", "weights": None, "width": 8, "steps": 4,
          "heads": 1, "crop_size": 32, "device": "cpu"}  # fmt: skip


def _train(scene: Scene, **options: Any) -> Any:
    return lq.train_cross_validated(scene.dataset, "ground_truth", folds=2, **scene.options("models"), **options)


def _train_robust(scene: Scene) -> Any:
    return lq.train_noise_robust(
        scene.dataset, "ground_truth", epochs=2, consistency=False, latest_epoch=1, threshold=0.34, min_region_area=1,
        **_NETWORK, **scene.options("robust"),
    )  # fmt: skip


def _embed(scene: Scene) -> Any:
    return lq.precompute_sam_embeddings(
        scene.dataset, str(scene.root / "sam.pth"), device="cpu", half=False, **scene.options("embeddings")
    )


def _done(key: str) -> Callable[[Scene], bool]:
    return lambda scene: _scored(scene, key)


def _round(scene: Scene) -> int:
    run = run_records.find_run(scene.dataset, "ground_truth_correction")
    return 0 if run is None else run.summary["round"]


JOBS = {
    "train": Job(lambda scene: _train(scene, epochs=1, **_NETWORK), key="cross_validation",
                 done=_done("cross_validation")),
    "train heads": Job(lambda scene: _train(scene, **_HEADS), key="cross_validation", done=_done("cross_validation")),
    "train robust": Job(_train_robust, key="noise_robust", done=_done("noise_robust")),
    "pseudo labels": Job(
        lambda scene: lq.generate_pseudo_labels(
            scene.dataset, ["car", "tree"], instances="found", write_confidence=True, **scene.options("pseudo")),
        _with_objects, "pseudo_labels", _done("pseudo_labels")),
    "embeddings": Job(_embed, lambda scene: save_random_sam(scene.root / "sam.pth"), "sam_embeddings",
                      _done("sam_embeddings")),
    "check": Job(lambda scene: lq.check_labels(scene.dataset, "ground_truth", progress=silent), _with_specks,
                 "label_check", _done("label_check")),
    "clean": Job(lambda scene: lq.clean_labels(scene.dataset, "ground_truth", progress=silent), _with_specks),
    "review": Job(
        lambda scene: lq.review_regions(scene.dataset, "rejected"), lambda scene: _score(scene)),
    "score": Job(_score, key="label_quality", done=_scored),
    "score again": Job(lambda scene: _score(scene, overwrite=True, methods=["iou"]), _score, "label_quality",
                       lambda scene: scene.dataset.has_field("label_quality_iou") and _scored(scene)),
    "rescore": Job(lambda scene: lq.rescore_regions(scene.dataset), _scored_and_reviewed),
    "superpixels": Job(
        lambda scene: lq.compute_superpixels(scene.dataset, method="slic", **scene.options("superpixels")),
        key="superpixels", done=lambda scene: _scored(scene, "superpixels")),
    "inject": Job(
        lambda scene: lq.inject_label_errors(scene.dataset, "ground_truth", fraction=0.5, **scene.options("errors")),
        key="rehearsal", done=lambda scene: _scored(scene, "rehearsal")),
    "plan": Job(_plan, key="ground_truth_correction", done=lambda scene: _scored(scene, "ground_truth_correction")),
    "answer": Job(_answer, _plan),
    "proposals": Job(lambda scene: lq.apply_proposals(scene.dataset, "label_quality"), _scored_and_reviewed),
    "finish edits": Job(lambda scene: lq.finish_hand_edits(scene.dataset, "ground_truth"),
                        lambda scene: (lq.begin_hand_edits(scene.dataset, "ground_truth"), _edit(scene))),
    "begin edits": Job(lambda scene: lq.begin_hand_edits(scene.dataset, "ground_truth")),
    "plan again": Job(_plan, _planned_and_answered, "", lambda scene: _round(scene) == 2),
    "changes": Job(lambda scene: find_label_changes(scene.dataset), _planned_and_answered),
    "undo clean": Job(
        lambda scene: lq.undo_clean_labels(scene.dataset, "ground_truth", progress=silent), _cleaned),
    "errata": Job(lambda scene: lq.apply_errata(scene.dataset, scene.root / "errata.json"), _with_errata),
    "objects": Job(lambda scene: lq.objects_to_masks(scene.dataset, "found", **scene.options("objects")), _with_objects,
                   "found_masks", _done("found_masks")),
    "mark objects": Job(lambda scene: lq.mark_objects(scene.dataset), _with_scored_objects),
    "delete correction": Job(
        lambda scene: lq.delete_label_quality_run(scene.dataset, "ground_truth_correction"), _planned_and_answered, "",
        lambda scene: "ground_truth_correction" not in scene.dataset.list_runs()),
    "delete": Job(lambda scene: lq.delete_label_quality_run(scene.dataset, "label_quality"), _score, "",
                  lambda scene: "label_quality" not in scene.dataset.list_runs()),
}  # fmt: skip


# --- what there is --------------------------------------------------------------------------------------------


def state_of(scene: Scene) -> dict[str, Any]:
    """All that a job leaves, without ids, times and folders: fields, files, runs, views, answers."""
    dataset = fo.load_dataset(scene.dataset.name, reload=True)
    names = {sample_id: Path(path).stem for sample_id, path in zip(*dataset.values(["id", "filepath"]), strict=True)}
    rows = {names[str(row["_id"])]: row for row in dataset._sample_collection.find({})}
    return {
        "fields": sorted(dataset.get_field_schema()),
        "samples": {name: _plain(row) for name, row in sorted(rows.items())},
        "runs": {run.key: [run.finished, sorted(run.fields), sorted(run.views)] for run in run_records.list_runs(
            dataset, unfinished=True)},
        "views": sorted(dataset.list_saved_views()),
        "folds": sorted(str(row.get("cross_validation_fold")) for row in rows.values()),  # drawn by the images' ids
        "indexes": sorted(dataset.list_indexes()),
        "answers": [
            [names[a.sample_id], a.status, a.value, list(a.bbox), _digest(a.mask.tobytes())]
            for a in answers_that_count(read_answers(dataset, "ground_truth"))
        ],
        "halves": [str(path.relative_to(scene.root)) for path in scene.root.rglob("*.part")],
        "files": dict(Counter(_kind_of(path.relative_to(scene.root)) for path in scene.root.rglob("*")
                              if path.is_file())),
    }  # fmt: skip


_CHANGING = {"_id", "last_modified_at", "created_at", "reviewed_at", "answered_at", "seconds", "claimed_at", "order",
             "claimed_by", "_dataset_id", "_media_type", "_rand", "metadata", "values",
             "cross_validation_fold"}  # fmt: skip


def _kind_of(path: Path) -> str:
    """Folder and ending of a file, without ids."""
    return re.sub(r"[0-9a-f]{24}", "id", f"{path.parent}/*{path.suffix}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in sorted(value.items()) if key not in _CHANGING}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str) and value.startswith("/"):
        return _digest(Path(value).read_bytes()) if Path(value).is_file() else "missing"
    return value if isinstance(value, int | bool | None | str) else str(value)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def originals(scene: Scene) -> str:
    return _digest(b"".join(path.read_bytes() for sub in ("images", "masks") for path in sorted(
        (scene.root / sub).iterdir())))  # fmt: skip


def differences(found: Any, wanted: Any, where: str = "") -> list[str]:
    """Where two states differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(set(found) | set(wanted))
        return [text for key in keys for text in differences(found.get(key), wanted.get(key), f"{where}/{key}")]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [text for place, pair in pairs for text in differences(*pair, f"{where}/{place}")]
    return [] if found == wanted else [f"{where}: {str(found)[:120]} instead of {str(wanted)[:120]}"]


# --- killing --------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do something in a fork; its wait status, and what it gave as JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            signal.setitimer(signal.ITIMER_PROF, 0)
            torch.set_num_threads(1)  # a fork has no other threads of OpenMP, and would wait for them for ever
            text = json.dumps({"result": work()})
        except BaseException as error:
            text = json.dumps({"error": "".join(traceback.format_exception_only(error)), "trace":
                               traceback.format_exc()[-1500:]})  # fmt: skip
        with suppress(OSError):
            os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    return os.waitpid(child, 0)[1], json.loads(content) if content else None


@dataclass
class Writes:
    """Counts what changes the disk or the database, and kills the process just before one of them."""

    kill_at: int = 0
    count: int = 0
    patched: list[Any] = field(default_factory=list)

    def watch(self) -> Writes:
        from pymongo.synchronous.pool import Connection

        def guarded(real: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if counts(*args):
                    self.count += 1
                    if self.count == self.kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        def is_write(connection: Any, database: str, spec: Any, *rest: Any) -> bool:
            return next(iter(spec)) in _WRITES

        Connection.command = guarded(Connection.command, is_write)
        Connection.write_command = guarded(Connection.write_command, lambda *args: True)
        for name in ("replace", "unlink", "rmdir"):
            setattr(os, name, guarded(getattr(os, name), lambda *args: True))
        return self


@dataclass
class Outcome:
    """What became of one kill.

    Attributes:
        job: which
        how: when it was killed
        after: what was done then: resume, delete or replace
        killed: whether it died at all
        problems: in words; empty if all is well
    """

    job: str
    how: str
    after: str
    killed: bool
    problems: list[str]


class Experiments:
    """Undisturbed states, remembered by job, and kills."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {}

    def undisturbed(self, name: str) -> tuple[dict[str, Any], dict[str, Any], int]:
        """State before a job and after it, and how often it writes."""
        if name not in self._wanted:
            job, scene = JOBS[name], make_scene()
            try:
                job.before(scene)
                before = state_of(scene)

                def counted() -> Any:
                    there, writes = set(sys.modules), Writes().watch()
                    job.work(scene)
                    return writes.count, sorted(set(sys.modules) - there)

                status, said = in_child(counted)
                assert status == 0, (name, said)
                assert "result" in said, (name, said)
                count, modules = said["result"]
                for module in modules:  # here, once, and not in each fork
                    with suppress(Exception):
                        import_module(module)
                self._wanted[name] = before, state_of(scene), count
            finally:
                scene.close()
        return self._wanted[name]

    def kill(self, name: str, rng: random.Random) -> Outcome:
        """Kill a job once, then go on."""
        before, wanted, count = self.undisturbed(name)
        job, scene = JOBS[name], make_scene()
        place = rng.randint(1, max(count, 1)) if rng.random() < 0.7 else 0
        after = rng.choice(["resume", "resume", "resume", "delete"]) if job.key and name != "score again" else "resume"
        delay = rng.uniform(0.005, 0.8)
        try:
            job.before(scene)
            first = originals(scene)

            def work() -> None:
                if place:
                    Writes(place).watch()
                else:
                    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                    signal.setitimer(signal.ITIMER_REAL, delay)
                job.work(scene)
                signal.setitimer(signal.ITIMER_REAL, 0)

            status, said = in_child(work)
            killed = os.WIFSIGNALED(status)
            problems = [] if killed or "result" in (said or {}) else [f"not killed, but: {said}"]
            scene.dataset = fo.load_dataset(scene.dataset.name, reload=True)
            problems += self._go_on(job, scene, after, before, wanted)
            if originals(scene) != first:
                problems.append("an original image or mask has changed")
            return Outcome(name, f"write {place}" if place else f"{delay:.3f} s", after, killed, problems)
        finally:
            scene.close()

    def _go_on(self, job: Job, scene: Scene, after: str, before: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
        if after == "delete":
            if job.key in scene.dataset.list_runs():
                lq.delete_label_quality_run(scene.dataset, job.key)
                return differences(_without_answers(state_of(scene)), _without_answers(before))
            if not job.done(scene):  # nothing was registered, so nothing was written
                return differences(state_of(scene), before)
        if not job.done(scene):
            status, said = in_child(lambda: bool(job.work(scene)) or True)
            if "result" not in (said or {}):
                return [f"cannot go on ({status}): {said}"]
        return differences(state_of(scene), wanted)


def _without_answers(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "answers"}
