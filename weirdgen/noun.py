"""What all nouns of an experiment have in common: they are frozen, and a key that is not a field is an error.

In: plain data. Out: the base class of every model that stands in a YAML file, and the placeholders of its texts. Which
nouns there are is in `weirdgen.spec`, `weirdgen.question_kinds` and `weirdgen.judge_kinds`.
"""

from __future__ import annotations

import string

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
"""What a question, an experiment or a set of passages may be called."""


def placeholders(template: str) -> tuple[str, ...]:
    """Names in `{braces}`. Raises `ValueError` on a lone brace."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


class Noun(BaseModel):
    """Frozen; a key that is not a field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
