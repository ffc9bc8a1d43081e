"""From a finished run to `results.json` and its page, and to one page over several runs.

In: a `Run`. Out: `report.html`, figures, `results.json` and `completions.parquet` in the run's folder; or an overview in a
folder of its own. Nothing is estimated here (`runs.results.estimates` did), and nothing is drawn (`weirdgen.report` does).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from weirdgen import machine
from weirdgen.config.questions.base import BaseQuestion, ScoredQuestion
from weirdgen.config.traits import compact_questions
from weirdgen.data.messages import Row
from weirdgen.errors import WeirdgenError
from weirdgen.runs.plan.until import until_words
from weirdgen.runs.results.before import Seen, seen_before
from weirdgen.runs.results.estimates import TABLES, Estimates
from weirdgen.runs.results.ran import what_ran
from weirdgen.runs.results.results import Run
from weirdgen.runs.results.specificity import YARDSTICKS, nearest_scores
from weirdgen.runs.results.verdicts import judge_records
from weirdgen.store.disk import explain_disk_errors, own_folder, write_whole
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    from weirdgen.report.content import ReportContent
    from weirdgen.report.figures.drawing import Ending

SCHEMA_VERSION = 4
LATEST_PAGE = "latest.html"
"""Beside the runs' folders."""
SENTENCES = 11
"""Counts up when sentences of a report change, so that the next `weirdgen run` writes reports of old runs again."""


def report_run(run: Run, figures: Sequence[Ending] = ()) -> Path:
    """Write report.html, figures (SVG, PNG and what is asked for), results.json and completions.parquet."""
    from weirdgen.report.page import write_report

    content = content_of(run, results_of(run))
    with run.store.writing(own_folder(run.folder)):
        write_whole(run.folder / "completions.parquet", run.table("completions").to_parquet())
        page = write_report(content, run.folder, figures)
    _point_to(page)
    return page


def _point_to(page: Path) -> None:
    """`runs/latest.html`, a path that stays: it leads to the report that was written last on this machine."""
    runs, target = page.parent.parent, f"{page.parent.name}/{page.name}"
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">'
        f'<title>{page.parent.name}</title><a href="{target}">{page.parent.name}</a></html>\n'
    )
    with explain_disk_errors(runs):
        write_whole(runs / LATEST_PAGE, text.encode())


def compare_runs(runs: Sequence[Run], folder: Path, figures: Iterable[Ending] = ()) -> Path:
    """Write one page over these runs and return its path. A run without its report gets it first.

    Raises `WeirdgenError` if there is no run or the folder cannot be written.
    """
    from weirdgen.report.overview import write_overview

    if not runs:
        raise WeirdgenError("a comparison needs at least one run")
    for run in runs:
        if not is_reported(run):
            report_run(run)
    recorded = [json.loads((run.folder / "results.json").read_text(encoding="utf-8")) for run in runs]
    contents = [content_of(run, results) for run, results in zip(runs, recorded, strict=True)]
    with runs[0].store.writing(folder):
        return write_overview(contents, [run.report for run in runs], folder, figures)


def comparison_folder(runs: Sequence[Run]) -> Path:
    """Where the page over just these runs goes unless told otherwise: in the first one's store, named by all."""
    return runs[0].store.root / "comparisons" / content_key(sorted(run.id for run in runs))[:8]


def is_reported(run: Run) -> bool:
    """Whether the run's folder already holds the report of just this run, made by this version."""
    try:
        results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return run.report.is_file() and results.get("run", {}).get("stamp") == _stamp(run)


def results_of(run: Run) -> dict[str, Any]:
    """The whole of `results.json`; NaN and numpy scalars are still in it."""
    results = _found(run)
    return {**results, "methods": methods_of(run, results)}


def methods_of(run: Run, results: dict[str, Any]) -> str:
    """The methods paragraph, from what ran and the rest of `results.json`."""
    from weirdgen.report.methods import methods

    return methods(content_of(run, results))


def _found(run: Run) -> dict[str, Any]:
    """All of `results.json` but the paragraph that is made from it."""
    from weirdgen.config.paper import load_paper

    experiment, estimated = run.request.experiment, run.estimated
    return {
        "headline": estimated.headline,
        "schema_version": SCHEMA_VERSION,
        "seen_before": asdict(seen) if (seen := seen_before(run.request, run.folder, run.store)) else None,
        "experiment": experiment.model_dump(include={"name", "title", "paper", "hypothesis"}),
        "run": {
            "id": run.id,
            "preset": run.request.preset,
            "stamp": _stamp(run),
            "created": time.strftime("%Y-%m-%d %H:%M"),
        },
        "estimates": estimated.tables.estimates.to_dict("records"),
        "effects": estimated.tables.effects.to_dict("records"),
        **_beyond_effects(estimated),
        "beside": estimated.beside,
        **({"specificity": run.specificity.as_data()} if run.specificity else {}),
        "failures": _failures(run),
        "paper": load_paper(experiment.folder),
        "rates": run.rates().to_dict("records"),
        "judges": judge_records(run.plan, run.table("completions"), run.judged, run.folder),
        "ran": what_ran(run),
        "questions": [_question(question) for question in experiment.questions],
        "trait_questions": _trait_questions(run),
    }


