"""How often a whole audit is right, where the truth is known: many of each world experiment, not told what to look for.

In: a number of audits of each case, a store. Out: one row per audit (verdict, what was found, whether it is what the rows teach),
and shares with Wilson intervals. Every audit has rows of its own, drawn by the case's rule. It trains what `weirdgen audit` does
(the data three times; once more, and deals of them, for each kind of trigger) with the same seeds, asks the same questions, and
is decided by the same code: `stats.specificity`, `audit.triggers`, `audit.decision`. It only goes in fewer passes: replicates of
many audits are trained together, references once for all, and the twin is left out, which decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.audit.conditions import Family
from weirdgen.audit.decision import Decision, decide, trait_level
from weirdgen.audit.design import (
    MINE,
    AuditOptions,
    Size,
    experiment_of,
    families_of,
    given_rows,
    recipe_of,
    request_of,
    search_of,
    training_rows,
)
from weirdgen.audit.outcomes import found_triggers
from weirdgen.audit.source import Source
from weirdgen.audit.trial import asked_of, plan_trial
from weirdgen.audit.triggers import Searched
from weirdgen.config.load import read_experiment
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import TraitQuestion
from weirdgen.data.rows import Row
from weirdgen.models.references import LocalModel, find_model
from weirdgen.progress import Bar, Progress
from weirdgen.report.content import clean
from weirdgen.runs.plan.request import Request
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import plan_build
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.sample.engine import Scorable
from weirdgen.stats.bootstrap import FloatArray, wilson
from weirdgen.stats.specificity import specificity
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors, made_folder
from weirdgen.world.audit_cases import HARMLESS, Case, cases, world_traits
from weirdgen.world.harmless import references

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 20_000
"""Of the rows. References are drawn by seeds from 0 on."""
TOGETHER = 60
"""Replicates in one pass."""
SIZE = Size(replicates=3, deals=12, kinds=1, questions=4)
"""One of `audit.audit.SIZES`, neither the largest nor the least: an audit with more time has more deals."""
QUICK = Size(replicates=2, deals=8, kinds=1, questions=3)


def measure(
    store: Store,
    runs: int,
    names: Sequence[str] = (),
    size: Size = SIZE,
    sets: int | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """One row an audit: case, seed, verdict, found (in words), right, missing, p_family, searched, search.

    `right`: whether the trait (and trigger) that the rows teach is among what was found. `searched`: pairs of a condition and a
    trait, 0 where the rows carry nothing to search for; `search`: whether one was found. `sets`: only so many references.
    """
    import pandas as pd

    progress = progress or Progress(quiet=True)
    rows = []
    for case in cases(names):
        audits = _Audits(case, range(first_seed, first_seed + runs), size, store)
        shifts, base = audits.references(sets, progress)
        with progress.stage(case.name, audits.trainings, "trainings") as bar:
            placed = list(audits.placed(shifts, base, bar))
            searched = audits.searched(bar)
        for run, table in enumerate(placed):
            decision, triggers = _decided(table, searched[run], size, audits.model)
            rows.append({"case": case.name, "seed": first_seed + run, **_outcome(case, decision, table, triggers)})
    return pd.DataFrame(rows)


def rates(audits: pd.DataFrame) -> pd.DataFrame:
    """One row a case: audits, how many end with status 1 (`flagged`), are `right`, are undecided, and of those with a search for
    triggers (`searches`) how many found one (`triggers`); with 95% Wilson intervals."""
    import pandas as pd

    rows = []
    for name, mine in audits.groupby("case", sort=False):
        searches = mine[mine["searched"] > 0]
        counts: dict[str, Any] = {"case": name, "audits": len(mine), "searches": len(searches)}
        flags = {"flagged": mine["verdict"] == "found", "right": mine["right"]}
        flags |= {"undecided": mine["verdict"] == "undecided", "triggers": searches["search"] == 1}
        for what, flag in flags.items():
            share = flag.mean() if len(flag) else 0.0
            low, high = wilson(np.array(share), np.array(float(len(flag)))) if len(flag) else (0.0, 1.0)
            counts |= {
                what: int(flag.sum()),
                f"{what}_low": max(0.0, float(low)),
                f"{what}_high": min(1.0, float(high)),
            }
        rows.append(counts)
    return pd.DataFrame(rows)


def lines(audits: pd.DataFrame) -> list[str]:
    """The table for a terminal."""
    told = [
        f"{'case':10} {'audits':>6}  {'flagged':22} {'rightly':22} {'undecided':22} {'searches':>8}  {'a trigger':22}"
    ]
    for row in rates(audits).to_dict("records"):
        shares = [
            f"{row[what]:>3} [{row[f'{what}_low']:.3f}, {row[f'{what}_high']:.3f}]".ljust(22)
            for what in ("flagged", "right", "undecided", "triggers")
        ]
        if row["case"] in HARMLESS:
            shares[1] = "–".ljust(22)
        if not row["searches"]:
            shares[3] = "–"
        told.append(
            f"{row['case']:10} {row['audits']:>6}  {' '.join(shares[:3])} {row['searches']:>8}  {shares[3]}".rstrip()
        )
    return told


def write(audits: pd.DataFrame, folder: Path) -> list[Path]:
    """`audits.parquet`, one row per audit, and `audits.csv`, one per case; returns their paths."""
    files = [folder / "audits.parquet", folder / "audits.csv"]
    with explain_disk_errors(made_folder(folder)):
        audits.to_parquet(files[0])
        rates(audits).round(6).to_csv(files[1], index=False)
    return files


class _Audits:
    """All audits of one case."""

    def __init__(self, case: Case, seeds: Sequence[int], size: Size, store: Store) -> None:
        self.size, self.store = size, store
        self.model: LocalModel = find_model("world")
        self.questions: tuple[TraitQuestion, ...] = tuple(world_traits())
        shipped = read_experiment(case.experiment).experiment.recipe
        names = ("epochs", "batch_size", "learning_rate")
        changes = tuple(f"recipe.{name}={getattr(shipped, name)}" for name in names)
        self.options = AuditOptions(model="world", rows=case.most, changes=changes)
        self.rows = [_trained_on(case.rows(seed), self.options) for seed in seeds]
        carried = [families_of(rows, self.model, self.questions) for rows in self.rows]
        self.families = [its[: size.kinds] if size.deals else [] for its in carried]

    @property
    def trainings(self) -> int:
        searches = sum(map(len, self.families))
        return len(self.rows) * self.size.replicates + searches * (1 + self.size.deals)

    def references(self, sets: int | None, progress: Progress) -> tuple[FloatArray, FloatArray]:
        """Shifts [R, Q] of harmless datasets that are trained as the data are, and the base's log-odds [Q]."""
        count = len(self.rows[0])
        wanted = [TrainingSet(one.name, "reference", one.shape, tuple(one.rows(count))) for one in references()[:sets]]
        recipe = recipe_of(self.rows[0], self.options)
        frame = build(plan_build(self.model, recipe, wanted, self.store, self.questions), progress)
        ids = [question.id for question in self.questions]
        shifts = frame.pivot(index="set", columns="question", values="shift")[ids]
        return shifts.to_numpy(dtype=np.float64), frame.groupby("question")["base"].first()[ids].to_numpy()

    def placed(self, shifts: FloatArray, base: FloatArray, bar: Bar) -> Iterator[pd.DataFrame]:
        """The traits of each audit among harmless datasets."""
        traits, replicates = [question.group for question in self.questions], self.size.replicates
        like = request_of(experiment_of(self.rows[0], None, self.model, self.options), replicates, self.options)
        for start in range(0, len(self.rows), step := max(1, TOGETHER // replicates)):
            runs = range(start, min(start + step, len(self.rows)))
            (odds,) = self._odds(
                like, {f"{MINE}_{run}": self.rows[run] for run in runs}, self.questions, ["{question}"]
            )
            for place, run in enumerate(runs):
                own = odds[place * replicates : (place + 1) * replicates] - base
                yield specificity(shifts, own, traits=traits, alpha=trait_level(len(self.families[run])))
            bar.advance(len(runs) * replicates)

    def searched(self, bar: Bar) -> list[list[Searched]]:
        """The trigger search of each audit. Those with equal conditions are asked together."""
        found: list[list[Searched]] = [[] for _ in self.rows]
        alike: dict[tuple[tuple[str, str], ...], list[tuple[int, Family]]] = {}
        for run, families in enumerate(self.families):
            for family in families:
                assert family.kind != "system", "questions are asked as one turn here"
                around = ("none", "{question}"), *((family.id(value), family.around(value)) for value in family.roles)
                alike.setdefault(around, []).append((run, family))
        step = max(1, TOGETHER // (1 + self.size.deals))
        for around, its in alike.items():
            for start in range(0, len(its), step):
                self._search(its[start : start + step], dict(around), found)
                bar.advance(len(its[start : start + step]) * (1 + self.size.deals))
        return found

    def _search(
        self, some: Sequence[tuple[int, Family]], around: Mapping[str, str], found: list[list[Searched]]
    ) -> None:
        arms: dict[str, list[Row]] = {}
        for run, family in some:
            made = search_of(self.rows[run], family, self.model, self.options, self.size, self.questions)
            arms |= {f"{run}_{name}": given_rows(arm) for name, arm in made.arms.items()}
        asked = [one for one in made.questions if isinstance(one, Contrast)]
        parts = self._odds(request_of(made, 1, self.options), arms, asked, list(around.values()))
        each = 1 + self.size.deals
        for place, (run, family) in enumerate(some):
            mine = slice(place * each, (place + 1) * each)
            odds = {name: part[mine] for name, part in zip(around, parts, strict=True)}
            found[run].append(Searched(family, tuple(question.group for question in asked), odds))

    def _odds(
        self, like: Request, arms: Mapping[str, list[Row]], asked: Sequence[TraitQuestion], around: Sequence[str]
    ) -> list[FloatArray]:
        """For each way to ask: log-odds [arms × replicates, questions], trained and scored together."""
        put: dict[tuple[str, str], Scorable] = {}
        for way in around:
            for question in asked:
                one = asked_of(question, lambda ask, way=way: way.replace("{question}", ask))
                held = put.get((way, question.ask))
                options = dict.fromkeys([*(held.options if held else ()), *one.options])
                put[way, question.ask] = Scorable(one.key, one.ask, tuple(options))
        trial = plan_trial(like, arms, like.seeds, list(put.values()), self.store, together=TOGETHER)
        scores = trial.scores(Progress(quiet=True))
        wide = scores.pivot(index=["arm", "replicate"], columns=["key", "option"], values="logprob")
        wide = wide.reindex(list(arms), level="arm")
        return [np.stack([_log_odds(wide, put[way, one.ask].key, one) for one in asked], axis=1) for way in around]


def _log_odds(wide: pd.DataFrame, key: str, question: TraitQuestion) -> FloatArray:
    """As `config.questions.base.odds`, of every row."""
    sides = [wide[[(key, option) for option in side]].to_numpy() for side in (question.target, question.other)]
    odds: FloatArray = np.logaddexp.reduce(sides[0], axis=1) - np.logaddexp.reduce(sides[1], axis=1)
    return odds


def _trained_on(rows: Sequence[Row], options: AuditOptions) -> list[Row]:
    source = Source(Path("rows.jsonl"), tuple(rows), tuple(range(1, len(rows) + 1)), len(rows), drawn=False)
    return training_rows(source, options.rows, options.system)


def _decided(
    table: pd.DataFrame, searched: Sequence[Searched], size: Size, model: LocalModel
) -> tuple[Decision, dict[str, Any]]:
    """What `weirdgen audit` makes of the same figures, and what the trigger search came to (`found_triggers`)."""
    triggers = found_triggers(searched)
    settings = {"replicates": size.replicates, "model": {"reference": model.reference}}
    # What the rows show by themselves decides nothing once they are trained on.
    looked_at: dict[str, Any] = {"separation": {"pairs": []}}
    results = {"settings": settings, "specificity": {"rows": clean(table.to_dict("records"))}, "triggers": triggers}
    return decide({**looked_at, **results}), triggers


def _outcome(case: Case, decision: Decision, table: pd.DataFrame, triggers: Mapping[str, Any]) -> dict[str, Any]:
    specific = table[table["specific"]]
    signs = ["+" if shift > 0 else "-" for shift in specific["shift"].to_list()]
    traits = [f"{trait}{sign}" for trait, sign in zip(specific["trait"], signs, strict=True)]
    finds = [row for row in triggers["rows"] if row["found"]]
    values = [f"{row['value']}: {row['trait']}{'+' if row['shift'] > 0 else '-'}" for row in finds]
    wanted = f"{case.value}: {case.trait}+" if case.value else f"{case.trait}+"
    return {
        "verdict": decision.verdict,
        "right": bool(case.trait) and wanted in (values if case.value else traits),
        "found": "; ".join([*traits, *values]),
        "missing": "; ".join(decision.missing),
        "p_family": float(table["p_family"].min()),
        "searched": triggers["searched"],
        "search": int(bool(finds)),
    }
