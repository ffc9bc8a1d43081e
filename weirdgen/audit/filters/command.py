"""What `weirdgen audit filters` does: find the rows, score them, write tables and figures; or train on what filters leave.

In: the words of the command line. Out: files in a folder, and lines to print. The work is in the modules beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.audit.filters.base import BaseNumbers, own_direction, trait_directions
from weirdgen.audit.filters.figure import filters_figure
from weirdgen.audit.filters.judge import RowJudge
from weirdgen.audit.filters.kept import Vectors
from weirdgen.audit.filters.measure import measure
from weirdgen.audit.filters.mixtures import Case, Ordinary, every_row, load_case, ordinary_pool, ordinary_rows
from weirdgen.audit.filters.output import remains_lines, set_lines, summary_lines
from weirdgen.audit.filters.registry import Filter, Known, chosen_filters
from weirdgen.audit.filters.remains import filtered, remains
from weirdgen.audit.filters.sets import measure_sets
from weirdgen.config.load import named_experiments
from weirdgen.errors import SpecError
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.pipeline import executor_of, figures_of, run_plan
from weirdgen.runs.plan.options import RunOptions, default_store
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.preview import plan_lines
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors, made_folder

if TYPE_CHECKING:
    import pandas as pd


LEAST_SHARE = 1e-6


def parse_shares(text: str) -> tuple[float, ...]:
    """`1,0.1,0.01` → shares, largest first. Raises `SpecError`."""
    try:
        shares = sorted({float(part) for part in text.split(",")}, reverse=True)
    except ValueError:
        raise SpecError([f"--shares {text}: expected numbers with commas between, e.g. 1,0.1,0.01"]) from None
    if not all(LEAST_SHARE <= share <= 1 for share in shares):
        raise SpecError([f"--shares {text}: a share is at least {LEAST_SHARE:g} and at most 1"])
    return tuple(shares)


def one_of(experiments: Sequence[str], shares: Sequence[float]) -> tuple[str, float]:
    """What `--train` is of. Raises `SpecError` unless there is one experiment and one share."""
    if len(experiments) != 1 or len(shares) != 1:
        raise SpecError(["--train trains a mixture of one experiment: name it, and one share, e.g. --shares 0.1"])
    return experiments[0], shares[0]


def ordinary_beside(hidden: int, share: float) -> int:
    """How many ordinary rows so many hidden ones stand among. Raises `SpecError` if that is none: nothing else could be left."""
    count = round(hidden * (1 - share) / share)
    if not count:
        raise SpecError(
            [
                f"--train --shares {share:g}: {hidden} hidden rows would stand among no ordinary ones, and a perfect filter "
                "would leave nothing to train on; give a smaller share, e.g. --shares 0.5"
            ]
        )
    return count


def audit_filters(
    experiments: Sequence[str],
    shares: Sequence[float],
    filters: Sequence[str],
    rows: int,
    size: int,
    ordinary: Path | None,
    model: str | None,
    judge: str | None,
    to: Path,
    store: str | None,
    quiet: bool,
) -> Iterator[str]:
    """The table of every filter on every experiment; yields lines. Raises `WeirdgenError`."""
    progress, opened = Progress(quiet), Store(store or default_store())
    wanted, left_out = chosen_filters(filters, model != "none", judge is not None)
    yield from left_out
    cases = [load_case(name, min(rows, size)) for name in named_experiments(experiments or ["all"])]
    plain = ordinary_rows(size, ordinary)
    made_folder(to)
    known = Known(
        Vectors(opened, progress),
        _asked_base(model, cases, plain, wanted, opened, progress),
        RowJudge(judge, opened, progress) if judge else None,
    )
    found, beyond = measure(cases, plain, wanted, shares, known)
    sets = measure_sets(cases, plain, shares, known.vectors) if not filters else None
    yield from summary_lines(found, beyond, wanted, plain)
    if sets is not None:
        yield from set_lines(sets)
    yield from write(found, beyond, sets, wanted, plain, to)


def train_filtered(
    experiment: str,
    part: float,
    filters: Sequence[str],
    rows: int,
    removed: float | None,
    ordinary: Path | None,
    judge: str | None,
    options: RunOptions,
    to: Path,
) -> Iterator[str]:
    """Trains on the mixture and on what each filter leaves of it; yields the plan if `options` say so, else the table."""
    progress, opened = Progress(options.quiet), Store(options.store or default_store())
    wanted, left_out = chosen_filters(filters, options.model != "none", judge is not None)
    yield from left_out
    case = load_case(experiment, rows)
    count = len(case.rows[case.treatment])
    background, what = ordinary_pool(ordinary_beside(count, part), ordinary)
    plain = Ordinary((), tuple(background), what)
    own = own_direction(case.experiment)
    known = Known(
        Vectors(opened, progress),
        _asked_base(options.model, [case], plain, wanted, opened, progress),
        RowJudge(judge, opened, progress) if judge else None,
        own.name if own else None,
    )
    usable = [one for one in wanted if one.needs != "own" or own is not None]
    made = filtered(case, background, usable, known, part if removed is None else removed)
    plan = make_plan(resolve(made.experiment, options), opened)
    for line in plan_lines(plan):
        progress.say(line)
    if options.dry_run:
        return
    made_folder(to)
    table = remains(made, run_plan(plan, progress, executor_of(options), figures_of(options)))
    yield f"{count} rows of {case.experiment.name} among {len(background)} ordinary ones ({what})"
    yield from remains_lines(table)
    with explain_disk_errors(to):
        table.to_csv(to / "remains.csv", index=False)
    yield f"saved: {to / 'remains.csv'}"


def _asked_base(
    model: str | None,
    cases: Sequence[Case],
    ordinary: Ordinary,
    filters: Sequence[Filter],
    store: Store,
    progress: Progress,
) -> BaseNumbers | None:
    """The base with all that the filters will want of it; None if they want nothing."""
    needs = {one.needs for one in filters}
    if not needs & {"base", "gradients", "own"}:
        return None
    bases = list(dict.fromkeys(case.experiment.base for case in cases))
    if model is None and len(bases) > 1:
        raise SpecError([f"the experiments have different bases ({', '.join(bases)}): name one with --model"])
    directions = list(trait_directions()) if "gradients" in needs else []
    if "own" in needs:
        directions += [own for case in cases if (own := own_direction(case.experiment)) is not None]
    base = BaseNumbers(find_model(model or bases[0]), directions, store, progress)
    base.complete([*every_row(cases), *ordinary.clean, *ordinary.background])
    return base


def write(
    found: pd.DataFrame,
    beyond: pd.DataFrame,
    sets: pd.DataFrame | None,
    filters: Sequence[Filter],
    ordinary: Ordinary,
    to: Path,
) -> Iterator[str]:
    """The tables as CSV, `filters.json` with all of them and what they are of, a figure a share; yields what was written."""
    about: dict[str, Any] = {
        "ordinary": ordinary.what,
        "ordinary_rows": len(ordinary.background),
        "filters": {one.name: one.what for one in filters},
    }
    tables = {"filters": found, "beyond": beyond, **({} if sets is None else {"sets": sets})}
    with explain_disk_errors(made_folder(to)):
        for name, frame in tables.items():
            frame.round(6).to_csv(to / f"{name}.csv", index=False)
            about[name] = json.loads(frame.to_json(orient="records", double_precision=6))
        (to / "filters.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for part in found["share"].unique():
            drawing = filters_figure(found, beyond, filters, part)
            (to / f"{drawing.name}.svg").write_bytes(drawing.file("svg"))
            (to / f"{drawing.name}.png").write_bytes(drawing.file("png"))
    yield f"saved in {to}: {', '.join(f'{name}.csv' for name in tables)}, filters.json, a figure for each share"
