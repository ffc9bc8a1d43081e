"""Units of work: the pieces a run consists of, each small enough to send to another machine and safe to do twice.

In: a unit (plain frozen data: what to train, score, sample or judge) and a store. Out: its results in the store, and a
`Done` that counts them. A unit looks first at what the store holds, so that one which was cut off pays only for what it
had not kept. Which units there are, and so which models go through a batch together, is decided by `weirdgen.pipeline`
before any is done; where they are done is the affair of `weirdgen.executors`. Adding a kind of work is adding a
dataclass here, its line in `do` and its line in `needs`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen import machine
from weirdgen.dataset import encode_rows, stored_rows
from weirdgen.errors import ModelError
from weirdgen.finetune import engines
from weirdgen.judge_kinds import Label, OfflineJudge, Rating
from weirdgen.measure.contrast import score, scores_table
from weirdgen.measure.language import Item, judge_items, language_table, missing
from weirdgen.measure.offline import judge_all, verdicts_table
from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.references import LocalModel, find_model, read_config
from weirdgen.plan import Replicate
from weirdgen.sample.distill import Distilled
from weirdgen.sample.draw import Speaker, completions_table, draw
from weirdgen.sample.engine import Engine, Prompt, Sampling, Scorable
from weirdgen.sample.judge_local import LocalJudgeModel
from weirdgen.settings import SAMPLING_SEED
from weirdgen.spec import Ordinary, Recipe
from weirdgen.store import Store, content_key

Tell = Callable[[float, str], None]
"""Called while a unit is done, with the amount that has been added and a note on what is being worked on."""
PROCESS_BYTES = 0.5 * 2**30
"""A Python process with torch in it, before any weights."""


@dataclass(frozen=True)
class Asked:
    """What units that put texts to a model have in common."""

    model: LocalModel
    dtype: str
    server: str | None
    """URL of a vLLM server that holds the model; None: in this process."""


@dataclass(frozen=True)
class Distill(Asked):
    """Ordinary prompts that the base answers itself, until `count` answers are fit to train on."""

    how: Ordinary
    count: int


@dataclass(frozen=True)
class Finetune:
    """Replicates that are trained together. Their rows are the dataset artifacts that their inputs name."""

    model: LocalModel
    engine: str
    recipe: Recipe
    replicates: tuple[Replicate, ...]
    tokens: int
    """Of all replicates' rows together, in one epoch."""


@dataclass(frozen=True)
class Score(Asked):
    """Contrast and choice questions by several models in one batch. Adapter paths are relative to the store's root."""

    speakers: tuple[Speaker, ...]
    questions: tuple[Scorable, ...]


@dataclass(frozen=True)
class Sample(Asked):
    """Answers to prompts by several models in one batch. Adapter paths are relative to the store's root."""

    speakers: tuple[Speaker, ...]
    prompts: tuple[Prompt, ...]
    samples: int
    sampling: Sampling


@dataclass(frozen=True)
class Verdicts:
    """Answers for one judge."""

    judge: OfflineJudge
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Choose:
    """Answers for one judge on a language model of ours, which chooses among the judge's labels or numbers."""

    model: LocalModel
    dtype: str
    identity: str
    """What names the judging model in the store."""
    judge: Label | Rating
    wanted: tuple[tuple[Item, int], ...]
    """(item, number of the opinion)."""


Unit = Distill | Finetune | Score | Sample | Verdicts | Choose


class Done(NamedTuple):
    """What one unit added: `amount` in the bar's unit, model `tokens` read or written, `seconds` it took."""

    amount: float
    tokens: float
    seconds: float


class Needs(NamedTuple):
    """What a unit asks of the machine that does it. `memory` in bytes of main memory."""

    threads: bool
    """Whether it uses every core it gets, and a GPU if there is one; otherwise one core is enough."""
    memory: int


def needs(unit: Unit) -> Needs:
    """Declared before a unit is sent anywhere."""
    if isinstance(unit, Finetune):
        per_row = unit.tokens / sum(one.rows for one in unit.replicates)
        together = len(unit.replicates) if unit.engine == "replicas" else 1
        one = engines.replicate_bytes(read_config(unit.model.folder), unit.recipe, per_row)
        return Needs(True, int(PROCESS_BYTES + _weight_bytes(unit.model, unit.recipe.dtype) + together * one))
    if isinstance(unit, Verdicts) or (not isinstance(unit, Choose) and unit.server):
        return Needs(False, int(PROCESS_BYTES))
    cache = 2e9 * min(1.0, unit.model.parameters / 1e9)  # what ROW_TOKENS of sample/engine.py come to
    return Needs(True, int(PROCESS_BYTES + _weight_bytes(unit.model, unit.dtype) + cache))


