"""Answers teach which other superpixels are wrong and what they are; an answer itself is never overruled."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fiftyone_plugin.correction.answers.propagation import (
    Answer,
    AnswerModel,
    certain_proposals,
    doubtful_answers,
    propagate,
)
from fiftyone_plugin.errors import LabelQualityError

CLASSES = 4


def _image(given, probs, area=None):
    given = np.array(given, int)
    return SimpleNamespace(
        segment=np.arange(1, len(given) + 1),
        area=np.full(len(given), 100) if area is None else np.array(area),
        given=given,
        mean_probs=np.array(probs, np.float32).reshape(len(given), CLASSES),
    )


def _undecided(given):
    return _image(given, np.full((len(given), CLASSES), 1 / CLASSES))


def _world(seed, images=40, each=8, sharpness=4.0):
    """Images whose class 1 is labelled 3 half of the time, and a segmenter that is often right."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        truth = rng.integers(0, 3, each)
        given = np.where((truth == 1) & (rng.random(each) < 0.5), 3, truth)
        logits = rng.normal(0, 1.5, (each, CLASSES)) + sharpness * np.eye(CLASSES)[truth]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        truths.append(truth)
        found.append(_image(given, probs))
    return truths, found


def _some_answers(truths, found, share, seed):
    rng = np.random.default_rng(seed)
    return [
        Answer(image, row, int(found[image].given[row]), int(truth[row]), audit=True)
        for image, truth in enumerate(truths)
        for row in range(len(truth))
        if rng.random() < share
    ]


def test_without_answers_the_segmenter_and_the_label_decide():
    image = _image([0, 0], [[0.1, 0.1, 0.7, 0.1], [0.4, 0.2, 0.2, 0.2]])
    posterior = AnswerModel.fit([image], []).posterior([image], [])[0]
    assert posterior.argmax(axis=1).tolist() == [2, 0]
    # log odds are those of the segmenter plus 0.5 for the given class, which lies nowhere else for one of two
    odds = np.log(posterior[1, 1] / posterior[1, 2])
    assert odds == pytest.approx(0.0, abs=1e-6)
    assert posterior.sum(axis=1) == pytest.approx([1, 1])


def test_a_class_that_was_often_wrong_is_believed_less():
    images = [_undecided([0, 3]) for _ in range(12)]
    said = [Answer(image, 1, 3, 1) for image in range(8)] + [Answer(image, 0, 0, 0) for image in range(8)]
    posterior = AnswerModel.fit(images, said).posterior(images, said)
    for image in range(8, 12):
        assert posterior[image][1].argmax() == 1
        assert posterior[image][0].argmax() == 0


def test_answers_in_the_same_image_count():
    images = [_undecided([2, 2, 2, 2]) for _ in range(10)]
    said = [Answer(image, row, 2, 0 if image % 2 else 2) for image in range(10) for row in range(2)]
    posterior = AnswerModel.fit(images, said).posterior(images, said)
    assert [int(posterior[image][3].argmax()) for image in range(10)] == [2, 0] * 5


def test_what_was_said_of_a_superpixel_is_no_evidence_about_it():
    """Else the model would learn to trust its own answers, and no probability would mean anything."""
    images = [_undecided([2]) for _ in range(2)]
    one, other = [Answer(0, 0, 2, 0), Answer(1, 0, 2, 1)], [Answer(0, 0, 2, 1), Answer(1, 0, 2, 0)]
    first, second = (AnswerModel.fit(images, said).posterior(images, said)[0] for said in (one, other))
    assert first == pytest.approx(second, abs=1e-5)


def test_probabilities_mean_what_they_say():
    truths, found = _world(0)
    said = _some_answers(truths, found, 0.3, 1)
    asked = {(each.image, each.row) for each in said}
    posterior = AnswerModel.fit(found, said).posterior(found, said)
    rows = [(i, r) for i, truth in enumerate(truths) for r in range(len(truth)) if (i, r) not in asked]
    sure = np.array([posterior[i][r].max() for i, r in rows])
    right = np.array([posterior[i][r].argmax() == truths[i][r] for i, r in rows])
    assert len(rows) > 180
    assert sure.mean() == pytest.approx(right.mean(), abs=0.05)
    given_right = np.mean([found[i].given[r] == truths[i][r] for i, r in rows])
    assert right.mean() > given_right + 0.1


def test_certain_proposals_repair_and_spare_what_was_asked_once_answers_bear_them_out():
    truths, found = _world(2, images=100, sharpness=6.0)
    said = _some_answers(truths, found, 0.4, 3)
    asked = {(each.image, each.row) for each in said}
    proposals = propagate(found, said)
    assert propagate(found, said[:20]) == propagate(found, [replace(each, audit=False) for each in said]) == []
    right = [truths[each.image][each.row] == each.answer for each in proposals]
    assert len(proposals) > 10
    assert np.mean(right) > 0.85
    assert not asked & {(each.image, each.row) for each in proposals}
    assert all(found[each.image].given[each.row] != each.answer for each in proposals)
    sure = [each.confidence for each in proposals]
    assert sure == sorted(sure, reverse=True)
    assert sure[-1] >= 0.95


def test_slips_of_the_annotator_are_doubted():
    truths, found = _world(4)
    said = _some_answers(truths, found, 0.5, 5)
    rng = np.random.default_rng(6)
    slips = set(rng.choice(len(said), 8, replace=False).tolist())
    given = [
        Answer(each.image, each.row, each.given, (each.answer + 1) % 3) if number in slips else each
        for number, each in enumerate(said)
    ]
    posterior = AnswerModel.fit(found, given).posterior(found, given)
    doubted = doubtful_answers(given, posterior, 0.05)
    caught = [each for each in doubted if truths[each.image][each.row] != each.answer]
    assert len(caught) >= 6
    assert len(doubted) <= len(caught) + 0.05 * len(given)
    worst = [posterior[each.image][each.row, each.answer] for each in doubted]
    assert worst == sorted(worst)


def test_the_newest_of_two_answers_counts():
    images = [_undecided([2, 2]) for _ in range(2)]
    twice = [Answer(0, 0, 2, 1), Answer(0, 0, 2, 0)]
    once = [Answer(0, 0, 2, 0)]
    found = [AnswerModel.fit(images, said).posterior(images, said)[1] for said in (twice, once)]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_images_without_superpixels_and_without_given_class_pass():
    images = [_image([], []), _undecided([-1, 255])]
    said = [Answer(1, 0, -1, 3)]
    posterior = AnswerModel.fit(images, said).posterior(images, said)
    assert [each.shape for each in posterior] == [(0, CLASSES), (2, CLASSES)]
    assert certain_proposals(images, said, posterior, 0.99) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(0, 7, 2, 1), "row 7 of image 0"),
        (Answer(3, 0, 2, 1), "row 0 of image 3"),
        (Answer(0, 0, 2, 255), "255; leave skipped"),
    ],
)
def test_answers_about_nothing_are_refused(answer, message):
    with pytest.raises(LabelQualityError, match=message):
        AnswerModel.fit([_undecided([2, 2])], [answer])


def test_a_confidence_is_a_probability():
    with pytest.raises(LabelQualityError, match=r"1\.5"):
        propagate([_undecided([1])], [], confidence=1.5)
