"""A long job inside an operator: progress in the App, in a terminal or of a delegated run, errors that are seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.dataset.runs.running_jobs import JobStopped, announce
from ..fiftyone_plugin.errors import LabelQualityError, told
from ..fiftyone_plugin.plugin_folder import PLUGIN_NAME
from ..fiftyone_plugin.progress import Progress, silent, terminal_bar
from .words import spoken

Result = TypeVar("Result")
_SECONDS_BETWEEN_REPORTS = 0.25
_SECONDS_UNTIL_AGAIN = 5.0


@dataclass(frozen=True)
class _Caller:
    """Who waits in Python: where it sees the progress, and whether it has pressed Ctrl+C."""

    progress: Progress = silent
    interrupted: Event = field(default_factory=Event)


_caller: ContextVar[_Caller] = ContextVar("caller", default=_Caller())  # noqa: B039 nobody sets the default's event


def execute(uri: str, ctx: dict[str, Any], *, delegate: bool = False, description: str = "") -> Any:
    """Execute an operator from Python and wait for it, with a bar in the terminal; Ctrl+C stops it.

    It runs in a thread of its own: in a notebook an event loop is running, and FiftyOne would only schedule it.

    Args:
        uri: the operator
        ctx: dataset or view, and params
        delegate: whether to queue it instead
        description: what the bar says at first

    Returns:
        FiftyOne's ExecutionResult
    """
    interrupted = Event()

    def run() -> Any:
        if delegate:
            return foo.execute_operator(uri, ctx, request_delegation=True)
        with terminal_bar(description) as bar:
            token = _caller.set(_Caller(bar, interrupted))
            try:
                return foo.execute_operator(uri, ctx)
            finally:
                _caller.reset(token)

    with ThreadPoolExecutor(max_workers=1) as pool:
        done = pool.submit(copy_context().run, run)
        try:
            return done.result()
        except KeyboardInterrupt:
            interrupted.set()  # the job ends between two of its steps; the pool waits for that
            raise


def run_with_progress(
    ctx: Any, job: Callable[[Progress], Result], *, title: str, labels: Callable[[], Mapping[str, str]] = dict
) -> Generator[Any, None, Result]:
    """Run a job in a thread and yield its progress as messages for the App, each with a button that stops it.

    Where the page is closed, the job goes on; it is stopped by `stop_label_quality_job` or in the panel.

    Args:
        ctx: the operator's execution context
        job: takes the callable to report to
        title: what the job is
        labels: gives what the form calls each argument, in which words an error is then shown

    Yields:
        messages that move the App's progress bar

    Returns:
        what the job returned

    Raises:
        Exception: what the job raised, after the App was told
    """
    events: SimpleQueue[tuple[float, str] | None] = SimpleQueue()
    outcome: dict[str, Any] = {}
    caller, job_id = _caller.get(), uuid4().hex

    def work() -> None:
        try:
            with announce(ctx.dataset, job_id, title) as entry:

                def beat(phase: str) -> None:
                    entry.beat(phase)
                    if caller.interrupted.is_set() or _is_marked_failed(ctx):
                        raise JobStopped(title, phase)

                throttle = _Throttle(lambda share, label: events.put((share, label)), caller.progress, beat)
                outcome["result"] = job(throttle)
        except BaseException as error:
            outcome["error"] = error
        events.put(None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    for share, label in _reports(events):
        if ctx.delegated:
            ctx.set_progress(progress=share, label=label)
        else:
            yield _show_progress(ctx, job_id, title, share, label)
    thread.join()
    if "error" in outcome:
        if ctx.delegated:
            _fail(outcome["error"], labels())
        yield _show_error(ctx, outcome["error"], labels())
        raise outcome["error"]
    if ctx.delegated:
        ctx.set_progress(progress=1.0, label="done")
    return outcome["result"]


def _fail(error: BaseException, labels: Mapping[str, str]) -> NoReturn:
    """End a delegated run, of which FiftyOne's page of runs shows what is raised."""
    if isinstance(error, ValueError | OSError):
        raise LabelQualityError(spoken(told(error), labels)) from error
    raise error


