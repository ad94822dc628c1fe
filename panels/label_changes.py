"""Panel: what corrections have changed, the given label and the corrected one of the same image."""

from __future__ import annotations

from typing import Any, Final

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.appearance import class_colors
from ..fiftyone_plugin.dataset.fields.queries import CorrectionFields
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.correcting import label_changes
from ..fiftyone_plugin.workflows.correcting.correction_run import planned_fields
from ..operators.words import spoken
from . import viewer
from .cards import FOCUS

# Where the App keeps what is chosen: by the places of the inputs on the page.
FIELD, CLASS, REVIEWER, PLACE = "bar.field", "bar.class", "bar.reviewer", "place"
ANY: Final = "-"
NAME: Final = "label_changes"
COMPONENT: Final = "LabelChanges"
_MOST_PAIRS = 3
_HEIGHT = "clamp(300px, calc(100vh - 260px), 1600px)"
_AS_WIDE_AS_NEEDED = {"item": {"sx": {"width": "auto", "minWidth": "0"}}, "button": {"sx": {"px": 1.5}}}

HELP: Final = """
### Before and after

The same image with the **given** label on one side and the **corrected** one on the other. White lines are around the
pixels that have another class now.

| key | |
|---|---|
| **drag the line** | show more of one label or the other |
| **b** | side by side, or with the line |
| **←** **→** | the image before, the next image; most changed pixels first |
| **wheel**, **drag**, **0** | zoom, move, the whole image |

**Show in the grid** shows these images, with the changed pixels as a field.
"""

NO_CORRECTION: Final = """
**No label is being corrected yet**

**Plan correction queries** asks about the places where a label is probably wrong. What your answers change is shown
here.
"""

NOTHING: Final = "**Nothing has changed so far.** Answer questions in **Label correction**, then press **Refresh**."