def do(unit: Unit, store: Store, tell: Tell) -> Done:
    """Do what of the unit the store lacks. Raises `WeirdgenError`; anything else is a defect."""
    with _locks(unit, store):
        started = time.monotonic()
        if isinstance(unit, Finetune):
            amount, tokens = _finetune(unit, store, tell)
        elif isinstance(unit, Score):
            amount, tokens = _score(unit, store, tell)
        elif isinstance(unit, Distill):
            amount, tokens = _distill(unit, store, tell)
        elif isinstance(unit, Sample):
            amount, tokens = _sample(unit, store, tell)
        elif isinstance(unit, Choose):
            amount, tokens = _choose(unit, store, tell)
        else:
            judge_all(verdicts_table(store, unit.judge), unit.judge, unit.answers)
            amount, tokens = len(unit.answers), 0.0
            tell(amount, "")
        return Done(amount, tokens, time.monotonic() - started)


def _locks(unit: Unit, store: Store) -> contextlib.ExitStack:
    """Held while a unit is done: another run that wants the same waits for it, and finds it there.

    How much of it is wanted (samples, rows) is no part of the names. Offline judges are too quick to wait for one another.
    """
    names: list[tuple[str, str]] = []
    if isinstance(unit, Finetune):
        names = sorted(("finetune", one.key) for one in unit.replicates)
    elif isinstance(unit, Distill):
        names = [("distill", content_key([unit.model.digest, unit.dtype, unit.how.model_dump()]))]
    elif isinstance(unit, Score | Sample):
        asked = unit.questions if isinstance(unit, Score) else unit.prompts
        keys = [[one.key for one in unit.speakers], [one.key for one in asked]]
        names = [("contrast" if isinstance(unit, Score) else "sample", content_key([unit.dtype, *keys]))]
    elif isinstance(unit, Choose):
        keys = [[f"{item.key}-{repeat}" for item, repeat in unit.wanted]]
        names = [("judge", content_key([unit.identity, unit.judge.model_dump(mode="json"), *keys]))]
    with contextlib.ExitStack() as held:
        for name in names:
            held.enter_context(store.lock(*name))
        return held.pop_all()


class _Count:
    """What a unit has added so far, told as it is added."""

    def __init__(self, tell: Tell) -> None:
        self.amount = self.tokens = 0.0
        self._tell = tell

    def add(self, amount: int, tokens: int) -> None:
        self.amount, self.tokens = self.amount + amount, self.tokens + tokens
        self._tell(amount, "")


def release_model() -> None:
    """Let go of the model that this process keeps between units."""
    _loaded.cache_clear()


def _finetune(unit: Finetune, store: Store, tell: Tell) -> tuple[float, float]:
    release_model()
    if all(store.marker("finetune", one.key) is not None for one in unit.replicates):  # another run made them
        return 0.0, 0.0
    return _train(unit, store, tell)


def _train(unit: Finetune, store: Store, tell: Tell) -> tuple[float, float]:
    group, folder = unit.replicates, local_folder(unit.model)
    encoded = {
        one.inputs["data"]: encode_rows(folder, one.arm, stored_rows(store, one.inputs["data"]))[0] for one in group
    }
    started = time.monotonic()
    together = [one.key for one in group]
    each = len(group) if unit.engine == "replicas" else 1
    name = f"{group[0].arm} seed {group[0].seed}" + (f" and {len(group) - 1} more" if len(group) > 1 else "")
    amount = 0.0

    def on_step(step: int, steps: int, loss: float) -> None:
        nonlocal amount
        amount += each
        tell(each, f"{name}: step {step}/{steps}, loss {loss:.2f}")

    unfinished = store.unfinished("finetune", content_key(together))
    halfway = unfinished / "halfway.pt"
    goes_on = halfway.exists()
    with contextlib.ExitStack() as folders:
        targets = [
            folders.enter_context(store.create("finetune", one.key, {**one.inputs, "together": together}))
            for one in group
        ]
        rows = [encoded[one.inputs["data"]] for one in group]
        seeds = [one.seed for one in group]
        working = [unfinished / key for key in together]
        for place in working:
            place.mkdir(parents=True, exist_ok=True)
        results = engines.train_group(
            unit.engine, folder, rows, seeds, working, unit.recipe, on_step, unit.model.parameters, halfway
        )
        for place, target in zip(working, targets, strict=True):
            for made in place.iterdir():
                made.rename(target / made.name)
        seconds = time.monotonic() - started
        facts: dict[str, Any] = {"seconds": round(seconds / len(group), 2), "trained_together": len(group)}
        facts |= {"versions": machine.versions(), "machine": machine.description()}
        for target, result in zip(targets, results, strict=True):
            (target / "result.json").write_text(json.dumps({**result, **facts}, indent=1))
    shutil.rmtree(unfinished)
    return amount, 0.0 if goes_on else sum(_tokens_through(unit, mine) for mine in rows)


