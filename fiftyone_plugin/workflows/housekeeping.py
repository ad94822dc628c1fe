"""Look at the runs on a dataset and take them away again."""

from __future__ import annotations

from typing import Any

from ..dataset.runs import run_records


def list_label_quality_runs(samples: Any) -> list[run_records.RunRecord]:
    """Scoring, training and rehearsal runs on a dataset.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        their records, by key
    """
    return run_records.list_runs(samples._root_dataset, unfinished=True)


def delete_label_quality_run(samples: Any, key: str) -> run_records.RunRecord:
    """Delete a run with every field, saved view and file that it wrote, and nothing else.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the run's key

    Returns:
        the record of what was deleted

    Raises:
        LabelQualityError: if there is no such run
    """
    return run_records.remove_run(samples._root_dataset, key)
