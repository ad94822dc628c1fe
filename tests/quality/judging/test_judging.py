"""One ranking for every dataset: wrong labels first, the model's own mistakes later, and honest about weak models."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import ndimage

from fiftyone_plugin import quality
from fiftyone_plugin.errors import LabelQualityError
from fiftyone_plugin.quality.judging.judge import Found, ImageEvidence, Rehearsed, _found
from fiftyone_plugin.quality.judging.rehearsed_labels import MOST_PER_IMAGE, REHEARSED_KINDS, RegionRows
from fiftyone_plugin.quality.known_errors import inject_error
from fiftyone_plugin.quality.regions.region_terms import FEATURE_NAMES

SIZE = (60, 80)


def scene(rng, confusing=0.6):
    """A true mask of a few rectangles, and a model that now and then takes one class for another, but unsurely."""
    true = np.zeros(SIZE, int)
    sure = np.full(SIZE, 0.93)
    predicted = true.copy()
    for _ in range(4):
        top, left = rng.integers(0, 44), rng.integers(0, 58)
        box = np.s_[top : top + rng.integers(9, 16), left : left + rng.integers(10, 22)]
        value = int(rng.integers(1, 4))
        true[box] = predicted[box] = value
        sure[box] = 0.9
        if rng.random() < confusing and value == 3:  # class 3 is often taken for class 2
            predicted[box] = 2
            sure[box] = 0.62
    sure -= rng.random(SIZE) * 0.05
    rest = (1 - sure) / 3
    probs = np.where(np.arange(4)[:, None, None] == predicted, sure, rest)
    return true, probs.astype(np.float32)


def dataset(seed=0, count=24, wrong=(3, 11, 17)):
    """Clean labels but for one object each in three images."""
    rng = np.random.default_rng(seed)
    labels, probs = zip(*(scene(rng) for _ in range(count)), strict=True)
    for index in (i for i in wrong if i < count):
        label = labels[index]
        label[20:30, 30:45] = np.where(label[20:30, 30:45] == 1, 2, 1)
    return list(labels), list(probs)


def test_wrong_objects_come_first_and_the_models_confusion_later():
    labels, probs = dataset()
    verdict = quality.judge_labels(labels, probs)
    assert set(np.argsort(verdict.scores)[:3]) == {3, 11, 17}
    assert {region.image_index for region in verdict.regions[:3]} == {3, 11, 17}
    assert verdict.judge.scorer.learnt
    assert all(0 <= region.score <= 1 for region in verdict.regions)
    confused = [region.score for region in verdict.regions if (region.given, region.suggested) == (3, 2)]
    assert confused
    assert max(confused) < verdict.regions[2].score


def test_the_result_does_not_depend_on_the_order_of_images():
    labels, probs = dataset(count=14)
    records = [quality.image_record(label, p) for label, p in zip(labels, probs, strict=True)]
    results = []
    for order in (range(14), reversed(range(14))):
        evidence = quality.Evidence(4)
        for i in order:
            altered = quality.rehearse(labels[i], probs[i], count=4, seed=i)
            evidence.add(str(i), records[i], quality.image_regions(labels[i], records[i]), altered)
        results.append(evidence.judge().image_scores())
    assert results[0] == results[1]


def test_what_is_known_of_regions_is_not_in_memory():
    """Two million features of 2,000 images are 16 MB; what is held of an image is its name and where it is kept."""
    evidence, rng = quality.Evidence(4), np.random.default_rng(0)
    features = rng.random((43, len(FEATURE_NAMES)))
    given, suggested = rng.integers(0, 4, (2, 43))

    def images():
        for index in range(2_000):
            rows = RegionRows(features + index / 1e4, given, suggested)
            yield ImageEvidence(str(index), 0.9, 0.9, rows, (), np.full((4, 4), 0.5), 1000, 1000, 100, 80.0, 0.0)

    tracemalloc.start()
    try:
        for image in images():
            evidence.add_image(image)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        judge = evidence.judge()
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000
    assert now - held < 500_000
    assert most < 8_000_000
    assert [image.key for image in judge.images] == sorted(map(str, range(2_000)))
    again = pickle.loads(pickle.dumps(judge))
    np.testing.assert_array_equal(again.images[7].rows.features, judge.images[7].rows.features)
    np.testing.assert_array_equal(judge.images[7].rows.features[:, 0], features[:, 0] + int(judge.images[7].key) / 1e4)


def test_a_seed_gives_the_same_verdict_again():
    labels, probs = dataset(count=12)
    first, again = (quality.judge_labels(iter(labels), iter(probs)) for _ in range(2))
    np.testing.assert_array_equal(first.scores, again.scores)
    assert [r.score for r in first.regions] == [r.score for r in again.regions]


def test_the_share_of_wrong_labels_is_what_a_calibrated_model_cannot_explain():
    rng = np.random.default_rng(1)
    labels, probs, wrong = [], [], []
    for index in range(40):
        sure = rng.uniform(0.6, 1.0, SIZE)
        true = (rng.random(SIZE) < 0.5).astype(int)
        predicted = np.where(rng.random(SIZE) < sure, true, 1 - true)  # as often wrong as it says
        label = true.copy()
        if index % 4 == 0:
            label[:30] = 1 - label[:30]
        labels.append(label)
        probs.append(np.where(np.arange(2)[:, None, None] == predicted, sure, 1 - sure))
        wrong.append((label != true).mean())
    evidence = quality.Evidence(2)
    for index, (label, p) in enumerate(zip(labels, probs, strict=True)):
        record = quality.image_record(label, p)
        evidence.add(str(index), record, quality.image_regions(label, record))
    # A wrong label is agreed with where the model is wrong too, one time in five.
    assert evidence.excess == pytest.approx(np.mean(wrong) * (2 * 0.8 - 1), abs=0.01)
    assert evidence.unsure == pytest.approx(0.2, abs=0.01)
    low, high = evidence.judge().wrong_share_range
    assert low < np.mean(wrong) < high


def test_who_guesses_cannot_tell_how_much_is_wrong():
    labels, _ = dataset(wrong=())
    guesses = [np.random.default_rng(i).dirichlet(np.ones(4), SIZE).transpose(2, 0, 1) for i in range(len(labels))]
    evidence = quality.Evidence(4)
    for index, (label, probs) in enumerate(zip(labels, guesses, strict=True)):
        record = quality.image_record(label, probs)
        evidence.add(str(index), record, quality.image_regions(label, record))
    low, high = evidence.judge().wrong_share_range
    assert low == 0
    assert high > np.mean([(label != p.argmax(axis=0)).mean() for label, p in zip(labels, guesses, strict=True)])


@pytest.mark.parametrize(("gain", "highest"), [(0.0, 0.0), (0.05, 0.025)])
def test_a_moved_label_may_be_wrong_wherever_it_disagrees(gain, highest):
    """Three of twelve are moved, and the model expects as many mistakes as there are."""
    evidence = quality.Evidence(2)
    none = RegionRows(np.zeros((0, len(FEATURE_NAMES))), np.zeros(0, int), np.zeros(0, int))
    for index in range(12):
        moved = gain if index < 3 else 0.0
        evidence.add_image(
            ImageEvidence(str(index), 0.9, 0.9, none, (), np.full((4, 2), 0.5), 1000, 1000, 100, 100.0, moved)
        )
    low, high = evidence.judge().wrong_share_range
    assert low == 0
    assert highest <= high <= 2.5 * highest


def test_nothing_is_expected_where_nothing_is_wrong():
    for wrong in ((), (3, 11, 17)):
        verdict = quality.judge_labels(*dataset(wrong=wrong))
        assert verdict.judge.expected_errors <= 1 + len(wrong)
    assert verdict.judge.scorer.learnt


@pytest.mark.parametrize("wrong", [(), (3, 11, 17)])
def test_the_range_of_the_wrong_share_holds_the_truth(wrong):
    verdict = quality.judge_labels(*dataset(wrong=wrong))
    low, high = verdict.wrong_share_range
    truth = len(wrong) * 150 / (24 * SIZE[0] * SIZE[1])
    assert 0 <= low <= min(truth, verdict.wrong_share)
    assert max(truth, verdict.wrong_share) <= high < truth + 0.05


def test_where_most_labels_are_wrong_the_wrong_area_decides():
    labels, probs = dataset(wrong=())
    shares = np.linspace(0, 0.8, len(labels))
    for label, share in zip(labels, shares, strict=True):
        rows = int(share * SIZE[0])
        label[:rows] = (label[:rows] + 1) % 4
    judge = quality.judge_labels(labels, probs).judge
    assert judge.coarse == 1
    assert not judge.scorer.learnt
    scores = [judge.image_scores()[key] for key in sorted(judge.image_scores())]
    assert np.corrcoef(np.argsort(np.argsort(scores)), shares)[0, 1] < -0.95


def test_a_model_that_guesses_is_called_too_weak():
    rng = np.random.default_rng(2)
    labels, _ = dataset(wrong=())
    probs = [rng.dirichlet(np.ones(4), SIZE).transpose(2, 0, 1) for _ in labels]
    assert "too weak" in quality.judge_labels(labels, probs).warning
    assert quality.judge_labels(*dataset()).warning is None


def test_rehearsed_errors_tell_what_can_be_found():
    rehearsed = quality.judge_labels(*dataset(wrong=())).judge.rehearsed
    assert 0.8 < rehearsed.auroc <= 1
    assert rehearsed.num_found > 0.5 * rehearsed.num_labels > 20
    assert rehearsed.found_in_worst_fifth > 0.6
    assert rehearsed.small.num_labels + rehearsed.large.num_labels == rehearsed.num_labels
    assert rehearsed.large.auroc > rehearsed.small.auroc > 0.7
    assert set(rehearsed.by_class) == {0, 1, 2, 3}
    assert "borders drawn aside" in rehearsed.by_kind
    assert 0 < rehearsed.everything.error < 0.1


@pytest.mark.parametrize(("owners", "error"), [("ab", 0.125**0.5 / 2), ("aa", 0.0)])
def test_the_error_of_an_auroc_is_that_of_a_mean_over_images(owners, error):
    found = _found(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0]), np.array(list(owners)))
    assert (found.num_labels, found.auroc) == (2, 0.75)
    assert found.error == pytest.approx(error)


@pytest.mark.parametrize(
    ("small", "large", "of_class", "words", "blind"),
    [
        (0.62, 0.9, 0.9, "hardly finds errors of up to 90 pixels (31 %): so many", []),
        (0.5, 0.51, 0.5, "too weak to judge single objects", []),
        (0.8, 0.9, 0.5, "hardly finds borders drawn aside (25 %): so many", [2]),
        (0.8, 0.9, 0.9, None, []),
    ],
)
def test_what_a_model_can_judge_is_asked_by_size_class_and_kind(small, large, of_class, words, blind):
    whole, *some = (Found(40, value, value / 2, 0.03) for value in ((small + large) / 2, small, large, of_class))
    judge = quality.judge_labels(*dataset()).judge
    by_class, by_kind = {1: some[1], 2: some[2]}, {"invented objects": some[1], "borders drawn aside": some[2]}
    vars(judge)["rehearsed"] = Rehearsed(80, 40, whole, 90, some[0], some[1], by_class, by_kind)
    assert judge.blind_classes == blind
    assert judge.warning is None if words is None else words in judge.warning


def test_few_images_are_ranked_by_softmin_and_keep_the_fixed_score():
    labels, probs = dataset(count=5, wrong=(3,))
    verdict = quality.judge_labels(labels, probs)
    np.testing.assert_allclose(verdict.scores, quality.image_scores(labels, probs)["softmin"])
    assert not verdict.judge.scorer.learnt
    record = quality.image_record(labels[3], probs[3])
    fixed = quality.image_regions(labels[3], record).regions[0].score
    assert max(r.score for r in verdict.regions if r.image_index == 3) == fixed


def test_ignored_images_have_no_score_and_one_class_is_no_problem():
    labels, probs = dataset(count=12)
    labels[5][:] = 255
    scores = quality.judge_labels(labels, probs).scores
    assert np.isnan(scores[5])
    assert np.isfinite(np.delete(scores, 5)).all()
    sure = np.stack([np.full((8, 9), 0.9), np.full((8, 9), 0.1)])
    single = quality.judge_labels([np.zeros((8, 9), int)] * 12, [sure] * 12)
    assert single.regions == []
    assert np.isfinite(single.scores).all()


def test_no_image_at_all():
    verdict = quality.judge_labels([], [])
    assert verdict.scores.shape == (0,)
    assert (verdict.regions, verdict.warning) == ([], None)


@pytest.mark.parametrize("count", [10, 100, 256, 300, 5000])
def test_datasets_of_every_size_have_about_as_many_rehearsals(count):
    numbers = [quality.rehearsals_of(i, count) for i in range(count)]
    assert sum(numbers) == max(256, sum(numbers)) if count >= 256 else sum(numbers) >= min(256, MOST_PER_IMAGE * count)
    assert max(numbers) <= MOST_PER_IMAGE
    if count > 256:
        places = np.flatnonzero(numbers)
        assert np.diff(places).max() <= -(-count // 256)  # spread over the dataset


def test_rehearsals_survive_their_file_and_damage_is_named(tmp_path):
    label, probs = scene(np.random.default_rng(3))
    altered = quality.rehearse(label, probs, count=3, seed=1)
    assert len(altered) == 3
    for some in (altered, []):
        path = quality.save_rehearsals(some, tmp_path / "image.npz")
        read = quality.load_rehearsals(path)
        assert len(read) == len(some)
        for one, other in zip(some, read, strict=True):
            np.testing.assert_array_equal(one.rows.features, other.rows.features)
            np.testing.assert_array_equal(one.hits, other.hits)
            assert (one.softmin, one.pixels, one.classes, one.kind) == (
                other.softmin, other.pixels, other.classes, other.kind,
            )  # fmt: skip
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(LabelQualityError, match=r"rehearsed labels.*delete it"):
        quality.load_rehearsals(path)


def test_rehearsing_never_changes_the_label():
    label, probs = scene(np.random.default_rng(4))
    before = label.copy()
    quality.rehearse(label, probs, count=4, seed=0)
    np.testing.assert_array_equal(label, before)


def test_a_scorer_survives_as_plain_values_and_learns_from_a_reviewer():
    labels, probs = dataset()
    judge = quality.judge_labels(labels, probs).judge
    scorer = quality.RegionScorer.from_dict(judge.scorer.as_dict())
    record = quality.image_record(labels[3], probs[3])
    rows = quality.RegionRows.of(quality.image_regions(labels[3], record))
    np.testing.assert_array_equal(scorer.scores("3", rows), judge.scorer.scores("3", rows))
    worst = int(scorer.scores("3", rows).argmax())
    one = quality.RegionRows(rows.features[[worst]], rows.given[[worst]], rows.suggested[[worst]])
    doubted = scorer.taught(one, [False])
    assert doubted.scores("3", rows)[worst] < scorer.scores("3", rows)[worst]
    none = quality.RegionRows(rows.features[:0], rows.given[:0], rows.suggested[:0])
    np.testing.assert_array_equal(scorer.taught(none, []).scores("3", rows), scorer.scores("3", rows))
    with pytest.raises(LabelQualityError, match="score the dataset again"):
        quality.RegionScorer.from_dict({**scorer.as_dict(), "features": ["margin"]})


def lone_objects(count):
    """One object an image, of three classes in turn, before class 0; in four images the label has it otherwise."""
    labels, probs = [], []
    for index in range(count):
        label = np.zeros(SIZE, int)
        label[10:30, 20:50] = 1 + index % 3
        probs.append(np.where(np.arange(4)[:, None, None] == label, 0.9, 0.1 / 3))
        labels.append(label)
    labels[0][:] = 0  # missing
    labels[1][40:50, 60:75] = 1  # spurious
    labels[2][12:28, 22:48] = 1  # of a wrong class, but for its rim
    labels[4][10:30, 45:50] = 1  # in part
    return labels, probs


def test_kinds_agree_with_classes_where_one_class_stands_for_nothing():
    """Known by name, or because it alone is in every image; with neither, shapes decide."""
    labels, probs = lone_objects(12)
    verdict = quality.judge_labels(labels, probs)
    assert verdict.judge.scorer.background == 0
    found = {(r.image_index, r.kind, r.given, r.suggested) for r in verdict.regions if r.kind != "boundary"}
    assert found == {(0, "missing", 0, 1), (1, "spurious", 1, 0), (2, "wrong_class", 1, 3), (4, "wrong_class", 1, 2)}
    few = quality.judge_labels(labels[:3], probs[:3], background=0)
    assert {r.kind for r in few.regions if r.kind != "boundary"} == {"missing", "spurious", "wrong_class"}
    assert quality.judge_labels(labels[:3], probs[:3]).judge.scorer.background is None
    assert quality.RegionScorer.from_dict(verdict.judge.scorer.as_dict()).background == 0


def test_the_likely_ones_are_counted_and_the_others_stay():
    verdict = quality.judge_labels(*lone_objects(12))
    scores = [region.score for region in verdict.regions]
    assert 0 < verdict.num_likely < len(scores)
    assert min(scores[: verdict.num_likely]) >= quality.LIKELY > max(scores[verdict.num_likely :])


def test_evidence_names_what_it_cannot_use():
    label, probs = scene(np.random.default_rng(5))
    record = quality.image_record(label, probs, methods="iou")
    regions = quality.image_regions(label, record)
    with pytest.raises(LabelQualityError, match=r"softmin, but got \['iou'\]"):
        quality.Evidence(4).add("a", record, regions)
    with pytest.raises(LabelQualityError, match="5 classes, but got 4"):
        quality.Evidence(5).add("a", quality.image_record(label, probs), regions)


@pytest.mark.parametrize("kind", ["numpy", "tensor", "logits"])
def test_a_rehearsal_reads_only_altered_pixels_and_gives_the_bits_of_measuring_the_altered_label_anew(kind):
    label, probs = scene(np.random.default_rng(5))
    label[:6] = 255
    values = {"numpy": probs, "tensor": torch.from_numpy(probs), "logits": np.log(probs)}[kind]
    options = {"ignore_index": 255, "from_logits": kind == "logits"}
    altered = quality.rehearse(label, values, count=4, seed=2, **options)
    rng = np.random.default_rng(2)
    kinds = rng.permutation(REHEARSED_KINDS)
    errors = [inject_error(label, str(error_kind), rng, class_ids=range(4)) for error_kind in kinds]
    assert len(altered) >= 2
    for one, error in zip(altered, [error for error in errors if error is not None][:4], strict=True):
        record = quality.image_record(error.mask, values, **options)
        regions = quality.image_regions(error.mask, record)
        np.testing.assert_array_equal(one.rows.features, regions.features)
        np.testing.assert_array_equal(one.rows.pairs, quality.RegionRows.of(regions).pairs)
        assert one.softmin == record.scores["softmin"]
        parts, _ = ndimage.label(error.changed, np.ones((3, 3)))
        for region, hit in zip(regions, one.hits, strict=True):
            whole = np.zeros(SIZE, bool)
            top, left, bottom, right = region.bbox
            whole[top:bottom, left:right] = region.mask
            overlaps = [(whole & (parts == p)).sum() / (whole | (parts == p)).sum() for p in range(1, parts.max() + 1)]
            assert hit == (max(overlaps) >= 0.25)
