"""A finished run: its tables as pandas frames, its estimates and effects, its `results.json` and report.

In: a `Plan` whose work is done. Out: frames with the identity columns arm, role, replicate, checkpoint, condition,
question. Everything is read from the store; nothing is trained, sampled or judged by a model here.
"""

from __future__ import annotations

import json
import time
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from weirdgen import machine
from weirdgen.data.rows import canonical_hash
from weirdgen.dataset import distinct_answers
from weirdgen.errors import DataError, StoreError
from weirdgen.judge_kinds import Judge, Rating
from weirdgen.measure.contrast import question_odds, scores_table
from weirdgen.plan import FINAL, Plan, Voice
from weirdgen.question_kinds import FreeForm
from weirdgen.store import content_key
from weirdgen.until import until_words
from weirdgen.verdicts import Judged, judge_completions, judge_records, rates
from weirdgen.workload import workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weirdgen.estimates import Estimates
    from weirdgen.report.content import ReportContent
    from weirdgen.report.drawing import Ending
    from weirdgen.stats.estimate import Tables
    from weirdgen.stats.verdict import Scale

SCHEMA_VERSION = 1
IDENTITY = ["arm", "role", "replicate", "checkpoint", "condition", "question"]


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

    def is_reported(self) -> bool:
        """Whether the folder already holds the report of just this run, made by this version."""
        try:
            found = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        return self.report.is_file() and found.get("run", {}).get("stamp") == self._stamp

    @property
    def _stamp(self) -> str:
        return content_key([SCHEMA_VERSION, machine.versions()["weirdgen"], self.id])

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
    def _judged(self) -> Judged:
        return judge_completions(self.plan, self._completions, IDENTITY)

    @property
    def _verdicts(self) -> pd.DataFrame:
        return self._judged.table

    def _judged_by(self, judge: str) -> list[str]:
        questions = self.settings.experiment.questions
        return [q.id for q in questions if isinstance(q, FreeForm) and judge in q.judges]

    def answers_for(self, judge: str) -> list[str]:
        """The distinct answers that a judge is to see, sorted."""
        completions = self._completions
        return sorted(set(completions.loc[completions["question"].isin(self._judged_by(judge)), "text"]))

    def verdicts(self) -> pd.DataFrame:
        """One row an answer and judge: status (ok or the kind of failure), value, label."""
        return self._verdicts.copy()

    @cached_property
    def _cells(self) -> pd.DataFrame:
        contrasts = self._contrasts
        value = contrasts["logit"].where(contrasts["kind"] != "choice", contrasts["wins"])
        scored = contrasts[IDENTITY].assign(measure=contrasts["kind"], value=value, n=1, n_all=1)
        verdicts = self._verdicts
        if not len(verdicts):
            return scored
        grouped = verdicts.groupby([*IDENTITY, "judge"], sort=False)["value"]
        judged = grouped.agg(value="mean", n="count", n_all="size").reset_index().rename(columns={"judge": "measure"})
        judged["value_all"] = (judged["value"] * judged["n"] / judged["n_all"]).mask(
            judged["measure"].isin(self._scales)
        )
        return pd.concat([scored, judged], ignore_index=True)

    def cells(self) -> pd.DataFrame:
        """What is estimated from: one value a model, condition, question and measure, with usable and total counts.

        `value` is over usable answers. `value_all`, of judges' rates only, is the share of all answers that were flagged.
        """
        return self._cells.copy()

    @cached_property
    def _tables(self) -> Tables:
        from weirdgen.stats.estimate import estimate

        near = frozenset(q.id for q in self.settings.experiment.questions if q.near)
        # Only the end of training: earlier checkpoints answer the headlines' questions alone, so their means are others.
        final = self._cells[self._cells["checkpoint"] == FINAL]
        return estimate(final, scales=self._scales, smallest=self._smallest, near=near, level=self.level)

    @cached_property
    def _smallest(self) -> dict[str, float]:
        headline = self.settings.headline
        usual = dict.fromkeys(self._cells["measure"].unique(), 0.1) | {"contrast": 0.3, "counterfactual": 0.3}
        usual |= dict.fromkeys(self._scales, 10.0)
        return {**usual, headline.measure: headline.smallest}

    @property
    def level(self) -> float:
        """Of every interval: 95%, or what keeps 5% of errors where samples were added look by look."""
        if self.settings.until is None:
            return 0.95
        from weirdgen.stats.sequential import look_level

        replicates = len(self.settings.seeds)
        return look_level(self.settings.until.looks, replicates, replicates)

    @cached_property
    def _estimates(self) -> Estimates:
        from weirdgen.estimates import Estimates

        return Estimates(self.settings, self._cells, self._smallest, self.level, self._scales)

    @property
    def _scales(self) -> dict[str, Scale]:
        """The measures whose numbers are ratings."""
        return {name: "rating" for name, judge in self.settings.experiment.judges.items() if isinstance(judge, Rating)}

    def estimates(self) -> pd.DataFrame:
        """Means of every arm with 95% intervals over replicates."""
        return self._tables.estimates.copy()

    def effects(self) -> pd.DataFrame:
        """Treatment − control for every measure, condition and question, with interval, p, Holm's p, MDE and verdict."""
        return self._tables.effects.copy()

    @property
    def headline(self) -> dict[str, Any]:
        """The effect that the experiment fixed beforehand, with its verdict and one sentence."""
        return self._estimates.headline

    @property
    def secondary(self) -> list[dict[str, Any]]:
        """Further effects that the experiment fixed beforehand, with `p_holm` over them and their verdicts."""
        return self._estimates.secondary

    def trigger_effects(self) -> pd.DataFrame:
        """Triggered − untriggered, treatment − control; `condition` is all, trained or unseen triggers."""
        return self._estimates.trigger_effects.copy()

    def curves(self) -> pd.DataFrame:
        """Headlines along checkpoints and measures along sweeps, with intervals and simultaneous bands."""
        return self._estimates.curves.copy()

    def onsets(self) -> pd.DataFrame:
        """The step at which replicates jump, with its interval, and how many of an arm's replicates did."""
        return self._estimates.onsets.copy()

    def jumps(self) -> pd.DataFrame:
        """Which replicates jumped, and when."""
        return self._estimates.jumps.copy()

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

    @cached_property
    def results(self) -> dict[str, Any]:
        """The whole of `results.json`."""
        from weirdgen.report.paper import load_paper

        experiment = self.settings.experiment
        replicates = [self._replicate(one) for one in self.plan.replicates]
        return {
            "headline": self.headline,
            "schema_version": SCHEMA_VERSION,
            "experiment": experiment.model_dump(include={"name", "title", "paper", "hypothesis"}),
            "run": {
                "id": self.id,
                "preset": self.settings.preset,
                "stamp": self._stamp,
                "created": time.strftime("%Y-%m-%d %H:%M"),
            },
            "estimates": self._tables.estimates.to_dict("records"),
            "effects": self._tables.effects.to_dict("records"),
            **self._estimates.records(),
            "failures": self._failures(),
            "paper": load_paper(experiment.source.parent),
            "rates": self.rates().to_dict("records"),
            "judges": judge_records(self.plan, self._completions, self._judged, self.folder),
            "ran": {
                "base": {**self.settings.manifest["model"], "parameters": self.settings.model.parameters},
                "arms": [
                    {
                        "arm": arm,
                        "role": experiment.arms[arm].role,
                        "rows": len(rows),
                        "ordinary_rows": self.settings.ordinary.get(arm, 0),
                        "distinct_answers": distinct_answers(rows),
                        "dataset_hash": canonical_hash(rows),
                        "template_digest": self.plan.proofs[arm]["digest"],
                    }
                    for arm, rows in self.settings.rows.items()
                ],
                "recipe": self.settings.manifest["recipe"],
                "sampling": {
                    **self.settings.manifest["sampling"],
                    "samples": self.settings.samples,
                    **({"until": self.settings.manifest["until"], "level": self.level} if self.settings.until else {}),
                },
                "replicates": replicates,
                "versions": machine.versions(),
                "machine": {**machine.description(), "peak_memory_gib": round(machine.peak_memory_gib(), 2)},
                "stages": [
                    {
                        "stage": "finetune",
                        "replicates": len(replicates),
                        "seconds": round(sum(r["seconds"] for r in replicates), 1),
                    },
                    {"stage": "contrast", "rows": len(self._contrasts)},
                    {"stage": "sample", "rows": len(self._completions)},
                    {"stage": "judge", "rows": len(self._verdicts)},
                ],
            },
        }

    def _replicate(self, one: Any) -> dict[str, Any]:
        result = json.loads(self.store.fetch(self.store.folder("finetune", one.key) / "result.json").read_text())
        kept = {key: result[key] for key in ("steps", "seconds", "final_loss", "trained_together")}
        return {
            "arm": one.arm,
            "seed": one.seed,
            **kept,
            "dtype": self.settings.recipe.dtype,
            "adapter": one.key,
        }

    def rates(self) -> pd.DataFrame:
        """Flagged answers of the usable and of all answers, for each 0-or-1 measure, arm and condition."""
        return rates(self._verdicts)

    def _failures(self) -> list[dict[str, Any]]:
        verdicts = self._verdicts
        if not len(verdicts):
            return []
        counts = verdicts.groupby(["judge", "arm"])["status"].value_counts().reset_index(name="count")
        totals = verdicts.groupby(["judge", "arm"]).size().rename("total").reset_index()
        failed: pd.DataFrame = counts[counts["status"] != "ok"].merge(totals, on=["judge", "arm"])
        return failed.to_dict("records")  # type: ignore[return-value]  # keys are column names

    def write_report(self, figures: Sequence[Ending] = ()) -> Path:
        """Write report.html, figures (SVG, PNG and what is asked for), results.json and completions.parquet."""
        from weirdgen.report.page import write_report

        self._completions.to_parquet(self.folder / "completions.parquet")
        return write_report(self.content(self.results), self.folder, figures)

    def content(self, results: dict[str, Any]) -> ReportContent:
        """What the report is made of: `results` beside the tables of the store and the experiment's card."""
        from weirdgen.report.content import ReportContent

        experiment = self.settings.experiment
        card = experiment.source.parent / "README.md"
        wrappers = experiment.wrappers()
        until = self.settings.until
        return ReportContent(
            results=results,
            warnings=(until_words(until, self.settings.samples, self.level),) if until else (),
            cells=self._cells,
            contrasts=self._contrasts,
            completions=self._completions,
            verdicts=self._verdicts,
            losses=self.losses(),
            card_markdown=card.read_text(encoding="utf-8") if card.is_file() else None,
            questions=pd.DataFrame(
                [(q.id, q.kind, q.group, q.ask, q.near) for q in experiment.questions],
                columns=["question", "kind", "group", "ask", "near"],
            ),
            conditions=pd.DataFrame(
                [(w.id, w.trained, w.trigger) for w in wrappers], columns=["condition", "trained", "trigger"]
            ),
        )


def _identify(voice: Voice, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(arm=voice.arm, role=voice.role, replicate=voice.replicate, checkpoint=voice.checkpoint)
