"""Repairs survive the file, contradictions are listed, and what was changed or not signed as it must be is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fiftyone_plugin.correction.errata import errata_file
from fiftyone_plugin.correction.errata.errata_file import Erratum, merge, read, refusal, write
from fiftyone_plugin.correction.errata.run_lengths import decode, encode
from fiftyone_plugin.errors import LabelQualityError

REGION = np.array([[True, True, False], [False, True, False]])


def erratum(**changes):
    values = {"image": "a.png", "image_digest": "i", "label_digest": "l", "height": 2, "width": 3}
    values |= {"counts": encode(REGION), "given": 1, "corrected": 2, "given_name": "road", "corrected_name": "car"}
    return Erratum(**(values | changes))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 65)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_run_lengths_survive(shape, share):
    mask = np.random.default_rng(1).random(shape) < share
    assert np.array_equal(decode(encode(mask), shape), mask)


def test_run_lengths_are_those_of_coco():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:6] = True
    assert encode(mask) == "P137000V1"  # lengths 32 3 7 3 7 3 45; from the fourth on less the last but one


@pytest.mark.parametrize("counts", ["1", "2 2", "o", "9999"])
def test_damaged_run_lengths_are_refused(counts):
    with pytest.raises(LabelQualityError, match="run lengths"):
        decode(counts, (2, 2))


@pytest.mark.parametrize(
    ("label", "names", "reason"),
    [
        ([[1, 1, 5], [5, 1, 5]], {1: "road", 2: "car"}, ""),
        ([[2, 1, 5], [5, 2, 5]], {1: "road", 2: "car"}, ""),  # partly repaired already
        ([[3, 1, 5], [5, 1, 5]], {}, "1 of 3 pixels are neither 1 nor 2"),
        ([[1, 1, 5], [5, 1, 5]], {1: "road", 2: "tree"}, "mask value 2 is 'tree' here, not 'car'"),
        ([[1, 1, 5]], {}, "the label has 1 x 3 pixels, not 2 x 3"),
    ],
)
def test_a_repair_fits_or_says_why_not(label, names, reason):
    assert refusal(erratum(), np.array(label), names) == reason


@pytest.mark.parametrize(
    ("other", "kept", "reasons"),
    [
        (erratum(), 1, []),
        (erratum(reviewer="bo"), 1, []),  # the same repair by somebody else
        (erratum(corrected=3), 1, ["3 pixels are 3 here, but 2 by ada"]),
        (erratum(corrected=3, counts=encode(~REGION)), 2, []),
        (erratum(corrected=3, image_digest="j"), 2, []),
        (erratum(counts=encode(~REGION), label_digest="m"), 1, ["they are about two versions of the label"]),
    ],
)
def test_two_files_merge(other, kept, reasons):
    merged, conflicts = merge([erratum(reviewer="ada")], [other])
    assert (len(merged), [one.reason for one in conflicts]) == (kept, reasons)


def test_a_file_holds_what_it_is_given_and_notices_changes():
    content = write([erratum(), erratum(image="ä.png", corrected=3)])
    assert set(read(content).errata) == {erratum(), erratum(image="ä.png", corrected=3)}
    assert content == write([erratum(image="ä.png", corrected=3), erratum()])
    for damaged, said in (
        (content.replace(b'"corrected": 3', b'"corrected": 4'), "changed since"),
        (content[:-20], "cannot be read"),
        (b"[]", "cannot be read"),
        (content.replace(b"errata 1", b"errata 9"), "newer version"),
    ):
        with pytest.raises(LabelQualityError, match=said):
            read(damaged)


@pytest.mark.parametrize("change", [{"given": "1"}, {"height": 0}, {"ghost": 1}, {"corrected": True}])
def test_rows_of_another_form_are_refused(change):
    rows = [{**vars(erratum()), **change}]
    body = errata_file._canonical(rows)
    digest = errata_file.hashlib.sha256(body).hexdigest()
    content = json.dumps({"format": errata_file.FORMAT, "digest": digest, "errata": rows}).encode()
    with pytest.raises(LabelQualityError, match=r"Expected errata with|at least one pixel"):
        read(content)


def test_signatures():
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    pem = [key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()) for key in keys]
    names = [key.public_key().public_bytes_raw().hex() for key in keys]
    signed = write([erratum()], pem[0])
    assert read(signed, names[0]).public_key == names[0]
    for content, trusted, said in (
        (signed, names[1], f"signed by {names[0]}"),
        (write([erratum()]), names[0], "not signed"),
        (signed.replace(names[0].encode(), names[1].encode()), None, "signature"),
    ):
        with pytest.raises(LabelQualityError, match=said):
            read(content, trusted)
    with pytest.raises(LabelQualityError, match="private key"):
        write([erratum()], b"no key")


def test_lists_for_people_and_for_coco():
    lines = errata_file.as_csv([erratum(image="=evil()", reviewer="ada")]).splitlines()
    assert lines[1] == "'=evil(),1,road,2,car,ada,,,0,0,2,2,3"
    coco = errata_file.as_coco([erratum(), erratum(corrected=3, corrected_name="")])
    assert [one["id"] for one in coco["images"]] == [1]
    assert coco["categories"] == [{"id": 2, "name": "car"}, {"id": 3, "name": "3"}]
    assert coco["annotations"][1]["segmentation"] == {"size": [2, 3], "counts": encode(REGION)}
