"""What may come through the door: one image's label and predicted probabilities, checked and normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

MAX_CLASSES: Final = 65536
MAX_PIXELS: Final = 2**31 - 1
NO_IGNORE: Final = -(2**62)
NEGATIVE_TOLERANCE: Final = 1e-6
"""Probabilities down to minus this much are rounding (a class computed as one minus the others) and count as 0."""

_SUM_TOLERANCE: Final = {"float16": 1e-2, "bfloat16": 1e-2, "float32": 1e-3, "float64": 1e-3}


def is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Tell whether `value` is a torch tensor, without importing torch.

    Args:
        value: anything

    Returns:
        True for `torch.Tensor` and its subclasses.

    Example:
        >>> is_tensor([1, 2])
        False
    """
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)


def sum_tolerance(dtype: object) -> float:
    """Return how far from 1 the probabilities of a pixel may sum, given the type they are stored in.

    Args:
        dtype: a NumPy or torch floating point type

    Returns:
        0.001 for 32 and 64 bit, 0.01 for 16 bit.

    Example:
        >>> sum_tolerance(np.dtype("float16"))
        0.01
    """
    return _SUM_TOLERANCE.get(str(dtype).removeprefix("torch."), 1e-3)


def check_label(label: object) -> Array:
    """Return a label as a contiguous (H, W) array of uint8, int32, or where values need it int64.

    Args:
        label: (H, W) class indices: a NumPy array, a torch tensor, or what NumPy makes an array of. Boolean masks are
            class 0 (False) and class 1 (True).

    Returns:
        (H, W) uint8, int32 or int64, the values unchanged.

    Raises:
        TypeError: if the values are not integers.
        LabelQualityError: if the array is not two-dimensional, is empty, or is too large.

    Example:
        >>> check_label([[0, 1], [2, 255]]).dtype
        dtype('int32')
    """
    array = np.asarray(label.detach().cpu().numpy() if is_tensor(label) else label)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"Expected a label of integer class indices, but got {array.dtype} values; "
            "convert it with `label.astype(int)` once it holds whole class indices only."
        )
    if array.ndim != 2:
        raise LabelQualityError(_label_shape_message(array))
    if not 0 < array.size <= MAX_PIXELS:
        raise LabelQualityError(
            f"Expected a label of 1 to {MAX_PIXELS} pixels, but got shape {array.shape}; leave such images out."
        )
    if array.dtype != np.uint8:
        array = _to_int32(array)
    return np.ascontiguousarray(array)


def _label_shape_message(array: Array) -> str:
    message = f"Expected a label of shape (H, W), but got {array.shape}"
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        return f"{message}; drop the axis of length 1 with `label.squeeze()`."
    if array.ndim == 3:
        return f"{message}; for one-hot labels of shape (K, H, W) pass `label.argmax(axis=0)`."
    return f"{message}; a single image goes into a list: `labels=[label]`."


def _to_int32(array: Array) -> Array:
    """Narrow to int32 if all values fit, to int64 otherwise."""
    limits = np.iinfo(np.int32)
    if np.can_cast(array.dtype, np.int32) or (array.min() >= limits.min and array.max() <= limits.max):
        return array.astype(np.int32)
    return np.minimum(array, np.iinfo(np.int64).max).astype(np.int64)


def check_ignore_index(ignore_index: int | None) -> int:
    """Return the ignore index as a number; None becomes a value that no label holds.

    Args:
        ignore_index: label value of pixels to leave out, or None to leave none out

    Returns:
        An integer.

    Raises:
        TypeError: if it is neither an integer nor None.

    Example:
        >>> check_ignore_index(255)
        255
    """
    if ignore_index is None:
        return NO_IGNORE
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(
            f"Expected `ignore_index` to be an integer or None, but got {ignore_index!r}; "
            "pass one label value, and map further values to it first."
        )
    return int(ignore_index)


def check_temperature(temperature: float) -> float:
    """Return the softmin temperature as a float.

    Args:
        temperature: larger than 0; small values follow the worst pixel, large ones the mean

    Returns:
        The temperature.

    Raises:
        LabelQualityError: if it is not a finite number larger than 0.

    Example:
        >>> check_temperature(0.1)
        0.1
    """
    if not isinstance(temperature, (int, float, np.integer, np.floating)) or not 0 < temperature < np.inf:
        raise LabelQualityError(
            f"Expected `temperature` to be a finite number larger than 0, but got {temperature!r}; 0.1 is the default."
        )
    return float(temperature)


def check_probabilities(pred_probs: object, shape: tuple[int, int]) -> Array | torch.Tensor:
    """Check type and shape of predicted probabilities or logits; the values are checked while they are measured.

    Args:
        pred_probs: (K, H, W) floating point NumPy array, torch tensor, or what NumPy makes an array of
        shape: (H, W) of the label

    Returns:
        A torch tensor as it is; otherwise a NumPy array in the machine's byte order.

    Raises:
        TypeError: if the values are not real floating point numbers.
        LabelQualityError: if the shape does not fit.

    Example:
        >>> check_probabilities(np.full((2, 4, 6), 0.5), (4, 6)).shape
        (2, 4, 6)
    """
    if is_tensor(pred_probs):
        tensor = pred_probs.detach()
        _check_float(str(tensor.dtype).removeprefix("torch."), floating=tensor.is_floating_point())
        _check_shape(tuple(tensor.shape), shape)
        return tensor
    array = np.asarray(pred_probs)
    _check_float(str(array.dtype), floating=array.dtype.kind == "f")
    _check_shape(array.shape, shape)
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_float(dtype: str, *, floating: bool) -> None:
    if floating:
        return
    ways_out = {
        "uint8": "for probabilities stored as 0..255, cast to float32 and divide by the sum over the class axis",
        "bool": "for one-hot predictions pass `pred_probs.astype(np.float32)`",
    }
    way_out = ways_out.get(dtype, "pass the model's probabilities, not its predicted classes")
    raise TypeError(f"Expected `pred_probs` of a floating point type, but got {dtype}; {way_out}.")


