"""Compiled loops over the pixels of one image, tile by tile.

An image is cut into chunks of `CHUNK` pixels. Every chunk leaves its own counts and sums, which are added in the order
of the chunks afterwards: results are the same bit for bit on any number of threads and on any processor.

Loops are short and touch few arrays each, because that is the form that the compiler turns into vector instructions;
four classes are read at once, because one stream at a time does not fill the memory bus.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .compiled import compiled

Array = npt.NDArray[Any]

CHUNK: Final = 16384
TILE: Final = 4096
KEY_BLOCK: Final = 4096
GRID_SIZE: Final = 19
"""Probability thresholds 0.05, 0.10, ..., 0.95 that thresholded CCP chooses from."""

SUSPECT_LIMIT: Final = 0.54
"""Self-confidence up to which a pixel may matter to confident learning.

A pixel whose predicted class is not its label has c <= best probability, so 2 c <= the sum of its probabilities, up to
the tolerances on that sum (1 %) and on negative values (1e-6 for each of at most 65,536 classes): c <= 0.538.
"""

CERTAIN: Final = 0.99
"""Self-confidence from which a pixel counts as nearly certain, for noticing in-sample predictions."""


@compiled
def read_labels(label: Array, start: int, count: int, ignore: int, num_classes: int, out: Array) -> int:
    """Copy labels of one tile, -1 where ignored or outside of the classes; return how many are outside."""
    outside = 0
    for j in range(count):
        value = np.int64(label[start + j])
        ignored = value == ignore
        inside = (value >= 0) & (value < num_classes)
        outside += (not ignored) & (not inside)
        out[j] = np.int32(value) if inside & (not ignored) else np.int32(-1)
    return outside


@compiled
def scan_four(
    first: Array, second: Array, third: Array, fourth: Array, k: int, count: int,
    best: Array, predicted: Array, total: Array, lowest: Array,
) -> None:  # fmt: skip
    """Take four classes into the running best, predicted class, sum and minimum; the smaller class wins ties."""
    k0, k1, k2, k3 = np.int32(k), np.int32(k + 1), np.int32(k + 2), np.int32(k + 3)
    for j in range(count):
        top, arg, low = best[j], predicted[j], lowest[j]
        p0, p1, p2, p3 = first[j], second[j], third[j], fourth[j]
        larger = p0 > top
        top, arg = (p0, k0) if larger else (top, arg)
        larger = p1 > top
        top, arg = (p1, k1) if larger else (top, arg)
        larger = p2 > top
        top, arg = (p2, k2) if larger else (top, arg)
        larger = p3 > top
        best[j] = p3 if larger else top
        predicted[j] = k3 if larger else arg
        total[j] += (p0 + p1) + (p2 + p3)
        left = p1 if p1 < p0 else p0
        right = p3 if p3 < p2 else p2
        left = right if right < left else left
        lowest[j] = left if left < low else low


@compiled
def scan_one(row: Array, k: int, count: int, best: Array, predicted: Array, total: Array, lowest: Array) -> None:
    """Take one class into the running best, predicted class, sum and minimum."""
    k0 = np.int32(k)
    for j in range(count):
        p, top, arg, low = row[j], best[j], predicted[j], lowest[j]
        larger = p > top
        best[j] = p if larger else top
        predicted[j] = k0 if larger else arg
        total[j] += p
        lowest[j] = p if p < low else low


@compiled
def pick_four(
    first: Array, second: Array, third: Array, fourth: Array, k: int, count: int, given: Array, out: Array
) -> None:
    """Keep the probability of the given class where that is one of four classes."""
    k0, k1, k2, k3 = np.int32(k), np.int32(k + 1), np.int32(k + 2), np.int32(k + 3)
    for j in range(count):
        label, value = given[j], out[j]
        p0, p1, p2, p3 = first[j], second[j], third[j], fourth[j]
        value = p0 if label == k0 else value
        value = p1 if label == k1 else value
        value = p2 if label == k2 else value
        out[j] = p3 if label == k3 else value


@compiled
def pick_one(row: Array, k: int, count: int, given: Array, out: Array) -> None:
    """Keep the probability of the given class where that is class k."""
    k0 = np.int32(k)
    for j in range(count):
        p, value = row[j], out[j]
        out[j] = p if given[j] == k0 else value


@compiled
def scan_tile(
    rows: Array, start: int, count: int, given: Array, tolerance: float,
    self_confidence: Array, best: Array, predicted: Array, total: Array, lowest: Array,
) -> int:  # fmt: skip
    """Fill the maps of one tile from `rows[:, start:start + count]`; return how many labelled pixels are invalid."""
    num_classes = rows.shape[0]
    stop = start + count
    nothing = rows.dtype.type(np.nan)
    for j in range(count):
        self_confidence[j] = nothing
    for j in range(count):
        p = rows[0, start + j]
        best[j] = p
        total[j] = 0
        lowest[j] = p
        predicted[j] = 0
    fours = num_classes // 4 * 4
    for k in range(0, fours, 4):
        first, second = rows[k, start:stop], rows[k + 1, start:stop]
        third, fourth = rows[k + 2, start:stop], rows[k + 3, start:stop]
        scan_four(first, second, third, fourth, k, count, best, predicted, total, lowest)
        pick_four(first, second, third, fourth, k, count, given, self_confidence)
    for k in range(fours, num_classes):
        scan_one(rows[k, start:stop], k, count, best, predicted, total, lowest)
        pick_one(rows[k, start:stop], k, count, given, self_confidence)
    return count_faults(given, count, total, lowest, tolerance)


@compiled
def count_faults(given: Array, count: int, total: Array, lowest: Array, tolerance: float) -> int:
    """Count labelled pixels whose probabilities do not sum to one, are negative, or are not finite."""
    faults = 0
    for j in range(count):
        sound = (abs(total[j] - 1) <= tolerance) & (lowest[j] >= -1e-6)
        faults += (given[j] >= 0) & (not sound)
    return faults


@compiled
def clip_tile(values: Array, count: int, out: Array, start: int) -> None:
    """Write values clipped to [0, 1] (they leave it by rounding only); NaN stays, minus zero becomes zero."""
    zero, one = values.dtype.type(0), values.dtype.type(1)
    for j in range(count):
        p = values[j]
        p = zero if p <= zero else p
        out[start + j] = one if p > one else p


@compiled
def copy_tile(values: Array, count: int, out: Array, start: int) -> None:
    """Write predicted classes in the map's narrower type."""
    for j in range(count):
        out[start + j] = values[j]


