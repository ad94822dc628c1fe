"""Operator: accept issue regions as label errors."""

from __future__ import annotations

from .reviewing import ReviewOperator


class AcceptLabelIssues(ReviewOperator):
    """The label is wrong there."""

    name = "accept_label_issues"
    verb = "Accept"
    decision = "accepted"
    icon = "check_circle"
    description = "The label is wrong there; remembered in later runs, and the scores of regions learn from it"
