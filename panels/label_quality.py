"""Panel: a scoring run at a glance, every chart a way to the images and regions behind it."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.workflows.reviewing import overview
from . import charts, texts

# Where the App keeps what is chosen: by the places of the inputs on the page.
RUN, OTHER, FIELD, MEASURE = "bar.run", "bar.other", "cards.scores.field", "cards.pairs.measure"
NO_RUN = "-"
OPENS = "opens"  # the image that is to be opened as soon as the grid has it
MEASURES = {"regions": "number of regions", "pixels": "number of pixels"}

# Two columns where there is room, one where the panel shares the window.
_COLUMNS = {"grid": {"sx": {"gridTemplateColumns": "repeat(auto-fit, minmax(min(100%, 440px), 1fr))"}}}
_AS_WIDE_AS_NEEDED = {"item": {"sx": {"width": "auto", "minWidth": "0"}}}


class LabelQualityPanel(foo.Panel):
    """Layout and callbacks; the numbers are `workflows.overview`'s."""

    @property
    def config(self) -> foo.PanelConfig:
        """How the panel appears in the App."""
        return foo.PanelConfig(
            name="label_quality",
            label="Label quality",
            icon="fact_check",
            category=foo.Categories.ANALYZE,
            surfaces="grid",
            help_markdown=texts.HELP,
        )

    # --- events ----------------------------------------------------------------------------------------------

    def on_load(self, ctx: Any) -> None:
        """Choose what to look at; the panel's state may be that of another dataset."""
        self._choose(ctx, ctx.panel.get_state(RUN))
        if ctx.panel.get_state(RUN):
            overview.check_labels(ctx.dataset, ctx.panel.get_state(RUN))

    def on_change_dataset(self, ctx: Any) -> None:
        """Another dataset has other runs."""
        self.on_load(ctx)

    def on_change_view(self, ctx: Any) -> None:
        """Regions may have been accepted or rejected since; numbers that did not change are remembered."""
        self._choose(ctx, ctx.panel.get_state(RUN))
        opens = ctx.panel.get_state(OPENS)
        if opens:
            ctx.panel.set_state(OPENS, None)
            if not ctx.view._is_generated and len(ctx.view.select(opens)):
                ctx.ops.open_sample(id=opens)

    def change_run(self, ctx: Any) -> None:
        """Look at another run, in the grid as well."""
        run = ctx.params["value"]
        self._choose(ctx, run)
        ctx.ops.set_active_fields(overview.fields_as_of(ctx.dataset, ctx.active_fields, run))
        view = overview.view_as_of(ctx.dataset, ctx.view, run)
        if view is not None:
            ctx.ops.set_view(view=view)
        self.on_load(ctx)

    def change_other(self, ctx: Any) -> None:
        """Compare with another run, or with none."""
        ctx.panel.set_state(OTHER, ctx.params["value"])

    def change_field(self, ctx: Any) -> None:
        """Look at another score."""
        ctx.panel.set_state(FIELD, ctx.params["value"])

    def change_measure(self, ctx: Any) -> None:
        """Count regions or their pixels."""
        ctx.panel.set_state(MEASURE, ctx.params["value"])

    def _choose(self, ctx: Any, run: str | None) -> None:
        """Put choices into the state that exist on this dataset, keeping those that do."""
        get, keys = ctx.panel.get_state, [record.key for record in overview.scoring_runs(ctx.dataset)]
        run = run if run in keys else (keys[-1] if keys else None)
        fields = [name for name, _ in overview.run_overview(ctx.dataset, run).score_fields] if run else []
        chosen = {
            RUN: run,
            OTHER: get(OTHER) if get(OTHER) in keys and get(OTHER) != run else NO_RUN,
            FIELD: get(FIELD) if get(FIELD) in fields else (fields[0] if fields else None),
            MEASURE: get(MEASURE) if get(MEASURE) in MEASURES else next(iter(MEASURES)),
        }
        ctx.panel.set_state({path: value for path, value in chosen.items() if get(path) != value})

    # --- clicks ----------------------------------------------------------------------------------------------

    def click_score(self, ctx: Any) -> None:
        """The images of a bar."""
        bar = ctx.params.get("idx")
        if isinstance(bar, int) and bar >= 0:
            self._show(ctx, overview.images_between(ctx.dataset, ctx.panel.get_state(FIELD), bar))

    def click_pair(self, ctx: Any) -> None:
        """The regions of a cell, worst first."""
        self._show_regions(ctx, given=ctx.params["y"], suggested=ctx.params["x"])

    def click_kind(self, ctx: Any) -> None:
        """The regions of a kind, worst first."""
        self._show_regions(ctx, label=ctx.params["x"])

    def click_class(self, ctx: Any) -> None:
        """The regions that are labelled as a class, worst first."""
        self._show_regions(ctx, given=ctx.params["y"])

    def click_image(self, ctx: Any) -> None:
        """One of the worst images, opened among the others as soon as the grid shows them.

        Opening a sample that the grid's view does not have ends the App.
        """
        worst = overview.worst_images(ctx.dataset, ctx.panel.get_state(RUN))
        if overview.same_view(ctx.view, worst):
            ctx.ops.open_sample(id=ctx.params["id"])
        else:
            ctx.panel.set_state(OPENS, ctx.params["id"])
            ctx.ops.set_view(view=worst)

    def show_better(self, ctx: Any) -> None:
        """The images whose score rose from one run to the other."""
        self._show_changed(ctx, better=True)

    def show_worse(self, ctx: Any) -> None:
        """The images whose score fell."""
        self._show_changed(ctx, better=False)

    def score_labels(self, ctx: Any) -> None:
        """Open the form that makes a run."""
        ctx.prompt(f"{self.plugin_name}/score_label_quality", on_success=self.on_load)

    def show_issues(self, ctx: Any) -> None:
        """Open the form that shows regions."""
        ctx.prompt(f"{self.plugin_name}/show_label_issues", params={"key": ctx.panel.get_state(RUN)})

    def rescore(self, ctx: Any) -> None:
        """Score regions anew from what was accepted and rejected."""
        ctx.prompt(
            f"{self.plugin_name}/rescore_label_issues",
            params={"key": ctx.panel.get_state(RUN)},
            on_success=self.on_load,
        )

    def _show_changed(self, ctx: Any, *, better: bool) -> None:
        comparison = overview.compare_runs(ctx.dataset, ctx.panel.get_state(RUN), ctx.panel.get_state(OTHER))
        self._show(ctx, overview.changed_images(ctx.dataset, comparison, better=better))

    def show_changed(self, ctx: Any) -> None:
        """The images whose label is not the one that was scored."""
        self._show(ctx, overview.changed_labels(ctx.dataset, ctx.panel.get_state(RUN)))

    def _show_regions(self, ctx: Any, **wanted: str) -> None:
        run = ctx.panel.get_state(RUN)
        if self._show(ctx, overview.regions_of(ctx.dataset, run, **wanted), "regions"):
            ctx.ops.set_active_fields([overview.regions_field(run)])

    def _show(self, ctx: Any, view: Any, what: str = "images") -> bool:
        """Show a view under Samples and say so; False if there is nothing in it."""
        number = len(view)
        if number:
            ctx.ops.set_view(view=view)
            ctx.ops.notify(f"Shown under Samples: {number:,} {what}", variant="success")
        else:
            ctx.ops.notify(f"There are no such {what}", variant="info")
        return number > 0

    # --- layout ----------------------------------------------------------------------------------------------

    def render(self, ctx: Any) -> types.Property:
        """The page: what was found, where, of what kind, and what reviewing it says."""
        page = types.Object()
        run, other = ctx.panel.get_state(RUN), ctx.panel.get_state(OTHER)
        if run:
            found = overview.run_overview(ctx.dataset, run)
            self._head(ctx, page, found)
            self._images(ctx, page, found)
            self._regions(ctx, page, found)
            if other not in (None, NO_RUN):
                self._comparison(page, overview.compare_runs(ctx.dataset, run, other))
        else:
            page.md(texts.NO_RUN, name="no_run")
            page.btn("score", label="Score label quality", on_click=self.score_labels, variant="contained")
        view = types.GridView(orientation="vertical", columns=1, width=100, gap=2, pad=2)
        return types.Property(page, view=view)

    def _head(self, ctx: Any, page: types.Object, found: overview.RunOverview) -> None:
        keys = [run.key for run in overview.scoring_runs(ctx.dataset)]
        bar = page.grid("bar", gap=2, align_y="bottom")
        _choice(bar, "run", "Run", [(key, key) for key in keys], self.change_run)
        others = [(NO_RUN, "no other run"), *((key, key) for key in keys if key != found.key)]
        if len(others) > 1:
            _choice(bar, "other", "Compare with", others, self.change_other)
        if found.regions is not None and found.regions.total:
            _button(bar, "issues", "Show issues", self.show_issues, icon="visibility")
            _button(bar, "rescore", "Rescore with my reviews", self.rescore, icon="school")
        _button(bar, "refresh", "Refresh", self.on_load, icon="refresh")
        page.md(texts.summary(found), name="summary")
        for number, warning in enumerate(found.warnings):
            page.view(f"warning_{number}", types.Warning(label="Before you believe the scores", description=warning))
        changed = overview.num_changed_labels(ctx.dataset, found.key)
        if changed:
            page.view("changed", types.Warning(label="Labels have changed", description=texts.changed(changed)))
            _button(page, "show_changed", "Show the changed images", self.show_changed)

    def _images(self, ctx: Any, page: types.Object, found: overview.RunOverview) -> None:
        if found.worst:
            card = _card(page, "worst", "**Worst images**")
            card.plot("worst_plot", **charts.worst_images(found.worst, overview.NUM_WORST), on_click=self.click_image)
        cards = _cards(page, "cards")
        field = ctx.panel.get_state(FIELD)
        if field:
            card = _card(cards, "scores", "**Images by score**")
            if len(found.score_fields) > 1:
                _choice(card, "field", "", found.score_fields, self.change_field)
            histogram = overview.score_histogram(ctx.dataset, field)
            card.plot("scores_plot", **charts.score_histogram(histogram), on_click=self.click_score)
        if found.regions is not None and found.regions.total:
            card = _card(cards, "kinds", "**Regions by kind**")
            card.plot("kinds_plot", **charts.kinds(found.regions), on_click=self.click_kind)
        if found.classes:
            card = _card(cards, "classes", texts.classes_heading(len(found.classes)))
            card.plot("classes_plot", **charts.class_quality(found.classes), on_click=self.click_class)
        if found.regions is not None and found.regions.pairs.given:
            card = _card(cards, "pairs", texts.pairs_heading(found.regions.pairs))
            _choice(card, "measure", "", list(MEASURES.items()), self.change_measure)
            matrix = charts.pair_matrix(found.regions.pairs, ctx.panel.get_state(MEASURE))
            card.plot("pairs_plot", **matrix, on_click=self.click_pair)

    def _regions(self, ctx: Any, page: types.Object, found: overview.RunOverview) -> None:
        regions = found.regions
        if regions is None:
            page.md(texts.NO_REGIONS_FIELD, name="no_regions")
        elif not regions.total:
            page.md(texts.NO_DISAGREEMENT, name="no_disagreement")
        else:
            cards = _cards(page, "review")
            _card(cards, "estimate", f"**How much is wrong**\n\n{texts.review_text(regions)}")
            if regions.review.accepted + regions.review.rejected:
                card = _card(cards, "precision", "**Precision of what was reviewed**")
                card.plot("precision_plot", **charts.precision(regions.review))

    def _comparison(self, page: types.Object, comparison: overview.Comparison) -> None:
        page.md(texts.comparison_text(comparison), name="comparison")
        cards = _cards(page, "compared")
        card = _card(cards, "compared_scores", "")
        card.plot("compared_scores_plot", **charts.compared_scores(comparison))
        if any(row[1] + row[2] for row in comparison.kinds):
            card = _card(cards, "compared_kinds", "")
            card.plot("compared_kinds_plot", **charts.compared_kinds(comparison))
        buttons = page.grid("changed", gap=2)
        for name, count, word, clicked in (
            ("better", comparison.change.better, "better", self.show_better),
            ("worse", comparison.change.worse, "worse", self.show_worse),
        ):
            _button(buttons, name, f"{count:,} images got {word}", clicked, disabled=not count)


def _cards(parent: types.Object, name: str) -> types.Object:
    """Room for cards side by side."""
    cards = types.Object()
    view = types.GridView(orientation="vertical", columns=2, gap=2, align_y="stretch", componentsProps=_COLUMNS)
    parent.define_property(name, cards, view=view)
    return cards


def _card(parent: types.Object, name: str, heading: str) -> types.Object:
    """A part of the page with a heading over it."""
    card = types.Object()
    parent.define_property(name, card, view=types.GridView(orientation="vertical", columns=1, gap=1))
    if heading:
        card.md(heading, name=f"{name}_heading")
    return card


def _button(parent: types.Object, name: str, label: str, clicked: Any, **kwargs: Any) -> None:
    parent.btn(name, label=label, on_click=clicked, variant="outlined", componentsProps=_AS_WIDE_AS_NEEDED, **kwargs)


def _choice(parent: types.Object, name: str, label: str, choices: list[tuple[str, str]], changed: Any) -> None:
    """A dropdown; what is chosen is in the state, a default would be sent back as a choice."""
    view = types.DropdownView(**({"width": "260px"} if label else {}))
    for value, title in choices:
        view.add_choice(value, label=title)
    parent.enum(name, [value for value, _ in choices], label=label, view=view, on_change=changed)
