"""Values are those of the formulas, what was asked is not asked again, and audits are drawn in proportion to area."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.correction.questions.acquisition import ACQUISITIONS, acquisition_values, choose_queries
from fiftyone_plugin.correction.questions.candidates import find_candidates
from fiftyone_plugin.correction.questions.query_costs import AnswerSeconds
from fiftyone_plugin.errors import LabelQualityError

SECOND = AnswerSeconds(confirm=1.0, correct=1.0)


def values_of(*arguments, **options):
    return [np.round(value, 6).tolist() for value in acquisition_values(*arguments, **options)]


def mean_iou(pairs, num_classes=2):
    """In points, of (given, true, pixels)."""
    counts = np.zeros((num_classes, num_classes))
    for given, true, pixels in pairs:
        counts[given, true] += pixels
    union = counts.sum(axis=0) + counts.sum(axis=1) - counts.diagonal()
    return 100 * float((counts.diagonal() / union).mean())


@pytest.mark.parametrize(("method", "expected"), [("cil", 0.7), ("mean_cil", 0.55), ("sim", 2.088186)])
def test_published_methods_are_read_off_the_candidates(method, expected):
    probs = np.array([(0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.5, 0.4, 0.1)]).T[:, None]
    found = find_candidates([[1, 1, 1, 0]], probs, [[1, 1, 1, 1]])
    assert acquisition_values([found], method)[0] == pytest.approx([expected], abs=5e-7)


def test_balanced_puts_rare_classes_first(made_candidates):
    """Shares 0.9 and 0.1: divergence from uniform 0.368064 nats, weight (10 / 90) ^ 0.368064^3 = 0.896223."""
    found = made_candidates([0, 1], [90, 10], [(0.9, 0.1), (0.5, 0.5)], sim_to_mean=np.array([1.0, 1.0]))
    assert acquisition_values([found], "balanced")[0] == pytest.approx([0.89623, 1.0], abs=1e-5)


def test_balanced_counts_what_was_not_asked(made_candidates):
    ones = np.ones(3)
    found = made_candidates([0, 0, 1], [80, 10, 10], [(0.5, 0.5)] * 3, sim_to_mean=ones)
    assert values_of([found], "balanced", asked=[{0}]) == [[pytest.approx(np.nan, nan_ok=True), 1.0, 1.0]]


def test_expected_repair_is_mean_iou_per_second(made_candidates):
    """Ten pixels of class 1 are labelled 0, among 90 right ones of class 0 and ten of class 1.

    IoUs 90 / 100 and 10 / 20, unions 100 and 20: on average a pixel adds (1 / 100 + 1 / 20) / 2 = 3 points, which is
    exact for all ten.
    """
    found = made_candidates([0, 0, 1], [90, 10, 10], [(1, 0), (0, 1), (0, 1)])
    assert values_of([found], seconds=SECOND) == [[0, 30.0, 0]]
    assert mean_iou([(0, 0, 90), (1, 1, 20)]) - mean_iou([(0, 0, 90), (0, 1, 10), (1, 1, 10)]) == pytest.approx(30)
    assert values_of([found], seconds=AnswerSeconds(1.0, 4.0)) == [[0, 7.5, 0]]


def test_expected_repair_weighs_by_probability(made_candidates):
    """The same ten pixels, wrong with probability 0.5, so that classes overlap in 95 and 10 of 100 and 15 pixels."""
    found = made_candidates([0, 0, 1], [90, 10, 10], [(1, 0), (0.5, 0.5), (0, 1)])
    gain = 10 * 0.5 * 50 * (1 / 100 + 1 / 15)
    assert values_of([found], seconds=AnswerSeconds(1.0, 4.0)) == [[0, pytest.approx(gain / 2.5, abs=1e-5), 0]]


def test_it_pays_to_clear_a_class_whose_labels_are_nearly_all_wrong(made_candidates):
    """Of 100 pixels labelled 1 all but one are 0: to first order, nothing but the pixel won for 0 would count."""
    found = made_candidates([0, 1, 1], [900, 99, 1], [(1, 0), (1, 0), (0, 1)])
    assert values_of([found], seconds=SECOND)[0][1] == pytest.approx(99 * 50 * (1 / 999 + 1 / 100), abs=1e-5)
    assert mean_iou([(0, 0, 999), (1, 1, 1)]) - mean_iou([(0, 0, 900), (1, 0, 99), (1, 1, 1)]) == pytest.approx(
        99 * 50 * (1 / 999 + 1 / 100)
    )


def test_a_mixture_gains_and_loses_pixels(made_candidates):
    """Of ten pixels labelled 0, six are certainly 1: answered 1, six are repaired and four spoilt.

    IoUs 94 / 100 and 10 / 16; 6 (0.94 / 100 + 1 / 16) - 4 (1 / 100 + 0.625 / 16) = 0.23515.
    """
    found = made_candidates([0, 0, 1], [90, 10, 10], [(1, 0), (0.4, 0.6), (0, 1)], mixed=np.array([0, 1.0, 0]))
    assert values_of([found], seconds=SECOND) == [[0, pytest.approx(50 * 0.23515, abs=1e-4), 0]]
    before = mean_iou([(0, 0, 94), (0, 1, 6), (1, 1, 10)])
    after = mean_iou([(0, 0, 90), (1, 0, 4), (1, 1, 16)])
    assert after - before == pytest.approx(50 * 0.23515, rel=0.25)


def test_a_mixture_that_is_mostly_right_is_worth_nothing(made_candidates):
    found = made_candidates([0, 0, 1], [90, 10, 10], [(1, 0), (0.6, 0.4), (0, 1)], mixed=np.array([0, 1.0, 0]))
    assert values_of([found]) == [[0, 0, 0]]


def test_rare_classes_count_more(made_candidates):
    """Equally large and equally sure: it is worth more to find what is missing of the rare class 2 than of class 1."""
    found = made_candidates(
        [0, 1, 2, 0, 0], [500, 400, 50, 10, 10], [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 0), (0, 0, 1)]
    )
    common, rare = acquisition_values([found])[0][3:]
    assert rare > 4 * common > 0


def test_a_class_that_is_not_there_is_not_worth_everything(made_candidates):
    """All say a little of class 2, which no label has: that is noise, not an object."""
    found = made_candidates([0, 1, 0], [1000, 1000, 1000], [(0.999, 0, 0.001), (0, 0.999, 0.001), (0.4, 0.6, 0)])
    values = acquisition_values([found])[0]
    assert values[2] > 20 * values[0]


def test_beliefs_replace_what_the_model_says(made_candidates):
    found = made_candidates([0, 0, 1], [90, 10, 10], [(1, 0), (1, 0), (0, 1)])
    unknown = [np.nan, np.nan]
    assert values_of([found], seconds=SECOND) == [[0, 0, 0]]
    assert values_of([found], seconds=SECOND, beliefs=[[unknown, (0, 1), unknown]]) == [[0, 30.0, 0]]


@pytest.mark.parametrize("method", ACQUISITIONS)
def test_what_was_asked_is_not_asked_again(made_candidates, method):
    images = [made_candidates([0, 1, 0], [5, 5, 5], [(0.3, 0.7)] * 3), made_candidates([1], [5], [(0.5, 0.5)])]
    for asked in ([{1}, set()], [np.array([False, True, False]), np.array([False])], [[1], []]):
        first, second = acquisition_values(images, method, asked=asked)
        assert np.isnan(first).tolist() == [False, True, False]
        assert np.isnan(second).tolist() == [False]


def test_answered_labels_count_as_right(made_candidates):
    """Class 1 is complete once the large superpixel was confirmed to be 0: its ten missing pixels count for more."""
    found = made_candidates([0, 0, 1], [90, 10, 10], [(0.1, 0.9), (0, 1), (0, 1)])
    before, after = values_of([found], seconds=SECOND), values_of([found], seconds=SECOND, asked=[{0}])
    assert after[0][1] == 30.0
    assert before[0][1] < 30.0


@pytest.mark.parametrize("method", ACQUISITIONS)
def test_unlabelled_superpixels_are_asked_about_on_request(method):
    probs = np.array([[[0.9, 0.2]], [[0.1, 0.8]]])
    found = find_candidates([[255, 0]], probs, [[1, 2]])
    assert np.isnan(acquisition_values([found], method)[0]).tolist() == [True, False]
    asked = acquisition_values([found], method, ask_unlabelled=True)[0]
    assert np.isfinite(asked).all()
    if method == "expected_repair":
        assert asked[0] > 0


def test_random_values_follow_the_seed(made_candidates):
    images = [made_candidates([0] * 50, [5] * 50, [(0.5, 0.5)] * 50)]
    assert values_of(images, "random", seed=1) == values_of(images, "random", seed=1)
    assert values_of(images, "random", seed=1) != values_of(images, "random", seed=2)


@pytest.mark.parametrize("method", ACQUISITIONS)
def test_images_without_superpixels(method):
    empty = find_candidates([[0]], np.full((2, 1, 1), 0.5), [[0]])
    assert acquisition_values([], method) == []
    assert [value.shape for value in acquisition_values([empty], method)] == [(0,)]
    assert choose_queries([empty], acquisition_values([empty], method), 5, audits=0.5) == []


def test_bad_input_to_values_is_refused(made_candidates):
    one, other = made_candidates([0], [5], [(0.5, 0.5)]), made_candidates([0], [5], [(0.5, 0.5, 0)])
    for call, message in (
        (lambda: acquisition_values([one], "entropy"), "'entropy'"),
        (lambda: acquisition_values([one, other]), r"got \[2, 3\]"),
        (lambda: acquisition_values([one], asked=[]), "1 images, but got 0"),
        (lambda: acquisition_values([one], asked=[{1}]), "rows from 0 to 0"),
        (lambda: acquisition_values([one], asked=[{-1}]), "rows from 0 to 0"),
        (lambda: acquisition_values([one], asked=[np.array([True, False])]), "1 booleans"),
        (lambda: acquisition_values([one], beliefs=[]), "1 images, but got 0"),
        (lambda: acquisition_values([one], beliefs=[[(1, 0), (1, 0)]]), r"\(1, 2\)"),
        (lambda: acquisition_values([one], beliefs=[[(1, 1)]]), "sum to 1"),
        (lambda: acquisition_values([one], beliefs=[[(1.5, -0.5)]]), "sum to 1"),
    ):
        with pytest.raises(LabelQualityError, match=message):
            call()


def flat(made_candidates, areas):
    return made_candidates([0] * len(areas), areas, [(0.5, 0.5)] * len(areas))


def chosen_of(*arguments, **options):
    return [(one.image, one.row, one.audit) for one in choose_queries(*arguments, **options)]


def test_the_most_valuable_come_first(made_candidates):
    images = [flat(made_candidates, [5, 5, 5]), flat(made_candidates, [5, 5])]
    values = [[0.2, np.nan, 0.9], [0.9, -1]]
    assert chosen_of(images, values, 3) == [(0, 2, False), (1, 0, False), (0, 0, False)]
    assert len(chosen_of(images, values, 99)) == 4
    assert chosen_of(images, values, 0) == []
    assert [one.value for one in choose_queries(images, values, 2)] == [0.9, 0.9]


def test_audits_are_mixed_in_evenly_and_nothing_is_asked_twice(made_candidates):
    images = [flat(made_candidates, [5] * 200), flat(made_candidates, [5] * 300)]
    values = [np.arange(200.0), np.arange(300.0)]
    found = choose_queries(images, values, 100, audits=0.1, seed=3)
    assert [place for place, one in enumerate(found) if one.audit] == list(range(5, 100, 10))
    assert len({(one.image, one.row) for one in found}) == 100
    rest = [one.value for one in found if not one.audit]
    assert rest == sorted(rest, reverse=True)
    assert min(rest) > 200
    assert found == choose_queries(images, values, 100, audits=0.1, seed=3)
    assert found != choose_queries(images, values, 100, audits=0.1, seed=4)


@pytest.mark.parametrize("seed", range(12))
def test_the_choice_is_that_of_a_full_sort(made_candidates, seed):
    """Many values are equal, and some cannot be asked: the order is that in which images and superpixels come."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, 6)
    images = [flat(made_candidates, rng.integers(1, 50, size)) for size in sizes]
    values = [np.where(rng.random(size) < 0.3, np.nan, rng.integers(0, 4, size) / 4) for size in sizes]
    rows = [(i, row) for i, some in enumerate(values) for row in np.flatnonzero(~np.isnan(some)).tolist()]
    ranked = sorted(rows, key=lambda place: -values[place[0]][place[1]])
    for budget in range(len(rows) + 2):
        assert [place[:2] for place in chosen_of(images, values, budget)] == ranked[:budget]
        found = chosen_of(images, values, budget, audits=0.4, seed=seed)
        audits = {(image, row) for image, row, audit in found if audit}
        others = [(image, row) for image, row, audit in found if not audit]
        assert others == [place for place in ranked if place not in audits][: len(others)]
        assert len(found) == min(budget, len(rows))


