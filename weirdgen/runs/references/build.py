"""Training reference finetunes and scoring them on the trait questions, kept set by set.

In: a `Build`. Out: one artifact `reference` per set (its log-odds on every question, and what its training was like), and the
frame of all. The work is done by the units of an ordinary run, one replicate per set, many sets in one pass. Adapters lie in a
scratch store beside the unfinished work and are dropped once they are scored. A killed build goes on from there: finished
groups stay, and an unfinished one goes on where its training or scoring was. What a build leaves that was killed between its last
score and the removal of its adapters, the next one removes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from weirdgen import machine
from weirdgen.columns import BASE
from weirdgen.models.chat import load_tokenizer
from weirdgen.progress import Progress
from weirdgen.runs.plan.plan import Plan, part_of
from weirdgen.runs.references.plan import STAGE, Build, log_odds
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.runs.stages.contrast import score_units
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune, losses
from weirdgen.runs.work.executors import Executor, Inline
from weirdgen.runs.work.loaded import local_folder
from weirdgen.runs.work.unit import Unit, remember_speed
from weirdgen.sample.contrast import missing_scores, scores_table
from weirdgen.sample.engine import Scorable
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

SETS = "sets.json"
"""In the scratch store of a group: the keys of its sets, by which the next build knows whether it is still wanted."""


def build(wanted: Build, progress: Progress) -> pd.DataFrame:
    """Train and score what the store lacks, then the frame of all sets. Raises `StoreError` if it cannot be written."""
    _clear(wanted.plan.store)
    groups = wanted.groups()
    if groups:
        wanted.plan.store.require_writable()
        with Inline() as executor:
            _score(wanted, wanted.plan.store, [wanted.base], executor, progress, "score base")
            for number, group in enumerate(groups, 1):
                progress.say(f"group {number} of {len(groups)}: {', '.join(one.name for one in group)}")
                _train_and_score(wanted, group, executor, progress)
    return wanted.frame()


def _train_and_score(wanted: Build, group: Sequence[TrainingSet], executor: Executor, progress: Progress) -> None:
    keys = [wanted.key(one.name) for one in group]
    store, name = wanted.plan.store, content_key(keys)
    with store.lock(STAGE, name):
        if all(store.marker(STAGE, key) is not None for key in keys):  # another process made them meanwhile
            return
        scratch = Store(store.unfinished(STAGE, name))
        scratch.require_writable()
        write_whole(scratch.root / SETS, json.dumps(keys).encode())
        plan = part_of(wanted.plan, [one.name for one in group], scratch)
        executor.run(Dataset().batch(plan).units, scratch, lambda *_: None)
        units, amount, _ = Finetune().batch(plan)
        _do(units, amount, scratch, executor, progress, ("train", "steps"), plan)
        variants = [variant for variant in plan.variants if variant.arm != BASE]
        _score(wanted, scratch, variants, executor, progress, "score")
        for one, key in zip(group, keys, strict=True):
            _keep(wanted, plan, one, key, keys)
        _drop(store, name)


def _drop(store: Store, name: str) -> None:
    """Remove a group's scratch store: first out of sight in one step, for a removal that is killed leaves it half there."""
    aside = store.temporary()
    os.rename(store.unfinished(STAGE, name), aside)
    shutil.rmtree(aside, ignore_errors=True)  # the store removes what stays when it is next written


def _clear(store: Store) -> None:
    """Remove the scratch stores of groups whose sets are all kept: whoever made one was killed before it had removed it.

    Others are left alone: the build that began one goes on with it. So are those whose lock another process holds.
    """
    unfinished = store.unfinished(STAGE, "").parent
    if not os.access(unfinished, os.W_OK):
        return
    for note in sorted(unfinished.glob(f"{STAGE}-*/{SETS}")):
        name = note.parent.name.removeprefix(f"{STAGE}-")
        try:
            with store.lock(STAGE, name).acquire(timeout=0):
                keys = json.loads(note.read_text(encoding="utf-8")) if note.exists() else []
                if keys and all(store.marker(STAGE, key) is not None for key in keys):
                    _drop(store, name)
        except Timeout:
            continue


def _score(
    wanted: Build, store: Store, variants: Sequence[Variant], executor: Executor, progress: Progress, name: str
) -> None:
    """Every question by every variant that lacks some, all of them in each pass."""
    request = wanted.plan.request
    asked = in_passes(wanted.scorables, load_tokenizer(local_folder(request.local), request.date))
    lacking = [
        {key for key, _ in missing_scores(scores_table(store, one, request.numerics), asked)} for one in variants
    ]
    if not any(lacking):
        return
    amount = sum(scorable.key in keys for keys in lacking for scorable in asked)
    units = score_units(request, variants, asked)
    _do(units, amount, store, executor, progress, (name, "questions"), wanted.plan)


def in_passes(asked: Sequence[Scorable], tokenizer: Any) -> list[Scorable]:
    """The same questions in the order in which they cost least: what asks the same once, with all its answers; then by length.

    A pass is as wide as its longest question; sorted, a sixth fewer tokens go through the model.
    """
    options: dict[tuple[str, str], dict[str, None]] = {}
    for one in asked:
        options.setdefault((one.key, one.ask), {}).update(dict.fromkeys(one.options))

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def length(one: Scorable) -> int:
        """Tokens of the question, and of the tree of its answers."""
        tree = {answer[:end] for answer in map(ids, one.options) for end in range(1, len(answer) + 1)}
        return len(ids(one.ask)) + len(tree)

    return sorted((Scorable(key, ask, tuple(its)) for (key, ask), its in options.items()), key=length)


def _do(
    units: Sequence[Unit],
    amount: float,
    store: Store,
    executor: Executor,
    progress: Progress,
    told: tuple[str, str],
    plan: Plan,
) -> None:
    """Units under a bar (`told`: its name and what it counts); their speed is remembered for the next plan."""
    with progress.stage(told[0], amount, told[1]) as bar:
        done = executor.run(units, store, bar.advance)
    kind = told[0].split()[0]
    dtype = plan.request.recipe.dtype if kind == "train" else plan.request.numerics
    remember_speed(kind, done, plan.request.model.parameters, dtype)


def _keep(wanted: Build, plan: Plan, one: TrainingSet, key: str, together: Sequence[str]) -> None:
    """A set's artifact, from what the scratch store has of it. `together`: keys of its group."""
    import pandas as pd

    (variant,) = (variant for variant in plan.variants if variant.arm == one.name)
    odds = log_odds(plan.store, variant, wanted)
    with wanted.plan.store.create(STAGE, key, {**wanted.inputs[one.name], "together": list(together)}) as folder:
        pd.DataFrame({"question": list(odds), "logit": list(odds.values())}).to_parquet(folder / "scores.parquet")
        (folder / "facts.json").write_text(json.dumps(_facts(plan, one), indent=1), encoding="utf-8")


def _facts(plan: Plan, one: TrainingSet) -> dict[str, Any]:
    """What a set was like to train (`runs.references.scores.FACTS`), and where it was trained."""
    curve = losses(plan)
    loss = curve[curve["arm"] == one.name].sort_values("step")["loss"]
    proof = plan.proofs[one.name]
    return {
        "set": one.name,
        "rows": len(one.rows),
        "prompts": len({json.dumps(row["messages"][:-1]) for row in one.rows}),
        "answer_tokens": proof["trained_tokens"] / len(one.rows),
        "first_loss": float(loss.iloc[0]),
        "final_loss": float(loss.tail(max(1, len(loss) // 10)).mean()),
        "steps": len(loss),
        "data": one.digest,
        "machine": machine.description(),
        "versions": machine.versions(),
    }
