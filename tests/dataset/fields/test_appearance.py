"""A saved view can be replaced by several pages at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fiftyone_plugin.dataset.fields.appearance import save_view


def test_pages_that_save_one_view_at_once_leave_one(make_dataset):
    dataset = make_dataset(1)
    with ThreadPoolExecutor(8) as pool:
        saved = [pool.submit(save_view, dataset, "changes", dataset.limit(number), "") for number in range(40)]
    assert [one.exception() for one in saved] == [None] * 40
    assert dataset.list_saved_views() == ["changes"]
