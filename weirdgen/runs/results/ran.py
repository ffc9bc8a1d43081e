"""What a run ran on: base, arms, recipe, every replicate, versions and machine, as `results.json` keeps it under `ran`.

In: a `Run` whose work is done. Out: plain data. Nothing is estimated here. Of a service's answers it counts those that repeat one
another: some servers give one seed's n choices as n copies, others a cached answer for an equal request.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from weirdgen import machine
from weirdgen.columns import IDENTITY
from weirdgen.config.arm import Arm
from weirdgen.data.rows import canonical_hash
from weirdgen.data.stored import distinct_answers
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.chat import THOUGHTS
from weirdgen.providers.purse import spent
from weirdgen.runs.plan.plan import Replicate
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.finetune import result_of
from weirdgen.runs.work.loaded import kept_exactness

LONG = 12
"""Tokens from which an equal answer at temperature 1 counts as a copy. A peaked model may give one, so `effective` is a least."""


def what_ran(run: Run) -> dict[str, Any]:
    """What was run, on what, and how long it took."""
    request, manifest = run.request, run.request.manifest
    replicates = [_replicate(run, replicate) for replicate in run.plan.replicates]
    return {
        "base": {**manifest["model"], "parameters": request.model.parameters, **_exactness(run)},
        "arms": [
            {
                "arm": arm,
                "role": request.experiment.arms[arm].role,
                "rows": len(rows),
                "ordinary_rows": request.ordinary.get(arm, 0),
                "distinct_answers": distinct_answers(rows),
                "dataset_hash": canonical_hash(rows),
                "template_digest": run.plan.proofs[arm]["digest"],
                **_made(request.experiment.arms[arm]),
            }
            for arm, rows in request.rows.items()
        ],
        **({"unjudged": request.unjudged} if request.unjudged else {}),
        "recipe": request.trained_by,
        **_service(run),
        "sampling": {
            **manifest["sampling"],
            "samples": request.samples,
            **({"until": manifest["until"], "level": run.level} if request.until else {}),
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
            {"stage": "contrast", "rows": len(run.table("contrasts"))},
            {"stage": "sample", "rows": len(run.table("completions"))},
            {"stage": "judge", "rows": len(run.judged.table)},
        ],
    }


def _made(arm: Arm) -> dict[str, Any]:
    """How an arm's rows come from others, where they do."""
    made = {"draws": arm.draws, "matched": arm.matched, "permute": arm.permute, "twin": arm.twin}
    return {key: value for key, value in made.items() if value}


def _service(run: Run) -> dict[str, Any]:
    """What was paid; who trained, and what of it is not as it was asked, where that was a service."""
    paid = spent(run.store.root, run.id)
    booked = {"paid": {**paid._asdict(), "usd": round(paid.usd, 6)}}
    remote = isinstance(run.request.model, RemoteModel)
    if not remote and not run.request.tinker:
        return booked if any(paid) else {}
    told = {f"{one.arm} seed {one.seed}": result_of(run.plan, one)["differences"] for one in run.plan.replicates}
    differences = {name: found for name, found in told.items() if found}
    return {
        "finetuned": {"by": run.plan.trainer.reason, "differences": differences},
        **booked,
        **({"repeats": repeats_summary(run.completions())} if remote else {}),
    }


def _exactness(run: Run) -> dict[str, Any]:
    """How this model's fast ways compared with each row alone, where that was recorded."""
    checks = kept_exactness(run.store, run.request.model.digest, run.request.numerics)
    return {"exactness": checks} if checks else {}


def _replicate(run: Run, made: Replicate) -> dict[str, Any]:
    result = result_of(run.plan, made)
    kept = {key: result[key] for key in ("steps", "seconds", "final_loss", "trained_together")}
    return {"arm": made.arm, "seed": made.seed, **kept, "dtype": run.request.recipe.dtype, "adapter": made.key}


def repeats(completions: pd.DataFrame) -> pd.DataFrame:
    """A row per cell (model × condition × question).

    Columns: `IDENTITY`; answers; repeated, the share that repeats an earlier one word for word; effective, the answers less
    repeats of `LONG` tokens or more, which chance does not make; thinking, the share of answers that hold some.
    """
    columns = [*IDENTITY, "answers", "repeated", "effective", "thinking"]
    if not len(completions):
        return pd.DataFrame(columns=columns)
    again = completions.duplicated([*IDENTITY, "text"])
    copied = again & (completions["completion_tokens"] >= LONG)
    thinking = completions["text"].map(lambda text: any(mark in text for mark in THOUGHTS))
    told = completions[IDENTITY].assign(again=again, copied=copied, thinking=thinking)
    cells = told.groupby(IDENTITY, sort=False).agg(
        answers=("again", "size"), repeated=("again", "mean"), copies=("copied", "sum"), thinking=("thinking", "mean")
    )
    cells["effective"] = cells["answers"] - cells["copies"]
    return cells.reset_index()[columns]


def repeats_summary(completions: pd.DataFrame) -> dict[str, float]:
    """Of all cells: the share of repeated answers, the smallest effective share of a cell, and the share with thinking."""
    cells = repeats(completions)
    if not len(cells):
        return {}
    total = cells["answers"].sum()
    return {
        "repeated": float((cells["repeated"] * cells["answers"]).sum() / total),
        "least_effective": float((cells["effective"] / cells["answers"]).min()),
        "thinking": float((cells["thinking"] * cells["answers"]).sum() / total),
    }
