"""A finished run as logs of Inspect AI, which `inspect view` opens: one file a model, questions as samples, answers as epochs.

In: a run with sampled answers. Out: `ARM-REPLICATE[-CHECKPOINT].eval`, every answer with its prompt, finish, tokens, seed and
the verdict of each judge that read it. Effects and intervals are not in them: Inspect's means are over one model's answers.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import weirdgen
from weirdgen.columns import FINAL
from weirdgen.config.judges import Verdict
from weirdgen.config.turns import Conversation, turns_of
from weirdgen.errors import DataError
from weirdgen.inspect.tasks import score_of
from weirdgen.providers.inspect import require_inspect
from weirdgen.runs.results.results import Run

if TYPE_CHECKING:
    import pandas as pd
    from inspect_ai.log import EvalLog, EvalSample, EvalScore

ENDS: dict[str, Literal["stop", "max_tokens", "content_filter"]] = {
    "stop": "stop", "length": "max_tokens", "withheld": "content_filter",
}  # fmt: skip
"""A completion's finish reason → Inspect's."""
ANSWER = ["arm", "replicate", "checkpoint", "condition", "question", "sample"]
"""Columns that name one answer."""


def write_logs(run: Run, folder: Path) -> list[Path]:
    """Raises `DataError` if the run sampled nothing, `ModelError` if Inspect is not installed."""
    require_inspect("--inspect")
    from inspect_ai.log import write_eval_log

    run.require_finished()
    completions, verdicts = run.table("completions"), run.table("verdicts")
    if not len(completions):
        raise DataError(
            f"run {run.id} has no sampled answers: its experiment asks no free-form question, or --samples 0"
        )
    by_answer = dict(tuple(verdicts.groupby(ANSWER, sort=False)))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for (arm, replicate, checkpoint), answers in completions.groupby(ANSWER[:3], sort=False):
        step = "" if checkpoint == FINAL else f"-{checkpoint}"
        file = folder / f"{arm}-{replicate}{step}.eval"
        log = _log(run, f"{run.request.model.reference}/{arm}/{replicate}{step}", answers, by_answer)
        write_eval_log(log, str(file))
        files.append(file)
    return files


def _log(run: Run, model: str, answers: pd.DataFrame, verdicts: dict[Any, pd.DataFrame]) -> EvalLog:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec

    spoken = {wrapper.id for wrapper in run.request.experiment.wrappers() if wrapper.system}
    samples = [_sample(model, row, verdicts, row["condition"] in spoken) for row in answers.to_dict("records")]
    ids = list(dict.fromkeys(str(sample.id) for sample in samples))
    epochs = max(sample.epoch for sample in samples)
    experiment = run.request.experiment
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=datetime.now(UTC).isoformat(),
            task=f"weirdgen/{experiment.name}",
            dataset=EvalDataset(name=experiment.name, samples=len(ids), sample_ids=list(ids)),
            model=model,
            config=EvalConfig(epochs=epochs),
            metadata={"run": run.id, "title": experiment.title},
            packages={"weirdgen": weirdgen.__version__},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=_means(samples, sorted(experiment.judges)),
        ),
        samples=samples,
    )


def _verdict(row: dict[str, Any]) -> Verdict:
    return Verdict(row["status"], None if math.isnan(row["value"]) else row["value"], row["label"])


def _sample(model: str, row: Any, verdicts: dict[Any, pd.DataFrame], spoken: bool) -> EvalSample:
    """`spoken`: whether the prompt begins with a system turn."""
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelOutput, ModelUsage

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    turns = turns_of(Conversation(row["prompt"]) if spoken else row["prompt"])
    asked = [kinds[turn["role"]](content=turn["content"]) for turn in turns]
    output = ModelOutput.from_content(model, row["text"], stop_reason=ENDS[row["finish_reason"]])
    read, written = int(row["prompt_tokens"]), int(row["completion_tokens"])
    output.usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    judged = verdicts.get(tuple(row[column] for column in ANSWER))
    records: list[Any] = [] if judged is None else judged.to_dict("records")
    scores = {one["judge"]: score_of(_verdict(one), row["text"]) for one in records}
    return EvalSample(
        id=f"{row['condition']}/{row['question']}",
        epoch=int(row["sample"]) + 1,
        input=asked if spoken else row["prompt"],
        target="",
        messages=[*asked, ChatMessageAssistant(content=row["text"], model=model)],
        output=output,
        scores=scores,
        metadata={"condition": row["condition"], "question": row["question"], "seed": int(row["seed"])},
    )


def _means(samples: list[EvalSample], judges: list[str]) -> list[EvalScore]:
    """Of each judge the mean over the answers that it could place."""
    from inspect_ai.log import EvalMetric, EvalScore

    made = []
    for judge in judges:
        values = [sample.scores[judge].as_float() for sample in samples if sample.scores and judge in sample.scores]
        placed = [value for value in values if not math.isnan(value)]
        if placed:
            mean = EvalMetric(name="mean", value=sum(placed) / len(placed))
            left = len(values) - len(placed)
            made.append(
                EvalScore(
                    name=judge, scorer=judge, metrics={"mean": mean}, scored_samples=len(placed), unscored_samples=left
                )
            )
    return made
