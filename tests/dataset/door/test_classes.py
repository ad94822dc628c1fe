"""Which mask value is which class and which channel predicts it, and what is said when that cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_plugin.dataset.door.backgrounds import background_class
from fiftyone_plugin.dataset.door.classes import IGNORED, ClassMap, classes_of_field, match_channels, parse_mapping
from fiftyone_plugin.errors import LabelQualityError

TARGETS = {0: "sky", 1: "road", 2: "car", 11: "Void"}


@pytest.mark.parametrize(
    ("ignore_index", "names", "ignored"),
    [
        ("auto", ("sky", "road", "car"), {11, 255}),
        (None, ("sky", "road", "car", "Void"), set()),
        (1, ("sky", "car", "Void"), {1}),
        ("car", ("sky", "road", "Void"), {2}),
        ([0, "Void"], ("road", "car"), {0, 11}),
        ("11", ("sky", "road", "car"), {11}),
        ("VOID", ("sky", "road", "car"), {11}),
    ],
)
def test_ignored_values(ignore_index, names, ignored):
    classes = classes_of_field(TARGETS, {0: 1, 1: 1, 2: 1}, ignore_index)
    assert classes.names == names
    assert classes.ignored == ignored


def test_a_name_stands_for_all_its_values_and_a_number_for_itself():
    targets = {0: "bg", 1: "2", 2: "1", 3: "Traffic Light", 4: "traffic_light"}
    assert classes_of_field(targets, {0: 1, 1: 1}, [2, "traffic light"]).ignored == {2, 3, 4}


@pytest.mark.parametrize(
    ("targets", "seen"),
    [
        ({0: "bg", 1: "car", 3: "void"}, {0: 1, 1: 1}),
        ({1: "pet", 2: "pet"}, {0: 1, 1: 1}),
        ({"#800000": "cat", "#000000": "bg"}, {0: 1}),
    ],
)
def test_targets_of_a_copy_mean_the_same(targets, seen):
    classes = classes_of_field(targets, seen)
    again = classes_of_field(classes.targets, seen)
    assert (again.values, again.names, again.ignored) == (classes.values, classes.names, classes.ignored)
    assert targets.items() <= classes.targets.items()


@pytest.mark.parametrize(
    ("names", "index"),
    [(("__background__", "car"), 0), (("car", "BG"), 1), (("car", "none"), 1), (("sky", "car"), None)],
)
def test_the_class_that_stands_for_nothing_is_known_by_its_name(names, index):
    assert background_class(ClassMap((0, 1), names, frozenset())) == index


def test_without_targets_every_value_that_occurs_is_a_class():
    assert classes_of_field(None, {3: 1, 7: 9, 255: 2}).values == (3, 7)


@pytest.mark.parametrize(
    ("targets", "seen", "ignore_index", "names", "values", "ignored"),
    [
        ({1: "road", 2: "car"}, {0: 3, 1: 3}, "auto", ("background", "road", "car"), (0, 1, 2), {255}),
        ({1: "Bg", 2: "car"}, {0: 3, 1: 3}, "auto", ("Bg", "car"), (1, 2), {0, 255}),
        ({1: "bg", 2: "car"}, {0: 3, 1: 3}, None, ("background", "bg", "car"), (0, 1, 2), set()),
        ({1: "background"}, {0: 3, 1: 3}, None, ("background (0)", "background (1)"), (0, 1), set()),
        ({1: "background", 2: "car"}, {0: 3, 1: 3}, 0, ("background", "car"), (1, 2), {0}),
        ({2: "car", 5: "road"}, {2: 3}, "auto", ("car", "road"), (2, 5), {255}),
        ({"#800000": "cat", "#008000": "dog"}, {0: 1}, "auto", ("background", "cat", "dog"), (0, 1 << 23, 1 << 15), {}),
        ({"#FF6D04": "cat", "#000000": "bg"}, {0: 1}, "auto", ("cat", "bg"), (0xFF6D04, 0), set()),
        ({"#800000": "Background", "#008000": "dog"}, {0: 1}, "auto", ("Background", "dog"), (0x800000, 0x8000), {0}),
        (None, {0: 2, 255: 2}, "auto", ("0", "255"), (0, 255), set()),
        (None, {0: 2, 1: 1, 255: 2}, "auto", ("0", "1"), (0, 1), {255}),
        (None, {0: 2, 1: 1, 255: 2}, None, ("0", "1", "255"), (0, 1, 255), set()),
        ({0: "a", 1: "Don't care", 2: "b"}, {0: 1}, "auto", ("a", "b"), (0, 2), {1, 255}),
        (None, {-1: 2, 0: 2, 255: 2}, "auto", ("0", "255"), (0, 255), {-1}),
        ({1: "a", 2: "b"}, {-1: 2, 1: 2}, "auto", ("a", "b"), (1, 2), {-1, 255}),
        ({-1: "a", 2: "b"}, {-1: 2, 1: 2}, 1, ("a", "b"), (-1, 2), {1}),
    ],
    ids=["unlisted 0", "no data beside background", "nothing ignored", "two backgrounds", "0 ignored", "gaps",
         "unlisted black", "listed order", "black beside background",
         "0 and 255", "255 beside others", "255 wanted", "void by another name",
         "negative", "negative beside names", "negative with a name"],
)  # fmt: skip
def test_values_mean_what_they_mean_to_fiftyone(targets, seen, ignore_index, names, values, ignored):
    classes = classes_of_field(targets, seen, ignore_index)
    assert (classes.names, classes.values, set(classes.ignored)) == (names, values, set(ignored))
    assert {value for value, _, _ in classes.reasons} == set(ignored)


def test_colours_are_matched_to_channels_as_they_are_listed():
    classes = classes_of_field({"#000000": "bg", "#800000": "cat", "#008000": "dog"}, {0: 1})
    assert match_channels(classes, 3).values == (0, 0x800000, 0x8000)


def test_white_that_no_target_names_is_asked_about():
    with pytest.raises(LabelQualityError, match=r"value 1 \(lesion\).*only 0 and 255 occur.*{255: 'lesion'}"):
        classes_of_field({0: "bg", 1: "lesion"}, {0: 3, 255: 3})
    assert classes_of_field({0: "bg", 1: "lesion"}, {0: 3, 255: 3}, 255).values == (0, 1)


def test_named_255_is_a_class():
    assert classes_of_field({1: "road", 255: "car"}, {1: 1, 255: 1}).values == (1, 255)


@pytest.mark.parametrize(
    ("targets", "seen", "ignore_index", "message"),
    [
        (
            TARGETS,
            {1: 4, 37: 2, 99: 1},
            "auto",
            r"among 0, 1, 2, but got 37 \(in 2 images\), 99 \(in 1 images\).*ignore_index",
        ),
        ({1: "road"}, {1: 4}, "auto", "at least 2 classes.*but got 1"),
        (None, dict.fromkeys(range(2000), 1), None, "instance ids"),
        (TARGETS, {1: 1}, "lorry", "mask value or one of the classes.*lorry"),
        (None, {0: 9, 254: 1, 255: 9}, "auto", r"what 255 is.*254 \(in 1 images\).*`ignore_index=255`, or None"),
        (None, {0: 9, 128: 9, 255: 9}, "auto", "what 255 is"),
    ],
)
def test_errors_say_both_values_and_the_way_out(targets, seen, ignore_index, message):
    with pytest.raises(LabelQualityError, match=message):
        classes_of_field(targets, seen, ignore_index)


def test_indices_of_grey_and_rgb():
    grey = ClassMap((4, 9), ("a", "b"), frozenset({255}))
    assert grey.indices(np.array([[9, 4, 255]], np.uint8)).tolist() == [[1, 0, IGNORED]]
    rgb = classes_of_field({"#ff0000": "car", "#00ff00": "tree"}, {0xFF0000: 1}, None)
    assert rgb.indices(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)).tolist() == [[0, 1]]
    with pytest.raises(LabelQualityError, match="among 4, 9, but got 5"):
        grey.indices(np.array([[5]]))
    with pytest.raises(LabelQualityError, match="RGB colours"):
        grey.indices(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(LabelQualityError, match="#ff0000, #00ff00, but got #0000ff"):
        rgb.indices(np.array([[[0, 0, 255]]], np.uint8))


CLASSES = ClassMap((1, 2, 5), ("road", "car", "tree"), frozenset({255}))


@pytest.mark.parametrize(
    ("channels", "names", "mapping", "values"),
    [
        (3, None, None, (1, 2, 5)),
        (3, ["Tree", "road", "car"], None, (5, 1, 2)),
        (4, ["tree", "road", "car", "sky"], None, (5, 1, 2, None)),
        (7, None, None, (None, 1, 2, None, None, 5, None)),
        (4, None, {0: "tree", 2: 1, 3: "car"}, (5, None, 1, 2)),
        (3, ["a", "b", "c"], {"a": 5, "b": 2, "c": 1}, (5, 2, 1)),
    ],
)
def test_channels(channels, names, mapping, values):
    assert match_channels(CLASSES, channels, names, mapping).values == values


@pytest.mark.parametrize(
    ("channels", "mapping", "message"),
    [
        (2, None, "3 classes.*2 channels and none for car, tree"),
        (3, {0: 1, 9: 2}, "channels 0..2.*9"),
        (3, {0: "lorry"}, "lorry"),
    ],
)
def test_a_class_without_a_channel_is_refused(channels, mapping, message):
    with pytest.raises(LabelQualityError, match=message):
        match_channels(CLASSES, channels, None, mapping)


VOC = [
    "__background__", "aeroplane", "bicycle", "bus", "car", "diningtable", "motorbike", "person", "sofa", "train",
    "tvmonitor",
]  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "names", "mapping", "channels"),
    [
        ("background car person", VOC, None, [0, 4, 7]),
        ("BG Car people", VOC, {"person": "people"}, [0, 4, 7]),
        ("unlabeled airplane dining-table", VOC, None, [0, 1, 5]),
        ("background couch Motor_Cycle", VOC, {"tvmonitor": 2}, [0, 8, 10]),
        ("0 1 2", VOC, None, [0, 1, 2]),
        ("bg car tree", ["LABEL_0", "LABEL_1", "LABEL_2"], None, [0, 1, 2]),
        ("bg car tree", ["2", "0", "1"], None, [1, 2, 0]),
        ("tv tvmonitor bg", ["bg", "tvmonitor", "tv"], None, [2, 1, 0]),
        ("猫 犬 背景", ["背景", "犬", "猫"], None, [2, 1, 0]),
        ("person, individual; sky", ["sky", "person", "x"], {2: 2}, [1, 0, 2]),
    ],
    ids=["names", "mapping and names", "synonyms", "mapping first", "no names", "no channel names", "values as names",
         "equal before alike", "any alphabet", "lists of names"],
)  # fmt: skip
def test_channels_are_found_by_name_and_never_against_names(targets, names, mapping, channels):
    listed = targets.split() if ";" not in targets else [*targets.split("; "), "other"]
    classes = classes_of_field(dict(enumerate(listed)), {0: 1, 1: 1, 2: 1})
    found = match_channels(classes, len(names), names, mapping)
    assert [found.channels[found.values.index(value)] for value in range(3)] == [(channel,) for channel in channels]


@pytest.mark.parametrize(
    ("targets", "num_channels", "understood"),
    [
        ({0: "background", 1: "car", 2: "person"}, 21, False),
        ({1: "car", 2: "person"}, 21, False),
        ({0: "background", 7: "car", 15: "person"}, 21, True),
        ({1: "background", 2: "car"}, 3, True),
        (None, 21, True),
    ],
    ids=["a table of its own", "from 1", "gaps as in the model's table", "one channel for nothing", "no names at all"],
)
def test_numbers_tell_channels_only_where_they_can_be_the_models(targets, num_channels, understood):
    seen = dict.fromkeys(targets or (0, 1, 2), 1)
    classes = classes_of_field(targets, seen)
    if understood:
        found = match_channels(classes, num_channels)
        assert all(found.channels[found.values.index(value)] == (value,) for value in seen)
    else:
        with pytest.raises(LabelQualityError, match="say which channel it is"):
            match_channels(classes, num_channels)


def test_a_class_without_a_channel_is_named_with_what_looks_like_it():
    classes = classes_of_field({0: "background", 1: "car", 2: "motor", 3: "lawn"}, {0: 1})
    with pytest.raises(
        LabelQualityError, match=r"none for motor, lawn.*motor: motorbike.*class_mapping={'motorbike': "
    ):
        match_channels(classes, len(VOC), VOC)
    with pytest.raises(LabelQualityError, match="none for lawn"):
        match_channels(classes_of_field({1: "lawn", 2: "car"}, {1: 1}), len(VOC), VOC, unmatched="ignore")
    found = match_channels(classes, len(VOC), VOC, {"motorbike": "motor"}, unmatched="ignore")
    assert (found.values[4], found.values[6], found.ignored) == (1, 2, {3, 255})
    assert found.indices(np.array([[3, 2]])).tolist() == [[IGNORED, 6]]


@pytest.mark.parametrize("text", ["7: car, 'traffic light': sign", "{7: car, traffic light: sign}"])
def test_a_mapping_can_be_written(text):
    assert parse_mapping(text) == {7: "car", "traffic light": "sign"}
    assert parse_mapping("") == parse_mapping(None) == {}
    with pytest.raises(LabelQualityError, match="channel: class, channel: class"):
        parse_mapping("car")


def test_names_of_another_number_of_channels_are_refused():
    with pytest.raises(LabelQualityError, match="each of the 3 channels, but got 2 names"):
        match_channels(CLASSES, 3, ["road", "car"])


def test_values_of_one_name_are_two_classes_or_share_a_channel():
    classes = classes_of_field({0: "bg", 1: "vehicle", 2: "vehicle", 3: "road"}, {1: 1})
    assert classes.names == ("bg", "vehicle (1)", "vehicle (2)", "road")
    assert match_channels(classes, 4).values == (0, 1, 2, 3)
    assert match_channels(classes, 4, ["road", "vehicle", "bg", "vehicle"]).values == (3, 1, 0, 2)
    merged = match_channels(classes, 3, ["road", "bg", "Vehicle"])
    assert merged.indices(np.array([[0, 1, 2, 3]])).tolist() == [[1, 2, 2, 0]]


def test_several_channels_are_one_class():
    classes = classes_of_field({0: "bg", 1: "vehicle"}, {1: 1})
    found = match_channels(classes, 4, ["car", "bg", "bus", "dog"], {"car": "vehicle", "bus": 1})
    assert (found.values, found.channels) == ((1, 0, None), ((0, 2), (1,), (3,)))
    with pytest.raises(LabelQualityError, match="each channel once, but channel 0"):
        match_channels(classes, 2, ["car", "bg"], {"car": "vehicle", 0: "bg"})


def test_channels_keep_names_of_classes_and_of_the_model():
    assert match_channels(CLASSES, 4, ["tree", "road", "car", "sky"]).names == ("tree", "road", "car", "sky")
