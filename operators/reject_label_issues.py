"""Operator: reject issue regions."""

from __future__ import annotations

from .reviewing import ReviewOperator


class RejectLabelIssues(ReviewOperator):
    """The label is right there."""

    name = "reject_label_issues"
    verb = "Reject"
    decision = "rejected"
    icon = "cancel"
    label = "Reject label issues"
    description = (
        "2. Review: the label is right in these regions (selected ones, or all in sight). Remembered in later runs, "
        "can be taken back; labels are not changed."
    )
