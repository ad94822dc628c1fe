"""Segmenters of FiftyOne's model zoo, with the probabilities that FiftyOne itself throws away."""

from __future__ import annotations

from typing import Any

from ..errors import LabelQualityError


def zoo_segmenter_names() -> list[str]:
    """Names of the zoo's semantic segmenters that give probabilities.

    Returns:
        torchvision's segmenters and the per-pixel transformers (SegFormer and the like)
    """
    import fiftyone.zoo as foz

    listed = foz.list_zoo_models(tags=["segmentation", "torch"])
    return [name for name in listed if _is_dense(foz.get_zoo_model(name))]


def _is_dense(model: Any) -> bool:
    config = model.default_deployment_config_dict or {}
    kind = str(config.get("type", ""))
    processor = str((config.get("config") or {}).get("output_processor_cls", ""))
    return processor.endswith("SemanticSegmenterOutputProcessor") or kind.endswith(
        "FiftyOneTransformerForSemanticSegmentation"
    )


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

    from .. import models

    if name not in foz.list_zoo_models():
        raise LabelQualityError(f"Expected a zoo model among {zoo_segmenter_names()}, but got {name!r}")
    try:
        model = foz.load_zoo_model(name)
    except Exception as error:
        raise LabelQualityError(
            f"Could not load the zoo model {name!r} ({error}); check the network, or pass a model file or folder"
        ) from error
    if type(model).__name__ == "FiftyOneTransformerForSemanticSegmentation":
        return models.load_segmenter(f"transformers:{model.config.name_or_path}", **options)
    module = getattr(model, "_model", None)
    if module is None or not callable(module):
        raise LabelQualityError(
            f"Expected a zoo model with per-pixel class scores, but {name!r} has none; "
            f"use one of {zoo_segmenter_names()}"
        )
    return models.load_segmenter(module, **{**_normalisation(model.config), **options})


def _normalisation(config: Any) -> dict[str, Any]:
    """The mean and standard deviation that the zoo model was trained with."""
    given = {"mean": getattr(config, "image_mean", None), "std": getattr(config, "image_std", None)}
    return {name: tuple(value) for name, value in given.items() if value is not None}