@compiled
def exp_float32(values: Array, count: int, rounded: Array) -> None:
    """Replace non-positive float32 values by their exponentials, to 2e-7 relative; below -87 it is 0.

    x = n ln 2 + r with |r| <= ln(2) / 2; exp(r) from its Taylor series, 2^n put together from its bits. Adding
    1.5 * 2^23 rounds to an integer and leaves n in the lowest bits.
    """
    bits = rounded.view(np.int32)
    magic, log2e = np.float32(12582912.0), np.float32(1.4426950408889634)
    high, low = np.float32(0.693359375), np.float32(-2.12194440054690583e-4)
    c2, c3, c4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
    c5, c6, c7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
    one, zero, least = np.float32(1), np.float32(0), np.float32(-87)
    for j in range(count):
        x = values[j]
        x = x if x > least else least
        rounded[j] = x * log2e + magic
    for j in range(count):
        x = values[j]
        n = rounded[j] - magic
        r = (x - n * high) - n * low
        p = one + r * (one + r * (c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * c7))))))
        values[j] = zero if x < least else p
    for j in range(count):
        bits[j] = np.int32((np.int64(bits[j]) << 23) + 0x3F800000)
    for j in range(count):
        values[j] = values[j] * rounded[j]


@compiled
def exp_float64(values: Array, count: int, rounded: Array) -> None:
    """Replace non-positive float64 values by their exponentials, to 1e-15 relative; below -700 it is 0."""
    bits = rounded.view(np.int64)
    magic, log2e = 6755399441055744.0, 1.4426950408889634
    high, low = 0.6931471803691238, 1.9082149292705877e-10
    for j in range(count):
        x = values[j]
        x = x if x > -700.0 else -700.0
        rounded[j] = x * log2e + magic
    for j in range(count):
        x = values[j]
        n = rounded[j] - magic
        r = (x - n * high) - n * low
        p = 1 / 479001600 + r / 6227020800
        p = 1 / 3628800 + r * (1 / 39916800 + r * p)
        p = 1 / 40320 + r * (1 / 362880 + r * p)
        p = 1 / 720 + r * (1 / 5040 + r * p)
        p = 1 / 24 + r * (1 / 120 + r * p)
        p = 1 + r * (1 + r * (0.5 + r * (1 / 6 + r * p)))
        values[j] = 0.0 if x < -700.0 else p
    for j in range(count):
        bits[j] = (bits[j] << 52) + 0x3FF0000000000000
    for j in range(count):
        values[j] = values[j] * rounded[j]


