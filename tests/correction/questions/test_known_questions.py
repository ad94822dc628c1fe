"""Hidden questions: most show a wrong class, none offers the right one first, and every stretch has its share."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.correction.questions.known_questions import known_question, mixed_in, which_are_wrong
from fiftyone_plugin.errors import LabelQualityError


@pytest.mark.parametrize(("classes", "wrong"), [(21, 9), (3, 9), (2, 6), (1, 0)])
def test_how_many_show_a_wrong_class(classes, wrong):
    orders = [which_are_wrong(12, classes, np.random.default_rng(seed)) for seed in range(20)]
    assert {sum(one) for one in orders} == {wrong}
    assert len({tuple(one) for one in orders}) > 1 or not wrong
    assert which_are_wrong(0, classes, np.random.default_rng(0)) == []


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_a_wrong_class_is_a_plausible_one_and_the_right_one_is_offered_late(classes):
    confusion = np.zeros((classes, classes))
    confusion[classes - 1, 0] = 5  # what the model confuses most with the first class
    likely = list(range(1, classes))
    drawn = [known_question(0, likely, confusion, wrong=True, rng=np.random.default_rng(seed)) for seed in range(60)]
    assert {one.shown for one in drawn} == {1, classes - 1}
    assert {one.alternatives.index(0) for one in drawn} == set(range(1, min(classes - 1, 5))) or classes == 2
    for one in drawn:
        assert sorted((*one.alternatives, one.shown)) == list(range(classes))
    right = known_question(0, likely, confusion, wrong=False, rng=np.random.default_rng(0))
    assert (right.shown, right.alternatives) == (0, tuple(likely))


def test_one_class_has_no_wrong_one():
    with pytest.raises(LabelQualityError, match="other classes than 0"):
        known_question(0, [], np.ones((1, 1)), wrong=True, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("asked", "known"), [(80, 20), (24, 6), (5, 5), (0, 3), (4, 0), (1, 9)])
def test_every_stretch_has_its_share(asked, known):
    for seed in range(20):
        places = mixed_in(asked, known, np.random.default_rng(seed))
        assert len(set(places)) == known
        assert all(0 <= place < asked + known for place in places)
        if (asked, known) == (80, 20):
            hidden = np.isin(np.arange(100), places)
            assert min(np.convolve(hidden, np.ones(30), "valid")) >= 5
