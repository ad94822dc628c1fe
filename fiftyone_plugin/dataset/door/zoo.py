"""Segmenters of FiftyOne's model zoo, with the probabilities that FiftyOne itself throws away."""

from __future__ import annotations

from typing import Any

from ...errors import LabelQualityError


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

    from ... import models

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
    return models.load_segmenter(module, **{**_known_options(model), **options})


def _known_options(model: Any) -> dict[str, Any]:
    """What the zoo says of its model: mean and standard deviation of its images, and whether it gives logits."""
    processor = getattr(model, "_output_processor", None)
    softmax = getattr(processor, "has_softmax_out", None)
    given = {"mean": getattr(model.config, "image_mean", None), "std": getattr(model.config, "image_std", None)}
    known: dict[str, Any] = {name: tuple(value) for name, value in given.items() if value is not None}
    return known if softmax is None else {**known, "from_logits": not softmax}
