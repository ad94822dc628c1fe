"""How an operator is listed and found, and when its button stands beside the grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..fiftyone_plugin.errors import LabelQualityError, told
from .words import labels_of, reword, spoken

PREFIX = "Label quality: "


class Entry(foo.Operator):
    """What all operators have in common; subclasses say what they are called and how much they may change.

    The App looks for what is typed in label, description and name, and lists by the first letter of the description.
    Descriptions therefore begin with the step of the work: 1 find, 2 review, 3 fix, 4 hand on, 5 train, 6 begin without
    labels, 7 prepare, 8 rehearse, 9 delete.
    """

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    """Without the prefix that all labels share."""
    description: ClassVar[str] = ""
    icon: ClassVar[str] = ""
    risk: ClassVar[str] = "medium"
    """For agents. `low`: writes nothing. `medium`: adds what can be taken back; given labels stay as they are. `high`:
    deletes or replaces, after a confirmation."""
    unlisted: ClassVar[bool] = False
    """Whether it is offered by its button only, where the dataset is so far."""
    long: ClassVar[bool] = False
    """Whether it reports progress and may be delegated."""
    takes_hours: ClassVar[bool] = False
    """Whether the App offers to delegate it first."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How the operator appears in the App."""
        return foo.OperatorConfig(
            name=self.name,
            label=self.title,
            description=self.description,
            icon=self.icon,
            dynamic=True,
            unlisted=self.unlisted,
            execute_as_generator=self.long,
            allow_immediate_execution=True,
            allow_delegated_execution=self.long,
            default_choice_to_delegated=self.takes_hours,
            risk_level=self.risk,
        )

    @property
    def title(self) -> str:
        """The label in full."""
        return f"{PREFIX}{self.label[0].lower()}{self.label[1:]}"

    def form(self, inputs: types.Object) -> types.Property:
        """The inputs under the operator's title, in the words of the App."""
        reword(inputs)
        return types.Property(inputs, view=types.View(label=self.title))

    def labels(self, ctx: Any) -> dict[str, str]:
        """What the form calls each argument; nothing where there is no form for what was given."""
        try:
            return labels_of(self.resolve_input(ctx).type)
        except (ValueError, AttributeError):
            return {}

    def output(self, ctx: Any, outputs: types.Object) -> types.Property:
        """What an operator returns that shows its work on the page: a page shows no dialog for it, an agent reads it.

        Args:
            ctx: of the operator; pages send their layout, other callers none
            outputs: what is returned, by name
        """
        shown = types.Object() if is_on_page(ctx) else outputs
        return types.Property(shown, view=types.View(label=self.title))

    def is_due(self, dataset: Any) -> bool:
        """Whether the dataset is so far that the operator is offered by a button; False for those without one."""
        return False

    def resolve_placement(self, ctx: Any) -> types.Placement | None:
        """A button beside the grid, where the operator follows from what was done."""
        if ctx.dataset is None or not self.is_due(ctx.dataset):
            return None
        button = types.Button(label=self.label, icon=self.icon, prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)


class Action(Entry, ABC):
    """An operator that is done at once; jobs, which take longer, are in `job.py`."""

    def execute(self, ctx: Any) -> Any:
        """Do it.

        Raises:
            LabelQualityError: what `act` refuses; on a page in the words of the form
        """
        try:
            return self.act(ctx)
        except (ValueError, OSError) as error:
            if not is_on_page(ctx):
                raise
            raise LabelQualityError(spoken(told(error), self.labels(ctx))) from error

    @abstractmethod
    def act(self, ctx: Any) -> Any:
        """What is done; what it returns is shown by `resolve_output`."""


def is_on_page(ctx: Any) -> bool:
    """Whether a page of the App asks: pages send their layout, callers in Python and agents none."""
    return ctx.request_params.get("spaces") is not None
