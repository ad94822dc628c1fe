"""What changed is found pixel by pixel, marked on the dataset, and taken away with the correction."""

from __future__ import annotations

import numpy as np

from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.workflows.correcting.label_changes import both_labels, chosen_changes, find_label_changes
from fiftyone_plugin.workflows.correcting.sitting import open_sitting
from fiftyone_plugin.workflows.housekeeping import delete_label_quality_run


def test_changes_follow_the_answers(make_planned):
    dataset = make_planned(2, most=4)
    assert find_label_changes(dataset) == []
    sitting = open_sitting(dataset, "ground_truth", sitting_id="s", reviewer="Ann")
    asked = sitting.question
    sitting.correct(asked.alternatives[0])
    sitting.flush()

    (change,) = find_label_changes(dataset)
    dataset.reload()
    assert (change.sample_id, change.reviewers) == (asked.sample_id, {"Ann"})
    assert set(change.pairs) == {(asked.given, asked.alternatives[0])}
    assert chosen_changes([change], class_name=asked.given, reviewer="Ann") == [change]
    assert chosen_changes([change], reviewer="Bob") == chosen_changes([change], class_name="void") == []
    sample = dataset[change.sample_id]
    given, corrected = (read_mask_file(sample[name].mask_path) for name in ("ground_truth", "ground_truth_corrected"))
    marked = read_mask_file(sample["ground_truth_changes"].mask_path)
    assert np.array_equal(marked == 1, given != corrected)
    assert change.pixels == (given != corrected).sum() == asked.region.sum()
    assert dataset.load_saved_view("ground_truth changes").values("id") == [change.sample_id]
    both = both_labels(dataset, "ground_truth", change.sample_id)
    assert np.array_equal(both.given != both.corrected, marked == 1)

    sitting.undo()
    sitting.flush()
    assert find_label_changes(dataset) == []
    assert len(dataset.load_saved_view("ground_truth changes")) == 0
    delete_label_quality_run(dataset, "ground_truth_correction")
    assert not dataset.has_field("ground_truth_changes")
    assert "ground_truth changes" not in dataset.list_saved_views()
