"""A dataset without a model gets out-of-sample probabilities, by whichever method was asked for."""

from __future__ import annotations

import fiftyone.operators as foo
import pytest

from fiftyone_plugin import LabelQualityError, score_label_quality, train_cross_validated

PLUGIN = "@label-quality/segmentation"
TINY = {"encoder": "test_efficientnet", "weights": None, "width": 16, "steps": 30, "crop_size": 32, "lr": 0.02}


def test_frozen_features_are_scored_like_any_cross_validation(make_dataset, tmp_path):
    dataset = make_dataset(8, wrong=(2,))
    trained = train_cross_validated(
        dataset, method="frozen_features", folds=2, output_dir=str(tmp_path / "model"), **TINY
    )
    assert sorted(dataset.distinct("cross_validation_fold")) == [0, 1]
    assert trained.num_trained == 8
    assert "next: score the labels" in trained.markdown()
    assert "all over the labels is learnt by such models, too" in trained.markdown()
    report = score_label_quality(
        dataset, model="cross_validation", output_dir=str(tmp_path / "run"), write_regions=False
    )
    assert report.num_scored == 8
    assert not any("trained on" in warning for warning in report.warnings)


def test_options_of_one_method_are_refused_by_the_other(make_dataset, tmp_path):
    dataset = make_dataset(4)
    with pytest.raises(LabelQualityError, match=r"\['architecture', 'epochs'\] have no meaning for method='frozen_fea"):
        train_cross_validated(dataset, method="frozen_features", architecture="unet", epochs=2)
    with pytest.raises(LabelQualityError, match=r"`method` among .* but got 'magic'"):
        train_cross_validated(dataset, method="magic")


def test_the_operator_drops_what_a_form_held_before_the_method_was_chosen(make_dataset, tmp_path):
    dataset = make_dataset(4)
    run = foo.get_operator(f"{PLUGIN}/train_cross_validated")(
        dataset, method="frozen_features", folds=2, architecture="unet", epochs=20, frozen_encoder="test_efficientnet",
        weights=None, steps=1, width=8, crop_size=32, output_dir=str(tmp_path / "model"),
    )  # fmt: skip
    assert run.parameters["method"] == "frozen_features"
    rows = [(row["value"], row["name"], row["channel"]) for row in run.summary["class_rows"]]
    assert rows == [("1", "road", "0"), ("2", "car", "1"), ("3", "tree", "2"), ("255", "void", "")]
    assert run.parameters["encoder"] == "test_efficientnet"
