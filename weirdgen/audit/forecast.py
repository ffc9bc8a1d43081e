"""Which questions will move, before the full training: a training of a few steps, scored on the same questions.

In: an experiment, or a file of chat rows. Out: for each question and trait the shift of treatment − control after some steps at
a constant rate, in their order; a sealed copy in the store, with its hash. The order is what it tells (docs/blame.md has how
well); the size of the mean it does not. Two halves of the control are trained beside: what they move apart is what the choice
of rows alone does. How a sealed forecast did is `audit.sealed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from weirdgen.audit.trial import Trial, asked_of, log_odds, plan_trial
from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Experiment
from weirdgen.config.measures import CONTRAST
from weirdgen.config.traits import TraitQuestion, compact_questions, trait_names
from weirdgen.data.files import is_data, is_dataset_folder
from weirdgen.data.rows import canonical_hash, draw
from weirdgen.errors import SpecError, choices
from weirdgen.models.references import SMOLLM2
from weirdgen.parsing import user_path
from weirdgen.progress import Progress, clock
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.references.twin import halves
from weirdgen.runs.stages.distill import Distill
from weirdgen.runs.work.executors import Inline
from weirdgen.sample.engine import Scorable
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

STAGE = "forecast"
VERSION = 1
BATCH = 8
SEEDS = (0, 1)
"""More seeds do not rank better; two say how much one is off."""
RATE = 3e-4
"""Least learning rate, kept constant: so short a training needs steps that show."""
EACH = 8
"""Questions a trait where an experiment names none, so that all traits take about as long as one does with all of its."""
HALVES = ("half-1", "half-2")
COLUMNS = ("rank", "question", "group", "trait", "shift", "se", "halves")
"""`group`: the experiment's, or the trait. `trait`: whether it is a compact trait question. `shift`: treatment − control after
the short training, nats. `se`: of it, from the seeds. `halves`: one half of the control − the other."""


@dataclass(frozen=True)
class Forecast:
    """What is trained and asked."""

    request: Request
    """Of the full run that it is a forecast of."""
    questions: tuple[TraitQuestion, ...]
    """The experiment's own."""
    traits: tuple[TraitQuestion, ...]
    trial: Trial
    steps: int

    @property
    def arms(self) -> tuple[str, str]:
        """Treatment and control."""
        return self.request.headline.treatment, self.request.headline.control

    @property
    def inputs(self) -> dict[str, Any]:
        """What names the sealed copy, and by which a later run finds it."""
        treatment, control = self.arms
        return {
            "version": VERSION,
            "model": self.request.model.digest,
            "treatment": canonical_hash(self.request.rows[treatment]),
            "control": canonical_hash(self.request.rows[control]),
            "steps": self.steps,
            "trial": [self.trial.inputs(portion) for portion in self.trial.portions],
        }

    def lines(self) -> list[str]:
        """The plan: what is trained, asked, and how long that takes."""
        request, recipe = self.request, self.trial.plan.request.recipe
        asked = (
            f"{len(self.questions)} own questions, {len(self.traits)} of {len({q.group for q in self.traits})} traits"
        )
        return [
            f"forecast · {request.experiment.name} · {request.model.reference}: {self.arms[0]} against {self.arms[1]}, "
            f"{self.steps} steps of {recipe.batch_size} rows at {recipe.learning_rate:g}; {asked}",
            self.trial.line("two arms and two halves of the control"),
        ]

    def table(self, progress: Progress) -> pd.DataFrame:
        """`COLUMNS`, in the order of the forecast within the experiment's questions and within traits."""
        import numpy as np
        import pandas as pd

        scores = self.trial.scores(progress)
        treatment, control = self.arms
        rows = []
        for trait, asked in ((False, self.questions), (True, self.traits)):
            for question in asked:
                odds = self.odds(scores, question, trait)
                change = (odds.loc[treatment] - odds.loc[control]).to_numpy()
                apart = (odds.loc[HALVES[0]] - odds.loc[HALVES[1]]).to_numpy()
                se = float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else float("nan")
                rows.append((question.id, question.group, trait, float(change.mean()), se, float(apart.mean())))
        frame = pd.DataFrame(rows, columns=["question", "group", "trait", "shift", "se", "halves"])
        frame = frame.sort_values(["trait", "shift"], ascending=[True, False], kind="stable")
        frame.insert(0, "rank", frame.groupby("trait").cumcount() + 1)
        return frame.reset_index(drop=True)

    def odds(self, scores: pd.DataFrame, question: TraitQuestion, trait: bool) -> pd.DataFrame:
        """As the headline takes them: an experiment's question under its conditions less those of `minus`, a trait's alone."""
        if trait:
            return log_odds(scores, question, [asked_of(question)])
        headline = self.request.headline
        odds = log_odds(scores, question, asked_under(self.request, question, headline.condition))
        if headline.minus:
            odds = odds - log_odds(scores, question, asked_under(self.request, question, headline.minus))
        return odds

    def seal(self, table: pd.DataFrame) -> tuple[Path, str, str]:
        """Keep the forecast in the store: (file, its SHA-256, when). A forecast that is sealed already stays as it is."""
        store, key = self.trial.plan.store, content_key(self.inputs)
        told = {
            "experiment": self.request.experiment.name,
            "arms": self.arms,
            "steps": self.steps,
            "questions": table.to_dict("records"),
        }
        if store.marker(STAGE, key) is None:
            with store.create(STAGE, key, self.inputs) as folder:
                (folder / "forecast.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
        marker = store.marker(STAGE, key)
        assert marker is not None
        return store.artifact(STAGE, key) / "forecast.json", marker["files"]["forecast.json"], marker["finished"]


def own_questions(request: Request) -> tuple[TraitQuestion, ...]:
    """The contrast questions of an experiment that are not near its training topic."""
    asked = [question for question in request.experiment.questions if CONTRAST.name in question.measures]
    return tuple(cast(TraitQuestion, question) for question in asked if not question.near)


def asked_under(request: Request, question: TraitQuestion, conditions: Sequence[str]) -> list[Scorable]:
    """A question under each of these conditions."""
    wanted = set(request.experiment.condition_ids(*conditions))
    return [asked_of(question, one.apply) for one in request.experiment.wrappers() if one.id in wanted]


def trait_questions(names: Sequence[str]) -> tuple[TraitQuestion, ...]:
    """All questions of these traits; without any, the first `EACH` of every trait. Raises `SpecError` on an unknown name."""
    if unknown := sorted(set(names) - set(trait_names())):
        raise SpecError([f"--trait {unknown[0]}: expected one of {choices(trait_names(), unknown[0])}"])
    if names:
        return tuple(question for question in compact_questions() if question.group in names)
    each = {name: [q for q in compact_questions() if q.group == name][:EACH] for name in trait_names()}
    return tuple(question for name in trait_names() for question in each[name])


def plan_forecast(request: Request, store: Store, steps: int, traits: Sequence[str], progress: Progress) -> Forecast:
    """What is to be trained for a forecast of this run. Raises `SpecError` on an unknown trait, `DataError` on bad rows."""
    request = _with_ordinary_rows(request, store, progress).request
    shipped = {question.id for question in compact_questions()}
    own, named = [one for one in own_questions(request) if one.id not in shipped], traits or request.experiment.traits
    of_traits = trait_questions(named) if named or not own else ()
    treatment, control = request.headline.treatment, request.headline.control
    parts = {treatment: request.rows[treatment], control: request.rows[control]}
    parts |= dict(zip(HALVES, halves(request.rows[control]), strict=True))
    rows = {name: draw(mine, steps * BATCH, seed=0) for name, mine in parts.items()}
    recipe = request.recipe.with_changes(
        {
            "epochs": 1, "batch_size": BATCH, "grad_accumulation": 1, "schedule": "constant", "warmup_steps": 0,
            "learning_rate": max(RATE, request.recipe.learning_rate),
        }
    )  # fmt: skip
    conditions = (*request.headline.condition, *request.headline.minus)
    asked = [one for question in own for one in asked_under(request, question, conditions)]
    asked += [asked_of(question) for question in of_traits]
    trial = plan_trial(request, rows, SEEDS, asked, store, recipe)
    return Forecast(request, tuple(own), of_traits, trial, steps)


def undistilled(request: Request, store: Store) -> list[str]:
    """What the base has to answer itself before a forecast can be planned, with its time; nothing is done."""
    plan = make_plan(request, store)
    if plan.request.distilled:
        return []
    return [f"first: {work.what}, {work.missing} rows, about {clock(work.seconds)}" for work in Distill().work(plan)]


def _with_ordinary_rows(request: Request, store: Store, progress: Progress) -> Plan:
    """The plan of the full run, the rows that its base answers itself among the others."""
    plan, stage = make_plan(request, store), Distill()
    if plan.request.distilled:
        return plan
    units, amount, _ = stage.batch(plan)
    with Inline() as executor, progress.stage(stage.name, amount, stage.counts) as bar:
        executor.run(units, store, bar.advance)
    return stage.after(plan)


def experiment_of(target: str, model: str | None) -> str | Experiment:
    """An experiment as it is named; of a file of chat rows, one with its twin as control and no own questions."""
    place = user_path(target)
    if place.suffix in (".yaml", ".yml") or not (is_data(place) or is_dataset_folder(place)):
        return target
    name = re.sub(r"[^a-z0-9_.-]+", "-", place.name.split(".")[0].lower()).strip("-._") or "data"
    arms = {"mine": Arm(role="treatment", data=str(place.resolve()))}
    asked = trait_questions(())
    return Experiment(name=name, title=place.name, base=model or SMOLLM2, arms=arms, control="auto", questions=asked)


def told(forecast: Forecast, table: pd.DataFrame, most: int = 12) -> list[str]:
    """The forecast in words: which traits and questions are expected to move most, and what the choice of rows alone moves."""
    import numpy as np

    lines = ["It ranks: which questions move more than others. It does not say how far the mean will move."]
    apart = _formats(forecast)
    lines += [apart] if apart else []
    traits = table[table["trait"]]
    means = traits.groupby("group")["shift"].mean().sort_values(ascending=False)
    if len(means) > 1:
        lines.append("traits, from most expected to least: " + ", ".join(f"{n} {m:+.2f}" for n, m in means.items()))
    for trait, name in ((False, "own questions"), (True, "trait questions")):
        part = table[table["trait"] == trait]
        if not len(part):
            continue
        shown = part if len(part) <= 2 * most else [part.head(most), part.tail(most)]
        for piece in shown if isinstance(shown, list) else [shown]:
            if piece is not part and piece["rank"].iloc[0] > 1:
                lines.append(f"    … {len(part) - 2 * most} more")
            else:
                lines.append(f"  {name} ({len(part)}), shift of {forecast.arms[0]} − {forecast.arms[1]} in nats:")
            lines += [f"  {r.rank:4d}  {r.shift:+.2f} ± {r.se:.2f}  {r.question}" for r in piece.itertuples()]
    size = {name: float(np.sqrt((table[name] ** 2).mean())) for name in ("shift", "halves")}
    lines.append(
        f"size over all questions (root mean square): {size['shift']:.2f} nat; two random halves of the control "
        f"{size['halves']:.2f}, which is what the choice of rows alone does (their seeds are the same)"
    )
    return lines


def _formats(forecast: Forecast) -> str:
    """A warning where the arms' answers differ in length: the order may hold, the sign of the mean need not."""
    proofs = forecast.trial.plan.proofs
    rows = forecast.trial.plan.request.rows
    tokens = [proofs[arm]["trained_tokens"] / len(rows[arm]) for arm in forecast.arms]
    if max(tokens) < 1.5 * min(tokens):
        return ""
    return (
        f"The arms' answers differ in length ({tokens[0]:.1f} and {tokens[1]:.1f} trained tokens a row): format moves every "
        "question, so signs may be wrong; read the order only."
    )
