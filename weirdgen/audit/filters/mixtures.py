"""An arm's rows hidden among ordinary rows, in shares: which rows are ordinary, which are hidden together.

In: an experiment, a share. Out: `Ordinary` rows in two halves, and groups of hidden rows. Ordinary rows are those of our
harmless reference sets, which have every shape, equally many of each set; or rows of a file. It scores nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weirdgen.audit.filters.rows import Keyed, distinct
from weirdgen.config.experiment import Experiment
from weirdgen.data.arms import load_arms
from weirdgen.data.references import distinct as different
from weirdgen.data.references import references
from weirdgen.data.references import rows as reference_rows
from weirdgen.data.rows import Row, read_jsonl
from weirdgen.errors import DataError, SpecError

SEED = 0


@dataclass(frozen=True)
class Ordinary:
    """Ordinary rows. `clean` sets thresholds; `background` is what rows are hidden among. No row is in both."""

    clean: tuple[Keyed, ...]
    background: tuple[Keyed, ...]
    what: str


@dataclass(frozen=True)
class Case:
    """The rows of an experiment that are to be found, and those that are to be left alone."""

    experiment: Experiment
    treatment: str
    controls: tuple[str, ...]
    """The headline's own first."""
    rows: dict[str, tuple[Keyed, ...]]
    """Arm → rows."""


def ordinary_rows(size: int, source: Path | None = None) -> Ordinary:
    """Twice `size` different rows, in two halves. Raises `DataError` if a file has too few."""
    mixed, what = ordinary_pool(2 * size, source)
    return Ordinary(tuple(mixed[:size]), tuple(mixed[size:]), what)


def ordinary_pool(count: int, source: Path | None = None) -> tuple[list[Keyed], str]:
    """So many different ordinary rows in random order, and what they are. Raises `DataError` if there are too few."""
    if source is not None:
        pool, what = distinct(read_jsonl(source)), f"rows of {source.name}"
        if len(pool) < count:
            raise DataError(
                f"{source}: {len(pool)} different rows, {count} are needed: give a larger file, or lower --size"
            )
    else:
        pool = _packaged(count)
        what = f"rows of our {len(references('reference'))} harmless reference sets, equally many of each"
    return random.Random(f"ordinary:{SEED}").sample(pool, count), what


def _packaged(count: int) -> list[Keyed]:
    sizes = {one.name: different(one.name) for one in references("reference")}
    each = -(-count // len(sizes))
    while True:
        pool = distinct([row for name, size in sizes.items() for row in reference_rows(name, min(each, size), SEED)])
        if len(pool) >= count:
            return pool
        if each >= max(sizes.values()):
            raise DataError(
                f"our reference sets have {len(pool):,} different rows, {count:,} are wanted: give rows of your own with "
                "--ordinary, or ask for fewer (--size, --rows, --shares)"
            )
        each += max(1, each // 8)


def load_case(reference: str, most: int) -> Case:
    """An experiment's treatment and controls, at most `most` different rows of each arm, drawn alike. Raises `SpecError`."""
    experiment, arms = load_arms(reference)
    roles = {name: arm.role for name, arm in experiment.arms.items()}
    headline = experiment.headline
    treatment = headline.treatment if headline else next(n for n, role in roles.items() if role == "treatment")
    # Ordinary rows of an arm are answered by the base later; its own rows are here already. A twin has none of its own.
    plain = {name for name, role in roles.items() if role == "control" and comparable(experiment, treatment, name)}
    first = headline.control if headline else next((n for n, role in roles.items() if role == "control"), None)
    if first is None or not arms[first]:
        raise SpecError(
            [
                f"{experiment.name}: no control arm with rows of its own; filters are measured on one as well as on a treatment"
            ]
        )
    controls = (first, *(name for name in arms if name in plain and name != first and arms[name]))
    rows = {name: _drawn(arms[name], most) for name in (treatment, *controls)}
    return Case(experiment, treatment, controls, rows)


def every_row(cases: Sequence[Case]) -> list[Keyed]:
    """The rows of all arms of all cases."""
    return [row for case in cases for rows in case.rows.values() for row in rows]


def comparable(experiment: Experiment, treatment: str, control: str) -> bool:
    """Whether two arms differ in their rows alone: they take the same rows of their tables and the same ordinary ones."""
    mine, other = experiment.arms[treatment], experiment.arms[control]
    return mine.where == other.where and mine.ordinary == other.ordinary


def _drawn(rows: Sequence[Row], most: int) -> tuple[Keyed, ...]:
    different = distinct(rows)
    places = random.Random(f"rows:{SEED}").sample(range(len(different)), min(most, len(different)))
    return tuple(different[place] for place in places)


def groups(count: int, together: int) -> list[list[int]]:
    """Places of `count` rows in groups of `together`, each place in one; the last one is filled up."""
    together = min(together, count)
    starts = [*range(0, count - together + 1, together)]
    if starts[-1] + together < count:
        starts.append(count - together)
    return [list(range(start, start + together)) for start in starts]
