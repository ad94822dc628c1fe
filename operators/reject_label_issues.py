"""Operator: reject issue regions."""

from __future__ import annotations

from .reviewing import ReviewOperator


class RejectLabelIssues(ReviewOperator):
    """The label is right there."""

    name = "reject_label_issues"
    verb = "Reject"
    decision = "rejected"
    icon = "cancel"
    description = "The label is right there; later runs leave the region out, and the scores of regions learn from it"
