"""What is printed is readable in a terminal of any encoding."""

from __future__ import annotations

import io
import sys

import pytest

from fiftyone_plugin.cli.arguments import plain
from fiftyone_plugin.progress import terminal_bar
from fiftyone_plugin.workflows.correcting.corrected_labels import CorrectionReport


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_bars_and_reports(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal_bar("scoring straße") as progress:
        progress(1, 2, "scoring 街")
    report = CorrectionReport("labels", 1, 1, {"corrected": 1}, 9, changes={("road", "car"): 9})
    print(plain(report.markdown()), file=stream)
    written = stream.buffer.getvalue().decode(encoding)
    assert "1 of 2" in written
    assert "road -> car: 9 pixels" in written
