"""Reviews change the database at once, are remembered by later runs, and teach the scores; none is lost."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from fiftyone_plugin import (
    changed_labels,
    quality,
    rescore_regions,
    review_history,
    review_regions,
    reviewed_regions,
    score_label_quality,
    show_regions,
)
from fiftyone_plugin.dataset.fields import regions as stored
from fiftyone_plugin.dataset.journals import reviews
from fiftyone_plugin.dataset.journals.reviews import newest_reviews
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.progress import silent
from fiftyone_plugin.workflows.reviewing.overview import run_overview
from fiftyone_plugin.workflows.scoring.issue_regions import load_scorer, score_regions, teach

FIELD = "label_quality_regions"


def score(dataset, folder, **arguments):
    options = {"probabilities": "probabilities", "output_dir": str(folder), "progress": silent} | arguments
    return score_label_quality(dataset, "ground_truth", **options)


def run_classes(dataset):
    return dataset.get_run_info("label_quality").config.summary["classes"]


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """Scored; every image has some regions, two of them one of 20 pixels and more."""
    dataset = make_dataset(6, wrong=(2, 4))
    rng = np.random.default_rng(5)
    for sample in dataset:
        truth = np.load(sample.probabilities).argmax(0)
        for row, column in zip(rng.integers(1, 20, 4), rng.integers(0, 28, 4), strict=True):
            truth[row : row + 3, column : column + 3] = 2
        probs = np.full((3, 24, 32), 0.1, np.float32)
        np.put_along_axis(probs, truth[None], 0.8, axis=0)
        np.save(sample.probabilities, probs + rng.uniform(0, 1e-4, probs.shape).astype(np.float32))
    for sample in dataset:
        probs = np.load(sample.probabilities)
        np.save(sample.probabilities, probs / probs.sum(0))
    score(dataset, tmp_path / "run", min_region_area=1)
    return dataset


def all_regions(dataset, key="label_quality"):
    return {d.id: d for sample in dataset for d in sample[f"{key}_regions"].detections}


def statuses(dataset):
    dataset.reload()
    return {label_id: region.status for label_id, region in all_regions(dataset).items()}


def test_regions_are_shown_worst_first_by_kind_class_and_score(dataset):
    everything = all_regions(dataset)
    view = show_regions(dataset)
    assert len(view) == len(everything)
    scores = view.values(f"{FIELD}.score")
    assert scores == sorted(scores, reverse=True)
    cut = sorted(scores)[len(scores) // 2]
    chosen = show_regions(dataset, kinds=["spurious", "wrong_class"], given="car", suggested="road", min_score=cut)
    expected = {
        label_id
        for label_id, region in everything.items()
        if region.label in ("spurious", "wrong_class") and region.given == "car" and region.suggested == "road"
        and region.score >= cut
    }  # fmt: skip
    assert set(chosen.values("id")) == expected
    assert 0 < len(expected) < len(everything)
    assert len(show_regions(dataset, limit=2)) == 2


def test_regions_of_a_view_of_samples(dataset):
    some = dataset.skip(2).limit(2)
    ids = {d.id for sample in some for d in sample[FIELD].detections}
    assert set(show_regions(some).values("id")) == ids
    patches = show_regions(dataset, given="car")
    assert set(show_regions(patches, suggested="road").values(f"{FIELD}.given")) == {"car"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "nope"}, r"scoring run, but got 'nope'; there are \['label_quality'\]"),
        ({"kinds": "hole"}, r"`kinds` among \['missing'.*but got \['hole'\]"),
        ({"given": "boat"}, r"`given` among \[.*'car'.*but got \['boat'\]"),
        ({"status": "done"}, r"`status` among.*but got \['done'\]"),
    ],
)
def test_wrong_choices_are_named(dataset, arguments, message):
    with pytest.raises(LabelQualityError, match=message):
        show_regions(dataset, **arguments)


def test_a_run_without_regions_says_so(make_dataset, tmp_path):
    dataset = make_dataset(2)
    score(dataset, tmp_path / "none", write_regions=False)
    with pytest.raises(LabelQualityError, match="write_regions=True"):
        show_regions(dataset)


def test_a_decision_is_on_the_dataset_and_nothing_else_changes(dataset):
    before = all_regions(dataset)
    chosen = show_regions(dataset).first().id
    report = review_regions(dataset, "accepted", label_ids=chosen, reviewer="ada")
    assert report.num_regions == 1
    assert report.by_status == {"accepted": 1, "pending": len(before) - 1}
    assert "1 region accepted" in report.markdown()
    after = all_regions(dataset)
    assert (after[chosen].status, after[chosen].reviewer) == ("accepted", "ada")
    assert after[chosen].reviewed_at is not None
    assert list(after) == list(before)
    for label_id, region in after.items():
        if label_id != chosen:
            assert region.to_dict() == before[label_id].to_dict()
        assert (region.score, region.bounding_box) == (before[label_id].score, before[label_id].bounding_box)


def test_a_patches_view_is_reviewed_as_a_whole_and_regions_leave_it(dataset):
    view = show_regions(dataset, given="car")
    ids = set(view.values("id"))
    report = review_regions(view, "rejected", reviewer="bob")
    assert report.num_regions == len(ids) > 1
    assert {i for i, status in statuses(dataset).items() if status == "rejected"} == ids
    assert len(view) == 0, "the view shows pending regions, and there are none left"
    assert set(show_regions(dataset, status="rejected").values("id")) == ids
    assert len(show_regions(dataset, status=None)) == len(all_regions(dataset))


def test_filtered_samples_are_reviewed_as_they_are_filtered(dataset):
    view = dataset.filter_labels(FIELD, F("area") > 20)
    ids = {d.id for d in all_regions(dataset).values() if d.area > 20}
    assert review_regions(view, "accepted").num_regions == len(ids) > 0
    assert {i for i, status in statuses(dataset).items() if status == "accepted"} == ids


def test_undo(dataset):
    chosen = show_regions(dataset).values("id")[:3]
    review_regions(dataset, "rejected", label_ids=chosen, reviewer="ada")
    review_regions(dataset, "pending", label_ids=chosen[:2])
    after = all_regions(dataset)
    assert [after[i].status for i in chosen] == ["pending", "pending", "rejected"]
    assert (after[chosen[0]].reviewed_at, after[chosen[0]].reviewer) == (None, None)
    assert len(review_history(dataset)) == 5, "what was taken back stays in the history"
    assert reviewed_regions(dataset)[1].tolist() == [False]


def test_other_patches_views_and_samples_in_memory_follow(dataset):
    sample = dataset.first()
    chosen = sample[FIELD].detections[0].id
    own = dataset.to_patches(FIELD)
    clone = dataset.clone()
    try:
        review_regions(dataset, "accepted", label_ids=chosen)
        assert sample[FIELD].detections[0].status == "accepted"
        assert own[chosen][FIELD].status == "accepted"
        assert dataset.load_saved_view("label_quality regions")[chosen][FIELD].status == "accepted"
        assert clone.first()[FIELD].detections[0].status == "pending"
        assert chosen in show_regions(clone).values("id"), "a clone has patches of its own"
    finally:
        clone.delete()


def test_two_reviewers_at_once_lose_nothing(dataset):
    ids = list(all_regions(dataset))
    halves = {"accepted": ids[::2], "rejected": ids[1::2]}
    barrier = threading.Barrier(2)

    def work(decision):
        barrier.wait()
        for label_id in halves[decision]:
            review_regions(dataset, decision, label_ids=[label_id], reviewer=decision)

    threads = [threading.Thread(target=work, args=(decision,)) for decision in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {label_id: decision for decision, chosen in halves.items() for label_id in chosen}
    assert statuses(dataset) == expected
    assert len(review_history(dataset)) == len(ids)


def test_the_last_decision_counts(dataset):
    (region, *_) = stored.find_regions(dataset, FIELD, show_regions(dataset).values("id")[:1])
    earlier = stored.utc_now()
    review_regions(dataset, "accepted", label_ids=region.label_id, reviewer="late")
    stored.set_status(dataset, FIELD, [region], "rejected", earlier.replace(year=2020), "slow")
    assert statuses(dataset)[region.label_id] == "accepted", "a decision that arrives late must not win"
    review_regions(dataset, "rejected", label_ids=region.label_id, reviewer="later")
    assert statuses(dataset)[region.label_id] == "rejected"
    assert [r.decision for r in review_history(dataset)] == ["accepted", "rejected"]
    assert [r.decision for r in reviews.newest_reviews(dataset, "ground_truth")] == ["rejected"]


@pytest.mark.parametrize(
    ("decision", "label_ids", "message"),
    [
        ("maybe", None, r"\['pending', 'accepted', 'rejected'\], but got 'maybe'"),
        ("accepted", ["000000000000000000000000"], "1 ids of which none exists"),
        ("accepted", [], "none"),
        ("accepted", ["nonsense"], "24 digits and letters a to f, but got 'nonsense'"),
    ],
)
def test_reviews_that_cannot_be_are_refused(dataset, decision, label_ids, message):
    with pytest.raises(LabelQualityError, match=message):
        review_regions(dataset, decision, label_ids=label_ids)
    assert set(statuses(dataset).values()) == {"pending"}
    assert review_history(dataset) == []


def test_patches_of_another_field_are_refused(dataset):
    sample = dataset.first()
    sample["objects"] = fo.Detections(detections=[fo.Detection(label="a", bounding_box=[0, 0, 1, 1])])
    sample.save()
    with pytest.raises(LabelQualityError, match=f"{FIELD}.*PatchesView"):
        review_regions(dataset.to_patches("objects"), "accepted")


def test_what_is_remembered_of_a_region(dataset, tmp_path):
    sample = dataset.skip(2).first()
    region = sample[FIELD].detections[0]
    review_regions(dataset, "rejected", label_ids=region.id, reviewer="ada")
    (review,) = review_history(dataset)
    saved = quality.load_regions(tmp_path / "run" / "regions" / f"{sample.id}.npz")
    found = saved.regions[region.row]
    assert (review.sample_id, review.label_field, review.run) == (sample.id, "ground_truth", "label_quality")
    assert (review.kind, review.given, review.suggested) == (region.label, region.given, region.suggested)
    assert (review.bbox, review.shape) == (found.bbox, (24, 32))
    assert np.array_equal(review.mask, found.mask)
    assert list(review.features.values()) == pytest.approx(saved.features[region.row].tolist())
    assert (review.decision, review.reviewer) == ("rejected", "ada")


def test_a_rejected_region_stays_away_and_an_accepted_one_stays_accepted(dataset, tmp_path):
    view = show_regions(dataset)
    rejected, accepted = view.values("id")[0], view.values("id")[1]
    sample_id = view.values("sample_id")[0]
    before = all_regions(dataset)
    review_regions(dataset, "rejected", label_ids=rejected)
    review_regions(dataset, "accepted", label_ids=accepted, reviewer="ada")
    report = score(dataset, tmp_path / "second", key="second", min_region_area=1)
    after = all_regions(dataset, "second")
    assert report.left_out == 1
    assert report.accepted_before == 1
    assert len(after) == report.num_regions == len(before) - 1
    assert "1 rejected region left out" in report.markdown()
    places = [(d.given, d.suggested, d.bounding_box) for d in dataset[sample_id].second_regions.detections]
    assert (before[rejected].given, before[rejected].suggested, before[rejected].bounding_box) not in places
    (kept,) = [d for d in after.values() if d.status == "accepted"]
    assert kept.bounding_box == before[accepted].bounding_box
    assert kept.reviewer == "ada"
    assert kept.reviewed_at is not None
    counts = dict(zip(dataset.values("id"), dataset.values("second_num_regions"), strict=True))
    assert sum(counts.values()) == len(after)


def test_a_region_that_was_taken_back_returns(dataset, tmp_path):
    chosen = show_regions(dataset).first().id
    review_regions(dataset, "rejected", label_ids=chosen)
    review_regions(dataset, "pending", label_ids=chosen)
    report = score(dataset, tmp_path / "second", key="second", min_region_area=1)
    assert report.left_out == 0
    assert report.num_regions == len(all_regions(dataset))


def test_a_decision_about_the_same_region_of_another_run_replaces_the_old_one(dataset, tmp_path):
    chosen = show_regions(dataset).first()
    review_regions(dataset, "accepted", label_ids=chosen.id)
    score(dataset, tmp_path / "second", key="second", min_region_area=1)
    (same,) = [d for d in all_regions(dataset, "second").values() if d.status == "accepted"]
    review_regions(dataset, "rejected", key="second", label_ids=same.id)
    assert [r.decision for r in reviews.newest_reviews(dataset, "ground_truth")] == ["rejected"]
    assert score(dataset, tmp_path / "third", key="third", min_region_area=1).left_out == 1


def test_an_edited_label_is_another_region(dataset, tmp_path):
    """The reviewer said that `car` is right there; since then the label became `tree`."""
    sample = dataset.skip(2).first()
    region = next(d for d in sample[FIELD].detections if d.given == "car" and d.area > 40)
    review_regions(dataset, "rejected", label_ids=region.id)
    mask = sample.ground_truth.get_mask().copy()
    mask[mask == 2] = 3
    Image.fromarray(mask).save(sample.ground_truth.mask_path)
    assert score(dataset, tmp_path / "second", key="second", min_region_area=1).left_out == 0


def test_rescoring_learns_from_reviews_and_keeps_what_was_reviewed(dataset):
    before = all_regions(dataset)
    by_kind = {i: d for i, d in before.items() if d.label != "boundary"}
    accepted = [i for i, d in by_kind.items() if d.suggested == "tree"][:8]
    rejected = [i for i, d in by_kind.items() if d.suggested == "road"][:8]
    review_regions(dataset, "accepted", label_ids=accepted)
    review_regions(dataset, "rejected", label_ids=rejected)
    own = dataset.to_patches(FIELD)
    report = rescore_regions(dataset)
    assert (report.num_accepted, report.num_rejected) == (len(accepted), len(rejected))
    after = all_regions(dataset)
    folder = Path(before[accepted[0]].mask_path).parents[1]
    taught = teach(load_scorer(folder.parent), newest_reviews(dataset, "ground_truth"), run_classes(dataset)).scorer
    moved = 0
    for sample in dataset:
        saved = quality.load_regions(folder / f"{sample.id}.npz")
        expected = score_regions(taught, saved)
        scores = [d.score for d in sample[FIELD].detections]
        assert scores == sorted(scores, reverse=True)
        for d in sample[FIELD].detections:
            old = before[d.id]
            assert d.score == pytest.approx(old.score if d.status != "pending" else expected[d.row], abs=1e-12)
            assert (d.bounding_box, d.row, d.label) == (old.bounding_box, old.row, old.label)
            moved += abs(d.score - old.score) > 1e-3
    assert moved > 3
    assert len(after) == len(before)
    assert dict(zip(own.values("id"), own.values(f"{FIELD}.score"), strict=True)) == {
        i: d.score for i, d in after.items()
    }
    shown = show_regions(dataset).values(f"{FIELD}.score")
    assert shown == sorted(shown, reverse=True)


def test_a_new_run_starts_with_scores_that_have_learnt(dataset, tmp_path):
    view = show_regions(dataset, kinds=["missing", "spurious", "wrong_class"])
    ids = view.values("id")
    review_regions(dataset, "accepted", label_ids=ids[::2])
    _, answers = reviewed_regions(dataset)
    decisions = newest_reviews(dataset, "ground_truth")
    report = score(dataset, tmp_path / "second", key="second", min_region_area=1)
    untaught = load_scorer(tmp_path / "second")
    taught = teach(untaught, decisions, run_classes(dataset)).scorer
    assert report.num_reviewed == len(ids[::2])
    assert f"learnt from {len(answers)} reviewed" in report.markdown()
    for sample in dataset:
        saved = quality.load_regions(tmp_path / "second" / "regions" / f"{sample.id}.npz")
        expected = score_regions(taught, saved)
        assert np.abs(expected - score_regions(untaught, saved)).max() > 1e-3
        assert list(expected) == sorted(expected, reverse=True)
        for d in sample.second_regions.detections:
            assert d.score == pytest.approx(expected[d.row])
            assert np.array_equal(d.get_mask() > 0, saved.regions[d.row].mask)


@pytest.mark.parametrize("decision", ["accepted", "rejected"])
def test_rescoring_does_not_upset_the_estimate_of_what_is_left(dataset, decision):
    """Reviewed and pending regions are on one scale, that before any review; only decisions move the estimate."""
    ids = show_regions(dataset).values("id")[:6]
    review_regions(dataset, decision, label_ids=ids)
    before = run_overview(dataset, "label_quality").regions.review.estimate
    firsts = {i: d.first_score for i, d in all_regions(dataset).items()}
    rescore_regions(dataset)
    assert {i: d.first_score for i, d in all_regions(dataset).items()} == firsts
    assert any(d.score != firsts[i] for i, d in all_regions(dataset).items())
    after = run_overview(dataset, "label_quality").regions.review.estimate
    assert after.remaining == before.remaining


def test_rescoring_without_reviews_gives_the_fixed_score(dataset):
    before = {i: d.score for i, d in all_regions(dataset).items()}
    report = rescore_regions(dataset)
    assert "no reviewed regions" in report.markdown()
    assert {i: d.score for i, d in all_regions(dataset).items()} == pytest.approx(before)


def test_rescoring_while_somebody_reviews_loses_nothing(dataset):
    ids = list(all_regions(dataset))
    review_regions(dataset, "accepted", label_ids=ids[:2])
    stop = threading.Event()

    def rescore():
        while not stop.is_set():
            rescore_regions(dataset)

    thread = threading.Thread(target=rescore)
    thread.start()
    for label_id in ids[2:]:
        review_regions(dataset, "rejected", label_ids=label_id)
    stop.set()
    thread.join()
    assert statuses(dataset) == {i: "accepted" if i in ids[:2] else "rejected" for i in ids}


def test_files_of_regions_that_are_gone(dataset, tmp_path):
    sample = dataset.skip(2).first()
    (tmp_path / "run" / "regions" / f"{sample.id}.npz").unlink()
    region = sample[FIELD].detections[0]
    review_regions(dataset, "rejected", label_ids=region.id)
    (review,) = review_history(dataset)
    assert review.features == {}
    x, y, width, height = region.bounding_box
    assert review.bbox == (round(y * 24), round(x * 32), round((y + height) * 24), round((x + width) * 32))
    assert np.array_equal(review.mask, region.get_mask() > 0)
    assert rescore_regions(dataset).num_missing == 1


def test_reviews_of_other_features_are_kept_but_teach_nothing(dataset):
    chosen = show_regions(dataset).first().id
    review_regions(dataset, "rejected", label_ids=chosen)
    old = review_history(dataset)[0]
    reviews.add_reviews(dataset, [reviews.Review(**{**vars(old), "features": {"size": 1.0}})], 1)
    assert reviewed_regions(dataset)[0].shape == (0, len(quality.FEATURE_NAMES))
    assert len(review_history(dataset)) == 2


def test_reviews_follow_a_clone_and_go_with_the_dataset(dataset, tmp_path):
    from fiftyone.core.odm import get_db_conn

    chosen = show_regions(dataset).first().id
    review_regions(dataset, "rejected", label_ids=chosen)
    clone = dataset.clone()
    (review,) = review_history(clone)
    assert review.sample_id in clone.values("id")
    assert score(clone, tmp_path / "clone", key="second", min_region_area=1).left_out == 1
    clone_id = clone._doc.id
    clone.delete()
    assert get_db_conn().execution_store.count_documents({"dataset_id": clone_id}) == 0
    assert len(review_history(dataset)) == 1


def test_labels_that_changed_since_the_run_are_noticed(dataset):
    assert changed_labels(dataset) == []
    sample = dataset.skip(3).first()
    mask = sample.ground_truth.get_mask().copy()
    path = sample.ground_truth.mask_path
    os.utime(path)
    assert changed_labels(dataset) == [], "a file that was only touched has not changed"
    before = os.stat(path)
    mask[10, 10] = 3 if mask[10, 10] != 3 else 1
    Image.fromarray(mask).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed_labels(dataset) == [sample.id], "also where the time of the file was put back"
    assert changed_labels(dataset.limit(3)) == []
    with pytest.warns(UserWarning, match=r"1 label has changed since the run 'label_quality'.*overwrite"):
        show_regions(dataset)
    report = review_regions(dataset, "rejected", label_ids=[sample[FIELD].detections[0].id])
    assert report.changed == [sample.id]
    assert "has changed since" in report.markdown()
    other = review_regions(dataset, "rejected", label_ids=[dataset.first()[FIELD].detections[0].id])
    assert other.changed == []


def test_labels_that_are_gone_or_elsewhere_have_changed(dataset, tmp_path):
    first, second, third, *_ = dataset
    Path(first.ground_truth.mask_path).unlink()
    second["ground_truth"] = None
    second.save()
    copy = tmp_path / "copy.png"
    Image.fromarray(third.ground_truth.get_mask()).save(copy)
    third.ground_truth.mask_path = str(copy)
    third.save()
    assert changed_labels(dataset) == [first.id, second.id], "a mask that only moved is the same"


def test_changed_masks_in_the_database_are_noticed(make_dataset, tmp_path):
    dataset = make_dataset(3, store="database")
    score(dataset, tmp_path / "run")
    assert changed_labels(dataset) == []
    sample = dataset.last()
    mask = sample.ground_truth.mask.copy()
    mask[3, 3] = 1 if mask[3, 3] != 1 else 2
    sample.ground_truth.mask = mask
    sample.save()
    assert changed_labels(dataset) == [sample.id]
    (tmp_path / "run" / "records" / "labels.json").unlink()
    assert changed_labels(dataset) == [sample.id], "the names of the records tell as well"


def test_nothing_is_warned_of_where_nothing_changed(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        show_regions(dataset)
