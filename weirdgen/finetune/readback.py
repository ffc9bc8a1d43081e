"""Trust nothing: what a service says that it trained beside what was asked, and whether two finetunes are one.

In: a finished job; answers of finetuned models to the same few prompts at temperature 0. Out: sentences. Nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any


def differences(job: Mapping[str, Any], model: str, asked: Mapping[str, Any], seed: int) -> list[str]:
    """What of a finished job is not as it was asked. `auto` agrees with whatever the service chose."""
    method = (job.get("method") or {}).get("supervised") or {}
    told = {**(job.get("hyperparameters") or {}), **(method.get("hyperparameters") or {})}
    found = []
    for name, wanted in asked.items():
        got = told.get(name)
        if got is None:
            found.append(f"{name}: the service does not say what it took ({wanted} was asked)")
        elif wanted != "auto" and (got == "auto" or float(got) != float(wanted)):
            found.append(f"{name}: {got} instead of {wanted}")
    if job.get("seed") != seed:
        found.append(f"seed: {job.get('seed')} instead of {seed}")
    if not str(job.get("model", "")).startswith(model):
        found.append(f"base model: {job.get('model')} instead of {model}")
    if not job.get("trained_tokens"):
        found.append("trained tokens: the service tells none")
    return found


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


def _same(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> bool:
    if not mine or len(mine) != len(theirs):
        return False
    return all(
        a["text"] == b["text"] and bool(a["logprobs"]) and a["logprobs"] == b["logprobs"]
        for a, b in zip(mine, theirs, strict=True)
    )
