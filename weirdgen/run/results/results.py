"""A finished run: its tables and what is estimated from them, as pandas frames.

In: a `Plan` whose work is done. Out: frames with the identity columns arm, role, replicate, checkpoint, condition,
question. Everything is read from the store; nothing is trained, sampled or judged by a model here. How the estimates are
made is `weirdgen.run.results.estimates`; what the report makes of all of it is `weirdgen.run.results.reporting`.
"""

from __future__ import annotations

import json
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from weirdgen.columns import IDENTITY
from weirdgen.config.judges import Judge
from weirdgen.config.measures import MEASURES
from weirdgen.config.questions import FreeForm
from weirdgen.errors import DataError, StoreError
from weirdgen.run.plan.plan import Plan, Voice, make_plan
from weirdgen.run.plan.request import Settings, default_store
from weirdgen.run.plan.workload import workload
from weirdgen.run.results.verdicts import VerdictTable, judge_completions, rates
from weirdgen.sample.contrast import question_odds, scores_table
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    from weirdgen.run.results.estimates import Estimates

SCHEMA_VERSION = 1


class Run:
    """What one request measured."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.store = plan.store

    @property
    def id(self) -> str:
        return self.settings.run_id

    @property
    def folder(self) -> Path:
        """Where the report, the figures and `results.json` are."""
        return self.plan.folder

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def judge(self, name: str) -> Judge:
        """A judge of the experiment. Raises `DataError` with those that there are."""
        judges = self.settings.experiment.judges
        if name not in judges:
            raise DataError(f"run {self.id} has no judge '{name}'; there are: {', '.join(judges) or 'none'}")
        return judges[name]

    def asks(self) -> dict[str, str]:
        """Question id → its text, without a condition's wrapper."""
        return {question.id: question.ask for question in self.settings.experiment.questions}

    @cached_property
    def _completions(self) -> pd.DataFrame:
        wanted = pd.DataFrame(
            [(p.key, c, q, p.text) for c, q, p in self.plan.prompts],
            columns=["prompt_key", "condition", "question", "prompt"],
        )
        columns = [
            *IDENTITY,
            "sample",
            "prompt",
            "text",
            "finish_reason",
            "prompt_tokens",
            "completion_tokens",
            "seed",
        ]
        frames = []
        for voice in self.plan.voices:
            if self.plan.samples_of(voice) and len(wanted):
                table = self.plan.completions(voice).read()
                table = table[table["sample"] < self.settings.samples]
                frames.append(_identify(voice, wanted.merge(table, on="prompt_key")))
        if not frames:
            return pd.DataFrame(columns=columns)
        return pd.concat(frames, ignore_index=True)[columns].sort_values([*IDENTITY, "sample"], ignore_index=True)

    def completions(self) -> pd.DataFrame:
        """One row a sampled answer: identity, sample, prompt, text, finish_reason, token counts, seed."""
        return self._completions.copy()

    @cached_property
    def _contrasts(self) -> pd.DataFrame:
        questions = {q.id: q for q in self.settings.experiment.questions}
        rows = []
        for voice in self.plan.voices:
            table = scores_table(self.store, voice.speaker, self.settings.dtype).read()
            found = {(r.prompt_key, r.option): r.logprob for r in table.itertuples()}
            asked_of_voice = groupby(self.plan.scorables_of(voice), key=lambda one: one[:2])
            for (condition, question_id), asked in asked_of_voice:
                question = questions[question_id]
                assert not isinstance(question, FreeForm), "free-form questions are not scored"
                scores = [{o: found[scorable.key, o] for o in scorable.options} for _, _, scorable in asked]
                result = question_odds(question, scores)
                identity = (voice.arm, voice.role, voice.replicate, voice.checkpoint, condition, question_id)
                rows.append((*identity, question.kind, *result))
        return pd.DataFrame(rows, columns=[*IDENTITY, "kind", "logit", "p_target", "wins"])

    def contrasts(self) -> pd.DataFrame:
        """One row a scored question and model: log-odds (nats), P(target), whether a target wins (`contrast.Odds`)."""
        return self._contrasts.copy()

    @cached_property
    def judged(self) -> VerdictTable:
        """Every judge's verdicts on this run's answers, and from where on an answer counts as its template's."""
        return judge_completions(self.plan, self._completions, IDENTITY)

    def _judged_by(self, judge: str) -> list[str]:
        questions = self.settings.experiment.questions
        return [q.id for q in questions if isinstance(q, FreeForm) and judge in q.judges]

    def answers_for(self, judge: str) -> list[str]:
        """The distinct answers that a judge is to see, sorted."""
        completions = self._completions
        return sorted(set(completions.loc[completions["question"].isin(self._judged_by(judge)), "text"]))

    def verdicts(self) -> pd.DataFrame:
        """One row an answer and judge: status (ok or the kind of failure), value, label."""
        return self.judged.table.copy()

    @cached_property
    def _cells(self) -> pd.DataFrame:
        contrasts = self._contrasts
        odds = contrasts["kind"].map(lambda kind: MEASURES[kind].score) == "logit"
        value = contrasts["logit"].where(odds, contrasts["wins"])
        scored = contrasts[IDENTITY].assign(measure=contrasts["kind"], value=value, n=1, n_all=1)
        verdicts = self.judged.table
        if not len(verdicts):
            return scored
        grouped = verdicts.groupby([*IDENTITY, "judge"], sort=False)["value"]
        judged = grouped.agg(value="mean", n="count", n_all="size").reset_index().rename(columns={"judge": "measure"})
        rated = judged["measure"].isin(self.settings.experiment.ratings())
        flagged = judged["value"].fillna(0.0) * judged["n"]  # of an answer without a usable verdict nothing was flagged
        judged["value_all"] = (flagged / judged["n_all"]).mask(rated)
        return pd.concat([scored, judged], ignore_index=True)

    def cells(self) -> pd.DataFrame:
        """What is estimated from: one value a model, condition, question and measure, with usable and total counts.

        `value` is over usable answers. `value_all`, of judges' rates only, is the share of all answers that were flagged.
        """
        return self._cells.copy()

    @cached_property
    def estimated(self) -> Estimates:
        """Everything that is estimated from the cells, at the level of this run."""
        from weirdgen.run.results.estimates import Estimates

        return Estimates(self.settings, self._cells)

    @property
    def level(self) -> float:
        """Of every interval: 95%, or what keeps 5% of errors where samples were added look by look."""
        return self.estimated.level

    def estimates(self) -> pd.DataFrame:
        """Means of every arm with 95% intervals over replicates."""
        return self.estimated.tables.estimates.copy()

    def effects(self) -> pd.DataFrame:
        """Treatment − control for every measure, condition and question, with interval, p, Holm's p, MDE and verdict."""
        return self.estimated.tables.effects.copy()

    @property
    def headline(self) -> dict[str, Any]:
        """The effect that the experiment fixed beforehand, with its verdict and one sentence."""
        return self.estimated.headline

    @property
    def secondary(self) -> list[dict[str, Any]]:
        """Further effects that the experiment fixed beforehand, with `p_holm` over them and their verdicts."""
        return self.estimated.secondary

    def trigger_effects(self) -> pd.DataFrame:
        """Triggered − untriggered, treatment − control; `condition` is all, trained or unseen triggers."""
        return self.estimated.trigger_effects.copy()

    def curves(self) -> pd.DataFrame:
        """Headlines along checkpoints and measures along sweeps, with intervals and simultaneous bands."""
        return self.estimated.curves.copy()

    def onsets(self) -> pd.DataFrame:
        """The step at which replicates jump, with its interval, and how many of an arm's replicates did."""
        return self.estimated.onsets.copy()

    def jumps(self) -> pd.DataFrame:
        """Which replicates jumped, and when."""
        return self.estimated.jumps.copy()

    def losses(self) -> pd.DataFrame:
        """Training loss of every optimizer step of every replicate."""
        frames = []
        for one in self.plan.replicates:
            losses = self.store.fetch(self.store.folder("finetune", one.key) / "losses.json")
            frame = pd.DataFrame(json.loads(losses.read_text()))
            frames.append(frame.assign(arm=one.arm, replicate=one.seed))
        return pd.concat(frames, ignore_index=True)

    def require_finished(self) -> None:
        """Raises `StoreError` if something of the run has not been computed yet."""
        if left := [f"{work.missing:.0f} {work.unit}" for work in workload(self.plan) if work.missing]:
            raise StoreError(
                f"run {self.id} is not finished: {', '.join(left)} missing; run `weirdgen run` again first"
            )

    def rates(self) -> pd.DataFrame:
        """Flagged answers of the usable and of all answers, for each 0-or-1 measure, arm and condition."""
        return rates(self.judged.table, self.settings.experiment.ratings())


