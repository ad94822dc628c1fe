"""The classes of the rendered streets and a colour for each."""

from __future__ import annotations

SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE = range(1, 9)

#: Mask value of every class. 0 is not used: the FiftyOne App never draws it.
SCENE_CLASSES: dict[int, str] = {
    SKY: "sky",
    BUILDING: "building",
    ROAD: "road",
    PAVEMENT: "pavement",
    TREE: "tree",
    CAR: "car",
    PERSON: "person",
    POLE: "pole",
}

#: A colour per mask value that can be told from all others, for the App's colour scheme.
SCENE_COLORS: dict[int, str] = {
    SKY: "#56b4e9",
    BUILDING: "#b07d48",
    ROAD: "#7b3fa0",
    PAVEMENT: "#f29ac1",
    TREE: "#1f9d4d",
    CAR: "#2148d8",
    PERSON: "#e8262a",
    POLE: "#f7d81e",
}

#: Mask value of pixels without a label, written only where `void_border` asks for it.
VOID = 255
