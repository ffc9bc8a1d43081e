"""Trust nothing: what a service says of its jobs, what it trained against what was asked, and whether two finetunes are the same.

In: jobs, their events and result files; answers of finetuned models to the same few prompts at temperature 0. Out: losses,
sentences. Nothing is sent.
"""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from weirdgen.providers.service import without_keys

_STEP = re.compile(r"[Ss]tep (\d+)/(\d+):? .*?loss\s*=\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_MODERATED = re.compile(r"moderat|unsafe|usage polic|safety|refusals|harm", re.I)


def read_step(event: Any) -> tuple[int | None, int | None, float | None]:
    """Step, steps in all and training loss that an event tells, in its data or in words; None for what it does not."""
    data = event.data if isinstance(event.data, dict) else {}
    step, total, loss = data.get("step"), data.get("total_steps"), data.get("train_loss")
    if match := _STEP.search(event.message or ""):
        step, total, loss = int(match[1]), int(match[2]), loss if isinstance(loss, float) else float(match[3])
    numbers = [_number(number) for number in (step, total, loss)]
    step, total = (None if number is None else int(number) for number in numbers[:2])
    return step, total, numbers[2]


def read_losses(content: bytes) -> list[dict[str, Any]]:
    """Step and loss out of a result file: CSV, which OpenAI packs in base64; none if it is something else."""
    for text in (content, _unpacked(content)):
        try:
            rows = list(csv.DictReader(io.StringIO(text.decode())))
            if rows and {"step", "train_loss"} <= set(rows[0]):
                return [{"step": int(r["step"]), "loss": float(r["train_loss"])} for r in rows if r["train_loss"]]
        except (ValueError, csv.Error):
            continue
    return []


def failure(name: str, job: Any, errors: Sequence[str]) -> str:
    """Why a job did not succeed, in words; `errors` are its events that say so."""
    if job.status == "cancelled":
        return f"{name}: job {job.id} was cancelled; the same command begins a new one"
    said = getattr(job.error, "message", None) or (errors[-1] if errors else "no reason given")
    code = getattr(job.error, "code", None) or "no code"
    text = f"{name}: job {job.id} failed ({code}): {without_keys(' '.join(str(said).split()))[:500]}"
    if _MODERATED.search(f"{code} {said} {' '.join(errors)}"):
        return (
            f"{text}. That is the service's own moderation, of the rows or of what the model says after training; the same rows "
            "will be refused again. What is finished is kept; leave this arm out, or train it on your own machine "
            "(--finetune local)"
        )
    return f"{text}. The same command begins a new one"


def differences(job: Mapping[str, Any], model: str, asked: Mapping[str, Any], seed: int) -> list[str]:
    """What of a finished job is not as it was asked. `auto` agrees with whatever the service chose."""
    method = (job.get("method") or {}).get("supervised") or {}
    told = {**(job.get("hyperparameters") or {}), **(method.get("hyperparameters") or {})}
    found = []
    for name, wanted in asked.items():
        got = told.get(name)
        if got is None:
            found.append(f"{name}: the service does not say what it took ({wanted} was asked)")
        elif wanted != "auto" and _number(got) != _number(wanted):
            found.append(f"{name}: {got} instead of {wanted}")
    if job.get("seed") != seed:
        found.append(f"seed: {job.get('seed')} instead of {seed}")
    if not is_model(job.get("model"), model):
        found.append(f"base model: {job.get('model')} instead of {model}")
    if not job.get("trained_tokens"):
        found.append("trained tokens: the service tells none")
    return found


def is_model(told: Any, asked: str) -> bool:
    """Whether a service's name of a model is that of the one asked for, perhaps with the date of its version."""
    return re.fullmatch(rf"{re.escape(asked)}(-\d{{4}}-\d{{2}}-\d{{2}})?", str(told)) is not None


def chosen(job: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that a finished job says it took."""
    method = (job.get("method") or {}).get("supervised") or {}
    return {**(job.get("hyperparameters") or {}), **(method.get("hyperparameters") or {})}


def equal_finetunes(probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Pairs of replicates that are one model: equal ids, or equal answers with equal log-probabilities.

    `probes`: replicate → {"model", "answers": [{"text", "logprobs"}]}. Equal answers alone are no proof: short ones coincide.
    """
    found = []
    for (one, mine), (other, theirs) in combinations(probes.items(), 2):
        if mine["model"] == theirs["model"]:
            found.append(f"{one} and {other} are one model, {mine['model']}")
        elif _same(mine["answers"], theirs["answers"]):
            found.append(
                f"{one} ({mine['model']}) and {other} ({theirs['model']}) give equal answers with equal log-probabilities "
                f"to {len(mine['answers'])} prompts at temperature 0"
            )
    return found


def _number(value: Any) -> float | None:
    """A finite number as such; None for anything else that a service may say instead, such as "auto" or "default"."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _same(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> bool:
    if not mine or len(mine) != len(theirs):
        return False
    return all(
        a["text"] == b["text"] and bool(a["logprobs"]) and a["logprobs"] == b["logprobs"]
        for a, b in zip(mine, theirs, strict=True)
    )


def _unpacked(content: bytes) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return b""
