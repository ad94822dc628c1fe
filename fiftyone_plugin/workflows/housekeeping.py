"""Look at the runs on a dataset and take them away again."""

from __future__ import annotations

from typing import Any

from ..dataset.journals import answers, append_log, reviews
from ..dataset.runs import run_records


def list_label_quality_runs(samples: Any) -> list[run_records.RunRecord]:
    """Scoring, training and rehearsal runs on a dataset.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        their records, by key
    """
    return run_records.list_runs(samples._root_dataset, unfinished=True)


def delete_label_quality_run(samples: Any, key: str) -> run_records.DeletedRun:
    """Delete a run with every field, saved view and file that it wrote, and nothing else.

    This also takes away what is left of a run that was deleted with FiftyOne's own `dataset.delete_run(key)`.

    Args:
        samples: the `fiftyone` dataset or a view of it
        key: the run's key

    Returns:
        what was deleted; `left` names folders that could not be deleted, and says why

    Raises:
        LabelQualityError: if there is no such run
    """
    return run_records.remove_run(samples._root_dataset, key)


def pack_history(samples: Any) -> dict[str, int]:
    """Put a dataset's answers and reviews where FiftyOne's export takes them along; call it just before the export.

    `dataset.export(dataset_type=fo.types.FiftyOneDataset, ...)` carries runs with their results, and the imported
    dataset finds its answers and reviews there. Clones in the same database need no packing.

    Args:
        samples: the `fiftyone` dataset or a view of it

    Returns:
        how many answers and reviews were packed

    Example:
        >>> pack_history(dataset)  # doctest: +SKIP
        {'answers': 132, 'reviews': 40}
    """
    dataset = samples._root_dataset
    stores = {"answers": answers.STORE, "reviews": reviews.STORE}
    content = {name: append_log.packed(dataset, store) for name, store in stores.items()}
    config = dataset.init_run(method=append_log.HISTORY, dataset_id=run_records.dataset_id(dataset))
    dataset.register_run(append_log.HISTORY, config, overwrite=True)
    texts = {stores[name]: text for name, (text, _) in content.items()}
    results = dataset.init_run_results(append_log.HISTORY, stores=texts)
    dataset.save_run_results(append_log.HISTORY, results, overwrite=True, cache=False)
    return {name: number for name, (_, number) in content.items()}
