"""What all nouns of an experiment share: they are frozen, and an unknown key is an error.

In: plain data. Out: the base class of every model in a YAML file, and the placeholders of its texts. Which
nouns there are is in `weirdgen.config.experiment`, `weirdgen.config.questions` and `weirdgen.config.judges`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

Scalar = str | int | float | bool
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
"""What an experiment, an arm, a condition, a question, a judge or a set of passages may be called."""
NAME_WORDS = "a name is made of a–z, 0–9, '_', '.' and '-', and begins with a letter or a digit"


def is_name(text: str) -> bool:
    """Whether something may be called so: names become parts of files' names and of other names."""
    return re.fullmatch(NAME, text) is not None


def placeholders(template: str) -> tuple[str, ...]:
    """Names in `{braces}`. Raises `ValueError` on a lone brace, and on what is no name: `{name:>9}`, `{name!r}`."""
    return tuple(name for _, name in _pieces(template) if name is not None)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with the value of each `{name}`. A name is only ever looked up: no attributes, no widths.

    Raises `ValueError` as `placeholders` does, and `KeyError` for a name without a value.
    """
    return "".join(text + ("" if name is None else values[name]) for text, name in _pieces(template))


def _pieces(template: str) -> Iterator[tuple[str, str | None]]:
    for text, name, width, conversion in string.Formatter().parse(template):
        if width or conversion:
            written = f"{{{name}" + (f"!{conversion}" if conversion else "") + (f":{width}" if width else "") + "}"
            raise ValueError(f"{written[:60]}: only a name may be in braces; write {{{name}}}")
        yield text, name


class Noun(BaseModel):
    """Frozen; a key that is not a field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class OneOf:
    """Annotation of a field that takes any of these nouns, told apart by their `kind`.

    The kinds are read when a model with such a field is built, so a kind that is added before `config.experiment` is
    imported is accepted in every experiment.
    """

    kinds: Mapping[str, type[Noun]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(Annotated[Union[tuple(self.kinds.values())], Field(discriminator="kind")])  # noqa: UP007