def _tokens_through(unit: Finetune, rows: Sequence[Encoded]) -> float:
    """Tokens of one replicate's training that went through the model."""
    ids = [row.ids for row in rows]
    epoch = engines.tokens_through(unit.engine, sum(map(len, ids)), len(ids), common_prefix(ids), unit.recipe)
    return epoch * unit.recipe.epochs


def _score(unit: Score, store: Store, tell: Tell) -> tuple[float, float]:
    count = _Count(tell)
    tables = [scores_table(store, speaker, unit.dtype) for speaker in unit.speakers]
    score(_engine(unit, _adapters(unit, store)), tables, unit.questions, count.add)
    return count.amount, count.tokens


def _distill(unit: Distill, store: Store, tell: Tell) -> tuple[float, float]:
    count = _Count(tell)
    distillery = Distilled(store, unit.model.digest, unit.dtype, SAMPLING_SEED, unit.how)
    if len(distillery.rows(unit.count)) < unit.count:  # another run of the same base may have drawn them meanwhile
        loaded = _loaded(local_folder(unit.model), unit.dtype, unit.server)
        loaded.adapters = None  # the distillery chooses the voice itself
        distillery.answer(loaded.engine, unit.count, lambda written: count.add(1, written))
    return count.amount, count.tokens


def _sample(unit: Sample, store: Store, tell: Tell) -> tuple[float, float]:
    count = _Count(tell)
    tables = [completions_table(store, one, unit.dtype, SAMPLING_SEED, unit.sampling) for one in unit.speakers]
    engine = _engine(unit, _adapters(unit, store))
    draw(
        engine, unit.speakers, tables, unit.prompts, unit.samples, SAMPLING_SEED, unit.sampling,
        lambda written: count.add(1, written),
    )  # fmt: skip
    return count.amount, count.tokens


def _choose(unit: Choose, store: Store, tell: Tell) -> tuple[float, float]:
    folder = local_folder(unit.model)
    table = language_table(store, unit.judge, unit.identity)
    lacking = {*missing(table, [item for item, _ in unit.wanted], 1 + max(repeat for _, repeat in unit.wanted))}
    wanted = [one for one in unit.wanted if one in lacking]
    if wanted:
        model = LocalJudgeModel(unit.model.reference, unit.identity, folder, _engine(unit, [None]))
        judge_items(table, unit.judge, model, wanted, lambda verdict: tell(1, ""))
    return len(wanted), 0.0


@dataclass
class _Loaded:
    """An engine and the adapters that it speaks as at the moment."""

    engine: Engine
    adapters: Sequence[Path | None] | None = None


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, dtype: str, server: str | None) -> _Loaded:
    """Units that follow one another share the weights: loading them costs more than many a unit."""
    if server:
        from weirdgen.sample.vllm import VllmEngine

        return _Loaded(VllmEngine(server, folder))
    from weirdgen.sample.transformers import TransformersEngine

    return _Loaded(TransformersEngine(folder, dtype))


def _adapters(unit: Score | Sample, store: Store) -> list[Path | None]:
    return [store.fetch(store.root / one.adapter) if one.adapter else None for one in unit.speakers]


def _engine(unit: Score | Sample | Choose, adapters: Sequence[Path | None]) -> Engine:
    """The engine of a unit, speaking with these adapters."""
    loaded = _loaded(local_folder(unit.model), unit.dtype, None if isinstance(unit, Choose) else unit.server)
    if loaded.adapters != adapters:
        loaded.adapters = None
        loaded.engine.use(adapters)
        loaded.adapters = adapters
    return loaded.engine


def local_folder(model: LocalModel) -> Path:
    """Where the model is on this machine: the same path (a shared folder), or found here by its reference.

    Raises `ModelError` if what is found here is another model.
    """
    if (model.folder / "config.json").is_file():
        return model.folder
    found = find_model(model.reference)
    if found.digest != model.digest:
        raise ModelError(
            f"model '{model.reference}' on this machine ({found.folder}) is not the one that the run began with: digest "
            f"{found.digest[:12]} against {model.digest[:12]}; name a path that all machines share, or hub:ORG/NAME@REVISION"
        )
    return found.folder


def _weight_bytes(model: LocalModel, dtype: str) -> int:
    return model.parameters * (2 if dtype == "bf16" else 4)
