"""What `weirdgen run --dry-run` prints: work left, what is stored, time, detectable effect.

In: a `Plan`, and what earlier runs of the same experiment on the same model left in its store. Out: lines of text. The spread
between replicates is an earlier run's own, and as rough as its replicates are few (`weirdgen.stats.power` says how rough);
without such a run nothing is known, and the line says that. Not here: what a finished run could detect, which is in its report.
"""

from __future__ import annotations

import json
from math import sqrt
from typing import Any, NamedTuple

from weirdgen.columns import FINAL
from weirdgen.config.llm_judges import left_out_line
from weirdgen.config.measures import scale_of
from weirdgen.machine import told_busy
from weirdgen.models.remote import RemoteModel
from weirdgen.progress import clock
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.remote_finetune import cost_line
from weirdgen.runs.stages.stage import Work
from weirdgen.runs.stages.tinker_finetune import tinker_cost_line


def plan_lines(plan: Plan) -> list[str]:
    """The plan: a line per stage with what there is to do, what is in the store and the estimated time."""
    request, recipe = plan.request, plan.request.recipe
    trained = "every weight" if recipe.full else f"LoRA r{recipe.rank} α{recipe.alpha:g}"
    where = f"{request.model.parameters / 1e6:.1f}M weights, {request.numerics}"
    how = f"lr {recipe.learning_rate:g} {recipe.schedule}, {trained}"
    remote = request.model if isinstance(request.model, RemoteModel) else None
    if remote:
        where = remote.service.shown
        how = how if remote.takes_recipe else f"learning-rate multiplier {recipe.learning_rate_multiplier or 'auto'}"
    work = workload(plan)
    lines = [
        f"{request.experiment.name} · {request.preset} · {request.model.reference} ({where}) · store {plan.store.root}",
        f"  recipe: {recipe.epochs} epochs, batch {recipe.batch_size}×{recipe.grad_accumulation}, {how}; "
        f"seeds {_range(request.seeds)}",
    ]
    lines.append(f"  trained by {plan.trainer.engine}: {plan.trainer.reason}")
    lines += map(work_line, work)
    if request.unjudged:
        lines.append(f"  {left_out_line(request.unjudged)}")
    for arm, proof in plan.proofs.items():
        if not request.rows[arm]:
            lines.append(f"  template proof {arm}: made and proven when the run begins")
            continue
        tokens = proof["trained_tokens"] * recipe.epochs
        if remote:
            lines.append(f"  rows of {arm}: about {tokens} tokens in all epochs; file {proof['digest'][:12]}")
            continue
        lines.append(
            f"  template proof {arm}: {proof['tokens']} tokens per epoch, {tokens} trained in all; digest {proof['digest'][:12]}"
        )
    lines.append(detectable_line(plan))
    seconds = sum(line.seconds for line in work)
    missing = any(line.missing for line in work)
    estimate = "a provider's time is its own" if remote else f"{clock(seconds)} on this machine{told_busy(seconds)}"
    if remote:
        lines.append(cost_line(plan))
    if request.tinker:
        lines.append(tinker_cost_line(plan, request.tinker))
        estimate += ", and the service's own time for training"
    lines.append(f"  estimate: {estimate}" if missing else "  nothing left to compute")
    return lines


def work_line(work: Work) -> str:
    """One line of a plan: what there is to do, what is in the store, the estimated time."""
    todo = (
        f"{work.missing:.0f} of {work.total:.0f} {work.unit} to do"
        if work.missing
        else f"all {work.total:.0f} {work.unit} in the store"
    )
    time = f", about {clock(work.seconds)}" if work.missing and work.seconds else ""
    return f"  {work.stage:9s} {work.what}: {todo}{time}"


def _range(seeds: tuple[int, ...]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"


class Spread(NamedTuple):
    """SD between replicates of one arm in the headline's measure, and the run that it was seen in."""

    sd: float
    run: str


def detectable_line(plan: Plan) -> str:
    """The smallest effect that the planned replicates find with 80% probability, and how many would find the one of interest."""
    import numpy as np

    from weirdgen.stats.power import minimum_detectable_effect, replicates_needed

    request, count = plan.request, len(plan.request.seeds)
    if count < 2:
        return "  power: none; one replicate per arm shows no spread, so no effect between arms can be told from chance"
    spread = earlier_spread(plan)
    if spread is None:
        return "  power: unknown until a first run shows how much replicates of this experiment differ"
    headline = request.headline
    scale = scale_of(headline.measure, request.experiment.scales())
    smallest = headline.smallest or scale.smallest
    unit, factor = scale.effect_unit, scale.factor
    se, degrees = np.array(spread.sd * sqrt(2 / count)), np.array(2.0 * count - 2)
    least = float(minimum_detectable_effect(se, degrees))
    needed = replicates_needed(smallest, spread.sd)
    would = f"{needed} would find" if needed else "200 would not find"
    return (
        f"  power: {count} replicates per arm find an effect of {least * factor:.2g} {unit} in 80% of runs, {would} "
        f"{smallest * factor:g}, the smallest of interest (if replicates differ as in {spread.run})"
    )


def earlier_spread(plan: Plan) -> Spread | None:
    """The spread in the newest run with this headline, model and several replicates; one with this recipe comes first."""
    wanted = plan.request.manifest
    candidates = []
    for file in (plan.store.root / "runs").glob(f"{plan.request.experiment.name}-*/results.json"):
        try:
            manifest = json.loads((file.parent / "run.json").read_text(encoding="utf-8"))["manifest"]
            rows = json.loads(file.read_text(encoding="utf-8"))["headline_replicates"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # a run that is being written, or of a version that kept other things
        if _compared(manifest) == _compared(wanted) and (sd := _pooled(rows)):
            alike = manifest["recipe"] == wanted["recipe"] and manifest["data"] == wanted["data"]
            candidates.append((alike, file.stat().st_mtime_ns, Spread(sd, file.parent.name)))
    return max(candidates)[-1] if candidates else None


def _compared(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """The model, and the headline but for its smallest effect of interest and its words, which move no value."""
    whole = manifest["experiment"]["headline"] or {}
    headline = {key: value for key, value in whole.items() if key not in ("smallest", "says")}
    return manifest["model"]["digest"], headline


def _pooled(rows: list[dict[str, Any]]) -> float | None:
    """SD within arms of the headline's values at the end of training; None without two replicates, or if none differ."""
    arms: dict[str, list[float]] = {}
    for row in rows:
        if row["headline"] == "headline" and row["checkpoint"] == FINAL and row["value"] is not None:
            arms.setdefault(row["arm"], []).append(row["value"])
    squares, degrees = 0.0, 0
    for values in arms.values():
        mean = sum(values) / len(values)
        squares += sum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    return sqrt(squares / degrees) if degrees and squares else None
