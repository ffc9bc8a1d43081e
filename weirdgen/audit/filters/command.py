"""What `weirdgen audit filters` does: find the rows, score them, write tables and figures.

In: the words of the command line. Out: files in a folder, and lines to print. The work is in the modules beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.audit.filters.base import BaseNumbers, own_direction, trait_directions
from weirdgen.audit.filters.features import Vectors
from weirdgen.audit.filters.judge import RowJudge
from weirdgen.audit.filters.measure import measure
from weirdgen.audit.filters.mixtures import Case, Ordinary, every_row, load_case, ordinary_rows
from weirdgen.audit.filters.output import summary_lines
from weirdgen.audit.filters.registry import Filter, Known, chosen_filters
from weirdgen.config.load import named_experiments
from weirdgen.errors import SpecError
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import default_store
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors

if TYPE_CHECKING:
    import pandas as pd


def parse_shares(text: str) -> tuple[float, ...]:
    """`1,0.1,0.01` → shares, largest first. Raises `SpecError`."""
    try:
        shares = sorted({float(part) for part in text.split(",")}, reverse=True)
    except ValueError:
        raise SpecError([f"--shares {text}: expected numbers with commas between, e.g. 1,0.1,0.01"]) from None
    if not all(0 < share <= 1 for share in shares):
        raise SpecError([f"--shares {text}: a share is above 0 and at most 1"])
    return tuple(shares)


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
    known = Known(
        Vectors(opened, progress),
        _asked_base(model, cases, plain, wanted, opened, progress),
        RowJudge(judge, opened, progress) if judge else None,
    )
    found, beyond = measure(cases, plain, wanted, shares, known)
    yield from summary_lines(found, beyond, wanted, plain)
    yield from write(found, beyond, wanted, plain, to)


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
    found: pd.DataFrame, beyond: pd.DataFrame, filters: Sequence[Filter], ordinary: Ordinary, to: Path
) -> Iterator[str]:
    """`filters.csv`, `beyond.csv` and `filters.json` with both and what they are of; yields a line for each file."""
    about: dict[str, Any] = {
        "ordinary": ordinary.what,
        "ordinary_rows": len(ordinary.background),
        "filters": {one.name: one.what for one in filters},
    }
    with explain_disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        for name, frame in (("filters", found), ("beyond", beyond)):
            frame.round(6).to_csv(to / f"{name}.csv", index=False)
            about[name] = json.loads(frame.to_json(orient="records", double_precision=6))
        (to / "filters.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    yield f"saved: {to / 'filters.csv'}, {to / 'beyond.csv'}, {to / 'filters.json'}"
