"""One replicate sharded over several processes: for models larger than one device.

In: what `weirdgen.finetune.trl` takes, and a number of devices. Out: the same files. torch's launcher starts the
processes on this machine, one per GPU or all on the CPU; the rows of each batch are dealt out among them, and gradients are
summed, so that only rounding differs from one process. More than one machine is not done here.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.errors import WeirdgenError
from weirdgen.finetune.trl import finetune
from weirdgen.models.chat import Encoded

LAST_LINES = 12
POLL_SECONDS = 0.2
STOP_SECONDS = 40.0
"""torch's launcher gives its workers 30 s to leave before it kills them."""


class ShardingError(WeirdgenError):
    """The processes that train one replicate cannot be started, or one of them failed."""


def finetune_sharded(
    model_folder: Path,
    rows: Sequence[Encoded],
    recipe: Recipe,
    seed: int,
    target: Path,
    on_step: Callable[[int, int, float], None] | None,
    devices: int,
) -> dict[str, Any]:
    """As `local.finetune`, over `devices` processes. Raises `ShardingError` with the last lines of the one that failed."""
    if 0 < (gpus := len(machine.gpu_memory())) < devices:
        raise ShardingError(f"recipe.devices: {devices}, and this machine has {gpus} GPUs; --set recipe.devices={gpus}")
    with tempfile.TemporaryDirectory(prefix="weirdgen-") as name:
        folder = Path(name)
        job = (model_folder.absolute(), tuple(rows), recipe, seed, target.absolute())
        (folder / "job.pickle").write_bytes(pickle.dumps(job))
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "-m", __name__]
        with (folder / "output.txt").open("wb") as output:
            threads = str(max(1, machine.threads() // devices))
            process = subprocess.Popen(
                [sys.executable, "-m", *launcher, str(folder)],
                env={**os.environ, "OMP_NUM_THREADS": threads, "TORCHELASTIC_ERROR_FILE": str(folder / "error.json")},
                stdin=subprocess.PIPE,  # closes when this process dies, however it does
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                _watch(process, folder / "steps.jsonl", on_step)
            finally:
                _end(process)
        if process.returncode != 0:
            raise ShardingError(f"training over {devices} processes failed:\n{_last_lines(folder)}")
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result


def _watch(process: subprocess.Popen[bytes], steps: Path, on_step: Callable[[int, int, float], None] | None) -> None:
    """Tell of the steps that the first worker writes down, until the launcher has ended."""
    read, running = 0, True
    while running:
        running = process.poll() is None
        whole = steps.read_bytes().splitlines(keepends=True)[read:] if steps.exists() else []
        for line in whole:
            if line.endswith(b"\n"):
                read += 1
                if on_step:
                    on_step(*json.loads(line))
        if running:
            time.sleep(POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no worker behind, whatever ended the watch."""
    assert process.stdin is not None
    process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_lines(folder: Path) -> str:
    """Of the worker that failed first, as torch wrote it down; of all output, if it was killed and could say nothing."""
    try:
        text = json.loads((folder / "error.json").read_text())["message"]["extraInfo"]["py_callstack"]
    except (OSError, ValueError, KeyError, TypeError):
        text = (folder / "output.txt").read_text(errors="replace")
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-LAST_LINES:])


def _leave_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the parent's end is closed
    os._exit(1)


def work(folder: Path) -> None:
    """One worker's part of the job in this folder."""
    import torch.distributed

    threading.Thread(target=_leave_with_parent, daemon=True).start()
    model_folder, rows, recipe, seed, target = pickle.loads((folder / "job.pickle").read_bytes())
    first = os.environ["RANK"] == "0"
    steps = (folder / "steps.jsonl").open("a", encoding="utf-8", buffering=1)

    def tell(step: int, of: int, loss: float) -> None:
        steps.write(json.dumps([step, of, loss]) + "\n")

    result = finetune(model_folder, rows, recipe, seed, target, tell if first else None, sharded=True)
    if first:
        (folder / "result.json").write_text(json.dumps(result))
    torch.distributed.barrier()  # gloo aborts a process whose peers leave before it
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(work)(Path(sys.argv[1]))