def _reports(events: SimpleQueue[tuple[float, str] | None]) -> Generator[tuple[float, str], None, None]:
    """What a job reports; the last report again after a while, since a person may have closed it, with its Stop."""
    last = None
    while True:
        try:
            event = events.get(timeout=_SECONDS_UNTIL_AGAIN if last else None)
        except Empty:
            event = last
        if event is None:
            return
        last = event
        yield event


def _is_marked_failed(ctx: Any) -> bool:
    """Whether a delegated run was ended by `fiftyone delegated fail`, which by itself ends no process."""
    from fiftyone.operators.delegated import DelegatedOperationService
    from fiftyone.operators.executor import ExecutionRunState

    run = ctx.request_params.get("run_doc") if ctx.delegated else None
    return run is not None and DelegatedOperationService().get(run).run_state == ExecutionRunState.FAILED


class _Throttle:
    """Passes on a few reports per second, with the time left; all of them to a terminal, which has its own."""

    def __init__(
        self, report: Callable[[float, str], None], terminal: Progress, beat: Callable[[str], object] = str
    ) -> None:
        self._report = report
        self._terminal = terminal
        self._beat = beat
        self._label = ""
        self._total = self._done = self._first = 0.0
        self._started = self._last = 0.0

    def __call__(self, done: float, total: float, label: str) -> None:
        self._terminal(done, total, label)
        now = time.monotonic()
        if total != self._total or done < self._done:  # another stage; a label may also tell the loss
            self._total, self._first, self._started = total, done, now
        self._done = done
        if label != self._label:
            self._label, self._last = label, 0.0
        if now - self._last < _SECONDS_BETWEEN_REPORTS and done < total:
            return
        self._last = now
        share = done / total if total else 1.0
        count = f": {done:g} of {total:g}{self._time_left(now)}" if total > 1 else ""
        self._report(share, f"{label}{count}")
        self._beat(f"{label}{count}")

    def _time_left(self, now: float) -> str:
        if not self._first < self._done < self._total:
            return ""
        seconds = (now - self._started) * (self._total - self._done) / (self._done - self._first)
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {max(seconds, 1):.0f} s left"


def _show_progress(ctx: Any, job_id: str, title: str, share: float, label: str) -> Any:
    """A message that moves the bar, with a button that stops the job."""
    outputs = types.Object()
    outputs.float("progress", view=types.ProgressView(label=label))
    stop = f"{PLUGIN_NAME}/stop_label_quality_job"
    outputs.btn("stop", "Stop", icon="stop", variant="outlined", on_click=stop, params={"job": job_id})
    note = "What is done is kept if you stop. To work on meanwhile, open this dataset in a second tab."
    outputs.md(f"**{title}** is running. {note}", name="note")
    return ctx.ops.show_output(types.Property(outputs, view=types.View(label=title)).to_json(), {"progress": share})


def _show_error(ctx: Any, error: BaseException, labels: Mapping[str, str]) -> Any:
    """A message that shows an error in the App, where one raised in the middle of a job would not be seen."""
    outputs, text = types.Object(), spoken(told(error), labels)
    if isinstance(error, JobStopped):
        outputs.view("stopped", types.Notice(label="Stopped", description=text))
    else:
        outputs.view("error", types.Error(label="Nothing was changed", description=text))
    title = "Stopped" if isinstance(error, JobStopped) else "Error"
    return ctx.ops.show_output(types.Property(outputs, view=types.View(label=title)).to_json(), {})


def show_report(ctx: Any, title: str, markdown: str) -> Any:
    """A message that shows a report in the App."""
    outputs = types.Object()
    outputs.str("report", view=types.MarkdownView())
    form = types.Property(outputs, view=types.View(label=title))
    return ctx.ops.show_output(form.to_json(), {"report": markdown})
