"""Panel: a scoring run at a glance, every mark a way to the images and regions behind it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.fields.appearance import class_colors
from ..fiftyone_plugin.dataset.fields.regions import num_shown
from ..fiftyone_plugin.dataset.journals import answers
from ..fiftyone_plugin.dataset.runs import running_jobs
from ..fiftyone_plugin.errors import LabelQualityError
from ..fiftyone_plugin.quality import LIKELY
from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.certifying import bulk_acceptance
from ..fiftyone_plugin.workflows.reviewing import overview, review
from ..fiftyone_plugin.workflows.reviewing.worst_pictures import worst_pictures
from ..operators.forms import whole_dataset
from ..operators.words import spoken
from . import cards, pictures, texts
from .bulk_card import ALLOWED, bulk_card, report_of

# Where the App keeps what is chosen.
RUN, OTHER, FIELD, MEASURE = "bar.run", "bar.other", "chosen.field", "chosen.measure"
BULK = "chosen.allowed"  # share of mistakes among regions accepted at once
NO_RUN = "-"
OPENS = "opens"  # the image that is to be opened as soon as the grid has it
BEFORE = "before"  # the fields that the grid showed before regions were reviewed
LAST = "last"  # what was decided last: decision and ids of regions
MEASURES = {"regions": "number of regions", "pixels": "number of pixels"}
COMPONENT: Final = "LabelQualityCards"
_MOST_UNDONE = 500  # ids that travel with every click
_MOST_PICTURES = 4
_MOST_BESIDE = 8  # columns of a matrix that stands beside another card

_drawn: OrderedDict[tuple[Any, ...], tuple[list[Any], list[str]]] = OrderedDict()


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
        """Another dataset has other runs; the App says so, too, when it loads the same one again."""
        self.on_load(ctx)

    def on_change_view(self, ctx: Any) -> None:
        """Regions may have been accepted or rejected since; numbers that did not change are remembered."""
        self._choose(ctx, ctx.panel.get_state(RUN))
        self._restore_fields(ctx)
        opens = ctx.panel.get_state(OPENS)
        if opens:
            ctx.panel.set_state(OPENS, None)
            if not ctx.view._is_generated and len(ctx.view.select(opens)):
                ctx.ops.open_sample(id=opens)

    def on_change_selected(self, ctx: Any) -> None:
        """`render` says how many regions are selected."""

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

    def choose(self, ctx: Any) -> None:
        """Another score, or pixels instead of regions."""
        path, value = ctx.params.get("path"), ctx.params.get("value")
        if path in (FIELD, MEASURE, BULK) and isinstance(value, str):
            ctx.panel.set_state(path, value)
            self._choose(ctx, ctx.panel.get_state(RUN))

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
            BULK: get(BULK) if get(BULK) in ALLOWED else _allowed(ctx, run),
        }
        ctx.panel.set_state({path: value for path, value in chosen.items() if get(path) != value})

    # --- clicks ----------------------------------------------------------------------------------------------

    def pick(self, ctx: Any) -> None:
        """A click on a mark, or a button: `card` says where, `at` on what."""
        card, at = str(ctx.params.get("card")), ctx.params.get("at")
        if card in _MARKS and ctx.panel.get_state(RUN):
            _MARKS[card](self, ctx, at)
        elif at in _BUTTONS:
            _BUTTONS[at](self, ctx)
        else:
            ctx.ops.notify("The page is older than the dataset: press Refresh", variant="warning")

    def _pick_score(self, ctx: Any, at: Any) -> None:
        if isinstance(at, int):
            self._show(ctx, overview.images_between(ctx.dataset, ctx.panel.get_state(FIELD), at))

    def _pick_kind(self, ctx: Any, at: Any) -> None:
        kind, _, status = str(at).partition("/")
        self._show_regions(ctx, status=status or None, label=kind)

    def _pick_class(self, ctx: Any, at: Any) -> None:
        self._show_regions(ctx, given=str(at))

    def _pick_pair(self, ctx: Any, at: Any) -> None:
        given, _, suggested = str(at).partition(cards.BETWEEN)
        self._show_regions(ctx, given=given, suggested=suggested)

    def _pick_image(self, ctx: Any, at: Any) -> None:
        """One of the worst images, opened among the others as soon as the grid shows them.

        Opening a sample that the grid's view does not have ends the App.
        """
        run = ctx.panel.get_state(RUN)
        worst, shown = overview.worst_images(ctx.dataset, run), overview.run_overview(ctx.dataset, run)
        fields = [shown.label_field, *([] if shown.regions is None else [overview.regions_field(run)]), run]
        ctx.panel.set_state(BEFORE, None)
        ctx.ops.set_active_fields(fields)
        if overview.same_view(ctx.view, worst):
            ctx.ops.open_sample(id=str(at))
        else:
            ctx.panel.set_state(OPENS, str(at))
            ctx.ops.set_view(view=worst)

    def show_better(self, ctx: Any) -> None:
        """The images whose score rose from one run to the other."""
        self._show_changed(ctx, better=True)

    def show_worse(self, ctx: Any) -> None:
        """The images whose score fell."""
        self._show_changed(ctx, better=False)

    def _show_changed(self, ctx: Any, *, better: bool) -> None:
        comparison = overview.compare_runs(ctx.dataset, ctx.panel.get_state(RUN), ctx.panel.get_state(OTHER))
        self._show(ctx, overview.changed_images(ctx.dataset, comparison, better=better))

    def show_changed(self, ctx: Any) -> None:
        """The images whose label is not the one that was scored."""
        self._show(ctx, overview.changed_labels(ctx.dataset, ctx.panel.get_state(RUN)))

    def _show_regions(self, ctx: Any, **wanted: Any) -> None:
        run = ctx.panel.get_state(RUN)
        if self._show(ctx, overview.regions_of(ctx.dataset, run, **wanted), "region"):
            self._only_regions(ctx)

    def _only_regions(self, ctx: Any) -> None:
        """Show no other field while regions are reviewed; those of before come back afterwards."""
        if not ctx.view._is_generated:
            ctx.panel.set_state(BEFORE, {"dataset": ctx.dataset_name, "fields": list(ctx.active_fields or [])})
        ctx.ops.set_active_fields([overview.regions_field(ctx.panel.get_state(RUN))])

    def _restore_fields(self, ctx: Any) -> None:
        before = ctx.panel.get_state(BEFORE)
        if before and not ctx.view._is_generated:
            ctx.panel.set_state(BEFORE, None)
            if before.get("dataset") == ctx.dataset_name:
                ctx.ops.set_active_fields(before["fields"])

    def _show(self, ctx: Any, view: Any, noun: str = "image") -> bool:
        """Show a view under Samples and say so; False if there is nothing in it."""
        number = num_shown(view)
        if number:
            ctx.ops.set_view(view=view)
            ctx.ops.notify(f"Shown under Samples: {count(number, noun)}", variant="success")
        else:
            ctx.ops.notify(f"There are no such {noun}s", variant="info")
        return number > 0

    # --- buttons ---------------------------------------------------------------------------------------------

    def find_errors(self, ctx: Any) -> None:
        """Open the form that trains a model and scores with it."""
        self._prompt(ctx, "find_label_errors")

    def train(self, ctx: Any) -> None:
        """Open the form that trains a model of one's own choice."""
        self._prompt(ctx, "train_cross_validated", view_target=whole_dataset(ctx))

    def score_labels(self, ctx: Any) -> None:
        """Open the form that makes a run."""
        self._prompt(ctx, "score_label_quality", view_target=whole_dataset(ctx))

    def show_issues(self, ctx: Any) -> None:
        """Open the form that shows regions."""
        self._prompt(ctx, "show_label_issues", key=ctx.panel.get_state(RUN))

    def rescore(self, ctx: Any) -> None:
        """Score regions anew from what was accepted and rejected."""
        self._prompt(ctx, "rescore_label_issues", key=ctx.panel.get_state(RUN))

    def apply(self, ctx: Any) -> None:
        """Give accepted regions their suggested class, in the corrected labels."""
        self._prompt(ctx, "apply_label_proposals", key=ctx.panel.get_state(RUN), view_target=whole_dataset(ctx))

    def _prompt(self, ctx: Any, operator: str, **params: Any) -> None:
        ctx.prompt(f"{self.plugin_name}/{operator}", params=params or None, on_success=self.on_load)

    def stop(self, ctx: Any) -> None:
        """Open the form that stops a job that runs now."""
        self._prompt(ctx, "stop_label_quality_job")

    def review_worst(self, ctx: Any) -> None:
        """The pending regions that are likely wrong, worst first; all of them if these are too few to tell much."""
        found = overview.run_overview(ctx.dataset, ctx.panel.get_state(RUN)).regions
        self._show_regions(ctx, least=LIKELY if found and found.likely >= overview.ENOUGH_REVIEWS else 0.0)

    # --- reviewing -------------------------------------------------------------------------------------------

    def accept(self, ctx: Any) -> None:
        """The labels of the selected regions are wrong."""
        self._decide(ctx, "accepted")

    def reject(self, ctx: Any) -> None:
        """The labels of the selected regions are right."""
        self._decide(ctx, "rejected")

    def undo(self, ctx: Any) -> None:
        """Take the last decision back."""
        last = _last(ctx)
        if last:
            ctx.panel.set_state(LAST, None)
            self._review(ctx, ctx.dataset, "pending", list(last["ids"]))

    def _decide(self, ctx: Any, decision: str) -> None:
        field = overview.regions_field(ctx.panel.get_state(RUN))
        if not _shows_regions(ctx, field) or not ctx.selected:
            ctx.ops.notify("Tick regions under Samples first", variant="info")
            return
        ids = ctx.view.select(ctx.selected).values(f"{field}.id")
        last = {"dataset": ctx.dataset_name, "decision": decision, "ids": ids}
        ctx.panel.set_state(LAST, last if len(ids) <= _MOST_UNDONE else None)
        self._review(ctx, ctx.dataset, decision, ids)

    def _review(self, ctx: Any, samples: Any, decision: str, ids: list[str]) -> None:
        try:
            report = review.review_regions(
                samples, decision, key=ctx.panel.get_state(RUN), label_ids=ids,
                reviewer=getattr(ctx.user, "name", None),
            )  # fmt: skip
        except LabelQualityError as error:
            ctx.ops.notify(spoken(str(error)), variant="error")
            return
        ctx.ops.clear_selected_samples()
        ctx.request_params.update(selected=[], selected_samples=None)  # for what is drawn before the App says so
        ctx.ops.reload_dataset()
        done = "back to be reviewed" if decision == "pending" else f"{decision}; undo: u"
        if report.num_applied:
            done += ". The corrected labels still have them: press Apply label proposals"
        ctx.ops.notify(f"{count(report.num_regions, 'region')} {done}", variant="success")

    # --- accepting at once -----------------------------------------------------------------------------------

    def bulk_draw(self, ctx: Any) -> None:
        """Draw regions to decide on, with the risk of the slider, and show them."""
        run, allowed = ctx.panel.get_state(RUN), float(ctx.panel.get_state(BULK))
        if self._told(ctx, bulk_acceptance.begin_bulk_review, key=run, allowed=allowed, restart=True):
            self.bulk_review(ctx)

    def bulk_review(self, ctx: Any) -> None:
        """Show the regions to decide on next."""
        view = self._told(ctx, bulk_acceptance.show_bulk_review, key=ctx.panel.get_state(RUN))
        if view is not None and self._show(ctx, view, "region"):
            self._only_regions(ctx)

    def bulk_accept(self, ctx: Any) -> None:
        """Accept what the promise is about."""
        reviewer = getattr(ctx.user, "name", None)
        report = self._told(ctx, bulk_acceptance.accept_in_bulk, key=ctx.panel.get_state(RUN), reviewer=reviewer)
        if report is not None:
            ctx.ops.reload_dataset()
            ctx.ops.notify(f"{count(report.num_accepted, 'region')} accepted", variant="success")

    def bulk_undo(self, ctx: Any) -> None:
        """Put what was accepted at once back to be reviewed."""
        reviewer = getattr(ctx.user, "name", None)
        number = self._told(ctx, bulk_acceptance.undo_accept_in_bulk, key=ctx.panel.get_state(RUN), reviewer=reviewer)
        if number is not None:
            ctx.ops.reload_dataset()
            ctx.ops.notify(f"{count(number, 'region')} back to be reviewed", variant="success")

    def _told(self, ctx: Any, job: Any, **arguments: Any) -> Any:
        """What a job gives; None, and a message, where it cannot be done."""
        try:
            return job(ctx.dataset, **arguments)
        except LabelQualityError as error:
            ctx.ops.notify(spoken(str(error)), variant="error")
            return None

    # --- layout ----------------------------------------------------------------------------------------------

    def render(self, ctx: Any) -> types.Property:
        """The page: how much is wrong and what to do, the worst images, where and of what kind, what reviews say."""
        page = types.Object()
        run = ctx.panel.get_state(RUN)
        if run in [record.key for record in overview.scoring_runs(ctx.dataset)]:  # it may just have been deleted
            found = overview.run_overview(ctx.dataset, run)
            self._bar(ctx, page, found)
            shown = [*self._first(ctx, found), *self._where(ctx, found), *self._reviewed(found)]
            other = ctx.panel.get_state(OTHER)
            if other not in (None, NO_RUN):
                shown += self._comparison(overview.compare_runs(ctx.dataset, run, other))
        else:
            shown = [_empty()]
        shown = [*_running(ctx), *shown]
        view = types.View(
            component=COMPONENT, composite_view=True, cards=shown, on_pick=self.pick, on_choose=self.choose
        )
        page.obj("cards", view=view)
        return types.Property(page, view=types.GridView(orientation="vertical", columns=1, width=100, gap=1, pad=2))

    def _bar(self, ctx: Any, page: types.Object, found: overview.RunOverview) -> None:
        keys = [run.key for run in overview.scoring_runs(ctx.dataset)]
        if len(keys) == 1:
            return
        bar = page.grid("bar", gap=2, align_y="bottom")
        _choice(bar, "run", "Run", [(key, key) for key in keys], self.change_run)
        others = [(NO_RUN, "no other run"), *((key, key) for key in keys if key != found.key)]
        _choice(bar, "other", "Compare with", others, self.change_other)

    def _first(self, ctx: Any, found: overview.RunOverview) -> list[cards.Card]:
        """What to know and to do first."""
        action = cards.action
        some = found.regions is not None and found.regions.total > 0
        reviewing = some and _shows_regions(ctx, overview.regions_field(found.key))
        steps = [action("refresh", "Refresh")]
        if found.regions is None:
            steps.insert(0, action("score_labels", "Score labels", primary=True))
        if some:
            reviewed = found.regions.review.accepted + found.regions.review.rejected  # type: ignore[union-attr]
            waiting = found.regions.status["pending"]  # type: ignore[union-attr]
            steps = [
                action("review_worst", "Review the worst regions", primary=not reviewing, disabled=not waiting),
                action("show_issues", "Filter regions"),
                action("rescore", "Learn from my reviews", disabled=not reviewed),
                *steps,
            ]
            if found.regions.status["accepted"] or answers.ever_taken_over(ctx.dataset):  # type: ignore[union-attr]
                steps.insert(2, action("apply", "Apply label proposals"))
        shown = [cards.card("estimate", "How much is wrong", lines=texts.how_much(found), actions=steps, wide=True)]
        changed = overview.num_changed_labels(ctx.dataset, found.key)
        warnings = [*map(spoken, found.warnings), *([texts.changed(changed)] if changed else [])]
        if warnings:
            steps = [action("show_changed", "Show these images")] if changed else []
            shown.append(
                cards.card("warnings", "Before you believe it", lines=warnings, actions=steps, wide=True, warns=True)
            )
        if reviewing:
            shown.insert(0, self._review_card(ctx))
        if some:
            report = report_of(ctx.dataset, found.key)
            shown.append(bulk_card(report, ctx.panel.get_state(BULK) or "0.05", BULK))
        if found.worst:
            sources = self._sources(ctx, found)
            shown.append(
                cards.card(
                    "worst",
                    "Worst images",
                    cards.pictures(*sources, regions=found.regions is not None),
                    lines=texts.WORST,
                    wide=True,
                )
            )
        return shown

    def _review_card(self, ctx: Any) -> cards.Card:
        last, number = _last(ctx), len(ctx.selected or [])
        steps = [
            cards.action("accept", "Accept: it is wrong", key="a", primary=bool(number), disabled=not number),
            cards.action("reject", "Reject: it is right", key="r", disabled=not number),
            cards.action("undo", "Undo", key="u", disabled=not last),
        ]
        said = (last["decision"], len(last["ids"])) if last else None
        return cards.card("review", "Review", lines=texts.selected(number, said), actions=steps, wide=True)

    def _sources(self, ctx: Any, found: overview.RunOverview) -> tuple[list[Any], list[str]]:
        """The worst images and what they look like, drawn once for each state of the dataset."""
        key = overview.state_of(ctx.dataset, found.key)
        if key not in _drawn:
            dataset, field = ctx.dataset, found.label_field
            read = worst_pictures(dataset, found.key, field, found.worst)
            names = {
                int(str(value).replace("#", "0x"), 0): name for value, name in overview.targets(dataset, field).items()
            }
            colors = class_colors(dataset, field, list(names.values()))
            _drawn[key] = read, [pictures.drawn(picture, colors, names) for picture in read]
            while len(_drawn) > _MOST_PICTURES:
                _drawn.popitem(last=False)
        return _drawn[key]

    def _where(self, ctx: Any, found: overview.RunOverview) -> list[cards.Card]:
        """Images by score, regions by kind, class and pair of classes."""
        shown, field, regions = [], ctx.panel.get_state(FIELD), found.regions
        names = [entry.name for entry in found.classes]
        colors = class_colors(ctx.dataset, found.label_field, names)
        if field:
            chosen = cards.choice(FIELD, field, found.score_fields) if len(found.score_fields) > 1 else None
            body = cards.score_histogram(overview.score_histogram(ctx.dataset, field))
            shown.append(cards.card("scores", "Images by score", body, choice=chosen))
        if found.classes:
            body, note = (
                cards.class_quality(found.classes, colors, regions=regions is not None),
                texts.classes_note(len(found.classes)),
            )
            shown.append(cards.card("classes", "Classes, least trusted first", body, lines=note))
        if regions is not None and regions.total:
            shown.append(cards.card("kinds", "Regions by kind of error", cards.kinds(regions)))
        if regions is not None and regions.pairs.given:
            measure = ctx.panel.get_state(MEASURE)
            body = cards.pair_matrix(regions.pairs, measure, colors)
            chosen = cards.choice(MEASURE, measure, list(MEASURES.items()))
            title, note = "Given and suggested class", texts.pairs_note(regions.pairs)
            wide = len(regions.pairs.suggested) > _MOST_BESIDE
            shown.append(cards.card("pairs", title, body, lines=note, choice=chosen, wide=wide or None))
        return shown

    def _reviewed(self, found: overview.RunOverview) -> list[cards.Card]:
        if found.regions is None or not found.regions.review.so_far:
            return []
        said = found.regions.review
        shown = [cards.card("precision", "How many of the reviewed regions were errors", cards.precision(said))]
        if len(said.so_far) > 1:
            shown.append(cards.card("so_far", "Share of errors as you reviewed", cards.precision_so_far(said)))
        return shown

    def _comparison(self, comparison: overview.Comparison) -> list[cards.Card]:
        steps = [
            cards.action(name, f"{count(number, 'image')} got {word}", disabled=not number)
            for name, number, word in (
                ("show_better", comparison.change.better, "better"),
                ("show_worse", comparison.change.worse, "worse"),
            )
        ]
        lines = texts.comparison_text(comparison)
        body = cards.compared_scores(comparison)
        shown = [cards.card("compared_scores", "Before and after", body, lines=lines, actions=steps)]
        if any(row[1] + row[2] for row in comparison.kinds):
            shown.append(
                cards.card(
                    "compared_kinds",
                    "Regions before and after, without rejected ones",
                    cards.compared_kinds(comparison),
                )
            )
        return shown


