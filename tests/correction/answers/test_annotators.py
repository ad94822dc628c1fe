"""A simulated annotator says what its rule makes of the ground truth, and takes the time that it says."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.correction.answers.annotators import HonestAnnotator, MajorityOracle, PublishedOracle
from fiftyone_plugin.errors import LabelQualityError

VOID = 255


def _maps(true, given=1):
    array = np.array([true])
    return array, np.full(array.shape, given), np.ones(array.shape, bool)


@pytest.mark.parametrize(
    ("true", "representative", "published", "majority", "honest"),
    [
        ([1, 1, 2], 2, (1, True), (1, True), (1, True)),  # more than half is right
        ([1, 1, 2, 2], 2, (2, False), (1, False), (1, True)),  # exactly half is not enough for the oracles
        ([2, 2, 2, 3], 3, (3, False), (2, False), (2, False)),
        ([2, VOID, VOID], 1, (VOID, False), (VOID, False), (2, False)),
        ([1, VOID, VOID], 0, (1, False), (VOID, False), (1, True)),
        ([VOID, VOID], 0, (VOID, False), (VOID, False), (None, False)),
    ],
)
def test_each_annotator_follows_its_rule(true, representative, published, majority, honest):
    annotators = (PublishedOracle(), MajorityOracle(), HonestAnnotator(4))
    said = [each.judge(*_maps(true), (0, representative)) for each in annotators]
    assert [(each.answer, each.confirmed) for each in said] == [published, majority, honest]


def test_the_region_alone_is_judged():
    true, labels, _ = _maps([1, 1, 1, 2, 2])
    region = np.array([[False, False, True, True, True]])
    assert HonestAnnotator(4).judge(true, labels, region, (0, 3)).answer == 2
    assert MajorityOracle().judge(true, labels, region, (0, 3)).answer == 2


def test_a_mixed_region_is_cut_down_to_its_wrong_part():
    true = np.ones((20, 20), int)
    true[:, 12:] = 2
    labels, region = np.ones_like(true), np.ones(true.shape, bool)
    region[0] = False
    said = HonestAnnotator(4, refine=True, spill=1, correct_seconds=4, click_seconds=2).judge(
        true, labels, region, (5, 5)
    )
    wanted = np.zeros_like(region)
    wanted[1:, 11:] = True  # one column too wide, and never outside the region
    assert (said.answer, said.confirmed, said.clicks, said.seconds) == (2, False, 2, 8)
    assert np.array_equal(said.region, wanted)


def test_a_region_of_one_thing_is_not_cut():
    true = np.ones((20, 20), int)
    true[:, 18:] = 2  # a tenth
    said = HonestAnnotator(4, refine=True, pure=0.85).judge(true, np.ones_like(true), true > 0, (5, 5))
    assert (said.answer, said.confirmed, said.clicks, int(said.region.sum())) == (1, True, 0, 400)


def test_errors_come_at_the_rate_and_never_hit_the_truth():
    annotator = HonestAnnotator(4, error_rate=0.3, seed=3)
    said = [annotator.judge(*_maps([1, 1]), (0, 0)).answer for _ in range(1000)]
    wrong = [answer for answer in said if answer != 1]
    assert 240 < len(wrong) < 360  # 0.3 plus or minus four standard deviations
    assert set(wrong) == {0, 2, 3}
    again = HonestAnnotator(4, error_rate=0.3, seed=3)
    assert said[:50] == [again.judge(*_maps([1, 1]), (0, 0)).answer for _ in range(50)]


@pytest.mark.parametrize(
    ("true", "labels", "region", "message"),
    [
        (np.ones((2, 2), int), np.ones((2, 3), int), np.ones((2, 2), bool), r"\(2, 2\), \(2, 3\)"),
        (np.ones((2, 2), int), np.ones((2, 2), int), np.zeros((2, 2), bool), "at least one pixel"),
    ],
)
@pytest.mark.parametrize("annotator", [PublishedOracle(), MajorityOracle(), HonestAnnotator(3)])
def test_what_cannot_be_judged_is_refused(annotator, true, labels, region, message):
    with pytest.raises(LabelQualityError, match=message):
        annotator.judge(true, labels, region, (0, 0))


def test_who_tires_errs_more_and_more_until_the_next_sitting():
    annotator = HonestAnnotator(4, error_rate=0.3, tires_over=1000, seed=3)
    wrong = np.array([annotator.judge(*_maps([1, 1]), (0, 0)).answer != 1 for _ in range(2000)]).reshape(2, 2, 500)
    assert np.abs(wrong.mean((0, 2)) - (0.15, 0.45)).max() < 0.06


@pytest.mark.parametrize(("options", "shown"), [
    ({"error_rate": 1.5}, r"1\.5"), ({"error_rate": 0.5, "tires_over": 9}, "0.5 and 9"), ({"tires_over": -1}, "-1"),
])  # fmt: skip
def test_an_error_rate_is_a_share(options, shown):
    with pytest.raises(LabelQualityError, match=shown):
        HonestAnnotator(3, **options)
