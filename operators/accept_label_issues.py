"""Operator: accept issue regions as label errors."""

from __future__ import annotations

from .reviewing import ReviewOperator


class AcceptLabelIssues(ReviewOperator):
    """The label is wrong there."""

    name = "accept_label_issues"
    verb = "Accept"
    decision = "accepted"
    icon = "check_circle"
    label = "Accept label issues"
    description = (
        "2. Review: the label is wrong in these regions (selected ones, or all in sight). Remembered in later runs, "
        "can be taken back; labels are not changed."
    )
