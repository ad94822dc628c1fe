"""A long job inside an operator: progress in the App, in a terminal or of a delegated run, errors that are seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.progress import Progress, terminal_bar
from ..fiftyone_plugin.wording import as_labels

Result = TypeVar("Result")
_SECONDS_BETWEEN_REPORTS = 0.25
_terminal: ContextVar[Progress | None] = ContextVar("terminal", default=None)


def execute(uri: str, ctx: dict[str, Any], *, delegate: bool = False, description: str = "") -> Any:
    """Execute an operator from Python and wait for it, with a bar in the terminal.

    In a notebook an event loop is running, and FiftyOne then only schedules the operator; in a thread of its own it is
    executed there too before this returns.

    Args:
        uri: the operator
        ctx: dataset or view, and params
        delegate: whether to queue it instead
        description: what the bar says at first

    Returns:
        FiftyOne's ExecutionResult
    """

    def run() -> Any:
        if delegate:
            return foo.execute_operator(uri, ctx, request_delegation=True)
        with terminal_bar(description) as bar:
            token = _terminal.set(bar)
            try:
                return foo.execute_operator(uri, ctx)
            finally:
                _terminal.reset(token)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(copy_context().run, run).result()


def run_with_progress(
    ctx: Any, job: Callable[[Progress], Result], *, labels: Callable[[], Mapping[str, str]] = dict
) -> Generator[Any, None, Result]:
    """Run a job in a thread and yield its progress as messages for the App.

    Args:
        ctx: the operator's execution context
        job: takes the callable to report to
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
    throttle = _Throttle(lambda share, label: events.put((share, label)), _terminal.get())

    def work() -> None:
        try:
            outcome["result"] = job(throttle)
        except BaseException as error:
            outcome["error"] = error
        events.put(None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    while (event := events.get()) is not None:
        share, label = event
        if ctx.delegated:
            ctx.set_progress(progress=share, label=label)
        else:
            yield ctx.ops.set_progress(label=label, progress=share)
    thread.join()
    if "error" in outcome:
        if not ctx.delegated:
            yield _show_error(ctx, as_labels(str(outcome["error"]), labels()))
        raise outcome["error"]
    return outcome["result"]


class _Throttle:
    """Passes on a few reports per second, with the time left; all of them to a terminal, which has its own."""

    def __init__(self, report: Callable[[float, str], None], terminal: Progress | None) -> None:
        self._report = report
        self._terminal = terminal
        self._label = ""
        self._total = self._done = self._first = 0.0
        self._started = self._last = 0.0

    def __call__(self, done: float, total: float, label: str) -> None:
        if self._terminal is not None:
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
        self._report(share, f"{label}: {done:g} of {total:g}{self._time_left(now)}")

    def _time_left(self, now: float) -> str:
        if not self._first < self._done < self._total:
            return ""
        seconds = (now - self._started) * (self._total - self._done) / (self._done - self._first)
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {max(seconds, 1):.0f} s left"


def _show_error(ctx: Any, text: str) -> Any:
    """A message that shows an error in the App, where one raised in the middle of a job would not be seen."""
    outputs = types.Object()
    outputs.view("error", types.Error(label="Nothing was changed", description=text))
    return ctx.ops.show_output(types.Property(outputs, view=types.View(label="Error")).to_json(), {})


def show_report(ctx: Any, title: str, markdown: str) -> Any:
    """A message that shows a report in the App."""
    outputs = types.Object()
    outputs.str("report", view=types.MarkdownView())
    form = types.Property(outputs, view=types.View(label=title))
    return ctx.ops.show_output(form.to_json(), {"report": markdown})
