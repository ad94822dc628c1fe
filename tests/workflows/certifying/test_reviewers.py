"""Who decided, how often each is right, what to ask again; what others said is not shown."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest

from fiftyone_plugin import review_regions, reviewers_report, show_second_look
from fiftyone_plugin.cli.commands import main
from fiftyone_plugin.errors import LabelQualityError

FIELD = "label_quality_regions"


def ids_of(dataset):
    return dataset.values(f"{FIELD}.detections.id", unwind=True)


def test_people_who_agree_and_one_who_does_not(dataset, capsys):
    with pytest.raises(LabelQualityError, match="there are none"):
        reviewers_report(dataset)
    ids = ids_of(dataset)[:30]
    errors, others = ids[:12], ids[12:24]
    for who in ("ada", "bo"):
        review_regions(dataset, "accepted", label_ids=errors, reviewer=who)
        review_regions(dataset, "rejected", label_ids=others, reviewer=who)
    review_regions(dataset, "accepted", label_ids=ids[:24:2], reviewer="cy")
    review_regions(dataset, "rejected", label_ids=ids[1:24:2], reviewer="cy")
    review_regions(dataset, "accepted", label_ids=ids[24:], reviewer="cy")
    review_regions(dataset, "pending", label_ids=ids[24], reviewer="cy")
    report = reviewers_report(dataset)
    assert [one.name for one in report.people] == ["cy", "ada", "bo"]
    cy, ada, _ = report.people
    assert (cy.decided, cy.accepted) == (len(ids) - 1, 12 + len(ids) - 25)
    assert ada.reliability.answers == cy.reliability.answers == 24
    assert cy.reliability.right.high < ada.reliability.right.low
    assert report.pending == 211
    assert main(["reviewers", dataset.name]) == 0
    assert "3 reviewers; 211 regions are pending" in capsys.readouterr().out


def test_slips_against_a_known_truth(dataset):
    """Where the truth is the label itself, every region is right, so whoever accepts one slips."""
    dataset.add_sample_field("truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    paths = dataset.values("ground_truth.mask_path")
    dataset.set_values("truth", [fo.Segmentation(mask_path=path) for path in paths])
    ids = ids_of(dataset)[:6]
    review_regions(dataset, "accepted", label_ids=ids[:3], reviewer="cy")
    review_regions(dataset, "rejected", label_ids=ids[3:], reviewer="ada")
    report = reviewers_report(dataset, truth_field="truth")
    slips = {one.name: (one.reliability.slips, one.reliability.known) for one in report.people}
    assert slips == {"ada": (0, len(ids) - 3), "cy": (3, 3)}
    assert [one.name for one in report.people if one.reliability.careless] == ["cy"]
    assert "a careful person makes: cy" in report.markdown()
    with pytest.raises(LabelQualityError, match="'ghost'"):
        reviewers_report(dataset, truth_field="ghost")


def test_a_second_look_mixes_what_others_said_with_what_is_pending(dataset):
    ids = ids_of(dataset)
    review_regions(dataset, "accepted", label_ids=ids[:5], reviewer="ada")
    review_regions(dataset, "rejected", label_ids=ids[4:8], reviewer="bo")
    view = show_second_look(dataset, "cy", number=9, hidden=1 / 3)
    shown = view.values("id")
    assert len(shown) == 9
    assert len(set(shown) & set(ids[:8])) == 3
    assert ids[4] in shown  # the one about which people differ
    assert not view.has_field(f"{FIELD}.status")
    assert view.has_field(f"{FIELD}.given")
    assert not set(show_second_look(dataset, "ada", number=300).values("id")) & set(ids[:5])
    review_regions(view, "rejected", reviewer="cy")
    assert {one.name: one.decided for one in reviewers_report(dataset).people} == {"cy": 9, "ada": 5, "bo": 4}
    operator = foo.get_operator("@label-quality/segmentation/show_second_look")
    assert len(operator(dataset, "bo", number=4)) == 4
    for wrong in ({"hidden": 2}, {"number": 0}, {"reviewer": ""}):
        with pytest.raises(LabelQualityError):
            show_second_look(dataset, **({"reviewer": "cy"} | wrong))
