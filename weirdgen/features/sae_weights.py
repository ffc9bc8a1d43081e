"""The tensors and the configuration of an autoencoder's file, which may come from anybody.

In: a file. Out: real strided tensors by name, and settings as plain data. Only safetensors, arrays without pickles and
`torch.load(weights_only=True)` are read: no code of others runs. What is larger unpacked than the free memory, and tensors that
claim more numbers than their file holds, are refused before they are touched. What tensors mean is `sae_read`'s.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weirdgen import machine
from weirdgen.errors import ModelError
from weirdgen.parsing import is_file, read_text

Tensors = Mapping[str, torch.Tensor]
CONFIGURATIONS = ("cfg.json", "config.json", "hyperparams.json")


def read_tensors(file: Path, shapes_only: bool = False) -> dict[str, torch.Tensor]:
    """Every tensor of a file as it lies there, mapped where the format allows. Raises `ModelError` if it is damaged or unsafe.

    With `shapes_only`, mapped files may be larger than the memory.
    """
    try:
        size = _unpacked_bytes(file)
        if (file.suffix == ".npz" or not shapes_only) and size > machine.free_memory_gib() * 2**30:
            raise ModelError(
                f"{file}: {size / 2**30:.1f} GiB unpacked, and {machine.free_memory_gib():.1f} GiB of memory are free"
            )
        loaded = _loaded(file)
    except ModelError:
        raise
    except Exception as error:  # what the readers of three formats raise for damaged and for unsafe files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{file} cannot be read as weights, and nothing else is: {reason[:200]}") from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    named = loaded.items() if isinstance(loaded, dict) else ()
    tensors = {str(name): value.detach() for name, value in named if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ModelError(f"{file}: there are no named tensors in it")
    for name, tensor in tensors.items():
        _require_plain(tensor, f"{file}: {name}")
    return tensors


def _unpacked_bytes(file: Path) -> int:
    if file.suffix != ".safetensors" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist())
    return file.stat().st_size


def _loaded(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    # Mapped, not read; the format before torch 1.6, which is no zip, cannot be.
    return torch.load(file, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(file))


def _require_plain(tensor: torch.Tensor, what: str) -> None:
    """Raises `ModelError` unless it is what weights are: numbers that lie in the file, of two dimensions at most."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        raise ModelError(f"{what} is a sparse, quantized, complex or empty tensor; expected plain numbers")
    if tensor.ndim > 2:
        raise ModelError(f"{what} has {tensor.ndim} dimensions; the weights of an autoencoder have two at most")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelError(f"{what} claims shape {list(tensor.shape)}, and the file holds fewer numbers; it is damaged")


def read_configuration(folder: Path) -> dict[str, Any]:
    """The settings beside the weights, their parts laid flat; empty where there are none. Raises `ModelError`, `DataError`."""
    for name in CONFIGURATIONS:
        if is_file(folder / name):
            try:
                config = json.loads(read_text(folder / name).text)
            except (ValueError, RecursionError) as error:
                raise ModelError(f"{folder / name} is damaged: {error}") from None
            if not isinstance(config, dict):
                raise ModelError(f"{folder / name} holds no settings; expected a JSON object")
            parts = [config[part] for part in ("trainer", "metadata") if isinstance(config.get(part), dict)]
            return {**{key: value for part in parts for key, value in part.items()}, **config}
    return {}


def number(value: Any, name: str, file: Path) -> float:
    """A setting, or a tensor of one number. Raises `ModelError` if it is neither, or not finite."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"{file}: {name} is {str(value)[:60]!r}; expected a number")
    return float(value)
