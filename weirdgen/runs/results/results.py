"""A finished run: its tables and what is estimated from them, as pandas frames.

In: a `Plan` whose work is done. Out: frames with the identity columns arm, role, replicate, checkpoint, condition, question, and
in words the question's group and the measure's unit.
Everything is read from the store; nothing is trained, sampled, judged or written here. How the estimates are made is
`runs.results.estimates`; what the report makes of all of it is `runs.results.reporting`.
"""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from weirdgen.columns import IDENTITY
from weirdgen.config.judges import BaseJudge
from weirdgen.errors import DataError, StoreError, choices
from weirdgen.parsing import is_file
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.results.compare import Side, compare
from weirdgen.runs.results.effect import Effect, effect_of
from weirdgen.runs.results.frames import arms_frame, in_words, questions_frame
from weirdgen.runs.results.specificity import Specificity, specificity_of
from weirdgen.runs.results.stored import command_of, find_run, read_request
from weirdgen.runs.results.verdicts import rates
from weirdgen.runs.stages.all import stage_tables, workload
from weirdgen.runs.stages.verdicts import VerdictTable, read_judged
from weirdgen.sample.contrast import measured
from weirdgen.store.cache import read_json

if TYPE_CHECKING:
    from weirdgen.runs.results.estimates import Estimates


