"""Candidates made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.correction.questions.candidates import Candidates


@pytest.fixture(scope="session")
def made_candidates():
    """Candidates of given classes, areas and mean probabilities; everything else is plausible."""

    def make(given, area, mean_probs, **fields):
        given, area = np.asarray(given, np.int32), np.asarray(area, np.int32)
        probs = np.asarray(mean_probs, np.float32)
        count = given.size
        doubt = area * (1 - probs[np.arange(count), given])
        values = {
            "segment": np.arange(1, count + 1, dtype=np.int32),
            "area": area,
            "bbox": np.zeros((count, 4), np.int32),
            "row": np.zeros(count, np.int32),
            "column": np.zeros(count, np.int32),
            "given": given,
            "dominant": probs.argmax(axis=1).astype(np.int32),
            "mean_probs": probs,
            "predicted": np.rint(probs * area[:, None]).astype(np.int32),
            "cil": doubt / area,
            "mean_cil": doubt / area,
            "sim": doubt,
            "sim_to_mean": doubt,
            "doubt": doubt,
            "doubted": np.zeros(count, np.int32),
            "mixed": np.zeros(count),
        }
        return Candidates(**{**values, **fields})

    return make