def _check_shape(found: tuple[int, ...], label: tuple[int, int]) -> None:
    expected = f"Expected `pred_probs` of shape (K, {label[0]}, {label[1]}) to fit the label, but got {found}"
    if len(found) == 4 and found[0] == 1:
        raise LabelQualityError(f"{expected}; drop the batch axis with `pred_probs[0]`.")
    if len(found) != 3:
        raise LabelQualityError(f"{expected}; pass one map per class, the class axis first.")
    if found[1:] != label:
        way_out = "resize the predictions to the label's size"
        if found[:2] == label:
            way_out = "move the class axis to the front with `np.moveaxis(pred_probs, -1, 0)`"
        raise LabelQualityError(f"{expected}; {way_out}.")
    if found[0] == 1:
        raise LabelQualityError(
            f"{expected}, which is a single class; for a binary model with probability p pass `np.stack([1 - p, p])`."
        )
    if not 1 < found[0] <= MAX_CLASSES:
        raise LabelQualityError(f"{expected}; 2 to {MAX_CLASSES} classes can be handled.")


def label_values_error(label: Array, ignore_index: int, num_classes: int) -> LabelQualityError:
    """Describe the label values that are neither a class nor ignored.

    Args:
        label: (H, W) integer label with at least one such value
        ignore_index: value of ignored pixels
        num_classes: number of classes K

    Returns:
        The error to raise.

    Example:
        >>> print(label_values_error(np.array([[0, 7]]), 255, 3))
        Expected label values in 0..2 or `ignore_index`=255, but got 7 (1 pixel); map them to classes or to the \
ignore index, pass another `ignore_index`, or predictions with as many classes as the label has.
    """
    values, counts = np.unique(label, return_counts=True)
    bad = (values != ignore_index) & ((values < 0) | (values >= num_classes))
    listed = [f"{v} ({n} pixel{'s' if n != 1 else ''})" for v, n in zip(values[bad], counts[bad], strict=True)]
    shown = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more values" if len(listed) > 5 else "")
    ignored = "None" if ignore_index == NO_IGNORE else str(ignore_index)
    return LabelQualityError(
        f"Expected label values in 0..{num_classes - 1} or `ignore_index`={ignored}, but got {shown}; map them to "
        "classes or to the ignore index, pass another `ignore_index`, or predictions with as many classes as the "
        "label has."
    )


def probability_values_error(
    pred_probs: Array, valid: npt.NDArray[np.bool_], tolerance: float, *, from_logits: bool
) -> LabelQualityError:
    """Describe what is wrong with the values of one image's predictions.

    Args:
        pred_probs: (K, H, W) probabilities or logits
        valid: (H, W) pixels that are not ignored
        tolerance: how far from 1 the probabilities of a pixel may sum
        from_logits: whether `pred_probs` were announced as logits

    Returns:
        The error to raise.

    Example:
        >>> probs = np.array([[[0.5]], [[np.nan]]])
        >>> print(probability_values_error(probs, np.array([[True]]), 1e-3, from_logits=False))
        Expected finite `pred_probs`, but 1 of 1 pixels holds NaN or infinity, the first at row 0, column 0; mend \
the prediction, or set these pixels of the label to the ignore index.
    """
    used = pred_probs[:, valid].astype(np.float64)
    finite = np.isfinite(used).all(axis=0)
    if not finite.all():
        row, column = np.argwhere(valid)[int(np.argmin(finite))]
        bad = int((~finite).sum())
        return LabelQualityError(
            f"Expected finite {'logits' if from_logits else '`pred_probs`'}, but {bad} of {finite.size} pixels "
            f"hold{'s' if bad == 1 else ''} NaN or infinity, the first at row {row}, column {column}; mend the "
            "prediction, or set these pixels of the label to the ignore index."
        )
    if used.min() < -NEGATIVE_TOLERANCE or used.max() > 1 + tolerance:
        return LabelQualityError(
            f"Expected probabilities in [0, 1], but got values from {used.min():.4g} to {used.max():.4g}; if these are "
            "logits pass `from_logits=True`, otherwise divide by the sum over the class axis."
        )
    sums = used.sum(axis=0)
    wrong = int((np.abs(sums - 1) > tolerance).sum())
    return LabelQualityError(
        f"Expected the probabilities of a pixel to sum to 1 (±{tolerance:g}), but the sums of {wrong} of {sums.size} "
        f"pixels do not: they lie between {sums.min():.4g} and {sums.max():.4g}; divide by the sum over the class "
        "axis, or pass logits with `from_logits=True`. Independent (sigmoid) outputs need a background class first."
    )
