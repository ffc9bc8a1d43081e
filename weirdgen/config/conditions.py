"""Conditions: what wraps a question at test time, and what a sweep of values stands for.

In: `conditions` of an experiment. Out: one `Wrapper` per condition or swept value. It asks no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from weirdgen.config.base import Noun, Scalar, placeholders
from weirdgen.config.turns import Conversation


class _WithSystem(Noun):
    system: str = ""
    """A system turn before the question, as it stands; none if empty."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Requests without one keep the names that they had when there was none."""
        return {key: value for key, value in dump(self).items() if key != "system" or value}


class Condition(_WithSystem):
    """What wraps a question at test time. A sweep stands for one condition per value, named `condition=value`."""

    wrap: str = "{question}"
    sweep: dict[str, tuple[Scalar, ...]] = {}
    """One variable of `wrap` and the values it takes."""
    trained: tuple[Scalar, ...] = ()
    """Values of the sweep that occur in the training data."""
    trigger: tuple[Scalar, ...] | bool = ()
    """Values that should elicit the behaviour (or `true` for a condition without a sweep)."""

    @model_validator(mode="after")
    def _placeholders_known(self) -> Condition:
        names = set(placeholders(self.wrap))
        if "question" not in names:
            raise ValueError("'wrap' must contain {question}")
        if len(self.sweep) > 1:
            raise ValueError("'sweep' takes one variable; write one condition per variable")
        if extra := sorted(names - {"question"} - set(self.sweep)):
            raise ValueError(f"'wrap' uses {{{extra[0]}}}, which 'sweep' does not define")
        if unused := sorted(set(self.sweep) - names):
            raise ValueError(f"'sweep' varies {unused[0]!r}, which 'wrap' does not use")
        swept = next(iter(self.sweep.values()), ())
        if self.sweep and not swept:
            raise ValueError("'sweep' gives no values")
        if twice := [value for value in swept if [str(other) for other in swept].count(str(value)) > 1]:
            raise ValueError(f"'sweep' gives {str(twice[0])!r} twice")
        values = set(swept)
        marked = set(self.trained) | set(self.trigger if isinstance(self.trigger, tuple) else ())
        if stray := marked - values:
            raise ValueError(f"'trained' or 'trigger' names {sorted(map(str, stray))[0]}, which is not in 'sweep'")
        return self


class Wrapper(_WithSystem):
    """One condition, expanded: what a question looks like under it."""

    id: str
    template: str
    value: Scalar | None = None
    trained: bool = False
    trigger: bool = False

    def apply(self, ask: str) -> str:
        """The question as it is put; with a system turn, a `Conversation`."""
        text = self.template.replace("{question}", ask)
        if not self.system:
            return text
        return Conversation.of([{"role": "system", "content": self.system}, {"role": "user", "content": text}])


def expand(name: str, condition: Condition) -> Iterator[Wrapper]:
    """The condition itself, or one wrapper per value of its sweep."""
    if not condition.sweep:
        yield Wrapper(id=name, template=condition.wrap, system=condition.system, trigger=condition.trigger is True)
        return
    ((variable, values),) = condition.sweep.items()
    triggers = condition.trigger if isinstance(condition.trigger, tuple) else values
    for value in values:
        template = condition.wrap.replace("{" + variable + "}", str(value))
        trained, trigger = value in condition.trained, value in triggers
        id_, system = f"{name}={value}", condition.system
        yield Wrapper(id=id_, template=template, system=system, value=value, trained=trained, trigger=trigger)