class LabelChangesPanel(foo.Panel):
    """Layout and callbacks; what changed is found by `workflows.correcting.label_changes`."""

    @property
    def config(self) -> foo.PanelConfig:
        """How the panel appears in the App."""
        return foo.PanelConfig(
            name=NAME,
            label="Before and after",
            icon="compare",
            category=foo.Categories.CURATE,
            surfaces="grid modal",
            help_markdown=HELP,
        )

    def on_load(self, ctx: Any) -> None:
        """Choose what to look at; the panel's state may be that of another dataset."""
        fields, field = planned_fields(ctx.dataset), ctx.panel.get_state(FIELD)
        chosen = field if field in fields else next(iter(fields), None)
        ctx.panel.set_state({FIELD: chosen, CLASS: ANY, REVIEWER: ANY, PLACE: 0})

    def on_change_dataset(self, ctx: Any) -> None:
        """Another dataset has other corrections."""
        self.on_load(ctx)

    def on_change_current_sample(self, ctx: Any) -> None:
        """In the modal the image is the open one; `render` finds it."""

    def change_field(self, ctx: Any) -> None:
        """Look at another field."""
        ctx.panel.set_state({FIELD: ctx.params["value"], CLASS: ANY, REVIEWER: ANY, PLACE: 0})

    def change_class(self, ctx: Any) -> None:
        """Only images in which something was or became of a class."""
        ctx.panel.set_state({CLASS: ctx.params["value"], PLACE: 0})

    def change_reviewer(self, ctx: Any) -> None:
        """Only images about which a person answered."""
        ctx.panel.set_state({REVIEWER: ctx.params["value"], PLACE: 0})

    def step(self, ctx: Any) -> None:
        """On to the next image, or back; round and round."""
        by, number = ctx.params.get("by"), len(self._chosen(ctx))
        if by in (-1, 1) and number:
            ctx.panel.set_state(PLACE, (int(ctx.panel.get_state(PLACE) or 0) + by) % number)

    def show(self, ctx: Any) -> None:
        """The images in the grid, with the changed pixels."""
        names, found = CorrectionFields(ctx.panel.get_state(FIELD)), self._chosen(ctx)
        ctx.ops.set_view(view=label_changes.changes_view(ctx.dataset, found))
        ctx.ops.set_active_fields([names.changes, names.corrected])
        ctx.ops.notify(f"Shown under Samples: {count(len(found), 'image')}", variant="success")

    def plan(self, ctx: Any) -> None:
        """Open the form that plans questions."""
        ctx.prompt(f"{self.plugin_name}/plan_correction_queries", on_success=self.on_load)

    def _chosen(self, ctx: Any) -> list[label_changes.LabelChange]:
        """What is looked at: of one class, by one person; in the modal of the open image."""
        get = ctx.panel.get_state
        found = label_changes.find_label_changes(ctx.dataset, get(FIELD))
        if ctx.panel_id == NAME:
            found = [change for change in found if change.sample_id == ctx.current_sample]
        wanted = {name: None if value in (None, ANY) else value
                  for name, value in (("class_name", get(CLASS)), ("reviewer", get(REVIEWER)))}  # fmt: skip
        return label_changes.chosen_changes(found, **wanted)

    # --- layout ----------------------------------------------------------------------------------------------

    def render(self, ctx: Any) -> types.Property:
        """The page: what to look at, and one image with both labels."""
        page = types.Object()
        field = ctx.panel.get_state(FIELD)
        try:
            if field in planned_fields(ctx.dataset):
                self._page(ctx, page, field)
            else:
                page.md(NO_CORRECTION, name="no_correction")
                page.btn("plan", label="Plan correction queries", on_click=self.plan, variant="contained")
        except LabelQualityError as error:
            page.view("broken", types.Warning(label="The labels cannot be compared", description=spoken(str(error))))
        view = types.GridView(
            orientation="vertical", columns=1, width=100, gap=1, pad=2, componentsProps={"grid": {"sx": FOCUS}}
        )
        return types.Property(page, view=view)

    def _page(self, ctx: Any, page: types.Object, field: str) -> None:
        bar = page.grid("bar", gap=2, align_y="bottom")
        everything = label_changes.find_label_changes(ctx.dataset, field)
        found = self._chosen(ctx)
        fields = planned_fields(ctx.dataset)
        if len(fields) > 1:
            _choice(bar, "field", "Label field", [(name, name) for name in fields], self.change_field)
        names = sorted({name for change in everything for pair in change.pairs for name in pair})
        people = sorted({name for change in everything for name in change.reviewers})
        if ctx.panel_id != NAME and everything:
            _choice(bar, "class", "Class", [(ANY, "any class"), *zip(names, names, strict=True)], self.change_class)
            _choice(
                bar, "reviewer", "Answered by", [(ANY, "anybody"), *zip(people, people, strict=True)],
                self.change_reviewer,
            )  # fmt: skip
            bar.btn("show", label="Show in the grid", icon="visibility", on_click=self.show, variant="outlined",
                    disabled=not found, componentsProps=_AS_WIDE_AS_NEEDED)  # fmt: skip
        bar.btn("refresh", label="Refresh", icon="refresh", on_click=self.on_load, variant="outlined",
                componentsProps=_AS_WIDE_AS_NEEDED)  # fmt: skip
        if not found:
            page.md(NOTHING, name="nothing")
            return
        place = int(ctx.panel.get_state(PLACE) or 0) % len(found)
        page.obj("both", view=self._view(ctx, field, found[place], f"{place + 1} of {len(found):,}"))

    def _view(self, ctx: Any, field: str, change: label_changes.LabelChange, place: str) -> types.View:
        both = label_changes.both_labels(ctx.dataset, field, change.sample_id)
        colors = class_colors(ctx.dataset, field, both.classes)
        return types.View(
            component=COMPONENT,
            composite_view=True,
            picture=viewer.labels_name(change.sample_id, both.corrected),
            image=viewer.photo_uri(both.image),
            given=viewer.png_uri(both.given),
            corrected=viewer.png_uri(both.corrected),
            colours=viewer.class_colours(both.classes, colors),
            title=_title(change),
            place=place,
            height=_HEIGHT,
            on_step=self.step,
        )


def _title(change: label_changes.LabelChange) -> str:
    """What has changed in an image, in words."""
    pairs = sorted(change.pairs.items(), key=lambda row: -row[1])
    numbers = [f" ({number:,})" if len(pairs) > 1 else "" for _, number in pairs]
    parts = [f"{given} → {became}{number}" for ((given, became), _), number in zip(pairs, numbers, strict=True)]
    parts = parts[:_MOST_PAIRS]
    more = len(pairs) - len(parts)
    return f"{count(change.pixels, 'pixel')} changed: {', '.join(parts)}{f' and {more} more' if more else ''}"


def _choice(parent: types.Object, name: str, label: str, choices: list[tuple[str, str]], changed: Any) -> None:
    view = types.DropdownView(width="200px")
    for value, title in choices:
        view.add_choice(value, label=title)
    parent.enum(name, [value for value, _ in choices], label=label, view=view, on_change=changed)
