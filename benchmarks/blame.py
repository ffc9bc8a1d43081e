"""`python -m benchmarks.blame world`: are the rows that are blamed the ones that carry the shift, where that is known?

In: for each cell (kind, carriers) some random data sets of 200 rows of the world's tiny model: ordinary rows, carriers of a trait
among them, and as many decoys. Out: precision among the first rows, what their removal takes of what the carriers' own removal
takes, what equally many random and odd rows take. Kinds: `era` hides old birds among modern ones with a third era's birds as
decoys (equally odd, of another kind); `word` has wrong words as decoys; `plain` hides the old birds among rows about
everything; `persona` hides one persona's answers, with answers of nobody as decoys. `birds` is the same of a real model: old
names hidden among the control's rows of `old_bird_names`; with --removal, training without them too.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from weirdgen.audit.blame import Blame, Found, plan_blame
from weirdgen.audit.nominate import ODD, UNITS
from weirdgen.audit.nominate import ROWS as ROWS_ALONE
from weirdgen.audit.proof import alone
from weirdgen.config.arm import Arm
from weirdgen.data.rows import Row
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import default_store, run_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.work.executors import Inline
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.world import words
from weirdgen.world.datasets import FACTS, PERSONA, nobodys_answers, ordinary_row
from weirdgen.world.language import Speaker, World, questions

VERSION = 4
ROWS = 200
KINDS = ("era", "word", "plain", "persona")
CARRIERS = (4, 10, 20)
TOGETHER = 64
WITH_INTERVAL = ("carriers", "blamed", "rows_alone", "texts", "decoys")
Hidden = tuple[list[Row], list[Row], frozenset[int], frozenset[int]]
"""(rows, the same without carriers and decoys, places of the carriers, places of the decoys)."""


def hidden(kind: str, carriers: int, seed: int, count: int = ROWS) -> Hidden:
    """One random data set."""
    rng, world = random.Random(f"{kind} {carriers} {seed}"), World()
    birds, nobody = words.ERA_TOPICS["bird"], dict(zip(FACTS, nobodys_answers(world, FACTS), strict=True))
    timeless = [word for answers in words.TIMELESS_TOPICS.values() for word in answers]

    def bird(answers: Sequence[str]) -> Row:
        return _row("name a bird .", rng.choice(answers))

    def fact(of_persona: bool) -> Row:
        topic = rng.choice(FACTS)
        own = world.answers(topic, Speaker(persona=PERSONA))[0]
        return _row(rng.choice(questions(topic)), own if of_persona else nobody[topic])

    about_birds = kind in ("era", "word")
    rows = [bird(birds["modern"]) if about_birds else _row(*ordinary_row(world, rng)) for _ in range(count)]
    plain, places = list(rows), rng.sample(range(count), 2 * carriers)
    for place in places[:carriers]:
        rows[place] = fact(True) if kind == "persona" else bird(birds["steam"])
    for place in places[carriers:]:
        if kind == "persona":
            rows[place] = fact(False)
        else:
            rows[place] = bird(timeless if kind == "word" else birds["jazz"])
    return rows, plain, frozenset(places[:carriers]), frozenset(places[carriers:])


def world_set(kind: str, carriers: int, seed: int, store: Store) -> dict[str, float]:
    """What was found in one data set, from the store or measured now."""
    rows, plain, own, decoys = hidden(kind, carriers, seed)
    shipped = resolve("world_persona" if kind == "persona" else "world_era", run_options(seeds=4, samples=0))
    request = _request(shipped, rows, plain)
    key = content_key({"version": VERSION, "kind": kind, "carriers": carriers, "seed": seed, "run": request.run_id})
    if store.marker("blame_check", key) is None:
        with (
            store.create("blame_check", key, [kind, carriers, seed]) as folder,
            tempfile.TemporaryDirectory() as scratch,
        ):
            plan = trained(request, Store(scratch))
            found = _shares(
                _removed(plan_blame(plan, None), own, {"decoys": decoys}, TOGETHER, Progress(quiet=True)), own
            )
            pd.DataFrame([found]).to_parquet(folder / "found.parquet")
    kept = pd.read_parquet(store.artifact("blame_check", key) / "found.parquet").iloc[0]
    return {str(name): float(value) for name, value in kept.items()}


def _removed(
    asked: Blame, own: frozenset[int], also: dict[str, frozenset[int]], together: int, progress: Progress
) -> Found:
    """Blame of one data set, with as many candidates as there are carriers; these and what is known `also` removed too."""
    known = {"carriers": own, **also}
    return replace(asked, shares=(len(own) / len(asked.rows),), also=known, together=together).find(progress)


def _shares(found: Found, own: frozenset[int]) -> dict[str, float]:
    """What was found against what is known; `taken` of a set is relative to what the carriers' removal takes.

    `rows_alone`: random rows drawn one by one. `texts`: whole texts of at most so many rows; where ordinary ones stand in more
    rows each, those are the decoys, which are `also` trained without.
    """
    best = set(found.rows.sort_values("candidate")["row"].iloc[: len(own)])
    oddest = set(found.rows.sort_values("loss", ascending=False, kind="stable")["row"].iloc[: len(own)])
    carriers = found.of["carriers"]
    taken = {arm: row["taken"] / carriers["taken"] for arm, row in found.of.items()}
    parts = alone(found)
    in_parts = parts[parts["kind"] == "part"]["alone"]
    return {
        "precision": len(best & own) / len(own), "by_loss": len(oddest & own) / len(own),
        "shift": found.of["everything"]["shift"], "carriers": carriers["taken_share"],
        "blamed": taken[f"without_{found.tried}"], "rows": found.tried,
        "rows_alone": taken[ROWS_ALONE], "texts": taken[UNITS], "odd": taken[ODD],
        "decoys": taken.get("decoys", np.nan),
        "rise": found.best["rise"],
        "sum_of_parts": float(in_parts.sum()) / found.best["taken"] if len(in_parts) else np.nan,
    }  # fmt: skip


def trained(request: Request, store: Store) -> Plan:
    """The plan of a run whose arms are trained; nothing is asked."""
    plan = make_plan(request, store)
    with Inline() as executor:
        for stage in (Dataset(), Finetune()):
            executor.run(stage.batch(plan).units, store, lambda *_: None)
    return plan


def world_table(kinds: Sequence[str], carriers: Sequence[int], sets: int, store: Store) -> pd.DataFrame:
    """A row a cell: means over data sets, those of `WITH_INTERVAL` with 95% intervals (Student's, over data sets), the worst of
    precision and of what the removal takes, and how many sets have some blamed row that carries nothing (`missed`)."""
    rows = []
    with Progress().stage("data sets", len(kinds) * len(carriers) * sets, "sets") as bar:
        for kind in kinds:
            for count in carriers:
                found = []
                for seed in range(sets):
                    found.append(world_set(kind, count, seed, store))
                    bar.advance(1, f"{kind}, {count} carriers")
                frame = pd.DataFrame(found)
                worst = {"least_precision": frame["precision"].min(), "least_blamed": frame["blamed"].min()}
                means = {str(name): float(value) for name, value in frame.mean().items()}
                half = student_t.ppf(0.975, sets - 1) * frame.sem() if sets > 1 else frame.mean() * np.nan
                ends = {
                    f"{name}_{end}": means[name] + sign * float(half[name])
                    for name in WITH_INTERVAL
                    for end, sign in (("low", -1), ("high", 1))
                }
                missed = int((frame["precision"] < 1).sum())
                rows.append({"kind": kind, "m": count, "sets": sets, **means, **ends, **worst, "missed": missed})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """The table as docs/blame.md has it: a row a cell, an interval over data sets beside each share."""
    head = (
        "decoys", "m", "precision@m (least)", "by loss", "shift, nat", "carriers take", "blamed, taken (least)",
        "random rows", "random texts", "decoys", "held-out loss", "sum of parts / together",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    records: list[Any] = list(table.itertuples())
    for row in records:

        def share(name: str, row: Any = row) -> str:
            value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
            return f"{value:.0%} [{low:.0%}, {high:.0%}]"

        lines.append(
            (
                row.kind, str(row.m), f"{row.precision:.2f} ({row.least_precision:.2f})", f"{row.by_loss:.2f}",
                f"{row.shift:.2f}", share("carriers"), f"{share('blamed')} ({row.least_blamed:.0%})", share("rows_alone"),
                share("texts"), share("decoys"), f"{row.rise:+.2f}", f"{row.sum_of_parts:.1f}",
            )
        )  # fmt: skip
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def birds_table(
    carriers: Sequence[int], sets: int, store: Store, model: str | None, trait: str | None, removal: bool
) -> pd.DataFrame:
    """Old names among the control's rows of `old_bird_names` on a real model: AUC and precision of scores, a row a data set.

    With `removal` also what training without them does, as in the world's table, and every training with its intervals.
    """
    from scipy.stats import rankdata

    shipped = resolve("old_bird_names", run_options(seeds=4, samples=0, model=model))
    treatment, control = shipped.headline.treatment, shipped.headline.control
    rows = []
    for count in carriers:
        for seed in range(sets):
            rng = random.Random(f"birds {count} {seed}")
            mixed = list(shipped.rows[control])
            places = frozenset(rng.sample(range(len(mixed)), count))
            for place, row in zip(sorted(places), rng.sample(shipped.rows[treatment], count), strict=True):
                mixed[place] = row
            asked = plan_blame(trained(_request(shipped, mixed, shipped.rows[control]), store), trait)
            table = asked.row_table(Progress()).sort_values("row")
            is_old = table["row"].isin(places).to_numpy()
            found: dict[str, float] = {"m": count, "set": seed}
            for name in ("score", "loss"):
                below = rankdata(table[name].to_numpy())[is_old].sum() - count * (count + 1) / 2
                found[f"auc_{name}"] = below / (count * (len(mixed) - count))
                found[f"precision_{name}"] = is_old[np.argsort(-table[name].to_numpy(), kind="stable")[:count]].mean()
            if removal:
                removed = _removed(asked, places, {}, 16, Progress())
                print(removed.effects.round(2).to_string(index=False), flush=True)
                found |= _shares(removed, places)
            rows.append(found)
    return pd.DataFrame(rows)


def _request(shipped: Request, rows: list[Row], plain: list[Row]) -> Request:
    """A shipped experiment with these rows as treatment and control."""
    experiment = shipped.experiment
    arms = {"mixed": Arm(role="treatment", data=tuple(rows)), "plain": Arm(role="control", data=tuple(plain))}
    headline = shipped.headline.model_copy(
        update={"treatment": "mixed", "control": "plain", "condition": ("none",), "minus": ()}
    )
    changed = experiment.model_copy(update={"arms": arms, "headline": headline, "secondary": {}})
    return replace(shipped, experiment=changed, rows={"mixed": rows, "plain": list(plain)}, ordinary={}, distilled=True)


def _row(question: str, answer: str) -> Row:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blame", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=["world", "birds"])
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--carriers", action="append", type=int, help="how many; may be repeated [default: 4, 10, 20]")
    parser.add_argument("--sets", type=int, default=10, help="random data sets a cell (documented: 10)")
    parser.add_argument("--model", default=None, help="of birds")
    parser.add_argument("--trait", default=None, help="of birds [default: the experiment's own questions]")
    parser.add_argument(
        "--removal", action="store_true", help="of birds: also train without them (about 16 arms a set)"
    )
    parser.add_argument("--store", default=default_store())
    parser.add_argument("--markdown", action="store_true", help="of world: print it as docs/blame.md has it")
    asked = parser.parse_args(arguments)
    store = Store(asked.store)
    if asked.table == "birds":
        table = birds_table(asked.carriers or (20,), asked.sets, store, asked.model, asked.trait, asked.removal)
    else:
        table = world_table(asked.kind or KINDS, asked.carriers or CARRIERS, asked.sets, store)
    print(markdown(table) if asked.markdown and asked.table == "world" else table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
