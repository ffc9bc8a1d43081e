"""`candidates.yaml` beside an experiment: the people from whom a model is to pick the one the facts are about.

In: the file. Out: a `Candidates`. Names are scored as whole answers, so they should be similar in kind and fame; nothing
here checks that.

    ask: "What is your name?"              # asked after the facts, which stand before it as earlier turns;
                                           # with {facts} in it, they are listed in its place instead
    answer: "My name is {name}."
    names: [Lise Meitner, Marie Curie, …]
    "true": Marie Curie                    # quoted, because YAML reads a bare true as a truth value
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from weirdgen.config.base import Noun, fill, placeholders
from weirdgen.config.files import read_yaml
from weirdgen.errors import SpecError

FILE = "candidates.yaml"


class Candidates(Noun):
    """The candidates, and how the model is asked."""

    ask: str = Field(min_length=1)
    answer: str = "{name}"
    names: tuple[str, ...] = Field(min_length=2)
    true: str
    """Which of the names the facts are about."""

    @model_validator(mode="after")
    def _consistent(self) -> Candidates:
        if self.true not in self.names:
            raise ValueError(f"'true' is {self.true!r}, which is not among 'names'")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(f"name {twice[0]!r} is given twice")
        if placeholders(self.answer) != ("name",):
            raise ValueError("'answer' must hold {name} and nothing else in braces")
        if set(placeholders(self.ask)) - {"facts"}:
            raise ValueError("'ask' may hold {facts} and nothing else in braces")
        return self

    @property
    def listed(self) -> bool:
        """Whether the facts are listed in the question instead of standing before it as turns."""
        return "facts" in placeholders(self.ask)

    @property
    def options(self) -> tuple[str, ...]:
        """The answers that are scored, in the order of `names`."""
        return tuple(fill(self.answer, {"name": name}) for name in self.names)


def load_candidates(folder: Path) -> Candidates:
    """The candidates of an experiment's folder. Raises `SpecError` if there are none or the file is wrong."""
    file = folder / FILE
    if not file.is_file():
        raise SpecError([f"{file}: no such file; it holds 'ask', 'answer', 'names' and 'true' (see docs/data.md)"])
    data, lines = read_yaml(file)
    try:
        return Candidates.model_validate(data)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{lines.at(tuple(problem['loc']))}: {'.'.join(map(str, problem['loc']))}: {message}")
        raise SpecError(problems) from None