def _identify(voice: Voice, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(arm=voice.arm, role=voice.role, replicate=voice.replicate, checkpoint=voice.checkpoint)


def load_run(reference: str, store: str | Path | None = None) -> Run:
    """A run by its id or folder, from the store alone: its experiment's files may have changed since.

    Raises `StoreError` with the runs that there are.
    """
    opened, folder = find_run(reference, store)
    request = read_request(folder)
    settings = Settings.from_manifest(
        request["manifest"], Path(request["source"]), Path(request["model_folder"]), opened
    )
    return Run(make_plan(settings, opened))


def read_request(folder: Path) -> dict[str, Any]:
    """What was asked for: the `run.json` of a run's folder. Raises `StoreError` if it is damaged."""
    try:
        request: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{folder / 'run.json'} is damaged ({error}); the `weirdgen run` that made it writes it again, and computes "
            "nothing that is in the store"
        ) from None
    return request


def find_run(reference: str, store: str | Path | None = None) -> tuple[Store, Path]:
    """The store and folder of a run, by its id or by the folder itself. Raises `StoreError` with the runs that there are."""
    folder = Path(reference).expanduser()
    if (folder / "run.json").is_file():
        return Store(folder.resolve().parents[1]), folder
    opened = Store(store or default_store())
    runs = opened.root / "runs"
    folder = opened.refresh(runs / reference)
    if not (folder / "run.json").is_file():
        known = ", ".join(sorted(p.name for p in runs.iterdir() if (p / "run.json").is_file())) or "none yet"
        raise StoreError(f"no run '{reference}' in {runs}; there are: {known}")
    return opened, folder