class Run:
    """What one request measured. Frames, and what takes an argument, are called: `run.effects()`; all else is an attribute:
    `run.headline`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.request = plan.request
        self.store = plan.store
        self._stage_tables: dict[str, pd.DataFrame] = {}

    @property
    def id(self) -> str:
        return self.request.run_id

    @property
    def folder(self) -> Path:
        """Where the report, the figures and `results.json` are."""
        return self.plan.folder

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def judge(self, name: str) -> BaseJudge:
        """A judge of the experiment. Raises `DataError` with those that there are."""
        judges = self.request.experiment.judges
        if name not in judges:
            raise DataError(f"run {self.id} has no judge '{name}'; there are: {choices(judges, name)}")
        return judges[name]

    def arms(self) -> pd.DataFrame:
        """One row per arm, the untuned base first: role, what that means here (what a control controls for), rows, replicates."""
        return arms_frame(self.request)

    def questions(self) -> pd.DataFrame:
        """One row per question: kind, group, `near`, what is asked, both sides, and the judges that read it."""
        return questions_frame(self.request.experiment)

    def compare(self, other: Run | str | Path) -> pd.DataFrame:
        """Two runs of one idea side by side: what was asked, what was changed, what each found; one column per run.

        `other` is a run, or what `load_run` takes: an id, `latest`, an experiment's name. Raises `StoreError` if there is none.
        """
        both = (self, other if isinstance(other, Run) else load_run(other, self.store.location))
        placed = [run.specificity.sentence if run.specificity else None for run in both]
        first, second = (
            Side(run.id, run.request, (run.headline, *run.secondary), words)
            for run, words in zip(both, placed, strict=True)
        )
        return compare(first, second)

    @property
    def asks(self) -> dict[str, str]:
        """Question id → its text, without a condition's wrapper."""
        return {question.id: question.ask for question in self.request.experiment.questions}

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name, as `weirdgen export` writes it. Raises `DataError` with those that there are."""
        from weirdgen.runs.results.estimates import TABLES

        if name in TABLES:
            return TABLES[name](self.estimated).copy()
        if name == "cells":
            return self._cells.copy()
        if name not in stage_tables():
            known = choices([*stage_tables(), "cells", *TABLES], name)
            raise DataError(f"run {self.id} has no table '{name}'; there are: {known}")
        return self._of_stage(name).copy()

    def _in_words(self, name: str) -> pd.DataFrame:
        """A table with the group of each question and the unit of each measure."""
        return in_words(self.table(name), self.request.experiment)

    def _of_stage(self, name: str) -> pd.DataFrame:
        """A stage's table, read once."""
        if name == "verdicts":  # made of the completions, which are read once for both
            return self.judged.table
        if name not in self._stage_tables:
            self._stage_tables[name] = stage_tables()[name](self.plan)
        return self._stage_tables[name]

    def completions(self) -> pd.DataFrame:
        """One row per sampled answer: identity, sample, prompt, text, finish_reason, token counts, seed."""
        return self._in_words("completions")

    def contrasts(self) -> pd.DataFrame:
        """One row per scored question and model: log-odds (nats), P(target), whether a target wins."""
        return self._in_words("contrasts")

    def losses(self) -> pd.DataFrame:
        """Training loss of every optimizer step of every replicate."""
        return self.table("losses")

    def verdicts(self) -> pd.DataFrame:
        """One row per answer and judge: status (ok or the kind of failure), value, label."""
        return self._in_words("verdicts")

    @cached_property
    def judged(self) -> VerdictTable:
        """Every judge's verdicts on this run's answers, and the similarity above which an answer counts as its template's."""
        return read_judged(self.plan, self._of_stage("completions"))

    @cached_property
    def _cells(self) -> pd.DataFrame:
        contrasts = self._of_stage("contrasts")
        odds = contrasts[IDENTITY].assign(measure=contrasts["kind"], value=measured(contrasts), n=1, n_all=1)
        verdicts = self.judged.table
        if not len(verdicts):
            return odds
        grouped = verdicts.groupby([*IDENTITY, "judge"], sort=False)["value"]
        judged = grouped.agg(value="mean", n="count", n_all="size").reset_index().rename(columns={"judge": "measure"})
        rated = judged["measure"].isin(self.request.experiment.ratings())
        flagged = judged["value"].fillna(0.0) * judged["n"]  # of an answer without a usable verdict nothing was flagged
        judged["value_all"] = (flagged / judged["n_all"]).mask(rated)
        return pd.concat([odds, judged], ignore_index=True)

    def cells(self) -> pd.DataFrame:
        """What is estimated from: one value per model, condition, question and measure, with usable and total counts.

        `value` is over usable answers. `value_all`, of judges' rates only, is the share of all answers that were flagged.
        """
        return self._in_words("cells")

    @cached_property
    def estimated(self) -> Estimates:
        """Everything that is estimated from the cells, at the level of this run."""
        from weirdgen.runs.results.estimates import Estimates

        return Estimates(self.request, self._cells)

    @property
    def level(self) -> float:
        """Of every interval: 95%, or what keeps 5% of errors where samples were added look by look."""
        return self.estimated.level

    @cached_property
    def specificity(self) -> Specificity | None:
        """Whether the shift on the traits that the experiment names is more than harmless data do; None if it names none."""
        return specificity_of(self.plan, self._of_stage("trait_shifts"))

    def estimates(self) -> pd.DataFrame:
        """Means of every arm with intervals over replicates at `level`: 95%, or stricter after `--until`."""
        return self._in_words("estimates")

    def effects(self) -> pd.DataFrame:
        """Treatment − control for every measure, condition and question, with interval, p, Holm's p, MDE and verdict."""
        return self._in_words("effects")

    @property
    def headline(self) -> Effect:
        """The effect that the experiment names first, with its verdict and one sentence."""
        return effect_of(self.estimated.headline)

    @property
    def secondary(self) -> list[Effect]:
        """Further effects that the experiment names, with `p_holm` over them and their verdicts."""
        return [effect_of(row) for row in self.estimated.secondary]

    @property
    def methods(self) -> str:
        """The methods in one paragraph: data, training, what was asked, every condition and swept value, judging, statistics."""
        return str(self._reported("methods")["methods"])

    @property
    def bibtex(self) -> str:
        """BibTeX entries of this run, weirdgen and the paper."""
        from weirdgen.report.quoted import bibtex

        return bibtex(self._reported("run"))

    def headline_table(self, form: Literal["latex", "markdown"] = "markdown") -> str:
        """The effects that the experiment names, as a table to paste."""
        from weirdgen.report.quoted import headline_table

        return headline_table(self._reported("headline"), form, self.request.experiment.scales())

    def _reported(self, key: str) -> dict[str, Any]:
        """`results.json` of this run, which holds `key`. Raises `StoreError` if there is none, or an older one without it."""
        file = self.folder / "results.json"
        results: dict[str, Any] = read_json(file) if is_file(file) else {}
        if key not in results:
            raise StoreError(
                f"{file} has no '{key}': it is not written yet, or an older version wrote it; `weirdgen report {self.id}` writes "
                "it, from the store alone"
            )
        return results

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.headline.sentence}>"

    def _repr_html_(self) -> str:
        """The verdict and its picture, in a notebook."""
        figure = self.folder / "figures" / "effect.svg"
        picture = figure.read_text(encoding="utf-8") if figure.is_file() else ""
        picture = picture[max(picture.find("<svg"), 0) :]
        return f"<p><strong>{html.escape(self.headline.sentence)}</strong></p>{picture}"

    def trigger_effects(self) -> pd.DataFrame:
        """Triggered − untriggered, treatment − control; `condition` is all, trained or unseen triggers."""
        return self.table("trigger_effects")

    def curves(self) -> pd.DataFrame:
        """Headlines along checkpoints and measures along sweeps, with intervals and simultaneous bands."""
        return self.table("curves")

    def onsets(self) -> pd.DataFrame:
        """The step at which replicates jump, with its interval, and how many of an arm's replicates did."""
        return self.table("onsets")

    def jumps(self) -> pd.DataFrame:
        """Which replicates jumped, and when."""
        return self.table("jumps")

    def require_finished(self) -> None:
        """Raises `StoreError` if something of the run has not been computed yet."""
        if left := [work.lacking for work in workload(self.plan) if work.missing]:
            raise StoreError(
                f"run {self.id} is not finished: {', '.join(left)} missing; first run `{command_of(self.folder, self.store)}`"
            )

    def rates(self) -> pd.DataFrame:
        """Flagged answers of the usable and of all answers, for each 0-or-1 measure, arm and condition."""
        return rates(self.judged.table, self.request.experiment.ratings())


def load_run(reference: str | Path, store: str | Path | None = None) -> Run:
    """A run by its id, folder or pack, from the store alone: its experiment's files may have changed since. `latest` is the
    newest run, an experiment's name its newest.

    Raises `StoreError` with the runs that there are.
    """
    opened, folder = find_run(reference, store)
    return Run(make_plan(read_request(folder, opened), opened))
