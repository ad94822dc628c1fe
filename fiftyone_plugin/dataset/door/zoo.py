"""Segmenters of FiftyOne's model zoo, with the probabilities that FiftyOne itself throws away."""

from __future__ import annotations

from typing import Any

from ...errors import LabelQualityError

_TRANSFORMERS = ("FiftyOneTransformerForSemanticSegmentation", "FiftyOneTransformerForUniversalSegmentation")


def zoo_segmenter_names() -> list[str]:
    """Names of the zoo's semantic segmenters that give probabilities.

    Returns:
        torchvision's segmenters, the per-pixel transformers (SegFormer and the like) and the universal ones, which give
        a probability per class and pixel whatever task they were made for
    """
    from fiftyone.zoo.models import _list_zoo_models

    # FiftyOne reads all its manifests again for each name that is asked for, which takes a minute for all names
    return sorted(model.name for model in _list_zoo_models(tags=["torch"]) if _is_dense(model))


def zoo_class_names(name: str) -> list[str]:
    """Names of the channels of a zoo model as its manifest tells them, without loading it.

    Args:
        name: of the model

    Returns:
        one name a channel; empty where only the model itself knows them
    """
    import eta.core.learning as etal
    from fiftyone.core.utils import fill_patterns
    from fiftyone.zoo.models import _list_zoo_models

    entry = next((model for model in _list_zoo_models(tags=["torch"]) if model.name == name), None)
    config = (entry.default_deployment_config_dict or {}).get("config", {}) if entry is not None else {}
    path = config.get("mask_targets_path")
    if not path:
        return [word.strip() for word in str(config.get("labels_string") or "").split(",") if word.strip()]
    targets = etal.load_labels_map(fill_patterns(path))
    return [targets.get(value, f"class {value}") for value in range(max(targets) + 1)]


def _is_dense(model: Any) -> bool:
    config = model.default_deployment_config_dict or {}
    kind = str(config.get("type", "")).rpartition(".")[2]
    processor = str((config.get("config") or {}).get("output_processor_cls", ""))
    per_pixel = processor.endswith("SemanticSegmenterOutputProcessor") and not kind.startswith("SegmentAnything")
    return per_pixel or kind in _TRANSFORMERS


def zoo_segmenter(name: str, **options: Any) -> Any:
    """Load a zoo model as a segmenter that keeps its probabilities.

    Args:
        name: a name of `zoo_segmenter_names`; weights are downloaded on first use
        options: options of `models.load_segmenter`

    Returns:
        a `models.Segmenter`

    Raises:
        LabelQualityError: if there is no such model, or it cannot be loaded
    """
    import fiftyone.zoo as foz

    from ... import models

    if name not in foz.list_zoo_models():
        raise LabelQualityError(f"Expected a zoo model among {zoo_segmenter_names()}, but got {name!r}")
    try:
        model = foz.load_zoo_model(name)
    except Exception as error:
        raise LabelQualityError(
            f"Could not load the zoo model {name!r} ({error}); check the network, or pass a model file or folder"
        ) from error
    return models.load_segmenter(model, **options)
