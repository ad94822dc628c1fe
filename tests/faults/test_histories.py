"""Any history of answers gives the labels that a reference of a few lines gives, however they are kept."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fiftyone_plugin as lq
from fiftyone_plugin.progress import silent
from tests.faults.harness import CLASSES, _plan, make_scene

NAMES = [name for name in CLASSES.values() if name != "void"]
VALUE_OF = {name: value for value, name in CLASSES.items()}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob"]), st.sampled_from(["confirm", "skip", "undo", "back", "forward", *NAMES, *NAMES])
    ),
    max_size=14,
)


class Reference:
    """The newest answer to each question, painted in the order in which they were given."""

    def __init__(self, labels: dict[str, np.ndarray]) -> None:
        self.labels = labels
        self.given: dict[str, tuple[str, np.ndarray, int]] = {}

    def say(self, query_id: str, sample_id: str, mask: np.ndarray, value: int | None) -> None:
        self.given.pop(query_id, None)
        if value is not None:
            self.given[query_id] = (sample_id, mask, value)

    def painted(self) -> dict[str, np.ndarray]:
        labels = {sample_id: label.copy() for sample_id, label in self.labels.items()}
        for sample_id, mask, value in self.given.values():
            labels[sample_id][mask] = value
        return labels


def read(dataset, field):
    paths = dict(zip(*dataset.values(["id", f"{field}.mask_path"]), strict=True))
    return {sample_id: np.array(Image.open(path)) for sample_id, path in paths.items()}


def play(scene, steps) -> Reference:
    dataset, reference = scene.dataset, Reference(read(scene.dataset, "ground_truth"))
    sittings = {name: lq.open_sitting(dataset, "ground_truth", sitting_id=name) for name in ("ada", "bob")}
    own: dict[str, list[str]] = {"ada": [], "bob": []}
    order: list[str] = []
    for who, what in steps:
        sitting = sittings[who]
        if what == "undo":
            mine = [query_id for query_id in order if query_id in own[who]]
            assert sitting.undo() == bool(mine)
            if mine:
                reference.say(mine[-1], "", np.zeros(0), None)
                order.remove(mine[-1])
                own[who].remove(mine[-1])
        elif what in ("back", "forward"):
            getattr(sitting, what)()
        elif (question := sitting.question) is not None:
            shown = sitting._shown
            mask = np.zeros(shown.shape, bool)
            top, left, bottom, right = shown.bbox
            mask[top:bottom, left:right] = shown.mask
            said = {"confirm": question.given, "skip": None}.get(what, what)
            if what in ("confirm", "skip"):
                getattr(sitting, what)()
            else:
                sitting.correct(what)
            reference.say(question.query_id, question.sample_id, mask, None if said is None else VALUE_OF[said])
            order = [*(one for one in order if one != question.query_id), question.query_id]
            own[who] = [*(one for one in own[who] if one != question.query_id), question.query_id]
    for sitting in sittings.values():
        assert sitting.flush() == []
        sitting.close()
    return reference


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_any_history_is_replayed_right(steps):
    scene = make_scene(3)
    try:
        _plan(scene)
        wanted = play(scene, steps).painted()
        for found in (read(scene.dataset, "ground_truth_corrected"), _applied(scene)):
            for sample_id, label in wanted.items():
                np.testing.assert_array_equal(found[sample_id], label)
    finally:
        scene.close()


def _applied(scene):
    lq.apply_corrections(scene.dataset, "ground_truth", progress=silent)
    return read(scene.dataset, "ground_truth_corrected")
