"""Panel: correction queries, one after the other, for a person who answers for an hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.queries import CorrectionFields
from ..fiftyone_plugin.dataset.fields.values import number_between
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.correcting import label_changes
from ..fiftyone_plugin.workflows.correcting import sitting as answering
from ..operators.forms import whole_dataset
from ..operators.words import spoken
from . import correction_texts as texts
from . import viewer
from .cards import FOCUS
from .desks import Desk, Place, desk_at, lock_of, pictures_of, remember_pictures
from .viewer import Look

# Where the App keeps what is chosen: by the places of the inputs on the page.
FIELD, OTHER = "bar.field", "answers.other"
OVERLAY, PLAIN, TAB, PEOPLE = "options.overlay", "options.plain", "options.tab", "options.people"

NAME = "label_correction"
MOST_BUTTONS = 9
LONGEST = 300.0  # seconds
_LONGEST_NAME, _MOST_PICTURES, _MOST_PIXELS = 200, 256, 1_000_000

_ABOUT_A_QUESTION = {"confirm", "choose", "skip", "refine", "unrefine"}  # not "hold", which may be late
_KEYS = {
    "Enter": ("confirm", ""),
    "y": ("confirm", ""),
    "s": ("skip", ""),
    "z": ("undo", ""),
    "ArrowLeft": ("back", ""),
    "ArrowRight": ("forward", ""),
    "Backspace": ("unrefine", ""),
    "m": ("overlay", ""),
}
_OVERLAY_NAMES = {"outline": "Outlines", "tint": "Colours", "off": "No label"}

# Buttons of one width, as many in a row as there is room for; nothing makes the panel wider than it is.
_ONE_WIDTH = {"grid": {"sx": {"gridTemplateColumns": "repeat(auto-fill, minmax(min(100%, 124px), 1fr))"}}}
_ONE_COLUMN = {"grid": {"sx": {"gridTemplateColumns": "minmax(0, 1fr)", **FOCUS}}}
_ENDS = {"grid": {"sx": {"gridTemplateColumns": "minmax(0, 1fr) auto", "alignItems": "center"}}}
_PLAIN_ITEM = {"item": {"sx": {"width": "auto", "minWidth": "0"}}}
_CLOSE = {"& h3, & p": {"m": 0}, "& h3": {"fontSize": "1.4rem"}}  # Markdown without the room around its parts
_HEAD = {"& h3": {"m": 0, "fontSize": "1.4rem"}, "& p": {"my": 0.75}}
_SHORT = {"whiteSpace": "nowrap", "overflow": "hidden", "minWidth": 0, "px": 1}
_FILLED = {**_PLAIN_ITEM, "button": {"fullWidth": True, "sx": _SHORT}}


class LabelCorrectionPanel(foo.Panel):
    """Layout and callbacks; questions and answers are `workflows.answering`'s."""

    @property
    def config(self) -> foo.PanelConfig:
        """How the panel appears in the App."""
        return foo.PanelConfig(
            name=NAME,
            label="Label correction",
            icon="rule",
            category=foo.Categories.CURATE,
            surfaces="grid modal",
            help_markdown=texts.HELP,
        )

    # --- events ----------------------------------------------------------------------------------------------

    def on_load(self, ctx: Any) -> None:
        """Choose a field. Which tab this is the component says: the state may be that of another one."""
        get, fields = ctx.panel.get_state, answering.planned_fields(ctx.dataset)
        plain = bool(get(PLAIN)) or not viewer.BUNDLE.is_file()
        chosen = {
            FIELD: get(FIELD) if get(FIELD) in fields else next(iter(fields), None),
            OVERLAY: get(OVERLAY) if get(OVERLAY) in viewer.OVERLAYS else viewer.OVERLAYS[0],
            PLAIN: plain,
            TAB: (get(TAB) or uuid4().hex) if plain else None,
            OTHER: None,
        }
        ctx.panel.set_state({path: value for path, value in chosen.items() if get(path) != value})
        self._look_up(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        """Another dataset has other questions; the App says so, too, when it loads the same one again after a job."""
        if ctx.panel.get_state(TAB) and ctx.panel.get_state(FIELD) in answering.planned_fields(ctx.dataset):
            self._look_up(ctx)  # the page stays: it is the same tab
        else:
            self.on_load(ctx)

    def on_change_current_sample(self, ctx: Any) -> None:
        """In the modal the questions are those of the sample; `render` finds them."""

    def change_field(self, ctx: Any) -> None:
        """Answer the questions about another field."""
        ctx.panel.set_state(FIELD, ctx.params["value"])

    def switch_viewer(self, ctx: Any) -> None:
        """From the component to Plotly, or back."""
        plain = not ctx.panel.get_state(PLAIN)
        ctx.panel.set_state({PLAIN: plain, TAB: ctx.panel.get_state(TAB) or (uuid4().hex if plain else None)})

    def switch_people(self, ctx: Any) -> None:
        """Show how far each person is and how reliable, or hide it."""
        ctx.panel.set_state(PEOPLE, not ctx.panel.get_state(PEOPLE))

    def plan(self, ctx: Any) -> None:
        """Open the form that plans questions, about all images where a plan is gone on with."""
        if ctx.panel.get_state(FIELD):
            self._open(ctx, "plan_correction_queries")
        else:
            ctx.prompt(f"{self.plugin_name}/plan_correction_queries", on_success=self.on_change_dataset)

    def show_changes(self, ctx: Any) -> None:
        """The images whose label differs from the given one, with the pixels, and both labels of each."""
        field = ctx.panel.get_state(FIELD)
        names = CorrectionFields(field)
        found = label_changes.find_label_changes(ctx.dataset, field)
        if not found:
            ctx.ops.notify("Nothing has changed so far", variant="info")
            return
        ctx.ops.set_view(view=label_changes.changes_view(ctx.dataset, found))
        ctx.ops.set_active_fields([names.changes, names.corrected])
        pixels = sum(change.pixels for change in found)
        what = f"{count(pixels, 'pixel')} in {count(len(found), 'image')}"
        ctx.ops.notify(f"Changed: {what}; also shown under Samples", variant="success")
        ctx.ops.open_panel("label_changes", is_active=True)

    def apply(self, ctx: Any) -> None:
        """Open the form that brings the corrected labels up to date."""
        self._open(ctx, "apply_corrections")

    def export(self, ctx: Any) -> None:
        """Open the form that gives the corrected labels away."""
        self._open(ctx, "export_corrected_labels")

    def train(self, ctx: Any) -> None:
        """Open the form that trains on the corrected labels."""
        self._open(ctx, "train_cross_validated", CorrectionFields(ctx.panel.get_state(FIELD)).corrected)

    def undo_relabelled(self, ctx: Any) -> None:
        """Open the form that takes back what was relabelled because it is like what was answered."""
        self._open(ctx, "undo_relabelled")

    def _open(self, ctx: Any, operator: str, label_field: str | None = None) -> None:
        """The form of a job on the whole dataset: the grid may just show what has changed."""
        params = {"label_field": label_field or ctx.panel.get_state(FIELD), "view_target": whole_dataset(ctx)}
        ctx.prompt(f"{self.plugin_name}/{operator}", params=params, on_success=self.on_change_dataset)

    def choose_other(self, ctx: Any) -> None:
        """A class from the list: of which question, its value says."""
        question, _, choice = str(ctx.params.get("value") or "").partition("/")
        if choice:
            ctx.panel.set_state(OTHER, None)
            self._do(ctx, "choose", {"question": question, "choice": choice})

    def click(self, ctx: Any) -> None:
        """A click on the plain viewer."""
        place = ctx.params.get("idx")
        if isinstance(place, list) and len(place) == 2:  # of the picture, and not of a mark on it
            seen = (ctx.params.get("view") or {}).get("question")  # what the plot was drawn with
            about = {"question": seen, "x": place[1], "y": place[0]}
            self._do(ctx, "refine", {**about, "positive": not ctx.params.get("shift_pressed")})

    def act(self, ctx: Any) -> None:
        """A key, a click on the picture, or a button: `action` says what was meant, `question` of which question."""
        tab, action = ctx.params.get("tab"), ctx.params.get("action")
        if not isinstance(action, str) or action not in {*_ACTIONS, "overlay", "hello"} or not _is_name(tab):
            ctx.ops.notify(texts.UNKNOWN, variant="error")
            return
        if tab and tab != ctx.panel.get_state(TAB):
            ctx.panel.set_state(TAB, tab)
        if tab and isinstance(ctx.params.get("has"), list):
            remember_pictures(tab, [str(name) for name in ctx.params["has"][:_MOST_PICTURES]])
        if action == "overlay":
            place = viewer.OVERLAYS.index(ctx.panel.get_state(OVERLAY) or viewer.OVERLAYS[0])
            ctx.panel.set_state(OVERLAY, viewer.OVERLAYS[(place + 1) % len(viewer.OVERLAYS)])
        elif action == "hello":
            self._look_up(ctx)
        else:
            self._do(ctx, action, ctx.params)

    def _look_up(self, ctx: Any) -> None:
        """Take up what has changed in the dataset; an error is said by `render`."""
        if ctx.panel.get_state(TAB) and ctx.panel.get_state(FIELD):
            with suppress(LabelQualityError):
                desk_at(self._place(ctx), dataset=ctx.dataset)

    def _do(self, ctx: Any, action: str, params: dict[str, Any]) -> None:
        try:
            sitting = desk_at(self._place(ctx)).sitting
            with lock_of(sitting):
                question = sitting.question if action in _ABOUT_A_QUESTION else None
                if question is not None and question.query_id != params.get("question"):
                    ctx.ops.notify(texts.STALE, variant="warning")
                elif question is not None or action not in _ABOUT_A_QUESTION:
                    _ACTIONS[action](sitting, question, params)
        except LabelQualityError as error:
            ctx.ops.notify(spoken(str(error)), variant="error")

    def _place(self, ctx: Any) -> Place:
        """The modal is a place of its own, where only the sample in it is asked about."""
        get, modal = ctx.panel.get_state, ctx.panel_id == NAME
        if not _is_name(get(FIELD)) or not _is_name(get(TAB)):
            raise LabelQualityError(texts.UNKNOWN)
        tab = f"{get(TAB)}-modal" if modal else get(TAB)
        sample_id = ctx.current_sample if modal else None
        return Place(ctx.dataset_name, get(FIELD), tab, sample_id, getattr(ctx.user, "name", None))

    # --- layout ----------------------------------------------------------------------------------------------

    def render(self, ctx: Any) -> types.Property:
        """The page: question, picture, answers, counts."""
        page = types.Object()
        try:
            if ctx.panel.get_state(TAB) and ctx.panel.get_state(FIELD):
                self._sitting_page(ctx, page, desk_at(self._place(ctx)))
            else:
                self._first_page(ctx, page)
        except LabelQualityError as error:
            page.view("broken", types.Warning(label="The questions cannot be shown", description=spoken(str(error))))
            self._plan_button(page)
        view = types.GridView(orientation="vertical", width=100, gap=1, pad=2, componentsProps=_ONE_COLUMN)
        return types.Property(page, view=view)

    def _first_page(self, ctx: Any, page: types.Object) -> None:
        """Before the component has said which tab this is; or there is nothing to ask."""
        if ctx.panel.get_state(FIELD):
            page.md(texts.WAITING, name="waiting")
            page.obj("picture", view=viewer.canvas_view(None, Look(), self.act))
            self._tools(ctx, page, None)
        else:
            page.md(texts.NO_PLAN, name="no_plan")
            self._plan_button(page)

    def _plan_button(self, page: types.Object) -> None:
        page.btn("plan", label="Plan correction queries", on_click=self.plan, variant="contained")

    def _fields(self, page: types.Object, fields: list[str]) -> None:
        bar, view = page.grid("bar", gap=2), types.DropdownView(width="260px")
        for name in fields:
            view.add_choice(name, label=name)
        bar.enum("field", fields, label="Label field", view=view, on_change=self.change_field)

    def _sitting_page(self, ctx: Any, page: types.Object, desk: Desk) -> None:
        sitting = desk.sitting
        with lock_of(sitting):
            question, progress = sitting.question, sitting.progress()
            version, message = sitting.version, sitting.message
        if question is not None and question.given not in desk.colors:
            desk = desk_at(self._place(ctx), dataset=ctx.dataset)  # a class that was added since
        if len(desk.fields) > 1:
            self._fields(page, desk.fields)
        if question is None:
            self._end(page, progress, sitting, sample=ctx.panel_id == NAME)
        else:
            self._question(page, question, desk.colors)
            self._progress(page, progress)
            if ctx.panel.get_state(PEOPLE):
                self._people(page, sitting.people())
            self._picture(ctx, page, question, self._look(ctx, version, desk.colors, question))
            self._answers(ctx, page, question, desk.colors)
        if message:
            page.view("message", types.Notice(label=message))
        if question is not None:
            self._tools(ctx, page, question)
        elif progress.answered:
            self._change_answers(ctx, page)

    def _progress(self, page: types.Object, progress: answering.SittingProgress) -> None:
        """What was done and what is left, over a line that fills."""
        done = f"{100 * texts.done_share(progress):.1f}%"
        line = (
            f"linear-gradient(to right, var(--fo-palette-primary-main, #ff6d04) {done}, "
            f"var(--fo-palette-divider, #8886) {done}) left bottom / 100% 3px no-repeat"
        )
        advice = f" · {progress.advice}" if progress.advice else ""
        look = {"container": {"sx": {"background": line, "pb": 0.75, **_CLOSE}}}
        page.md(texts.progress_text(progress) + advice, name="progress", componentsProps=look)

    def _people(self, page: types.Object, people: Sequence[answering.PersonProgress]) -> None:
        """How far each person is, and how reliable."""
        page.md(texts.people_text(people), name="people", componentsProps={"container": {"sx": _HEAD}})

    def _end(
        self, page: types.Object, progress: answering.SittingProgress, sitting: answering.Sitting, *, sample: bool
    ) -> None:
        """No question: what was repaired, and what to do with it."""
        look = {"container": {"sx": _HEAD}}
        page.md(texts.nothing_left(progress, sample=sample), name="nothing_left", componentsProps=look)
        number, relabelled = sitting.relabelled()
        if relabelled:
            page.md(f"{relabelled}.", name="relabelled", componentsProps=look)
        people = sitting.people()
        if len(people) > 1 or any(one.by_hidden or one.by_all for one in people):
            self._people(page, people)
        steps = types.Object()
        view = types.GridView(orientation="vertical", gap=1, componentsProps=_ONE_WIDTH)
        page.define_property("steps", steps, view=view)
        if progress.pending:
            steps.btn("again", label="Look again", on_click=self.on_load, variant="contained", componentsProps=_FILLED)
        if not sample:
            for name, label, clicked, variant in (
                ("changes", "What changed", self.show_changes, "outlined" if progress.pending else "contained"),
                ("apply", "Apply", self.apply, "outlined"),
                ("export", "Export", self.export, "outlined"),
                ("train", "Train", self.train, "outlined"),
            ):
                steps.btn(name, label=label, on_click=clicked, variant=variant, componentsProps=_FILLED)
        if not sample:
            steps.btn("plan", label="Ask more", on_click=self.plan, variant="outlined", componentsProps=_FILLED)
        if number and not sample:
            steps.btn(
                "undo_relabelled", label="Undo relabelled", on_click=self.undo_relabelled, variant="outlined",
                componentsProps=_FILLED,
            )  # fmt: skip

    def _look(self, ctx: Any, version: int, colors: dict[str, str], question: answering.Question) -> Look:
        tab = ctx.panel.get_state(TAB)
        return Look(
            version=version,
            tab=tab,
            overlay=ctx.panel.get_state(OVERLAY) or viewer.OVERLAYS[0],
            colors=colors,
            help=texts.KEYS,
            keys={**_KEYS, **{key: ("choose", name) for key, name in _numbered(question)}},
            held=pictures_of(tab),
        )

    def _question(self, page: types.Object, question: answering.Question, colors: dict[str, str]) -> None:
        heading = types.Object()
        page.define_property("heading", heading, view=types.GridView(orientation="vertical", componentsProps=_ENDS))
        chip = {
            "container": {
                "sx": {"borderLeft": f"20px solid {colors.get(question.given, 'transparent')}", "pl": 1.5, **_CLOSE}
            }
        }
        heading.md(texts.question_text(question), name="question", componentsProps=chip)
        heading.md(texts.number_text(question), name="number")

    def _picture(self, ctx: Any, page: types.Object, question: answering.Question, look: Look) -> None:
        if ctx.panel.get_state(PLAIN):
            page.plot("plain_picture", **viewer.plotly_view(question, look), on_click=self.click,
                      question=question.query_id)  # fmt: skip
        else:
            page.obj("picture", view=viewer.canvas_view(question, look, self.act))

    def _answers(self, ctx: Any, page: types.Object, question: answering.Question, colors: dict[str, str]) -> None:
        view = types.GridView(orientation="vertical", gap=1, componentsProps=_ONE_WIDTH)
        answers = types.Object()
        page.define_property("answers", answers, view=view)
        button = self._button(ctx, answers, question)
        button("confirm", "Yes", "confirm", key="Enter", variant="contained")
        for key, name in _numbered(question):
            button(f"class_{key}", name, "choose", number=key, choice=name, color=colors.get(name))
        others = question.alternatives[MOST_BUTTONS:]
        if others:
            plain = bool(ctx.panel.get_state(PLAIN))
            view = types.DropdownView(placeholder="Another" if plain else "Another · c", componentsProps=_PLAIN_ITEM)
            values = [f"{question.query_id}/{name}" for name in others]
            for value, name in zip(values, others, strict=True):
                view.add_choice(value, label=name)
            answers.enum("other", values, view=view, on_change=self.choose_other)

    def _change_answers(self, ctx: Any, page: types.Object) -> None:
        """Behind the last question: ways back, without keys, since there is no picture that has them."""
        tools = types.Object()
        page.define_property(
            "tools", tools, view=types.GridView(orientation="vertical", gap=1, componentsProps=_ONE_WIDTH)
        )
        button = self._button(ctx, tools, None)
        button("undo", "Undo", "undo")
        button("back", "Back", "back")

    def _tools(self, ctx: Any, page: types.Object, question: answering.Question | None) -> None:
        tools = types.Object()
        view = types.GridView(orientation="vertical", gap=1, componentsProps=_ONE_WIDTH)
        page.define_property("tools", tools, view=view)
        button = self._button(ctx, tools, question)
        if question is not None:
            button("skip", "Skip", "skip", key="s")
            button("undo", "Undo", "undo", key="z")
            button("back", "Back", "back", key="←")
            button("forward", "Forward", "forward", key="→")
            button("unrefine", "Undo click", "unrefine", key="⌫", disabled=not question.points)
            overlay = _OVERLAY_NAMES[ctx.panel.get_state(OVERLAY) or viewer.OVERLAYS[0]]
            button("overlay", overlay, "overlay", key="m")
            shown = "Hide people" if ctx.panel.get_state(PEOPLE) else "People"
            tools.btn("people", label=shown, on_click=self.switch_people, componentsProps=_FILLED, variant="outlined")
        plain = bool(ctx.panel.get_state(PLAIN))
        if viewer.BUNDLE.is_file():
            label = "With keys" if plain else "Plain viewer"
            tools.btn("viewer", label=label, on_click=self.switch_viewer, componentsProps=_FILLED)

    def _button(self, ctx: Any, parent: types.Object, question: answering.Question | None) -> Callable[..., None]:
        """What adds a button; its key is shown where keys work, which is not in the plain viewer."""
        about = {"question": question.query_id if question else "", "tab": ctx.panel.get_state(TAB)}
        has_keys = not ctx.panel.get_state(PLAIN)

        def add(
            name: str,
            label: str,
            action: str,
            *,
            number: str = "",
            key: str = "",
            choice: str = "",
            color: str | None = None,
            **kwargs: Any,
        ) -> None:
            label = " · ".join(filter(None, (number, label, key))) if has_keys else label
            props = _FILLED
            if color:
                edge = {"borderLeft": f"8px solid {color}"}
                props = {**_FILLED, "button": {"fullWidth": True, "sx": {**_SHORT, **edge, "&:hover": edge}}}
            parent.btn(
                name, label=label, on_click=self.act, params={**about, "action": action, "choice": choice},
                componentsProps=props, **{"variant": "outlined", **kwargs},
            )  # fmt: skip

        return add


def _numbered(question: answering.Question) -> list[tuple[str, str]]:
    """Keys 1 to 9 and the classes that they stand for."""
    return [(str(place), name) for place, name in enumerate(question.alternatives[:MOST_BUTTONS], start=1)]


def _seconds(params: dict[str, Any]) -> float | None:
    """How long the question was looked at, as the browser has measured it; None if somebody was away meanwhile."""
    seconds = params.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds <= LONGEST else None


def _is_name(value: Any) -> bool:
    """Whether what a browser says is a short text, or nothing."""
    return value is None or (isinstance(value, str) and len(value) <= _LONGEST_NAME)


def _choose(sitting: answering.Sitting, params: dict[str, Any], given: str) -> None:
    choice, seconds = str(params.get("choice") or "")[:_LONGEST_NAME], _seconds(params)
    if choice == given:
        sitting.confirm(seconds=seconds)
    else:
        sitting.correct(choice, seconds=seconds)


def _refine(sitting: answering.Sitting, question: answering.Question, params: dict[str, Any]) -> None:
    """A pixel of the picture as a pixel of the image."""
    top, left, bottom, right = question.window
    column, row = (number_between(name, params.get(name), 0, _MOST_PIXELS) for name in ("x", "y"))
    x = min(left + int((column + 0.5) / question.scale), right - 1)
    y = min(top + int((row + 0.5) / question.scale), bottom - 1)
    sitting.refine(x, y, bool(params.get("positive")))


_ACTIONS: dict[str, Callable[[answering.Sitting, Any, dict[str, Any]], Any]] = {
    "confirm": lambda sitting, question, params: sitting.confirm(seconds=_seconds(params)),
    "choose": lambda sitting, question, params: _choose(sitting, params, question.given),
    "skip": lambda sitting, question, params: sitting.skip(seconds=_seconds(params)),
    "refine": _refine,
    "unrefine": lambda sitting, question, params: sitting.unrefine(),
    "undo": lambda sitting, question, params: sitting.undo(),
    "back": lambda sitting, question, params: sitting.back(),
    "forward": lambda sitting, question, params: sitting.forward(),
    "hold": lambda sitting, question, params: sitting.hold(),
}