def test_audits_are_drawn_in_proportion_to_area(made_candidates):
    areas = np.array([1, 2, 3, 4, 10, 20, 40, 40, 40, 40])
    image, values = flat(made_candidates, areas), [np.arange(10.0)]
    draws = [choose_queries([image], values, 4, audits=0.5, seed=seed) for seed in range(3000)]
    counts = np.bincount([one.row for drawn in draws for one in drawn if one.audit], minlength=10)
    expected = 2 * areas / areas.sum()
    assert counts / 3000 == pytest.approx(expected, abs=0.03)


def test_what_cannot_be_asked_is_not_audited(made_candidates):
    image = flat(made_candidates, [1000, 1, 1])
    found = choose_queries([image], [[np.nan, 0.1, 0.2]], 2, audits=1.0)
    assert sorted((one.row, one.audit) for one in found) == [(1, True), (2, True)]


@pytest.mark.parametrize(
    ("values", "budget", "audits", "message"),
    [
        ([[0.1, 0.2]], -1, 0, "got -1 and 0"),
        ([[0.1, 0.2]], 1, 10, "got 1 and 10"),
        ([[0.1]], 1, 0, r"\[2\] ... by image, but got shapes \[\(1,\)\]"),
        ([], 1, 0, "one value per superpixel"),
    ],
)
def test_bad_input_to_the_choice_is_refused(made_candidates, values, budget, audits, message):
    with pytest.raises(LabelQualityError, match=message):
        choose_queries([flat(made_candidates, [5, 5])], values, budget, audits=audits)