@compiled
def softmax_tile(logits: Array, start: int, count: int, out: Array, out_start: int, tile: Array) -> None:
    """Write the softmax over classes of `logits[:, start:start + count]` to `out[:, out_start:]`; `tile`: (3, TILE)."""
    num_classes = logits.shape[0]
    top, total, rounded = tile[0], tile[1], tile[2]
    for j in range(count):
        top[j] = logits[0, start + j]
        total[j] = 0
    for k in range(1, num_classes):
        row = logits[k, start : start + count]
        for j in range(count):
            x, high = row[j], top[j]
            top[j] = x if x > high else high
    for k in range(num_classes):
        row, line = logits[k, start : start + count], out[k, out_start : out_start + count]
        for j in range(count):
            line[j] = row[j] - top[j]
        if logits.itemsize == 4:
            exp_float32(line, count, rounded)
        else:
            exp_float64(line, count, rounded)
        for j in range(count):
            total[j] += line[j]
    for k in range(num_classes):
        line = out[k, out_start : out_start + count]
        for j in range(count):
            line[j] = line[j] / total[j]


@compiled
def softmax_pixels(logits: Array, start: int, out: Array) -> None:
    """Write the softmax over classes of as many pixels of (K, P) logits from `start` as `out` (K, pixels) holds."""
    tile = np.empty((3, TILE), logits.dtype)
    for offset in range(0, out.shape[1], TILE):
        softmax_tile(logits, start + offset, min(TILE, out.shape[1] - offset), out, offset, tile)


@compiled
def count_tile(
    given: Array, predicted: Array, self_confidence: Array, count: int,
    counts: Array, sums: Array, others: Array,
) -> None:  # fmt: skip
    """Add one tile to a chunk's statistics.

    `counts` (3, K): pixels given, predicted, and both; `sums` (K,): self-confidence by given class; `others` (3,):
    labelled pixels, suspects, nearly certain pixels. Labels come in runs, so a run is summed in a register.
    """
    run, run_length, run_sum = np.int32(-1), 0, 0.0
    for j in range(count):
        label = given[j]
        if label != run:
            if run >= 0:
                counts[0, run] += run_length
                sums[run] += run_sum
            run, run_length, run_sum = label, 0, 0.0
        run_length += 1
        run_sum += np.float64(self_confidence[j])
    if run >= 0:
        counts[0, run] += run_length
        sums[run] += run_sum
    labelled, suspects, certain = 0, 0, 0
    for j in range(count):
        label, c = given[j], self_confidence[j]
        valid = label >= 0
        labelled += valid
        suspects += valid & ((label != predicted[j]) | (c <= SUSPECT_LIMIT))
        certain += valid & (c >= CERTAIN)
    others[0] += labelled
    others[1] += suspects
    others[2] += certain
    count_predictions(given, predicted, count, counts)


