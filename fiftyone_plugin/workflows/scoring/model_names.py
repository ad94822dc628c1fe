"""Whether the name of a model can mean anything, told before it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...dataset.runs.run_records import list_runs
from ...errors import LabelQualityError

LIBRARIES = "torchvision:..., transformers:... or zoo:..."


def training_runs(dataset: Any) -> list[str]:
    """Keys of the runs of a dataset whose models can score labels, oldest first.

    Args:
        dataset: the `fiftyone.Dataset`
    """
    return [run.key for run in list_runs(dataset) if "model_folder" in run.parameters]


def require_model(samples: Any, model: str) -> None:
    """Check that a model's name is a run of the dataset, a path that exists, or a library's name.

    Args:
        samples: the dataset or view
        model: what the user wrote

    Raises:
        LabelQualityError: if it is none of them; the message names the runs that there are
    """
    known = [run.key for run in list_runs(samples._dataset)]
    if model in known or ":" in model or Path(model).expanduser().exists():
        return
    trained = training_runs(samples._dataset)
    runs = f"the training runs {', '.join(trained)}" if trained else "no training run yet"
    raise LabelQualityError(
        f"Expected a training run of this dataset, an existing file or folder, {LIBRARIES} as model, but got {model!r};"
        f" the dataset has {runs}"
    )
