"""Hidden known questions tell who errs, look like any other through crashes, undo and tabs, and change no label."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fiftyone_plugin import apply_corrections, open_sitting, plan_correction_queries
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.dataset.journals.answers import HIDDEN, read_answers
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.correcting import sitting as answering
from fiftyone_plugin.workflows.correcting.correction_run import open_correction
from fiftyone_plugin.workflows.correcting.hidden_questions import HiddenQuestions, _agreed

FIELD = "ground_truth"
NAMES = {1: "road", 2: "car", 3: "tree"}


def plan(dataset, folder, **arguments):
    options = {
        "probabilities": "probabilities", "superpixel_size": 40, "output_dir": str(folder), "progress": silent,
        "propagate": False, "audits": 0.0,
    }  # fmt: skip
    return plan_correction_queries(dataset, FIELD, **(options | arguments))


def truth_of(dataset, question):
    true = np.load(dataset[question.sample_id].probabilities).argmax(0)
    return question.classes[np.bincount(true[question.region]).argmax()]


def labels_of(dataset):
    return [read_mask_file(dataset[one].ground_truth_corrected.mask_path) for one in dataset.values("id")]


def known_of(dataset):
    return HiddenQuestions(open_correction(dataset, FIELD)).known()


@pytest.fixture
def planned(make_dataset, tmp_path):
    """Ada has answered well; a quarter of the next questions are random, and the half are hidden ones."""
    dataset = make_dataset(8, wrong=(2, 4))
    plan(dataset, tmp_path / "run", budget=60)
    ada = open_sitting(dataset, FIELD, sitting_id="a", reviewer="ada")
    while (question := ada.question) is not None:
        ada.correct(truth_of(dataset, question))
    assert ada.flush() == []
    report = plan(dataset, tmp_path / "run", budget=24, hidden=0.5, audits=0.25)
    assert (report.num_queries, report.num_hidden, list(report.people)) == (24, 12, ["ada"])
    assert "12 of the questions are hidden ones" in report.markdown()
    return dataset


def answer_all(dataset, answer, **names):
    """Answer everything; returns the hidden questions as they were shown."""
    known, seen = known_of(dataset), {}
    sitting = open_sitting(dataset, FIELD, **names)
    while (question := sitting.question) is not None:
        if question.query_id in known:
            seen[question.query_id] = question
        answer(sitting, question)
    assert sitting.flush() == []
    return sitting, seen


def test_who_always_confirms_is_found_and_no_label_changes(planned, tmp_path):
    before, known = labels_of(planned), known_of(planned)
    assert sum(one.shown != one.truth for one in known.values()) == 9  # three of four
    sitting, seen = answer_all(planned, lambda sitting, question: sitting.confirm(), sitting_id="b", reviewer="bo")
    assert seen.keys() == known.keys()
    for query_id, question in seen.items():
        shown = NAMES[known[query_id].shown]
        assert question.given == shown
        assert {question.classes[index] for index in question.labels[question.region].tolist()} == {shown}
        assert question.alternatives[0] != NAMES[known[query_id].truth]
    progress = sitting.progress()
    assert (progress.confirmed, progress.skipped, progress.pixels_repaired) == (24, 0, 0)
    [bo] = [one for one in sitting.people() if not one.name]
    assert (bo.answered, bo.confirmed, bo.by_hidden.known, bo.by_hidden.slips, bo.by_all) == (24, 24, 12, 9, None)
    assert [one.by_all.careless for one in sitting.people() if one.name == "ada"] == [False]
    assert progress.wrong_share is not None  # the random questions tell as much as without hidden ones
    hidden = [one for one in read_answers(planned, FIELD) if one.source == HIDDEN]
    assert {(one.status, one.repaired, one.repaint()) for one in hidden} == {("skipped", 0, None)}
    done = apply_corrections(planned, FIELD, progress=silent)
    assert list(done.people) == ["bo"]
    assert "9 slips in 12" in done.markdown()
    assert done.by_status == planned.count_values(f"{FIELD}_queries.detections.status")
    assert (done.by_status.get("skipped"), done.by_status["known"]) == (None, 12)
    assert "0 skipped, 12 hidden known ones" in done.markdown()
    report = plan(planned, tmp_path / "run", budget=5)
    bo, ada = report.people["bo"], report.people["ada"]
    assert (bo.known, bo.slips, bo.careless, ada.known, ada.careless) == (12, 9, True, 0, False)
    assert "9 slips in 12 hidden known questions, **more than a careful person makes**" in report.markdown()
    for now, then in zip(labels_of(planned), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_first_sitting_has_rehearsed_ones_which_are_counted_in_steps(make_dataset, tmp_path):
    dataset = make_dataset(8, wrong=(2, 4))
    report = plan(dataset, tmp_path / "run", budget=20, hidden=0.4, audits=0.5)
    assert (report.num_queries, report.num_hidden, report.warnings) == (20, 8, [])
    known, before = known_of(dataset), labels_of(dataset)
    assert sum(one.shown != one.truth for one in known.values()) == 6
    sitting, counts = open_sitting(dataset, FIELD, sitting_id="a", reviewer="ada"), set()
    while (question := sitting.question) is not None:
        if question.query_id in known:
            assert truth_of(dataset, question) == NAMES[known[question.query_id].truth]
            sitting.confirm()
        else:
            sitting.skip()
        [ada] = sitting.people()
        counts.add(ada.by_hidden and ada.by_hidden.known)
    assert sitting.flush() == []
    assert counts == {None, 5, 8}
    assert ada.by_hidden.slips == 6
    assert dataset.count_values(f"{FIELD}_queries.detections.status") == {"known": 8, "skipped": 12}
    for now, then in zip(labels_of(dataset), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert any("hidden questions can be asked" in one for one in plan(dataset, tmp_path, budget=999, hidden=1).warnings)


def test_who_always_takes_the_first_alternative_is_found_and_who_knows_is_not(planned, tmp_path):
    known, slow = known_of(planned), open_sitting(planned, FIELD, sitting_id="d", reviewer="dee")
    while (question := slow.question) is not None and slow.progress().answered < 12:
        slow.correct(truth_of(planned, question))
    slow.close()
    answer_all(planned, lambda sitting, one: sitting.correct(one.alternatives[0]), sitting_id="c", reviewer="cy")
    people = plan(planned, tmp_path / "run", budget=5).people
    assert people["cy"].slips == people["cy"].known == len(known) - people["dee"].known > 3
    assert people["cy"].careless
    assert (people["dee"].slips, people["dee"].careless) == (0, False)


def test_crash_undo_and_a_second_tab_show_the_same_question(planned):
    known = known_of(planned)
    first = open_sitting(planned, FIELD, sitting_id="b", reviewer="bo")
    while first.question.query_id not in known:
        first.confirm()
    shown = first.question
    other = open_sitting(planned, FIELD, sitting_id="other", reviewer="di")
    assert other.question.query_id != shown.query_id
    answering._sittings.clear()  # the server was killed between showing and answering
    again = open_sitting(planned, FIELD, sitting_id="b", reviewer="bo")
    while again.question.query_id != shown.query_id:
        again.skip()
    for _ in range(2):
        question = again.question
        np.testing.assert_array_equal(question.labels, shown.labels)
        assert (question.given, question.alternatives) == (shown.given, shown.alternatives)
        again.confirm()
        again.back()
        np.testing.assert_array_equal(again.question.labels, shown.labels)
        assert again.question.answered == "confirmed"
        again.forward()
        assert again.undo()
    again.correct(shown.alternatives[-1])
    about = read_answers(planned, FIELD, query_ids=[shown.query_id])
    assert [one.status for one in about] == ["skipped", "pending", "skipped", "pending", "skipped"]
    assert {(one.source, one.known) for one in about} == {(HIDDEN, known[shown.query_id].truth)}


def test_without_its_file_nothing_is_asked_and_a_copy_has_one(planned, tmp_path):
    copy = planned.clone()
    try:
        assert known_of(copy) == known_of(planned)
    finally:
        copy.delete()
    (tmp_path / "run" / "hidden_questions.json").write_text("{")
    sitting = open_sitting(planned, FIELD, sitting_id="b", reviewer="bo")
    assert sitting.question is None
    assert "plan the questions again" in sitting.message
    plan(planned, tmp_path / "run", budget=24, hidden=0.5)
    sitting.follow(open_correction(planned, FIELD), "bo", None)
    assert sitting.question is not None


def test_what_label_and_model_agree_on_is_drawn_from_all_classes_in_turn():
    rng, images = np.random.default_rng(3), []
    for size in (0, 40, 7, 90):
        given = rng.choice(4, size, p=[0.7, 0.2, 0.05, 0.05])
        sure = np.eye(4)[given] * np.where(rng.random(size) < 0.7, 0.97, 0.6)[:, None]
        area = rng.integers(1, 9, size)
        images.append(SimpleNamespace(given=given, dominant=given, mean_probs=sure, area=area))
    asked = [rng.random(one.given.size) < 0.1 for one in images]
    left_out = {(1, 3), (3, 8), (3, 60)}

    def sure_of(image, row):
        one = images[image]
        large = one.area[row] >= np.median(one.area)
        usable = one.given[row] != 2 and not asked[image][row] and (image, row) not in left_out
        return large and usable and one.mean_probs[row].max() >= 0.95

    found = SimpleNamespace(candidates=images, asked=asked)
    drawn = _agreed(found, left_out, [0, 1, 3], 500, np.random.default_rng(5))
    assert sorted(drawn) == [
        (i, row) for i, one in enumerate(images) for row in range(len(one.given)) if sure_of(i, row)
    ]
    classes = [int(images[image].given[row]) for image, row in drawn]
    fewest = min(map(classes.count, (0, 1, 3)))
    assert fewest > 0
    assert [sorted(classes[start : start + 3]) for start in range(0, 3 * fewest, 3)] == [[0, 1, 3]] * fewest
    assert _agreed(found, left_out, [0, 1, 3], 5, np.random.default_rng(5)) == drawn[:5]
    assert drawn != sorted(drawn)
    assert _agreed(found, left_out, [2], 0, np.random.default_rng(5)) == []
