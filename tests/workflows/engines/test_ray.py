"""A job gives the same bits on a cluster as here, also where a worker is killed."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from fiftyone_plugin import (
    compute_superpixels,
    plan_correction_queries,
    precompute_sam_embeddings,
    score_label_quality,
    train_cross_validated,
)
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.models.foundation.random_checkpoints import save_random_sam
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting import query_planning
from fiftyone_plugin.workflows.engines.opening import open_engine
from fiftyone_plugin.workflows.engines.ray_engine import Worker, packed
from fiftyone_plugin.workflows.scoring import running, scoring
from fiftyone_plugin.workflows.starting import sam_embeddings, superpixels
from fiftyone_plugin.workflows.training import cross_validated


@pytest.fixture
def cluster():
    """A cluster of two nodes with one core each, on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    nodes = Cluster()
    try:
        add_node(nodes, num_cpus=1, include_dashboard=False)
        add_node(nodes, num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()
        torch.set_num_threads(threads)


def add_node(nodes, **options) -> None:
    """Ray waits 30 seconds for a node and no longer, which is too little where other tests use the cores."""
    for left in (2, 1, 0):
        try:
            nodes.add_node(**options)
            return
        except Exception as error:  # Ray raises no other kind there
            if not left or "timed out" not in str(error):
                raise


def deadly_network(flag: Path) -> torch.nn.Module:
    """A network that kills its process, once, if that is not this one; a local class, so it is pickled by value."""
    home = os.getpid()

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images):
            if flag.exists() and os.getpid() != home:
                flag.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return self.layer(images) * 4

    torch.manual_seed(0)
    return Network()


def contents(dataset, key: str) -> dict:
    """All that a run has left: values of fields, and the bytes of its files by sample and name."""
    found = {}
    for place, sample in enumerate(dataset.sort_by("filepath")):
        names = [name for name in sample.field_names if name == key or name.startswith(f"{key}_")]
        for name in names:
            value, plain = sample[name], name.removeprefix(key)
            if hasattr(value, "detections"):
                rows = [
                    {k: v for k, v in one.to_dict().items() if k not in ("_id", "mask_path")}
                    for one in value.detections
                ]
                value = (rows, [Path(one.mask_path).read_bytes() for one in value.detections])
            elif hasattr(value, "mask_path") or hasattr(value, "map_path"):
                value = Path(value.mask_path if hasattr(value, "mask_path") else value.map_path).read_bytes()
            found[place, plain] = value
    return found


def test_a_cluster_gives_the_same_bits_though_a_worker_dies(make_dataset, tmp_path, cluster):
    dataset, flag = make_dataset(10), tmp_path / "flag"
    options = {"model": deadly_network(flag), "class_names": ["road", "car", "tree"], "batch_size": 2, "device": "cpu"}
    here = score_label_quality(dataset, key="here", progress=silent, **options)
    flag.touch()
    report = score_label_quality(dataset, key="there", engine="ray", workers=2, progress=silent, **options)
    assert not flag.exists()  # a worker has died
    assert report.warnings == here.warnings
    assert report.regions_by_kind == here.regions_by_kind
    expected, found = contents(dataset, "here"), contents(dataset, "there")
    assert len(expected) > 60
    np.testing.assert_equal(found, expected)
    folder = Path(report.output_dir)
    assert not list(folder.rglob("*.part"))
    assert len(list((folder / "records").glob("*.npz"))) == 10


class CopiedEngine:
    """Does with every part what a worker on another machine does, in this process."""

    def run(self, stage, job, parts):
        for part in parts:
            worker = Worker(packed(stage, job))
            assert worker.job is not job
            yield from pickle.loads(worker({"part": pickle.dumps(list(part))})["results"])


