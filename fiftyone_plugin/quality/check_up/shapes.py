"""Masks that do not have the size of their image, and files that are too large to be read."""

from __future__ import annotations

from typing import Final

from .check import ERROR, TIP, WARNING, Check

UNREADABLE_FILE = Check(
    "unreadable_file",
    "Files that cannot be read",
    ERROR,
    "The image or the mask is missing, broken off, or no image.",
    "Fetch or export the file again, or leave the sample out of the view.",
)
GIGANTIC_FILE = Check(
    "gigantic_file",
    "Gigantic files, which were not decoded",
    WARNING,
    "They have more than 100 million pixels and would take gigabytes of memory.",
    "Cut image and mask into tiles of some thousand pixels, and use these as samples.",
)
OTHER_SIZE = Check(
    "other_size",
    "Masks of another shape than the image",
    ERROR,
    "Height and width of mask and image have another ratio, so the mask is of another image or was cut.",
    "Repair the mask, or leave the sample out of the view.",
)
OTHER_ORIENTATION = Check(
    "other_orientation",
    "Masks turned against the image",
    ERROR,
    "The mask fits only when it is turned by 90 degrees: mostly the image is shown upright by its EXIF tag, and "
    "the mask was made without it.",
    "Turn the mask as the image is shown (its EXIF tag says how), or write the image upright without the tag.",
)
OTHER_SCALE = Check(
    "other_scale",
    "Masks smaller or larger than the image",
    TIP,
    "The mask has the shape of the image, but fewer or more pixels.",
    "Nothing, if it was meant: labels are compared at the size of the mask.",
)
NO_LABEL = Check(
    "no_label",
    "Images without a label",
    TIP,
    "They have no mask.",
    "Nothing, if it was meant: they are left out everywhere.",
)
NAME_NOT_UNIQUE = Check(
    "name_not_unique",
    "Images of one file name in several folders",
    TIP,
    "Whatever finds files by the image's name cannot tell them apart.",
    "Name files of probabilities in a field of the dataset, not by a folder; export with `rel_dir`.",
)
SHARED_MASK_FILE = Check(
    "shared_mask_file",
    "Several images with one mask file",
    ERROR,
    "A mask belongs to one image, so the others have a label that is not theirs.",
    "Give each image a mask file of its own, or leave the copies out of the view.",
)

MOST_PIXELS: Final = 100_000_000
"""Of a file that is decoded whole."""


def fits(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask has the shape of its image, maybe in another size.

    Args:
        mask: (H, W)
        image: (H, W)

    Example:
        >>> fits((240, 320), (480, 640)), fits((320, 240), (480, 640))
        (True, False)
    """
    down, right = mask[0] / image[0], mask[1] / image[1]
    return abs(mask[0] - image[0] * right) <= 1 or abs(mask[1] - image[1] * down) <= 1


def shape_code(mask: tuple[int, int], image: tuple[int, int], stored: tuple[int, int]) -> str | None:
    """What is wrong with the size of a mask.

    Args:
        mask: (H, W)
        image: (H, W) as it is shown
        stored: (H, W) as it is in the file, which an EXIF tag may turn

    Returns:
        the code of a check, or None

    Example:
        >>> shape_code((640, 480), (480, 640), (480, 640)), shape_code((480, 640), (480, 640), (640, 480))
        ('other_orientation', None)
        >>> shape_code((100, 480), (480, 640), (480, 640)), shape_code((240, 320), (480, 640), (480, 640))
        ('other_size', 'other_scale')
    """
    if mask == image:
        return None
    if fits(mask, image):
        return OTHER_SCALE.code
    turned = fits(mask, stored) or fits((mask[1], mask[0]), image)
    return OTHER_ORIENTATION.code if turned else OTHER_SIZE.code
