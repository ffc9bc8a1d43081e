"""Two runs of one idea side by side: what was asked, what was changed between them, what each found.

In: two runs, whose reports need not be written. Out: a frame with one column per run. Effects are put next to each other; nothing
is estimated over both: runs of one store may share replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from weirdgen.config.measures import scale_of
from weirdgen.runs.plan.request import Request
from weirdgen.runs.results.diff import equal, leaves, short
from weirdgen.runs.results.effect import Effect
from weirdgen.runs.results.frames import UNITS

ASKED, CHANGED, FOUND = "asked", "changed", "found"


class Side(NamedTuple):
    """One of the two runs: its name, what was asked, its named effects, and its place among harmless data."""

    id: str
    request: Request
    effects: Sequence[Effect]
    placed: str | None


def compare(first: Side, second: Side) -> pd.DataFrame:
    """Rows (part, item), one column per run: `asked`, then what else is `changed`, then what was `found`.

    A key that one run has not is None there.
    """
    sides = (first, second)
    parts = (
        (ASKED, [dict(_asked(side.request)) for side in sides]),
        (CHANGED, [dict(_leaves(side.request)) for side in sides]),
        (FOUND, [dict(_found(side)) for side in sides]),
    )
    rows: dict[tuple[str, str], list[Any]] = {}
    for part, both in parts:
        for item in dict.fromkeys(key for held in both for key in held):
            values = [held.get(item) for held in both]
            if part != CHANGED:
                rows[part, item] = values
            elif not equal(*values):
                rows[part, item] = [None if value is None else short(value) for value in values]
    index = pd.MultiIndex.from_tuples(list(rows), names=["part", "item"])
    names = [first.id, second.id if first.id != second.id else f"{second.id} (the same run)"]
    return pd.DataFrame(list(rows.values()), index=index, columns=names, dtype=object)


def _asked(request: Request) -> Iterator[tuple[str, Any]]:
    yield "experiment", request.experiment.name
    yield "preset", request.preset
    yield "model", request.model.reference
    yield "replicates", len(request.seeds)
    yield "seeds", ", ".join(map(str, request.seeds))
    yield "samples", request.samples
    yield "judge", request.judge.reference if request.judge else None
    for name, headline in request.headlines.items():
        minus = f" minus {', '.join(headline.minus)}" if headline.minus else ""
        under = f"under {', '.join(headline.condition)}{minus}"
        yield name, f"{headline.measure}: {headline.treatment} − {headline.control} {under}"


def _leaves(request: Request) -> Iterator[tuple[str, Any]]:
    """Everything that decides the run, under names that say where it is written; questions go by their ids."""
    manifest = request.manifest
    experiment = dict(manifest.pop("experiment"))
    experiment["questions"] = {question["id"]: question for question in experiment["questions"]}
    said = ("name", "title", "hypothesis", "headline", "secondary", "presets")
    yield from leaves({key: value for key, value in experiment.items() if key not in said})
    left_out = ("preset", "seeds", "samples", "judge", "until", "curves", "ordinary")
    yield from leaves({key: value for key, value in manifest.items() if key not in left_out})


def _found(side: Side) -> Iterator[tuple[str, Any]]:
    for effect in side.effects:
        unit = UNITS[scale_of(effect.measure, side.request.experiment.scales()).unit]
        yield f"{effect.name}: effect ({unit})", effect.effect
        interval = None if effect.ci_low is None else f"{effect.ci_low:.3g} to {effect.ci_high:.3g}"
        yield f"{effect.name}: interval ({unit})", interval
        yield f"{effect.name}: verdict", effect.verdict
    if side.placed:
        yield "among harmless data", side.placed
