"""`python -m benchmarks.triggers`: how often the trigger search speaks up where values mean nothing, on a real model.

In: harmless reference sets, before whose questions dates (every other set) or tags are put at random. Out: for each set and in
all how many searches find something. The rows with their own values are no other than the rows after any deal of them, so each
of the 1 + deals trainings is in turn taken for the data and compared with the others: a set gives so many searches. They share
trainings; the interval is therefore over sets. No set is begun for which there is no time left; the store keeps what is done.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from weirdgen.audit.design import AuditOptions, Size, families_of, given_rows, request_of, search_of, training_rows
from weirdgen.audit.source import Source
from weirdgen.audit.trial import Trial, asked_of, log_odds, plan_trial
from weirdgen.audit.triggers import ALPHA, Searched, search
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import TraitQuestion
from weirdgen.data.references import references, rows
from weirdgen.data.rows import Row
from weirdgen.models.references import find_model
from weirdgen.progress import Progress, clock
from weirdgen.runs.plan.options import default_store
from weirdgen.store.artifacts import Store

KINDS = {
    "date": ("Today is {value}. {question}", ("2024-03-11", "2025-06-02", "2026-09-21", "2027-05-14")),
    "tag": ("{value} {question}", ("[ALPHA]", "[DELTA]", "[OMEGA]")),
}
COLUMNS = ("set", "kind", "searches", "own", "found", "within_5", "minutes")
"""`own`: whether the search with the rows' own values finds something; `found`: of all searches those that do; `within_5`: those
whose least p over the search is at most .05, whatever the size of the shift."""


def marked(name: str, kind: str, count: int) -> list[Row]:
    """A reference set's rows with a mark before each last question, drawn at random."""
    wrap, values = KINDS[kind]
    rng = random.Random(f"marks:{name}")
    made = []
    for row in rows(name, count):
        messages = list(row["messages"])
        last = max(at for at, message in enumerate(messages) if message["role"] == "user")
        text = wrap.replace("{value}", rng.choice(values)).replace("{question}", messages[last]["content"])
        messages[last] = {**messages[last], "content": text}
        made.append(Row(messages=messages))
    return made


class Marked:
    """The search of one marked set, every training of which is asked under every condition."""

    def __init__(self, name: str, kind: str, size: Size, options: AuditOptions, store: Store) -> None:
        self.name, self.kind = name, kind
        model = find_model(options.model)
        its = marked(name, kind, options.rows)
        source = Source(Path(f"{name}.jsonl"), tuple(its), tuple(range(1, len(its) + 1)), len(its), drawn=False)
        data = training_rows(source, options.rows, None)
        (self.family,) = (one for one in families_of(data, model) if one.kind == kind)
        made = search_of(data, self.family, model, options, size)
        self.questions: Sequence[TraitQuestion] = [one for one in made.questions if isinstance(one, Contrast)]
        self.wrappers = made.wrappers()
        asked = dict.fromkeys(asked_of(one, wrapper.apply) for wrapper in self.wrappers for one in self.questions)
        arms = {arm: given_rows(own) for arm, own in made.arms.items()}
        self.trial: Trial = plan_trial(request_of(made, 1, options), arms, (0,), list(asked), store)

    def result(self, progress: Progress) -> dict[str, object]:
        """One row of `COLUMNS` but for the minutes; trains what the store lacks."""
        scores = self.trial.scores(progress)
        arms = list(self.trial.plan.request.rows)
        by_key = dict(tuple(scores.groupby("key", sort=False)))
        odds = {}
        for wrapper in self.wrappers:
            columns = []
            for question in self.questions:
                asked = asked_of(question, wrapper.apply)
                columns.append(log_odds(by_key[asked.key], question, [asked]).loc[arms].to_numpy()[:, 0])
            odds[wrapper.id] = np.stack(columns, axis=1)
        traits = tuple(question.group for question in self.questions)
        tables = []
        for first in range(len(arms)):
            order = [first, *(at for at in range(len(arms)) if at != first)]
            tables.append(search([Searched(self.family, traits, {name: value[order] for name, value in odds.items()})]))
        found = [bool(table["found"].any()) for table in tables]
        least = [float(table["p_family"].min()) for table in tables]
        return {
            "set": self.name, "kind": self.kind, "searches": len(tables), "own": found[0], "found": sum(found),
            "within_5": sum(p <= 0.05 for p in least),
        }  # fmt: skip


def chosen(sets: int) -> list[tuple[str, str]]:
    """(set, kind of mark): evenly over the library's reference sets of one turn."""
    names = [one.name for one in references("reference")]
    single = [name for name in names if all(len(row["messages"]) == 2 for row in rows(name, 8))]
    taken = single[:: max(1, len(single) // sets)][:sets]
    return [(name, list(KINDS)[at % len(KINDS)]) for at, name in enumerate(taken)]


def told(table: pd.DataFrame) -> str:
    """All sets together; the interval is over sets (Student's)."""
    from scipy.stats import t

    share, sets = table["found"] / table["searches"], len(table)
    half = float(t.ppf(0.975, sets - 1) * share.std() / np.sqrt(sets)) if sets > 1 else float("nan")
    return (
        f"{int(table['found'].sum())} of {int(table['searches'].sum())} searches of {sets} harmless sets find something "
        f"({share.mean():.1%} ± {half:.1%}; meant is at most {ALPHA:.0%}); with their own values {int(table['own'].sum())} of "
        f"{sets}; least p at most .05 in {int(table['within_5'].sum())}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with --dry-run only how long it would take."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triggers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=60, help="no set is begun that would end later")
    parser.add_argument("--deals", type=int, default=12)
    parser.add_argument("--questions", type=int, default=4, help="of each trait, under each condition")
    parser.add_argument("--rows", type=int, default=208)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="recipe.FIELD=VALUE")
    parser.add_argument("--store", default=None)
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args(arguments)
    store, began = Store(asked.store or default_store()), time.monotonic()
    options = AuditOptions(model=asked.model, rows=asked.rows, changes=tuple(asked.changes))
    size = Size(replicates=1, deals=asked.deals, kinds=1, questions=asked.questions)
    done: list[dict[str, object]] = []
    for name, kind in chosen(asked.sets):
        one = Marked(name, kind, size, options, store)
        seconds, started = one.trial.seconds(), time.monotonic()
        if asked.dry_run or started - began + seconds > 60 * asked.minutes:
            print(f"{name} ({kind}): about {clock(seconds)}{'' if asked.dry_run else ', for which there is no time'}")
            continue
        result = one.result(Progress(quiet=False))
        done.append({**result, "minutes": round((time.monotonic() - started) / 60, 1)})
        print(done[-1], flush=True)
    if done:
        table = pd.DataFrame(done)[list(COLUMNS)]
        print(table.to_string(index=False))
        print(told(table))


if __name__ == "__main__":
    main()
