"""An independent Tinker server (skyrl-tx, JAX on the CPU) on the loopback, from the environment that `make test-tinker` makes.

In: the interpreter of that environment, a model's folder. Out: the server's address. It needs an older transformers than ours, so
its own environment; and it starts its engine through `uv`, in whose place a script of two lines stands.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = Path(os.environ.get("WEIRDGEN_TINKER_SERVER", Path(__file__).parents[2] / ".venv" / "tinker-server"))
BACKEND = {"max_lora_adapters": 16, "max_lora_rank": 8, "train_micro_batch_size": 4, "sample_max_num_sequences": 4}


def for_transformers_4(model: Path, folder: Path) -> Path:
    """A copy of a model's folder that transformers 4 reads as well as ours does."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"rope_theta": config["rope_parameters"]["rope_theta"], "torch_dtype": config["dtype"]}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens", [])
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


@contextmanager
def tinker_server(model: Path, work: Path) -> Iterator[str]:
    """The address of a server that trains this model; `work` holds its files and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python, shims = SERVER / "bin" / "python", work / "shims"
    shims.mkdir()
    (shims / "uv").write_text(f'#!/bin/sh\nwhile [ "$1" != "-m" ]; do shift; done\nexec "{python}" "$@"\n')
    (shims / "uv").chmod(0o755)
    words = [str(python), "-m", "tx.tinker.api", "--base-model", str(model), "--backend", "jax"]
    words += ["--backend-config", json.dumps(BACKEND), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--checkpoints-base", str(work / "kept"), "--database-url", f"sqlite:///{work / 'server.db'}"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": f"{shims}:{env['PATH']}", "JAX_PLATFORMS": "cpu"}
    log = work / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=env)
    url, started = f"http://127.0.0.1:{port}", time.monotonic()
    try:
        while "Initialized base model" not in log.read_text():
            if process.poll() is not None or time.monotonic() - started > 240:
                raise AssertionError(f"the server did not start: {log.read_text()[-3000:]}")
            time.sleep(0.2)
        with urllib.request.urlopen(f"{url}/api/v1/healthz", timeout=60):
            yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
