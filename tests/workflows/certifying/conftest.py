"""A finished scoring run with many small regions, written by its contract and not computed."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_plugin.dataset.runs import run_records


@pytest.fixture
def dataset(tmp_path):
    """Four samples with 60 regions each, half of them missing, half spurious; the scores are high."""
    paths = {name: str(tmp_path / f"{name}.png") for name in ("label", "region")}
    Image.fromarray(np.ones((10, 10), np.uint8)).save(paths["label"])
    Image.fromarray(np.full((2, 2), 255, np.uint8)).save(paths["region"])
    dataset, samples = fo.Dataset(), []
    for number in range(4):
        found = [
            fo.Detection(
                label=("missing", "spurious")[place % 2], bounding_box=[0.1, 0.1, 0.2, 0.2], given="road",
                suggested="car", score=0.99 - 0.0001 * place, first_score=0.99, area=4, status="pending",
                mask_path=paths["region"],
            )
            for place in range(60)
        ]  # fmt: skip
        label = fo.Segmentation(mask_path=paths["label"])
        regions = fo.Detections(detections=found)
        samples.append(fo.Sample(f"/none/{number}.png", ground_truth=label, label_quality_regions=regions))
    dataset.add_samples(samples, dynamic=True, progress=False)
    record = run_records.RunRecord(
        "label_quality", run_records.SCORING, "ground_truth", {}, ["label_quality_regions"], summary={"num_scored": 4}
    )
    run_records.register_run(dataset, record)
    yield dataset
    dataset.delete()
