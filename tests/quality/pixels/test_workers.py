"""Threads are there whoever calls: several threads at once, a forked process, and more threads than work."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fiftyone_plugin.quality.pixels.measurement import measure_image
from fiftyone_plugin.quality.pixels.workers import run_in_parts


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("num_items", [1, 2, 7, 100])
def test_every_item_is_done_once(num_items, num_threads):
    done = np.zeros(num_items, int)

    def work(start, stop):
        done[start:stop] += 1

    run_in_parts(work, num_items, num_threads)
    assert (done == 1).all()


def test_errors_come_through():
    def work(start, stop):
        raise ValueError(f"broken at {start}")

    with pytest.raises(ValueError, match="broken at 0"):
        run_in_parts(work, 4, 2)


def _total(make_dataset, seed):
    labels, probs = make_dataset(seed, 1, 4, 150, 250)
    return measure_image(labels[0], probs[0], num_threads=2).sums.self_confidence


def test_several_threads_may_measure_at_once(make_dataset):
    expected = [_total(make_dataset, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: _total(make_dataset, seed), range(8)))
    np.testing.assert_array_equal(found, expected)


def _put_total(queue, make_dataset):
    queue.put(_total(make_dataset, 0))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_gets_threads_of_its_own(make_dataset):
    expected = _total(make_dataset, 0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_put_total, args=(queue, make_dataset))
    child.start()
    try:
        np.testing.assert_array_equal(queue.get(timeout=60), expected)
    finally:
        child.join(10)
        child.kill()