@compiled
def count_predictions(given: Array, predicted: Array, count: int, counts: Array) -> None:
    """Count predicted and agreeing pixels of one tile by class, run by run."""
    run, run_length, run_agreeing = np.int32(-1), 0, 0
    for j in range(count):
        arg = predicted[j]
        if arg != run:
            if run >= 0:
                counts[1, run] += run_length
                counts[2, run] += run_agreeing
            run, run_length, run_agreeing = arg, 0, 0
        run_length += given[j] >= 0
        run_agreeing += given[j] == arg
    counts[1, run] += run_length
    counts[2, run] += run_agreeing


@compiled
def weigh_tile(
    self_confidence: Array, count: int, lowest: float, temperature: float,
    weights: Array, rounded: Array, weight_lanes: Array, product_lanes: Array,
) -> None:  # fmt: skip
    """Add softmin weights exp((lowest - c) / temperature) and their products with c, position by position."""
    for j in range(count):
        c = np.float64(self_confidence[j])
        weights[j] = (lowest - c) / temperature if c >= lowest else -1e9
    exp_float64(weights, count, rounded)
    for j in range(count):
        c = np.float64(self_confidence[j])
        weight_lanes[j] += weights[j]
        product_lanes[j] += weights[j] * c if c >= lowest else 0.0


@compiled
def lowest_of(values: Array, lanes: Array) -> float:
    """Return the smallest value that is not NaN, infinity if there is none; position by position, so in vectors."""
    lanes[:] = np.inf
    for start in range(0, values.size, lanes.size):
        count = min(lanes.size, values.size - start)
        part = values[start : start + count]
        for j in range(count):
            value, low = part[j], lanes[j]
            lanes[j] = value if value < low else low
    return np.float64(lanes.min())


@compiled
def softmin_chunks(self_confidence: Array, temperature: float, chunk_start: int, chunk_stop: int, out: Array) -> None:
    """Write (lowest c, sum of weights, sum of weights times c) of each chunk to `out` (chunks, 3)."""
    weights, rounded = np.empty(TILE), np.empty(TILE)
    weight_lanes, product_lanes = np.empty(TILE), np.empty(TILE)
    lowest_lanes = np.empty(TILE, self_confidence.dtype)
    for chunk in range(chunk_start, chunk_stop):
        start = chunk * CHUNK
        stop = min(start + CHUNK, self_confidence.size)
        lowest = lowest_of(self_confidence[start:stop], lowest_lanes)
        weight_lanes[:] = 0
        product_lanes[:] = 0
        if lowest < np.inf:
            for tile in range(start, stop, TILE):
                values = self_confidence[tile : min(tile + TILE, stop)]
                weigh_tile(values, values.size, lowest, temperature, weights, rounded, weight_lanes, product_lanes)
        out[chunk, 0] = lowest
        out[chunk, 1] = weight_lanes.sum()
        out[chunk, 2] = product_lanes.sum()


