"""Several models judge as one: the mean of their probabilities, wherever these come from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fiftyone_plugin import quality, score_label_quality
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.scoring.sources import MeanSource


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """A second field of probability files, by a model that knows nothing."""
    dataset = make_dataset(6)
    folder = tmp_path / "second"
    folder.mkdir()
    paths = []
    for number, path in enumerate(dataset.values("probabilities")):
        probs = np.load(path)
        file = folder / f"{number}.npy"
        np.save(file, np.random.default_rng(number).dirichlet(np.ones(3), probs.shape[1:]).transpose(2, 0, 1))
        paths.append(str(file))
    dataset.set_values("second", paths)
    return dataset


def score(dataset, folder, **arguments):
    return score_label_quality(dataset, "ground_truth", output_dir=str(folder), progress=silent, **arguments)


def test_probabilities_are_averaged(dataset, tmp_path):
    score(dataset, tmp_path / "run", probabilities=["probabilities", "second"], score="softmin")
    labels = [sample.ground_truth.get_mask().astype(int) - 1 for sample in dataset]
    labels = [np.where(label == 254, 255, label) for label in labels]
    files = zip(dataset.values("probabilities"), dataset.values("second"), strict=True)
    means = [(np.load(a).astype(np.float32) + np.load(b).astype(np.float32)) / 2 for a, b in files]
    expected = quality.image_scores(labels, means)["softmin"]
    np.testing.assert_allclose(dataset.values("label_quality"), expected, rtol=1e-5)


def test_models_and_order(dataset, tmp_path):
    class Model:
        def __init__(self, shift):
            self.shift = shift

        def __call__(self, images):
            import torch

            logits = torch.zeros(len(images), 3, *images.shape[2:])
            logits[:, self.shift] = 3
            return logits

    score(dataset, tmp_path / "run", model=[Model(0), Model(1), Model(1)], from_logits=True, score="softmin")
    one = score(dataset, tmp_path / "one", key="one", model=[Model(0)], from_logits=True, score="softmin")
    score(dataset, tmp_path / "alone", key="alone", model=Model(0), from_logits=True, score="softmin")
    assert dataset.values("one") == dataset.values("alone")
    assert dataset.values("label_quality") != dataset.values("alone")
    assert one.num_scored == 6


def test_named_channels_are_brought_into_one_order_or_refused():
    def source(names, values):
        array = np.array(values, np.float32).reshape(-1, 1, 1)
        image = SimpleNamespace(sample_id="a", filepath="a.png", size=(1, 1))
        return SimpleNamespace(class_names=names, description=f"model of {names}", stream=lambda _: [(image, array)])

    def mean(*sources):
        [(_, found)] = MeanSource(sources).stream([SimpleNamespace(sample_id="a", size=(1, 1), filepath="a.png")])
        return found.ravel().tolist()

    first = source(["car", "sky"], [0.75, 0.25])
    assert mean(first, source(["Sky", "Car"], [0.5, 0.5])) == [0.625, 0.375]
    assert mean(first, source(["Sky", "Car"], [1.0, 0.0])) == [0.375, 0.625]
    assert mean(source(None, [1.0, 0.0]), first, source(["sky", "car"], [1, 0])) == pytest.approx([1.75 / 3, 1.25 / 3])
    with pytest.raises(LabelQualityError, match=r"lacks \['sky'\] and has \['road'\] besides"):
        mean(first, source(["road", "car"], [0, 1]))


def test_a_failing_model_fails_the_image_and_shapes_are_named(dataset, tmp_path):
    sample = dataset.skip(3).first()
    sample["second"] = None
    sample.save()
    report = score(dataset, tmp_path / "run", probabilities=["probabilities", "second"])
    assert [path for _, path, _ in report.skipped] == [sample.filepath]
    for path in dataset.exists("second").values("second"):
        np.save(path, np.full((5, 24, 32), 0.2, np.float32))
    with pytest.raises(LabelQualityError, match=r"\(3, 24, 32\), \(5, 24, 32\)"):
        score(dataset, tmp_path / "other", key="other", probabilities=["probabilities", "second"])
    with pytest.raises(LabelQualityError, match="at least one entry in `probabilities`"):
        score(dataset, tmp_path / "third", key="third", probabilities=[])
