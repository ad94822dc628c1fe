"""Panel: how each class was learned from noisy labels, when its labels began to be corrected, and what came of it."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.training import learning_curves
from ..fiftyone_plugin.workflows.training.noise_robust import NoiseRobustFields
from ..operators.words import spoken
from . import curve_charts
from .cards import FOCUS

RUN = "bar.run"  # where the App keeps the choice: by the place of the input on the page

_AS_WIDE_AS_NEEDED = {"item": {"sx": {"width": "auto", "minWidth": "0"}}, "button": {"sx": {"px": 1.5}}}


class LearningCurvesPanel(foo.Panel):
    """Layout and callbacks; the numbers are `workflows.learning_curves`'s."""

    @property
    def config(self) -> foo.PanelConfig:
        """How the panel appears in the App."""
        return foo.PanelConfig(
            name="learning_curves",
            label="Learning curves",
            icon="show_chart",
            category=foo.Categories.ANALYZE,
            surfaces="grid",
            help_markdown=curve_charts.HELP,
        )

    def on_load(self, ctx: Any) -> None:
        """Choose what to look at; the panel's state may be that of another dataset."""
        keys = _keys(ctx)
        run = ctx.panel.get_state(RUN)
        chosen = run if run in keys else (keys[-1] if keys else None)
        if chosen != run:
            ctx.panel.set_state(RUN, chosen)

    def on_change_dataset(self, ctx: Any) -> None:
        """Another dataset has other runs."""
        self.on_load(ctx)

    def change_run(self, ctx: Any) -> None:
        """Look at another run."""
        ctx.panel.set_state(RUN, ctx.params["value"])

    def train(self, ctx: Any) -> None:
        """Open the form that makes a run."""
        ctx.prompt(f"{self.plugin_name}/train_noise_robust", on_success=self.on_load)

    def show_regions(self, ctx: Any) -> None:
        """The proposed changes, most confident first."""
        self._show(ctx, "regions", "proposal")

    def show_images(self, ctx: Any) -> None:
        """The images whose label would change, most first."""
        self._show(ctx, "changed", "image")

    def _show(self, ctx: Any, view: str, what: str) -> None:
        key = ctx.panel.get_state(RUN)
        name = f"{key} {view}"
        if not ctx.dataset.has_saved_view(name):
            ctx.ops.notify(f"There are no such {what}s", variant="info")
            return
        found = ctx.dataset.load_saved_view(name)
        ctx.ops.set_view(view=found)
        ctx.ops.set_active_fields([NoiseRobustFields(key).regions])
        ctx.ops.notify(f"Shown under Samples: {count(len(found), what)}", variant="success")

    def render(self, ctx: Any) -> types.Property:
        """The page: the curves, and a table of the classes."""
        page = types.Object()
        run = ctx.panel.get_state(RUN)
        if run in _keys(ctx):
            self._run(ctx, page, run)
        else:
            page.md(curve_charts.NO_RUN, name="no_run")
            page.btn("train", label="Train on noisy labels", on_click=self.train, variant="contained")
        view = types.GridView(
            orientation="vertical", columns=1, width=100, gap=2, pad=2, componentsProps={"grid": {"sx": FOCUS}}
        )
        return types.Property(page, view=view)

    def _run(self, ctx: Any, page: types.Object, run: str) -> None:
        bar = page.grid("bar", gap=2, align_y="bottom")
        choices = types.DropdownView(width="260px")
        keys = _keys(ctx)
        for key in keys:
            choices.add_choice(key, label=key)
        bar.enum("run", keys, label="Run", view=choices, on_change=self.change_run)
        _button(bar, "regions", "Show proposals", self.show_regions, icon="visibility")
        _button(bar, "images", "Show changed images", self.show_images, icon="image")
        _button(bar, "refresh", "Refresh", self.on_load, icon="refresh")
        try:
            found = learning_curves.training_progress(ctx.dataset, run)
        except LabelQualityError as error:
            page.view("broken", types.Warning(label="The curves cannot be read", description=spoken(str(error))))
            return
        page.md(curve_charts.summary(found), name="summary")
        page.md(curve_charts.LEGEND, name="legend")
        page.plot("curves_plot", **curve_charts.learning_curves(found))
        page.md(curve_charts.class_table(found), name="table")


def _keys(ctx: Any) -> list[str]:
    return [record.key for record in learning_curves.noise_robust_runs(ctx.dataset)]


def _button(parent: types.Object, name: str, label: str, clicked: Any, **kwargs: Any) -> None:
    parent.btn(name, label=label, on_click=clicked, variant="outlined", componentsProps=_AS_WIDE_AS_NEEDED, **kwargs)
