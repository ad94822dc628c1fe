"""Connected parts of superpixels, and small parts that join a neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...quality.pixels.compiled import compiled

Array = npt.NDArray[Any]
Segments = npt.NDArray[np.int32]


def connected_parts(segments: Array, labels: Array) -> Segments:
    """Number the connected parts in which both the superpixel and the label are the same.

    Pixels are connected over edges and corners. Memory: four bytes per pixel beyond the result.

    Args:
        segments: (H, W) superpixel ids; 0 = no superpixel
        labels: (H, W) integer labels; a value of any meaning, compared for equality

    Returns:
        (H, W) ids 1..n in reading order of their first pixels, 0 where `segments` is 0

    Example:
        >>> connected_parts(np.ones((1, 4), np.int32), np.array([[5, 5, 2, 5]]))
        array([[1, 1, 2, 3]], dtype=int32)
    """
    return np.asarray(_connected(np.ascontiguousarray(segments), np.ascontiguousarray(labels)))


@compiled
def _root(parents: Array, place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@compiled
def _same(segments: Array, labels: Array, y: int, x: int, above: int, beside: int) -> bool:
    if above < 0 or beside < 0 or beside >= segments.shape[1]:
        return False
    return segments[above, beside] == segments[y, x] and labels[above, beside] == labels[y, x]


@compiled
def _connected(segments: Array, labels: Array) -> Array:
    """Union-find over pixels: the root of a part is its first pixel in reading order."""
    height, width = segments.shape
    parents = np.arange(height * width).astype(np.int32)
    numbers = np.zeros((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            if segments[y, x] == 0:
                continue
            for dy, dx in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                if _same(segments, labels, y, x, y + dy, x + dx):
                    one, other = _root(parents, y * width + x), _root(parents, (y + dy) * width + x + dx)
                    parents[max(one, other)] = min(one, other)
    count = 0
    for y in range(height):
        for x in range(width):
            if segments[y, x] == 0:
                continue
            root = _root(parents, y * width + x)
            if root == y * width + x:
                count += 1
                numbers[y, x] = count
            else:
                numbers[y, x] = numbers[root // width, root % width]
    return numbers


def join_slivers(parts: Segments, labels: Array, min_area: int) -> Segments:
    """Join parts below an area to the neighbour of the same label with which they share the longest border.

    Slivers that touch only slivers grow together until they are large enough; a sliver without a neighbour of its label
    stays what it is.

    Args:
        parts: (H, W) ids 1..n, each of one label; 0 = no superpixel, which nothing joins
        labels: (H, W) integer labels
        min_area: smallest area in pixels that stays by itself

    Returns:
        (H, W) ids 1..m

    Example:
        >>> parts = np.array([[1, 1, 2, 3], [1, 1, 2, 3]], np.int32)
        >>> join_slivers(parts, np.array([[0, 0, 0, 1]] * 2), min_area=3)
        array([[1, 1, 1, 2],
               [1, 1, 1, 2]], dtype=int32)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(parts.max(initial=0))
    borders = _borders(parts, labels, count)
    numbers = np.arange(count + 1)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    areas[0] = min_area  # no part
    while True:
        small, partner = _partners(borders, areas < min_area)
        if not small.size:
            break
        links = coo_array((np.ones(small.size, np.int8), (small, partner)), shape=(areas.size, areas.size))
        _, group = connected_components(links, directed=False)
        numbers = group[numbers]
        areas = np.bincount(group, weights=areas).astype(np.int64)
        borders = _regroup(borders, group)
    return renumber(np.asarray(numbers.astype(np.int32)[parts]))


def _borders(parts: Segments, labels: Array, count: int) -> tuple[Array, Array, Array]:
    """Pairs of parts of one label that share pixel edges, each in both directions, and how many edges."""
    codes = []
    for ahead, behind in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        touching = (parts[ahead] != parts[behind]) & (labels[ahead] == labels[behind])
        touching &= (parts[ahead] > 0) & (parts[behind] > 0)
        one, other = parts[ahead][touching].astype(np.int64), parts[behind][touching].astype(np.int64)
        codes += [one * (count + 1) + other, other * (count + 1) + one]
    pairs, lengths = np.unique(np.concatenate(codes), return_counts=True)
    return pairs // (count + 1), pairs % (count + 1), lengths


def _partners(borders: tuple[Array, Array, Array], is_small: Array) -> tuple[Array, Array]:
    """For every small part that has neighbours: it, and the neighbour of the longest border (the first of equals)."""
    one, other, lengths = borders
    rows = np.flatnonzero(is_small[one])
    rows = rows[np.lexsort((other[rows], -lengths[rows], one[rows]))]
    first = np.unique(one[rows], return_index=True)[1]
    return one[rows[first]], other[rows[first]]


def _regroup(borders: tuple[Array, Array, Array], group: Array) -> tuple[Array, Array, Array]:
    """Borders between groups of parts."""
    one, other = group[borders[0]].astype(np.int64), group[borders[1]].astype(np.int64)
    apart = one != other
    size = int(group.max(initial=0)) + 1
    pairs, place = np.unique(one[apart] * size + other[apart], return_inverse=True)
    lengths = np.bincount(place.ravel(), weights=borders[2][apart], minlength=pairs.size).astype(np.int64)
    return pairs // size, pairs % size, lengths


def renumber(segments: Array) -> Segments:
    """Number superpixels 1..n without holes, in the order of their ids.

    Args:
        segments: (H, W) integer ids, not negative; 0 = no superpixel

    Returns:
        (H, W) int32

    Example:
        >>> renumber(np.array([[0, 7], [300, 7]]))
        array([[0, 1],
               [2, 1]], dtype=int32)
    """
    highest = int(segments.max(initial=0))
    if highest <= 4 * segments.size + 1024:
        used = np.zeros(highest + 1, np.bool_)
        used[segments] = True
        used[0] = False
        return np.asarray((np.cumsum(used) * used).astype(np.int32)[segments])
    ids, places = np.unique(segments, return_inverse=True)
    return np.asarray((places + (ids[0] > 0)).astype(np.int32).reshape(segments.shape))