@pytest.mark.parametrize("source", ["model", "probabilities", "predictions"])
def test_every_stage_does_the_same_with_a_copy_of_the_job(make_dataset, tmp_path, monkeypatch, source):
    dataset = make_dataset(5)
    dataset.clone_sample_field("ground_truth", "second")
    options = {
        "model": {"model": deadly_network(tmp_path / "flag"), "class_names": ["road", "car", "tree"], "device": "cpu"},
        "probabilities": {"probabilities": "probabilities"},
        "predictions": {"predictions": "second"},
    }[source]
    score_label_quality(dataset, key="here", progress=silent, **options)
    monkeypatch.setattr(scoring, "open_engine", lambda name, workers: CopiedEngine())
    monkeypatch.setattr(running, "_IMAGES_AT_ONCE", 2)
    score_label_quality(dataset, key="there", progress=silent, **options)
    np.testing.assert_equal(contents(dataset, "there"), contents(dataset, "here"))


def test_superpixels_and_embeddings_are_the_same_by_copies_of_their_jobs(make_dataset, tmp_path, monkeypatch):
    dataset = make_dataset(3)
    sam = str(save_random_sam(tmp_path / "sam.pth"))

    def bytes_of(folder: Path) -> dict:
        kept = [path for path in folder.rglob("*") if path.suffix in (".png", ".npz")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in kept}

    def compute(name: str) -> list[dict]:
        wanted = (("slic", None), ("labels", "ground_truth"))
        folders = [tmp_path / name / method for method, _ in wanted] + [tmp_path / name / "embeddings"]
        for (method, source), folder in zip(wanted, folders, strict=False):
            options = {"method": method, "key": f"{name}_{method}", "source_field": source, "size": 60}
            compute_superpixels(dataset, **options, output_dir=folder, progress=silent)
        report = precompute_sam_embeddings(dataset, sam, output_dir=folders[-1], device="cpu", progress=silent)
        assert report.num_computed == 3
        return [bytes_of(folder) for folder in folders]

    here = compute("here")
    for module in (superpixels, sam_embeddings):
        monkeypatch.setattr(module, "open_engine", lambda name, workers: CopiedEngine())
    assert compute("there") == here
    assert [len(one) for one in here] == [3, 3, 3]


def test_frozen_features_and_plans_are_the_same_by_copies_of_their_jobs(make_dataset, tmp_path, monkeypatch):
    dataset = make_dataset(10)

    def train_and_plan(name: str, **where) -> tuple:
        small = {"encoder": "test_efficientnet", "weights": None, "width": 8, "steps": 2, "crop_size": 32}
        trained = train_cross_validated(
            dataset, method="frozen_features", key=name, folds=2, output_dir=tmp_path / name, progress=silent,
            device="cpu", **small, **where,
        )  # fmt: skip
        kept = sorted((tmp_path / name).rglob("*.safetensors"))
        assert len(kept) >= 10
        features = {path.name: path.read_bytes() for path in kept if path.parent.name == "features"}
        dataset.clone_sample_field("ground_truth", f"labels_{name}")
        dataset.mask_targets = {**dataset.mask_targets, f"labels_{name}": dataset.mask_targets["ground_truth"]}
        options = {"model": name, "superpixel_size": 60, "budget": 8, "output_dir": str(tmp_path / f"plan_{name}")}
        plan_correction_queries(dataset, f"labels_{name}", **options, **where, progress=silent)
        asked = [one for found in dataset.values(f"labels_{name}_queries.detections") for one in found or []]
        questions = [(one.bounding_box, one.label, one["value"], Path(one.mask_path).read_bytes()) for one in asked]
        return trained.metrics, features, questions

    here = train_and_plan("here")
    for module in (cross_validated, query_planning):
        monkeypatch.setattr(module, "open_engine", lambda name, workers: CopiedEngine())
    there = train_and_plan("there", engine="ray")
    assert there[0] == here[0]
    assert there[1] == here[1]
    assert len(here[1]) == 10
    assert there[2] == here[2]
    assert len(here[2]) == 8
    with pytest.raises(LabelQualityError, match="'fine_tuned'"):
        train_cross_validated(dataset, key="whole", engine="ray")


def test_what_is_missing_is_named(monkeypatch):
    import ray

    def nowhere(**arguments):
        raise ConnectionError("no cluster")

    monkeypatch.setattr(ray, "init", nowhere)
    with pytest.raises(LabelQualityError, match=r"no cluster.*ray start --head"):
        open_engine("ray", None)
    with pytest.raises(LabelQualityError, match="'slurm'"):
        open_engine("slurm", None)
