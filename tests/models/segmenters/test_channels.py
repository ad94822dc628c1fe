"""Channel maps sum, drop and renormalise; a pixel without kept mass is undecided, never NaN."""

from __future__ import annotations

import pytest
import torch

from fiftyone_plugin.models import match_class_names
from fiftyone_plugin.models.segmenters.channels import ChannelMap


@pytest.mark.parametrize(
    ("mapping", "num_classes", "given", "wanted"),
    [
        ([0, 1], 2, [0.3, 0.7], [0.3, 0.7]),
        ([1, 0], 2, [0.3, 0.7], [0.7, 0.3]),
        ([0, 1, 1], 2, [0.2, 0.3, 0.5], [0.2, 0.8]),
        ([0, 1, None], 2, [0.2, 0.3, 0.5], [0.4, 0.6]),
        ({0: 0, 2: 1}, 2, [0.2, 0.3, 0.5], [2 / 7, 5 / 7]),
        ({0: 0, 1: 2}, 3, [0.5, 0.5], [0.5, 0.0, 0.5]),
        ({0: 0, 1: 1}, 2, [0.0, 0.0, 1.0], [0.5, 0.5]),
    ],
)
def test_literal_maps(mapping, num_classes, given, wanted):
    probabilities = torch.tensor(given).reshape(1, -1, 1, 1)
    found = ChannelMap(mapping, num_classes)(probabilities).flatten()
    torch.testing.assert_close(found, torch.tensor(wanted))


def test_names_match_without_case_and_punctuation():
    channels = ["__background__", "Dining-Table", "tv/monitor", "boat"]
    classes = ["background", "diningtable", "TV monitor"]
    assert match_class_names(channels, classes) == {0: 0, 1: 1, 2: 2}