@compiled
def measure_chunks(
    probs: Array, label: Array, ignore: int, tolerance: float, chunk_start: int, chunk_stop: int,
    self_confidence: Array, best: Array, predicted: Array,
    faults: Array, counts: Array, sums: Array, others: Array,
) -> None:  # fmt: skip
    """Fill the three maps and the statistics of chunks chunk_start..chunk_stop-1.

    Args:
        probs: (K, P) probabilities of the P pixels
        label: (P,) integer
        ignore: label of pixels to leave out
        tolerance: how far from 1 a pixel's probabilities may sum
        chunk_start: first chunk
        chunk_stop: chunk after the last one
        self_confidence: (P,) out
        best: (P,) out
        predicted: (P,) out
        faults: (chunks, 2) out: labels outside of the classes, invalid pixels
        counts: (chunks, 3, K) out, see `count_tile`
        sums: (chunks, K) out
        others: (chunks, 3) out
    """
    num_classes, num_pixels = probs.shape
    given, arg = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    confidence, top = np.empty(TILE, probs.dtype), np.empty(TILE, probs.dtype)
    total, lowest = np.empty(TILE, probs.dtype), np.empty(TILE, probs.dtype)
    for chunk in range(chunk_start, chunk_stop):
        chunk_end = min((chunk + 1) * CHUNK, num_pixels)
        for start in range(chunk * CHUNK, chunk_end, TILE):
            count = min(TILE, chunk_end - start)
            faults[chunk, 0] += read_labels(label, start, count, ignore, num_classes, given)
            faults[chunk, 1] += scan_tile(probs, start, count, given, tolerance, confidence, top, arg, total, lowest)
            clip_tile(confidence, count, self_confidence, start)
            clip_tile(top, count, best, start)
            copy_tile(arg, count, predicted, start)
            count_tile(given, arg, self_confidence[start:], count, counts[chunk], sums[chunk], others[chunk])


@compiled
def count_chunks(
    label: Array, self_confidence: Array, predicted: Array, ignore: int, num_classes: int,
    chunk_start: int, chunk_stop: int, faults: Array, counts: Array, sums: Array, others: Array,
) -> None:  # fmt: skip
    """Fill the statistics of chunks from maps that were made elsewhere (on a GPU); arguments as `measure_chunks`."""
    given, arg = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    for chunk in range(chunk_start, chunk_stop):
        chunk_end = min((chunk + 1) * CHUNK, label.size)
        for start in range(chunk * CHUNK, chunk_end, TILE):
            count = min(TILE, chunk_end - start)
            faults[chunk, 0] += read_labels(label, start, count, ignore, num_classes, given)
            for j in range(count):
                arg[j] = predicted[start + j]
            count_tile(given, arg, self_confidence[start:], count, counts[chunk], sums[chunk], others[chunk])


@compiled
def gather_suspects(
    label: Array, self_confidence: Array, best: Array, predicted: Array, ignore: int,
    chunk_start: int, chunk_stop: int, offsets: Array,
    out_index: Array, out_given: Array, out_predicted: Array, out_confidence: Array, out_best: Array,
) -> None:  # fmt: skip
    """Write the suspects of each chunk from `offsets[chunk]` on, in the order of their pixels."""
    for chunk in range(chunk_start, chunk_stop):
        position = offsets[chunk]
        for j in range(chunk * CHUNK, min((chunk + 1) * CHUNK, label.size)):
            given = np.int64(label[j])
            c = self_confidence[j]
            if given == ignore:
                continue
            if (given != predicted[j]) | (c <= SUSPECT_LIMIT):
                out_index[position] = j
                out_given[position] = given
                out_predicted[position] = predicted[j]
                out_confidence[position] = c
                out_best[position] = best[j]
                position += 1


@compiled
def histogram_chunks(
    probs: Array, label: Array, ignore: int, chunk_start: int, chunk_stop: int, histograms: Array
) -> None:
    """Count probabilities by threshold step for each chunk.

    `histograms` (chunks, K, 40): steps 0..19 over pixels given another class, 20..39 over pixels given this class.
    Step 0 (most probabilities are near zero) is not counted here: it is the pixels less those of the other steps.
    """
    num_classes, num_pixels = probs.shape
    given, slots = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    for chunk in range(chunk_start, chunk_stop):
        chunk_end = min((chunk + 1) * CHUNK, num_pixels)
        for start in range(chunk * CHUNK, chunk_end, TILE):
            count = min(TILE, chunk_end - start)
            read_labels(label, start, count, ignore, num_classes, given)
            for k in range(num_classes):
                find_slots(probs[k, start : start + count], count, given, k, slots)
                count_slots(slots, count, histograms[chunk, k])