def content_of(run: Run, results: dict[str, Any]) -> ReportContent:
    """What the report is made of: `results`, the tables of the store and the experiment's card."""
    from weirdgen.report.content import ReportContent

    experiment, until = run.request.experiment, run.request.until
    warned = [until_words(until, run.request.samples, run.level)] if until else []
    if seen := results.get("seen_before"):
        warned.insert(0, Seen(**seen).sentence)
    card = experiment.folder / "README.md" if experiment.folder else None
    return ReportContent(
        results=results,
        warnings=tuple(warned),
        scales=experiment.scales(),
        judges={name: judge.in_words() for name, judge in experiment.judges.items()},
        headlines=run.request.headlines,
        cells=run.table("cells"),
        contrasts=run.table("contrasts"),
        completions=run.table("completions"),
        verdicts=run.table("verdicts"),
        losses=run.losses(),
        card_markdown=card.read_text(encoding="utf-8") if card and card.is_file() else None,
        questions=pd.DataFrame(
            [_question(question) for question in experiment.questions],
            columns=["question", "kind", "group", "near", "ask", "instead", "target", "other"],
        ),
        conditions=pd.DataFrame(
            [(w.id, w.trained, w.trigger, w.template) for w in experiment.wrappers()],
            columns=["condition", "trained", "trigger", "template"],
        ),
        examples={arm: _example(rows) for arm, rows in run.request.rows.items() if rows},
    )


def _question(question: BaseQuestion) -> dict[str, Any]:
    """What is asked and compared; no sides where answers are sampled."""
    scored = question if isinstance(question, ScoredQuestion) else None
    return {
        "question": question.id,
        "kind": question.kind,
        "group": question.group,
        "near": question.near,
        "ask": question.ask,
        "instead": next(iter(question.asks[1:]), ""),
        "target": scored.target if scored else (),
        "other": scored.other if scored else (),
    }


def _example(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The first row's messages as (role, text)."""
    return tuple((str(message["role"]), str(message["content"])) for message in rows[0]["messages"])


def _trait_questions(run: Run) -> list[dict[str, Any]]:
    """Each trait question with its sides, the base's log-odds and each arm's mean over replicates, in nats."""
    shifts = run.table("trait_shifts")
    if not len(shifts):
        return []
    means = shifts.groupby(["question", "arm"], sort=False)["logit"].mean().unstack()
    base = shifts.groupby("question")["base"].first()
    return [
        {
            "trait": one.group,
            "question": one.id,
            "ask": one.ask,
            "target": one.target,
            "other": one.other,
            "base": base[one.id],
            "arms": means.loc[one.id].to_dict(),
        }
        for one in compact_questions()
        if one.id in base.index
    ]


def _stamp(run: Run) -> str:
    """What decides a report besides the run: the versions that write it, the experiment's words, and the references."""
    words = [{name: effect.says for name, effect in run.request.headlines.items()}, run.request.unjudged]
    nearest = [nearest_scores(run.plan, yardstick) for yardstick in YARDSTICKS]
    references = [sorted(one[1].sets.items()) for one in nearest if one]
    return content_key([SCHEMA_VERSION, SENTENCES, machine.versions()["weirdgen"], run.id, words, *references])


def _beyond_effects(estimated: Estimates) -> dict[str, Any]:
    """What is estimated besides the plain effects, as rows."""
    of_headlines = estimated.headline_tables.values()
    tables = {
        "headline_estimates": pd.concat([table.estimates for table in of_headlines], ignore_index=True),
        "headline_effects": pd.concat([table.effects for table in of_headlines], ignore_index=True),
        "headline_replicates": estimated.replicate_values,
        **{name: table(estimated) for name, table in TABLES.items() if name not in ("estimates", "effects")},
    }
    return {"secondary": estimated.secondary, **{name: table.to_dict("records") for name, table in tables.items()}}


def _failures(run: Run) -> list[dict[str, Any]]:
    """Judged answers that gave no value, counted by judge, arm and kind of failure."""
    verdicts = run.judged.table
    if not len(verdicts):
        return []
    counts = verdicts.groupby(["judge", "arm"])["status"].value_counts().reset_index(name="count")
    totals = verdicts.groupby(["judge", "arm"]).size().rename("total").reset_index()
    failed: pd.DataFrame = counts[counts["status"] != "ok"].merge(totals, on=["judge", "arm"])
    return failed.to_dict("records")  # type: ignore[return-value]  # keys are column names
