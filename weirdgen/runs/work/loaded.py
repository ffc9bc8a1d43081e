"""The model that a process keeps between units, and what units that prompt it have in common.

In: a `LocalModel`, a dtype, an engine reference, variants. Out: an engine that speaks as them. One model at a time: loading
weights costs more than most units do.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.references import LocalModel, find_model
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs, Unit
from weirdgen.sample.engine import Engine, Prompt, Scorable
from weirdgen.sample.engines import EngineReference
from weirdgen.sample.variant import Variant, adapters_on_disk
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key


@dataclass
class _Loaded:
    engine: Engine
    adapters: Sequence[Path | None] | None
    """What it answers as at the moment; None: unknown."""


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, dtype: str, engine: EngineReference, date: str | None) -> _Loaded:
    return _Loaded(engine.open(folder, dtype, date), None)


def engine_with(
    model: LocalModel,
    dtype: str,
    engine: EngineReference,
    adapters: Sequence[Path | None] | None,
    date: str | None = None,
) -> Engine:
    """The model's engine with these adapters attached; None: whoever asks for it chooses them. `date`: see `Asked`."""
    loaded = _loaded(local_folder(model), dtype, engine, date)
    if adapters is None or loaded.adapters != adapters:
        loaded.adapters = None
        if adapters is not None:
            loaded.engine.use(adapters)
            loaded.adapters = adapters
    return loaded.engine


def release_model() -> None:
    """Let go of the model that this process keeps between units."""
    _loaded.cache_clear()


def local_folder(model: LocalModel) -> Path:
    """Where the model is on this machine: the same path (a shared folder), or found here by its reference.

    Raises `ModelError` if what is found here is another model.
    """
    if (model.folder / "config.json").is_file():
        return model.folder
    here = find_model(model.reference)
    if here.digest != model.digest:
        raise ModelError(
            f"model '{model.reference}' on this machine ({here.folder}) is not the one that the run started with: digest "
            f"{here.digest[:12]} against {model.digest[:12]}; name a path that all machines share, or hub:ORG/NAME@REVISION"
        )
    return here.folder


def asking_needs(model: LocalModel, dtype: str, engine: EngineReference) -> Needs:
    """What it takes to put texts to a model."""
    if not engine.holds_weights:
        return Needs(False, int(PROCESS_BYTES))
    cache = 2e9 * min(1.0, model.parameters / 1e9)  # what ROW_TOKENS of sample/engine.py come to
    return Needs(True, int(PROCESS_BYTES + weight_bytes(model, dtype) + cache))


def weight_bytes(model: LocalModel, dtype: str) -> int:
    """Of the model's weights in memory."""
    return model.parameters * (2 if dtype == "bf16" else 4)


def keep_exactness(store: Store, model: str, numerics: str, engine: Engine) -> None:
    """How this model's fast ways of scoring and sampling compared with each row alone, once for each store."""
    inputs, key = {"model": model, "numerics": numerics}, exactness_key(model, numerics)
    if store.marker("exactness", key) is None and (checks := engine.exactness()):
        with store.create("exactness", key, inputs) as folder:
            (folder / "exactness.json").write_text(json.dumps(checks, indent=1))


def exactness_key(model: str, numerics: str) -> str:
    """The artifact `exactness` of a model at these numerics."""
    return content_key({"model": model, "numerics": numerics})


def kept_exactness(store: Store, model: str, numerics: str) -> list[dict[str, Any]]:
    """What `keep_exactness` kept; empty for runs of versions that compared nothing."""
    key = exactness_key(model, numerics)
    if store.marker("exactness", key) is None:
        return []
    return list(json.loads((store.artifact("exactness", key) / "exactness.json").read_text()))


@dataclass(frozen=True)
class Asked(Unit):
    """A unit that puts texts to a model."""

    model: LocalModel
    dtype: str
    engine: EngineReference
    date: str | None
    """The date (ISO) given to the model's template, if it prints one."""

    @property
    def numerics(self) -> str:
        return self.engine.numerics(self.dtype)

    def needs(self) -> Needs:
        return asking_needs(self.model, self.dtype, self.engine)


@dataclass(frozen=True)
class AskedOfVariants(Asked):
    """A unit that puts texts to several variants in one batch."""

    variants: tuple[Variant, ...]

    def open(self, store: Store) -> Engine:
        """The engine, answering as the variants; how exact its ways are goes into the store."""
        engine = engine_with(self.model, self.dtype, self.engine, adapters_on_disk(store, self.variants), self.date)
        keep_exactness(store, self.model.digest, self.numerics, engine)
        return engine

    def lock_key(self, asked: Sequence[Prompt] | Sequence[Scorable]) -> str:
        """How many samples are wanted is not part of it: a second run that wants more waits too."""
        return content_key([self.numerics, [variant.key for variant in self.variants], [text.key for text in asked]])
