"""Causes are found from a scoring run, repaired in the corrected labels, and taken back."""

from __future__ import annotations

import fiftyone.operators as foo
import numpy as np
import pytest

from fiftyone_plugin import find_causes, known_causes, repair_cause, score_label_quality, undo_cause_repair
from fiftyone_plugin.dataset.door.masks import read_mask_file
from fiftyone_plugin.errors import LabelQualityError


def corrected(dataset):
    return [read_mask_file(path) for path in dataset.values("ground_truth_corrected.mask_path")]


def test_a_cause_from_the_run_to_the_mask_and_back(make_dataset):
    dataset = make_dataset(20, wrong=tuple(range(0, 16, 2)))
    dataset.set_values(
        "ground_truth.annotator", ["bo" if n % 2 == 0 and n < 16 else "ada" for n in range(20)], dynamic=True
    )
    with pytest.raises(LabelQualityError, match="key of a scoring run"):
        find_causes(dataset)
    score_label_quality(dataset, "ground_truth", probabilities="probabilities")
    assert known_causes(dataset) == ()
    report = find_causes(dataset)
    [cause] = report.causes
    assert (cause.repair.kind, cause.classes) == ("called", ("road", "car"))
    assert (cause.attribute, cause.value, cause.num_shown) == ("ground_truth.annotator", "bo", 8)
    assert known_causes(dataset) == report.causes
    assert cause.text in report.markdown()

    given = [read_mask_file(path) for path in dataset.values("ground_truth.mask_path")]
    with pytest.raises(LabelQualityError, match="there are \\['called-"):
        repair_cause(dataset, "ghost")
    done = repair_cause(dataset, cause.name, reviewer="ada")
    assert (done.num_images, repair_cause(dataset, cause.name).num_images) == (8, 0)
    after = corrected(dataset)
    assert done.pixels == sum(int((new != old).sum()) for new, old in zip(after, given, strict=True)) > 0
    true = [np.load(path).argmax(0) + 1 for path in dataset.values("probabilities")]
    assert all(
        np.array_equal(new[1:], label[1:]) and (new[0] == 255).all() for new, label in zip(after, true, strict=True)
    )
    assert undo_cause_repair(dataset, cause.name) == 8
    assert all(np.array_equal(new, old) for new, old in zip(corrected(dataset), given, strict=True))

    repair = foo.get_operator("@label-quality/segmentation/repair_cause")
    repair(dataset, cause.name)
    assert np.array_equal(corrected(dataset)[0], after[0])
    repair(dataset, cause.name, action="undo")
    assert np.array_equal(corrected(dataset)[0], given[0])
    foo.get_operator("@label-quality/segmentation/find_causes")(dataset)
    assert known_causes(dataset) == report.causes