@compiled
def find_slots(row: Array, count: int, given: Array, k: int, slots: Array) -> None:
    """Find the histogram slot of each probability of class k; 0 where it is not counted.

    The step is the number of thresholds i / 20 strictly below p. Rounding may put 20 p on the wrong side of a whole
    number, so the step is compared with the thresholds around it.
    """
    steps, last = np.float64(GRID_SIZE + 1), np.float64(GRID_SIZE)
    k0, second_half = np.int32(k), np.int32(GRID_SIZE + 1)
    for j in range(count):
        p, label = np.float64(row[j]), given[j]
        step = np.floor(min(p * steps, last)) if p > 0 else 0.0
        step = step - 1.0 if p <= step / steps else step
        step = step + 1.0 if (p > (step + 1.0) / steps) & (step < last) else step
        slot = np.int32(step) if step > 0 else np.int32(0)
        slot = slot + second_half if (label == k0) & (slot > 0) else slot
        slots[j] = slot if label >= 0 else np.int32(0)


@compiled
def count_slots(slots: Array, count: int, histogram: Array) -> None:
    """Count slots; in four tables, because neighbours often fall into one slot and would wait for each other."""
    tables = np.zeros((4, histogram.size), np.int64)
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    fours = count // 4 * 4
    for j in range(0, fours, 4):
        first[slots[j]] += 1
        second[slots[j + 1]] += 1
        third[slots[j + 2]] += 1
        fourth[slots[j + 3]] += 1
    for j in range(fours, count):
        first[slots[j]] += 1
    for slot in range(histogram.size):
        histogram[slot] += first[slot] + second[slot] + third[slot] + fourth[slot]


@compiled
def find_root(parents: Array, item: int) -> int:
    """Return the representative of an item's set, halving the path on the way."""
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


@compiled
def count_runs(label: Array) -> int:
    """Return how many runs of equal labels the rows of an (H, W) label hold."""
    height, width = label.shape
    found = height
    for row in range(height):
        line = label[row]
        for column in range(1, width):
            found += line[column] != line[column - 1]
    return found


@compiled
def find_runs(label: Array, starts: Array, row_starts: Array) -> None:
    """Write the flat index at which each run starts, and the number of the first run of each row, ends included."""
    height, width = label.shape
    found = 0
    for row in range(height):
        row_starts[row] = found
        line = label[row]
        for column in range(width):
            if column == 0 or line[column] != line[column - 1]:
                starts[found] = row * width + column
                found += 1
    starts[found] = height * width
    row_starts[height] = found


@compiled
def unite_rows(
    flat: Array, width: int, row: int, corner: int, starts: Array, row_starts: Array, parents: Array
) -> None:
    """Unite the runs of one row with those of one label above them that they touch by side, or by corner if that is 1.

    The smaller run stays representative, so that components are numbered in reading order.
    """
    above, above_stop = row_starts[row - 1], row_starts[row]
    for run in range(row_starts[row], row_starts[row + 1]):
        left, right = starts[run] - width, starts[run + 1] - width
        while above < above_stop and starts[above + 1] < left + 1 - corner:
            above += 1
        other = above
        while other < above_stop and starts[other] < right + corner:
            if flat[starts[other]] == flat[starts[run]]:
                one, two = find_root(parents, other), find_root(parents, run)
                root = min(one, two)
                parents[one] = root
                parents[two] = root
            other += 1


@compiled
def run_components(label: Array, ignore: int, corner: int, starts: Array, components: Array) -> int:
    """Write the component of each run of an (H, W) label, -1 where ignored; return the number of components.

    Components are pixels of one class that touch by side, or by corner too if that is 1 (8-connectivity). `starts`
    (runs + 1) is written too.
    """
    height, width = label.shape
    flat, row_starts = label.reshape(-1), np.empty(height + 1, np.int64)
    find_runs(label, starts, row_starts)
    parents = np.arange(components.size)
    for row in range(1, height):
        unite_rows(flat, width, row, corner, starts, row_starts, parents)
    found = 0
    for run in range(components.size):
        if np.int64(flat[starts[run]]) == ignore:
            components[run] = -1
        elif parents[run] == run:
            components[run] = found
            found += 1
        else:
            components[run] = components[find_root(parents, run)]
    return found


