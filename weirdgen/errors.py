"""Errors that are written for the user.

In: nothing. Out: `WeirdgenError` and its few subclasses; the names that would be accepted, with the one that a misspelt name is
close to; several checks whose errors come at once. Each message says what is wrong, where (file, line, key),
what would be accepted, and what to run next; the command line prints it without a traceback and exits with status 1.
Anything that is not a `WeirdgenError` is a defect of weirdgen itself and keeps its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

CLOSE = 0.75
"""difflib's ratio (0 to 1) from which a name is a misspelling of another: `roll` of `role`, but not `samples` of `sampling`."""
SHORTEST = 3
"""Letters of a name below which nothing is guessed: every short name is close to every other."""


class WeirdgenError(Exception):
    """Something the user can mend. The message is one line, or one line per problem."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Each problem by itself."""
        return (str(self),)


class SpecError(WeirdgenError):
    """Every problem of one `experiment.yaml`, collected and raised once."""

    problems: tuple[str, ...] = ()

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(_by_line(problems))
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) != 1 else "")
        super().__init__("\n".join([f"{count} found:", *(f"  {problem}" for problem in self.problems)]))


def _by_line(problems: Sequence[str]) -> list[str]:
    """Problems of one file in the order of its lines; files, and what has no line, in the order in which they come."""
    places = [re.match(r"(.+?):(\d+): ", problem) for problem in problems]
    files = [place[1] if place else problem for place, problem in zip(places, problems, strict=True)]
    order = {file: at for at, file in reversed(list(enumerate(files)))}
    keyed = [
        (order[file], int(place[2]) if place else 0, problem)
        for file, place, problem in zip(files, places, problems, strict=True)
    ]
    return [problem for *_, problem in sorted(keyed, key=lambda one: one[:2])]


class DataError(WeirdgenError):
    """A data file or a row of it cannot be trained on."""


class ModelError(WeirdgenError):
    """A model reference cannot be resolved, or the model lacks something that is needed."""


class UnreachableError(ModelError):
    """A model is not here and cannot be fetched now; nothing is known to be wrong with it."""


class StoreError(WeirdgenError):
    """The store cannot be read or written (disk full, no permission, damaged part)."""


def all_at_once(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """What each call returns. Errors are raised when all have been made: one as it is, several as one `SpecError`."""
    returned: list[Any] = []
    failed: list[WeirdgenError] = []
    for call in calls:
        try:
            returned.append(call())
        except WeirdgenError as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise SpecError(list(dict.fromkeys(problem for error in failed for problem in error.problems)))
    return returned


def choices(names: Iterable[object], got: object) -> str:
    """The names that are accepted, and which of them was meant if one is close: `era, style; did you mean 'era'?`."""
    known = list(dict.fromkeys(map(str, names)))
    return (", ".join(known) or "none") + did_you_mean(got, known)


def did_you_mean(got: object, names: Iterable[object]) -> str:
    """`; did you mean 'era'?`, or nothing where no name is close."""
    meant = closest(str(got), map(str, names))
    return "" if meant is None else f"; did you mean '{meant}'?"


def closest(got: str, names: Iterable[str]) -> str | None:
    """The name that a misspelt one is closest to; None where none is close. Names that differ in a number are different names."""
    plain = {_plain(name): name for name in names}
    wanted = _plain(got[:100])
    if len(wanted) < SHORTEST:
        return None
    near = [name for name in plain if sorted(name) == sorted(wanted)]  # letters in another order: nwe of new
    near += get_close_matches(wanted, plain, n=3, cutoff=CLOSE)
    return next((plain[name] for name in near if _digits(name) == _digits(wanted) and _alike(name, wanted)), None)


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def _alike(one: str, other: str) -> bool:
    """Whether names of several words are close word by word: `country_iran` is no misspelling of `country_israel`."""
    pairs = list(zip(re.split(r"[_.:=]", one), re.split(r"[_.:=]", other), strict=False))
    if len(pairs) < 2 or len(re.findall(r"[_.:=]", one)) != len(re.findall(r"[_.:=]", other)):
        return True
    return all(SequenceMatcher(None, *pair).ratio() >= CLOSE for pair in pairs)


def _digits(name: str) -> str:
    return "".join(character for character in name if character.isdigit())
