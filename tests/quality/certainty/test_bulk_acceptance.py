"""A promise about regions nobody has looked at holds, whenever one looks, and few decisions suffice."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.certainty.bulk_acceptance import BulkBands, bulk_promise, cut_bands, next_step


def one_band(size):
    return BulkBands(np.zeros(size, int), np.array([size]), np.array([0.02]), 0)


@pytest.mark.parametrize(
    ("size", "reviewed", "wrong", "accepted"),
    [
        (1000, 0, 0, 0),
        (1000, 50, 0, 0),  # 0.95 ** 50 = 0.077: right by luck
        (1000, 80, 0, 1000),
        (1000, 80, 2, 0),
        (1000, 1000, 50, 1000),  # all known: exactly the allowed share
        (1000, 1000, 51, 0),
        (1000, 200, 51, 0),  # the allowed number is found already
        (20, 18, 0, 20),  # two mistakes would both be the two left over: 1 of 190 draws
        (20, 15, 0, 0),  # both among five: 10 of 190
    ],
)
def test_a_band_is_accepted_when_decisions_speak_against_its_opposite(size, reviewed, wrong, accepted):
    assert bulk_promise(one_band(size), [reviewed], [wrong]).num_regions == accepted


def test_errors_hide_in_the_band_that_nobody_looked_at():
    bands = BulkBands(np.repeat([0, 1], [500, 500]), np.array([500, 500]), np.array([0.01, 0.02]), 0)
    assert bulk_promise(bands, [200, 0], [0, 0]).num_regions == 500
    assert bulk_promise(bands, [200, 60], [0, 0]).num_regions == 1000


def test_the_smallest_set_is_a_way_out_where_scores_are_too_good():
    bands = BulkBands(np.repeat([0, 1], [500, 500]), np.array([500, 500]), np.array([0.0, 0.0]), 1)
    assert bulk_promise(bands, [60, 60], [0, 12]).num_regions == 0  # evidence, but not for a fifth of the risk
    assert bulk_promise(bands, [110, 60], [0, 12]).num_regions == 500


@pytest.mark.parametrize("rate", [0.055, 0.08])
def test_looking_after_every_few_decisions_keeps_the_promise(rate):
    rng = np.random.default_rng(3)
    size = 600
    bands, broken = one_band(size), 0

    @cache
    def accepted(reviewed, wrong):
        return bulk_promise(bands, [reviewed], [wrong]).num_regions

    for _ in range(200):
        bad = rng.permutation(np.arange(size) < rate * size)
        seen = np.cumsum(bad)
        broken += any(accepted(k, seen[k - 1]) for k in range(40, 400, 15))
    assert broken <= 10  # 5 % of 200, though each of 24 looks could break it


def test_following_the_steps_accepts_most_of_good_regions():
    rng = np.random.default_rng(0)
    chances = np.r_[rng.uniform(0.97, 1, 1200), rng.uniform(0.2, 0.9, 800)]
    bad = rng.random(2000) > chances
    bands = cut_bands(chances)
    orders = [rng.permutation(np.flatnonzero(bands.bands == band)) for band in range(bands.sizes.size)]
    reviewed = np.zeros(bands.sizes.size, int)

    def wrong():
        return np.array([bad[order[:done]].sum() for order, done in zip(orders, reviewed, strict=True)])

    while reviewed.sum() < 300 and (step := next_step(bands, reviewed, wrong())) is not None:
        reviewed = reviewed + step.reviews
    promise = bulk_promise(bands, reviewed, wrong())
    assert promise.num_regions >= 1000
    assert bad[bands.bands < promise.num_bands].mean() <= 0.05
    assert promise.text().startswith(f"{promise.num_regions:,} regions can be accepted: at most 5 % mistakes")


def test_scores_that_are_too_low_do_not_keep_anybody_from_beginning():
    bands = cut_bands(np.full(400, 0.5))
    step = next_step(bands, np.zeros(bands.sizes.size), np.zeros(bands.sizes.size))
    assert 50 < step.reviews.sum() < 120
    assert bulk_promise(bands, step.reviews, np.zeros(bands.sizes.size)).num_regions > 0


def test_no_step_where_too_many_are_right():
    assert next_step(one_band(300), [100], [40]) is None
    assert next_step(one_band(300), [300], [0]) is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cut_bands([]), "at least one chance"),
        (lambda: cut_bands([1.2]), "in \\[0, 1\\]"),
        (lambda: cut_bands([0.5], allowed=0), "between 0 and 1"),
        (lambda: bulk_promise(one_band(10), [3], [4]), "wrong <= reviewed"),
        (lambda: next_step(one_band(10), [11], [0]), "reviewed <= size"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(LabelQualityError, match=said):
        call()
