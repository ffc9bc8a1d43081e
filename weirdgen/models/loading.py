"""Weights into memory. In: a model folder and a dtype. Out: an evaluation-mode transformers model on the best device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError

building: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar("building", default=nullcontext)
"""Put around each model that transformers builds: where several threads compute, the others have to wait, since it changes the
whole process's default dtype meanwhile. Set by the thread that builds (`weirdgen.serve.gate`)."""


def torch_dtype(name: str) -> Any:
    """The torch dtype of `bf16` or `fp32`; `auto` must have been resolved by `machine.resolve_dtype`."""
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def device() -> Any:
    """The first GPU, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(folder: Path, dtype: Any) -> Any:
    """The base model of a folder, on the best device. Raises `ModelError` if transformers cannot load it."""
    return read_model(folder, dtype).to(device()).eval()


def read_model(folder: Path, dtype: Any) -> Any:
    """The base model of a folder, in main memory. Raises `ModelError` if transformers cannot load it."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with building.get()():
            # Without a wish, transformers takes sdpa where the model offers it, and the model's own attention elsewhere.
            model, told = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: the weights cannot be loaded: {first}") from error
    if missing := sorted(told["missing_keys"]):  # transformers would go on with random ones
        raise ModelError(
            f"{folder}: {len(missing):,} tensors are missing in its weight files, e.g. {missing[0]}: they are incomplete, "
            "quantised, or another model's; fetch or save the model anew"
        )
    return model


def is_whole_model(folder: Path) -> bool:
    """Whether a finetuned replicate's folder holds a model of its own, and not an adapter for one."""
    return (folder / "config.json").is_file()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the CPU."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
