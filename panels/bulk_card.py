"""The card that accepts many regions at once: one slider, the promise in words, one button, undo."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from ..fiftyone_plugin.wording import count
from ..fiftyone_plugin.workflows.certifying import bulk_acceptance
from ..fiftyone_plugin.workflows.certifying.bulk_acceptance import BulkReport
from ..fiftyone_plugin.workflows.reviewing import overview
from . import cards

ALLOWED: Final = {f"{value:g}": f"at most {100 * value:g} % mistakes" for value in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)}
"""Positions of the slider."""

_MOST_REPORTS: Final = 4
_reports: OrderedDict[tuple[Any, ...], BulkReport | None] = OrderedDict()


def report_of(dataset: Any, key: str) -> BulkReport | None:
    """What the decisions allow, found once for each state of the dataset; None where nothing was drawn."""
    state = (*overview.state_of(dataset, key), bulk_acceptance.draw_name(dataset, key=key))
    if state not in _reports:
        drawn = bulk_acceptance.bulk_draws_exist(dataset, key=key)
        _reports[state] = bulk_acceptance.bulk_review_report(dataset, key=key) if drawn else None
        while len(_reports) > _MOST_REPORTS:
            _reports.popitem(last=False)
    return _reports[state]


def bulk_card(report: BulkReport | None, allowed: str, path: str) -> cards.Card:
    """The card.

    Args:
        report: what the decisions so far allow, None where nothing was drawn
        allowed: position of the slider, one of `ALLOWED`
        path: where the panel's state keeps it
    """
    chosen = cards.slider(path, allowed, list(ALLOWED.items()))
    if report is None:
        lines = [
            "Review a few regions that are drawn at random. Then many others can be accepted at once, with no more "
            "mistakes than you allow."
        ]
        steps = [cards.action("bulk_draw", "Draw regions to review")]
        return cards.card("bulk", "Accept many at once", lines=lines, actions=steps, choice=chosen, wide=True)
    steps = [cards.action("bulk_undo", "Undo", disabled=not report.num_accepted)]
    if abs(report.promise.allowed - float(allowed)) > 1e-9:
        steps.insert(0, cards.action("bulk_draw", f"Draw anew: {ALLOWED[allowed]}"))
    elif report.waiting:
        steps.insert(0, cards.action("bulk_accept", f"Accept {count(len(report.waiting), 'region')}"))
    if report.to_review:
        label = f"Review {count(len(report.to_review), 'region')}"
        steps.insert(len(steps) - 1, cards.action("bulk_review", label))
    lines = report.markdown().replace("\n- ", "\n").split("\n")
    return cards.card("bulk", "Accept many at once", lines=lines, actions=steps, choice=chosen, wide=True)
