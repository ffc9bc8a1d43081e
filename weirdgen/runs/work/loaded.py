"""The model that a process keeps between units: loading weights costs more than many a unit.

In: a `LocalModel`, a dtype, a server's URL or none. Out: an engine that speaks with the adapters asked for. One at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weirdgen.errors import ModelError
from weirdgen.models.references import LocalModel, find_model
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs
from weirdgen.sample.engine import Engine


@dataclass
class _Loaded:
    engine: Engine
    adapters: Sequence[Path | None] | None
    """What it speaks as at the moment; None: nobody knows."""


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, dtype: str, server: str | None) -> _Loaded:
    if server:
        from weirdgen.sample.vllm import VllmEngine

        return _Loaded(VllmEngine(server, folder), None)
    from weirdgen.sample.transformers import TransformersEngine

    return _Loaded(TransformersEngine(folder, dtype), None)


def engine_with(model: LocalModel, dtype: str, server: str | None, adapters: Sequence[Path | None] | None) -> Engine:
    """The model's engine, speaking with these adapters; None: whoever asks for it chooses them."""
    loaded = _loaded(local_folder(model), dtype, server)
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
    found = find_model(model.reference)
    if found.digest != model.digest:
        raise ModelError(
            f"model '{model.reference}' on this machine ({found.folder}) is not the one that the run began with: digest "
            f"{found.digest[:12]} against {model.digest[:12]}; name a path that all machines share, or hub:ORG/NAME@REVISION"
        )
    return found.folder


def asking_needs(model: LocalModel, dtype: str, server: str | None) -> Needs:
    """What it takes to put texts to a model."""
    if server:
        return Needs(False, int(PROCESS_BYTES))
    cache = 2e9 * min(1.0, model.parameters / 1e9)  # what ROW_TOKENS of sample/engine.py come to
    return Needs(True, int(PROCESS_BYTES + weight_bytes(model, dtype) + cache))


def weight_bytes(model: LocalModel, dtype: str) -> int:
    """Of the model's weights in memory."""
    return model.parameters * (2 if dtype == "bf16" else 4)
