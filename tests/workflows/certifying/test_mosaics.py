"""One question about many similar regions: what is grouped, what an answer decides, what it costs."""

from __future__ import annotations

import pytest

from fiftyone_plugin import answer_mosaic, mosaic_questions, show_mosaic
from fiftyone_plugin.correction.questions.mosaics import make_mosaics, mosaic_seconds
from fiftyone_plugin.errors import LabelQualityError

FIELD = "label_quality_regions.detections"


def test_groups_answers_and_exceptions(dataset):
    found = mosaic_questions(dataset, most=20)
    assert {(one.kind, one.given, one.suggested) for one in found} == {
        ("missing", "road", "car"), ("spurious", "road", "car"),
    }  # fmt: skip
    assert sum(len(one.label_ids) for one in found) == 240
    assert [one.saved for one in found] == sorted((one.saved for one in found), reverse=True)
    first = found[0]
    assert first.expected == "accepted"
    assert "Are these 20 regions errors" in first.text()
    assert show_mosaic(dataset, first).values("id") == list(first.label_ids)
    away = first.label_ids[3:5]
    report, seconds = answer_mosaic(dataset, first, "accepted", exceptions=away, reviewer="ada")
    assert report.by_status == {"pending": 220, "accepted": 18, "rejected": 2}
    assert seconds == mosaic_seconds(20, 2)
    status = dict(zip(*(dataset.values(f"{FIELD}.{name}", unwind=True) for name in ("id", "status")), strict=True))
    assert {status[label_id] for label_id in away} == {"rejected"}
    assert not {label_id for one in mosaic_questions(dataset) for label_id in one.label_ids} & set(first.label_ids)
    assert answer_mosaic(dataset, first, "accepted", exceptions=first.label_ids)[0].by_status["rejected"] == 20
    for wrong in ({"decision": "pending"}, {"decision": "accepted", "exceptions": found[1].label_ids[:1]}):
        with pytest.raises(LabelQualityError):
            answer_mosaic(dataset, first, **wrong)


def test_mosaics_that_save_most_come_first():
    kinds = ["sure"] * 10 + ["open"] * 10 + ["few"] * 3
    found = make_mosaics(kinds, [0.02] * 10 + [0.5] * 10 + [1.0] * 3)
    assert [(one.kind, one.expected) for one in found] == [("sure", False), ("open", True)]
    assert found[0].saved > 0 > found[1].saved  # half of the tiles are exceptions: better one by one
    for wrong in ({"chances": [2.0]}, {"chances": [0.5, 0.5]}, {"chances": [0.5], "fewest": 0}):
        with pytest.raises(LabelQualityError):
            make_mosaics(["a"], **wrong)
