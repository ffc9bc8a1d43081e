"""Two runs of one idea side by side: what was asked, what was changed between them, what each found.

In: two runs, whose reports need not be written. Out: a frame with one column a run. Effects are put next to each other; nothing
is estimated over both: runs of one store may share replicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from weirdgen.config.measures import scale_of
from weirdgen.runs.results.diff import equal, leaves, short
from weirdgen.runs.results.effect import Effect
from weirdgen.runs.results.frames import UNITS

if TYPE_CHECKING:
    from weirdgen.runs.results.results import Run

ASKED, CHANGED, FOUND = "asked", "changed", "found"


def compare(first: Run, second: Run) -> pd.DataFrame:
    """Rows (part, item), one column a run: `asked`, then what else is `changed`, then what was `found`.

    A key that one run has not is None there.
    """
    both = [(run, dict(_asked(run)), dict(_leaves(run)), dict(_found(run))) for run in (first, second)]
    rows: dict[tuple[str, str], list[Any]] = {}
    for part, held in (
        (ASKED, [one[1] for one in both]),
        (CHANGED, [one[2] for one in both]),
        (FOUND, [one[3] for one in both]),
    ):
        for item in dict.fromkeys(key for values in held for key in values):
            values = [one.get(item) for one in held]
            if part != CHANGED or not equal(*values):
                rows[part, item] = [
                    short(value) if part == CHANGED and value is not None else value for value in values
                ]
    index = pd.MultiIndex.from_tuples(list(rows), names=["part", "item"])
    names = [run.id for run, *_ in both] if first.id != second.id else [first.id, f"{second.id} (the same run)"]
    return pd.DataFrame(list(rows.values()), index=index, columns=names, dtype=object)


def _asked(run: Run) -> Iterator[tuple[str, Any]]:
    request = run.request
    yield "experiment", request.experiment.name
    yield "preset", request.preset
    yield "model", request.model.reference
    yield "replicates", len(request.seeds)
    yield "samples", request.samples
    yield "judge", request.judge.reference if request.judge else None
    for name, headline in request.headlines.items():
        minus = f" minus {', '.join(headline.minus)}" if headline.minus else ""
        under = f"under {', '.join(headline.condition)}{minus}"
        yield name, f"{headline.measure}: {headline.treatment} − {headline.control} {under}"


def _leaves(run: Run) -> Iterator[tuple[str, Any]]:
    """Everything that decides the run, under names that say where it is written; questions go by their ids."""
    manifest = run.request.manifest
    experiment = dict(manifest.pop("experiment"))
    experiment["questions"] = {question["id"]: question for question in experiment["questions"]}
    said = ("name", "title", "hypothesis", "headline", "secondary", "presets")
    yield from leaves({key: value for key, value in experiment.items() if key not in said})
    left_out = ("preset", "samples", "judge", "until", "curves", "ordinary")
    yield from leaves({key: value for key, value in manifest.items() if key not in left_out})


def _found(run: Run) -> Iterator[tuple[str, Any]]:
    for effect in (run.headline, *run.secondary):
        yield from _numbers(run, effect)
    if run.specificity:
        yield "among harmless data", run.specificity.sentence


def _numbers(run: Run, effect: Effect) -> Iterator[tuple[str, Any]]:
    unit = UNITS[scale_of(effect.measure, run.estimated.scales).unit]
    yield f"{effect.name}: effect ({unit})", effect.effect
    interval = None if effect.ci_low is None else f"{effect.ci_low:.3g} to {effect.ci_high:.3g}"
    yield f"{effect.name}: interval ({unit})", interval
    yield f"{effect.name}: verdict", effect.verdict
