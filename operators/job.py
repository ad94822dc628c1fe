"""A long job as an operator: a form, progress in the App, in a terminal or of a delegated run, and a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, ClassVar

import fiftyone as fo
import fiftyone.operators.types as types
from fiftyone.core.patches import PatchesView

from ..fiftyone_plugin.dataset.runs import run_records
from ..fiftyone_plugin.progress import Progress
from . import forms
from .entry import Entry
from .looks import looks_of, take_up_looks
from .progress import execute, run_with_progress, show_report
from .words import in_the_app

_SCHEDULING = (
    "Execute starts it now. If Schedule says NOT AVAILABLE: start the App with "
    "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true, and run `fiftyone delegated launch` beside it."
)


class Job(Entry, ABC):
    """What long operators with a report have in common; subclasses say what to ask and which workflow to call."""

    done: ClassVar[str] = ""
    """Title of the report."""
    positional: ClassVar[tuple[str, ...]] = ("label_field",)
    """Parameters that a call in Python may give without their names."""
    default_key: ClassVar[str] = ""
    """Key of the run whose record a call in Python returns, where the caller names none."""
    long = True

    def __call__(self, sample_collection: Any, *args: Any, delegate: bool = False, **kwargs: Any) -> Any:
        """Do the job from Python.

        Args:
            sample_collection: the dataset or view
            args: values of the parameters in `positional`, mostly the label field
            delegate: whether to queue the job for `fiftyone delegated launch`
            kwargs: the other arguments of the workflow

        Returns:
            the run's record where the job has a key, else FiftyOne's ExecutionResult, as for a queued job. The function
            of the same name in `fiftyone_plugin` returns the report
        """
        named = dict(zip(self.positional, args, strict=False))
        if "label_field" in self.positional:
            named.setdefault("label_field", "ground_truth")
        ctx = forms.context_of(sample_collection, **{"confirm": True, **self.call_params({**named, **kwargs})})
        result = execute(self.uri, ctx, delegate=delegate, description=self.label.lower())
        if delegate or not self.default_key:
            return result
        return run_records.find_run(sample_collection._dataset, kwargs.get("key", self.default_key))

    def call_params(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Parameters of the form from the arguments of a call in Python."""
        return arguments

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form."""
        inputs = types.Object()
        self.ask(ctx, inputs)
        if self.takes_hours and ctx.dataset is not None and not fo.config.allow_legacy_orchestrators:
            inputs.view("scheduling", types.Notice(label="To schedule it", description=_SCHEDULING))
        return self.form(inputs)

    def resolve_output(self, ctx: Any) -> types.Property:
        """What a delegated run has left; the App shows that of any other at once."""
        outputs = types.Object()
        outputs.str("report", label=self.done, view=types.MarkdownView())
        return types.Property(outputs, view=types.View(label=self.done))

    def resolve_run_name(self, ctx: Any) -> str:
        """Name of a delegated run."""
        return f"{self.title} on {ctx.params.get('label_field') or ctx.dataset.name}"

    def execute(self, ctx: Any) -> Any:
        """Do it, then show the report.

        Returns:
            messages for the App; of a delegated run, the report
        """
        job = self._run(ctx)
        return _result(job) if ctx.delegated else job

    def _run(self, ctx: Any) -> Generator[Any, None, dict[str, Any]]:
        samples, params = self.samples_of(ctx), dict(ctx.params)
        before = looks_of(ctx.dataset)
        report = yield from run_with_progress(
            ctx,
            lambda progress: self.work(samples, params, progress),
            title=self.label,
            labels=lambda: self.labels(ctx),
        )
        text = in_the_app(report if isinstance(report, str) else report.markdown())
        if not ctx.delegated:
            yield ctx.ops.reload_dataset()
            yield from take_up_looks(ctx, before)
            if (view := self._shown_after(ctx, report)) is not None:
                yield ctx.ops.set_view(view)
            yield show_report(ctx, self.done, text)
        return {"report": text}

    def _shown_after(self, ctx: Any, report: Any) -> Any:
        """The view of before, or that of what was found; None for the whole dataset."""
        if (name := self.view_after(report)) is not None:
            return ctx.dataset.load_saved_view(name)
        try:
            return ctx.view if ctx.view is not None and ctx.view._stages and ctx.view.count() else None
        except ValueError:  # of fields that the job has replaced
            return None

    def samples_of(self, ctx: Any) -> Any:
        """What the job is about; where the App shows patches, the images that they are of."""
        return _images_of(ctx.target_view())

    def view_after(self, report: Any) -> str | None:
        """The saved view that is shown when the job is done; None for that of before."""
        return None

    @abstractmethod
    def ask(self, ctx: Any, inputs: types.Object) -> None:
        """Fill the form."""

    @abstractmethod
    def work(self, samples: Any, params: dict[str, Any], progress: Progress) -> Any:
        """Call the workflow.

        Returns:
            a report with `markdown()`, or text
        """


def _images_of(samples: Any) -> Any:
    """The images that patches are of, as the App shows them while regions are reviewed; any other view as it is."""
    if not isinstance(samples, PatchesView) or samples._root_dataset.media_type == "group":
        return samples
    return samples._root_dataset.select(samples.distinct("sample_id"))


def _result(job: Generator[Any, None, dict[str, Any]]) -> dict[str, Any]:
    """What a job returns at its end; nobody is there to see its messages."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def given(params: dict[str, Any], *names: str) -> dict[str, Any]:
    """The parameters of these names that were filled in."""
    return {name: params[name] for name in names if params.get(name) not in (None, "")}


def corrected_field_input(ctx: Any, inputs: types.Object, fields: list[str]) -> bool:
    """Ask which label field is corrected, where there is a choice.

    Returns:
        whether there is any; if not, the form says so and cannot be sent
    """
    if not fields:
        text = "Run 'Label quality: plan correction queries' first."
        forms.blocked(inputs, "no_queries", "No label field of this dataset is being corrected", text)
        return False
    view = types.DropdownView()
    for name in fields:
        view.add_choice(name, label=name)
    inputs.enum("label_field", fields, required=True, default=fields[0], label="Label field", view=view)
    return True


def edited_input(ctx: Any, inputs: types.Object) -> None:
    """Ask what to do about labels that were edited in the meantime."""
    view = types.DropdownView()
    view.add_choice("refuse", label="Leave them alone and name them")
    view.add_choice("replay", label="Paint the answers onto the edited labels")
    view.add_choice("discard", label="Take the answers about them back")
    inputs.enum(
        "on_edited",
        ["refuse", "replay", "discard"],
        default="refuse",
        label="Labels that were edited since they were asked about",
        view=view,
    )
    if ctx.params.get("on_edited") == "discard":
        text = "Answers about labels that were edited since no longer count; the edited labels stand instead."
        forms.confirm_input(ctx, inputs, "Take back answers about edited labels", text)
