"""Look at the runs on a dataset and take them away again."""

from __future__ import annotations

from typing import Any

from ..dataset import runs


def list_label_quality_runs(samples: Any) -> list[runs.RunRecord]:
    """Scoring, training and rehearsal runs on a dataset.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        their records, by key
    """
    return runs.list_runs(samples._dataset)


def delete_label_quality_run(samples: Any, key: str) -> runs.RunRecord:
    """Delete a run with every field, saved view and file that it wrote, and nothing else.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the run's key

    Returns:
        the record of what was deleted

    Raises:
        LabelQualityError: if there is no such run
    """
    return runs.remove_run(samples._dataset, key)