@compiled
def component_means(label: Array, ignore: int, self_confidence: Array, sums: Array, counts: Array) -> None:
    """Add the mean self-confidence of each component to `sums` (K,) and 1 to `counts` (K,) of its class."""
    num_runs = count_runs(label)
    starts, components = np.empty(num_runs + 1, np.int64), np.empty(num_runs, np.int64)
    found = run_components(label, ignore, 1, starts, components)
    totals, sizes, classes = np.zeros(found), np.zeros(found, np.int64), np.zeros(found, np.int64)
    flat = label.reshape(-1)
    for run in range(num_runs):
        component = components[run]
        if component < 0:
            continue
        total = 0.0
        for pixel in range(starts[run], starts[run + 1]):
            total += np.float64(self_confidence[pixel])
        totals[component] += total
        sizes[component] += starts[run + 1] - starts[run]
        classes[component] = flat[starts[run]]
    for component in range(found):
        sums[classes[component]] += totals[component] / sizes[component]
        counts[classes[component]] += 1


@compiled
def scan_suspects(
    given: Array, predicted: Array, self_confidence: Array, best: Array, thresholds: Array,
    shift: int, counts: Array,
) -> int:  # fmt: skip
    """Count suspects by the leading bits of their self-confidence; return how many are confidently another class.

    A key is the bits of a float64 in [0, 1] read as a whole number, which has the same order; its two highest bits
    are 0.
    """
    confident = 0
    block = np.empty(KEY_BLOCK)
    keys = block.view(np.uint64)
    for start in range(0, given.size, KEY_BLOCK):
        count = min(KEY_BLOCK, given.size - start)
        for j in range(count):
            block[j] = self_confidence[start + j]
        for j in range(count):
            counts[np.int64(keys[j]) >> shift] += 1
        for j in range(start, start + count):
            arg = predicted[j]
            confident += (arg != given[j]) & (np.float64(best[j]) >= thresholds[arg])
    return confident


@compiled
def count_digits(self_confidence: Array, prefix: int, prefix_shift: int, shift: int, counts: Array) -> None:
    """Of the keys that begin with `prefix`, count those with each next digit: the bits from `shift` on."""
    block = np.empty(KEY_BLOCK)
    keys = block.view(np.int64)
    mask = (1 << (prefix_shift - shift)) - 1
    for start in range(0, self_confidence.size, KEY_BLOCK):
        count = min(KEY_BLOCK, self_confidence.size - start)
        for j in range(count):
            block[j] = self_confidence[start + j]
        for j in range(count):
            if keys[j] >> prefix_shift == prefix:
                counts[(keys[j] >> shift) & mask] += 1


@compiled
def collect_keys(self_confidence: Array, prefix: int, prefix_shift: int, out: Array, position: int) -> int:
    """Write the self-confidences whose key begins with `prefix` to `out` from `position`; return the next position."""
    block = np.empty(KEY_BLOCK)
    keys = block.view(np.int64)
    for start in range(0, self_confidence.size, KEY_BLOCK):
        count = min(KEY_BLOCK, self_confidence.size - start)
        for j in range(count):
            block[j] = self_confidence[start + j]
        for j in range(count):
            if keys[j] >> prefix_shift == prefix:
                out[position] = block[j]
                position += 1
    return position


@compiled
def mark_flags(index: Array, given: Array, predicted: Array, self_confidence: Array, cut: float, flags: Array) -> None:
    """Set `flags` at the disagreeing suspects up to the cut."""
    for j in range(index.size):
        if (given[j] != predicted[j]) & (np.float64(self_confidence[j]) <= cut):
            flags[index[j]] = True
