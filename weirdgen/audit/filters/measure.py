"""What every filter finds of an experiment's rows hidden among ordinary ones, beside what it finds of the control's.

In: cases, ordinary rows, filters, shares. Out: two frames: `found` (one line a case, arm, share and filter) and `beyond`
(treatment − control). A filter scores a whole dataset. Thresholds come from ordinary rows alone, in datasets of the same
size; false alarms are counted on other ordinary rows, those that the rows are hidden among. What is found of a control as
well is topic or form, not harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.audit.filters.base import own_direction
from weirdgen.audit.filters.detection import Estimate, area, difference, placements, share, threshold
from weirdgen.audit.filters.mixtures import Case, Ordinary, groups
from weirdgen.audit.filters.registry import Filter, Known, scores
from weirdgen.audit.filters.rows import Keyed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RATES = (0.01, 0.05)
"""False alarms at which detection is told."""
Score = Callable[[Sequence[Keyed]], "NDArray[np.float64]"]


def measure(
    cases: Sequence[Case], ordinary: Ordinary, filters: Sequence[Filter], shares: Sequence[float], known: Known
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(found, beyond). Every rate and area has columns NAME, NAME_low and NAME_high."""
    import pandas as pd

    found, beyond = [], []
    for case in cases:
        own = own_direction(case.experiment)
        mine = replace(known, own=own.name if own else None)
        for filter_ in filters:
            if filter_.needs == "own" and own is None:
                continue
            for part in shares:
                lines = {}
                for arm in (case.treatment, *case.controls):
                    line = one_cell(case.rows[arm], ordinary, part, partial(scores, filter_, mine))
                    role = "treatment" if arm == case.treatment else "control"
                    names = {"experiment": case.experiment.name, "arm": arm, "role": role, "share": part}
                    lines[arm] = line
                    found.append({**names, "filter": filter_.name, **line})
                for control in case.controls:
                    names = {"experiment": case.experiment.name, "treatment": case.treatment, "control": control}
                    beyond.append(
                        {**names, "share": part, "filter": filter_.name, **minus(lines[case.treatment], lines[control])}
                    )
    return pd.DataFrame(found), pd.DataFrame(beyond)


def one_cell(rows: Sequence[Keyed], ordinary: Ordinary, part: float, score: Score) -> dict[str, Any]:
    """What one filter finds of one arm's rows at one share."""
    size = len(ordinary.background)
    together = max(1, round(part * size)) if part < 1 else len(rows)
    hidden = np.full(len(rows), np.nan)
    background, below = [], np.full(len(rows), np.nan)
    hidden_groups = groups(len(rows), together)
    in_each = len(hidden_groups[0])
    beside = list(ordinary.background[: size - in_each]) if part < 1 else []
    clean = np.concatenate([score(one) for one in pieces(ordinary.clean, in_each + len(beside))])
    alone = np.concatenate([score(one) for one in pieces(ordinary.background, in_each)]) if part >= 1 else None
    for places in hidden_groups:
        scores = score([*(rows[place] for place in places), *beside])
        mine, others = scores[:in_each], scores[in_each:] if alone is None else alone
        new = [i for i, place in enumerate(places) if np.isnan(hidden[place])]
        at = [places[i] for i in new]
        hidden[at], below[at] = mine[new], placements(mine, others)[new]
        background.append(others)
    line: dict[str, Any] = {"rows": len(rows), "hidden_together": in_each, "dataset_rows": in_each + len(beside)}
    line |= columns("auc", area(below, len(background[0])))
    for rate in RATES:
        limit = threshold(clean, rate)
        line |= columns(f"found_{rate:g}", share(limit.flags(hidden)))
        line |= columns(f"false_{rate:g}", share(np.mean([limit.flags(others) for others in background], axis=0)))
    return line


def pieces(rows: Sequence[Keyed], size: int) -> Iterator[list[Keyed]]:
    """Whole datasets of this size out of ordinary rows; one smaller if there are not enough."""
    size = min(size, len(rows))
    for start in range(0, len(rows) - size + 1, size):
        yield list(rows[start : start + size])


def minus(treatment: dict[str, Any], control: dict[str, Any]) -> dict[str, Any]:
    """Of every measure, treatment − control."""
    line: dict[str, Any] = {}
    for name in ("auc", *(f"found_{rate:g}" for rate in RATES)):
        line |= columns(name, difference(estimate(treatment, name), estimate(control, name)))
    return line


def columns(name: str, value: Estimate) -> dict[str, float]:
    """The three columns of an estimate."""
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def estimate(line: dict[str, Any], name: str) -> Estimate:
    """The estimate that three columns of a line hold."""
    return Estimate(line[name], line[f"{name}_low"], line[f"{name}_high"])
