"""Which samples a person means: a slice of groups, all of them, frames, patches, or samples as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import LabelQualityError


def images_of(samples: Any) -> Any:
    """The images that a job works on: of grouped ones the active slice, of dynamic groups all members.

    Args:
        samples: a `fiftyone` dataset or view

    Returns:
        a dataset or view of images

    Raises:
        LabelQualityError: if it is made of frames, patches, clips or videos; the message says what to pass instead
    """
    import fiftyone as fo

    name = type(samples).__name__
    if name == "FramesView":
        raise LabelQualityError(
            "Expected a dataset or view of images, but got a view of frames, whose fields would go with it; make a "
            "dataset of the frames first: `frames.clone()`"
        )
    if samples.media_type == fo.core.media.VIDEO:
        clips = "clips of videos" if name == "ClipsView" else "videos"
        raise LabelQualityError(
            f"Expected a dataset or view of images, but got {clips}; make a dataset of their frames first: "
            "`samples.to_frames(sample_frames=True).clone()`"
        )
    if getattr(samples, "_is_generated", False):
        raise LabelQualityError(
            f"Expected a dataset or view of images, but got patches of them ({name}); pass the images that they are "
            "of: `dataset.select(patches.values('sample_id'))`"
        )
    if getattr(samples, "_is_dynamic_groups", False):
        return images_of(_members(samples))
    if samples.media_type == fo.core.media.GROUP:
        samples = samples.select_group_slices(samples.group_slice)
    if samples.media_type == fo.core.media.UNKNOWN:
        path = samples.first().filepath
        raise LabelQualityError(
            f"Expected a dataset or view of images, but FiftyOne does not know such files as {path} for images; "
            "write them as PNG or TIFF (the pixels of DICOM files with 16 bits), and make a dataset of these"
        )
    if samples.media_type not in (fo.core.media.IMAGE, None):
        raise LabelQualityError(
            f"Expected a dataset or view of images, but got media type {samples.media_type!r}; of a grouped dataset "
            "pass a slice of images: `dataset.select_group_slices('name')`"
        )
    return samples


def every_slice(samples: Any) -> Any:
    """All images that a collection stands for: of groups those of every slice, of dynamic groups all members.

    Args:
        samples: a `fiftyone` dataset or view

    Returns:
        the same, or a view without groups
    """
    if getattr(samples, "_is_dynamic_groups", False):
        return _members(samples)
    return samples.select_group_slices(media_type="image") if samples.media_type == "group" else samples


def _members(groups: Any) -> Any:
    """The samples in dynamic groups, in their order; of dynamic groups of a slice those of the slice."""
    members = groups.flatten()
    if members.media_type != "group":
        return members
    every = groups._root_dataset.select_group_slices(media_type="image")
    return every.select(members.values("id"), ordered=True)


def samples_behind(samples: Any) -> Any:
    """The samples of a dataset that a view of it is about, those of patches too, in every slice.

    Args:
        samples: a `fiftyone` dataset, a view of it, or a view of patches

    Returns:
        a view of samples, or the dataset
    """
    dataset = samples._root_dataset
    if samples._dataset is dataset:
        return every_slice(samples)
    return every_slice(dataset).select(list(dict.fromkeys(samples.values("sample_id"))))


def slices_with(dataset: Any, sample_ids: Iterable[str]) -> Any:
    """A grouped dataset, seen as the slices that some samples are in; any other dataset as it is.

    Args:
        dataset: the `fiftyone.Dataset`
        sample_ids: of the samples

    Returns:
        the dataset or a view of it
    """
    if dataset.media_type != "group":
        return dataset
    wanted, name = set(sample_ids), dataset.group_field
    rows = dataset._sample_collection.find({}, {f"{name}.name": 1})
    names = {row[name]["name"] for row in rows if str(row["_id"]) in wanted}
    return dataset.select_group_slices(sorted(names)) if names else dataset


def changed_elsewhere(dataset: Any) -> bool:
    """Read a dataset again if another process, such as the App, has changed it since it was loaded.

    Without it a script that goes on where the App stopped is told that there is no such run or field.

    Args:
        dataset: the `fiftyone.Dataset`

    Returns:
        whether it was read again
    """
    from fiftyone.core.odm import get_db_conn

    stored = get_db_conn().datasets.find_one({"_id": dataset._doc.id}, {"last_modified_at": True}) or {}
    now, known = stored.get("last_modified_at"), dataset.last_modified_at
    if now is None or (known is not None and now <= known):
        return False
    dataset.reload()
    return True