_MARKS: Final = {
    "scores": LabelQualityPanel._pick_score,
    "kinds": LabelQualityPanel._pick_kind,
    "classes": LabelQualityPanel._pick_class,
    "pairs": LabelQualityPanel._pick_pair,
    "worst": LabelQualityPanel._pick_image,
}
_BUTTONS: Final = {
    "refresh": LabelQualityPanel.on_load,
    **{
        name: getattr(LabelQualityPanel, name)
        for name in (
            "find_errors", "train", "score_labels", "show_issues", "rescore", "apply", "review_worst", "show_changed",
            "show_better", "show_worse", "accept", "reject", "undo", "bulk_draw", "bulk_review", "bulk_accept",
            "bulk_undo", "stop",
        )
    },
}  # fmt: skip


def _empty() -> cards.Card:
    """Before the first run: how to get one."""
    steps = [
        cards.action("find_errors", "Find label errors", primary=True),
        cards.action("train", "Train a model"),
        cards.action("score_labels", "Score with a model I have"),
    ]
    return cards.card("no_run", "Label quality", lines=texts.NO_RUN, actions=steps, wide=True)


def _running(ctx: Any) -> list[cards.Card]:
    """What is being done now, by anybody."""
    jobs = running_jobs.running_jobs(ctx.dataset)
    steps = [cards.action("stop", "Stop"), cards.action("refresh", "Refresh")]
    lines = [texts.running(job) for job in jobs]
    return [cards.card("running", "Running now", lines=lines, actions=steps, wide=True)] if jobs else []


def _allowed(ctx: Any, run: str | None) -> str:
    """Where the slider begins: at the risk of the draw, if there is one."""
    there = run is not None and ctx.dataset.has_field(overview.regions_field(run))
    report = report_of(ctx.dataset, str(run)) if there else None
    allowed = "" if report is None else f"{report.promise.allowed:g}"
    return allowed if allowed in ALLOWED else "0.05"


def _last(ctx: Any) -> dict[str, Any] | None:
    """What was decided last on this dataset."""
    last = ctx.panel.get_state(LAST)
    return last if last and last.get("dataset") == ctx.dataset_name else None


def _shows_regions(ctx: Any, field: str) -> bool:
    """Whether the grid shows regions of a run."""
    return bool(ctx.view is not None and ctx.view._is_generated and ctx.view.has_field(field))


def _choice(parent: types.Object, name: str, label: str, choices: list[tuple[str, str]], changed: Any) -> None:
    """A dropdown; what is chosen is in the state, a default would be sent back as a choice."""
    view = types.DropdownView(width="260px")
    for value, title in choices:
        view.add_choice(value, label=title)
    parent.enum(name, [value for value, _ in choices], label=label, view=view, on_change=changed)
