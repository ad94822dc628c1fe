"""Metric of `evaluate_segmentations`: how much of the ground truth the predictions say is wrong."""

from __future__ import annotations

import warnings
from typing import Any

import fiftyone.operators as foo

from ..fiftyone_plugin.workflows.scoring import evaluation


class LabelQualityMetric(foo.EvaluationMetric):
    """Custom metric `@label-quality/segmentation/label_quality_metric`; lower is better."""

    @property
    def config(self) -> foo.EvaluationMetricConfig:
        """How the metric appears in the Model Evaluation panel."""
        return foo.EvaluationMetricConfig(
            name="label_quality_metric",
            label="Label error share",
            description="Share of the labelled pixels in regions where the ground truth is probably wrong",
            eval_types=["segmentation"],
            aggregate_key="label_error_share",
            lower_is_better=True,
            unlisted=True,
            risk_level="low",
        )

    def compute(self, samples: Any, results: Any, **kwargs: Any) -> float:
        """Write the numbers of each sample and give the mean share.

        Args:
            samples: the evaluated collection
            results: FiftyOne's results
            kwargs: `mask_targets`, `ignore_index` and `min_region_area` of `workflows.evaluation.label_agreement`

        Returns:
            mean share of wrong pixels; the other means are further custom metrics of the results
        """
        config = results.config
        kwargs.setdefault("mask_targets", evaluation.targets_of_evaluation(samples, results))
        found = evaluation.label_agreement(samples, config.gt_field, config.pred_field, eval_key=results.key, **kwargs)
        if found.warning:
            warnings.warn(found.warning, stacklevel=2)
        further = {
            "label_regions": ("Label error regions per image", found.num_regions, True),
            "label_softmin": ("Label softmin", found.softmin, False),
        }
        results.custom_metrics = results.custom_metrics or {}
        for key, (label, value, lower) in further.items():
            entry = {"key": key, "value": value, "label": label, "lower_is_better": lower}
            results.custom_metrics[f"{self.uri}/{key}"] = entry
        return found.error_share

    def get_fields(self, samples: Any, config: Any, eval_key: str | None) -> list[str]:
        """The fields that `compute` wrote; FiftyOne renames and deletes them with the evaluation."""
        return evaluation.MetricFields(eval_key).names_for(config.gt_field) if eval_key else []
