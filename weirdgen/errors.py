"""Errors that are written for the user.

In: nothing. Out: `WeirdgenError` and its few subclasses. Each message says what is wrong, where (file, line, key),
what would be accepted, and what to run next; the command line prints it without a traceback and exits with status 1.
Anything that is not a `WeirdgenError` is a defect of weirdgen itself and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class WeirdgenError(Exception):
    """Something the user can mend. The message is one line, or one line per problem."""


class SpecError(WeirdgenError):
    """Every problem of one `experiment.yaml`, collected and raised once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) != 1 else "")
        super().__init__("\n".join([f"{count} found:", *(f"  {problem}" for problem in self.problems)]))


class DataError(WeirdgenError):
    """A data file or a row of it cannot be trained on."""


class ModelError(WeirdgenError):
    """A model reference cannot be resolved, or the model lacks something that is needed."""


class UnreachableError(ModelError):
    """A model is not here and cannot be fetched now; nothing is known to be wrong with it."""


class StoreError(WeirdgenError):
    """The store cannot be read or written (disk full, no permission, damaged part)."""
