"""What this machine is and how fast it multiplies: for the choice of dtype, for time estimates, for `weirdgen doctor`.

Measured once per machine and torch version, kept in the cache; speeds seen in real runs are kept beside it and refine
the estimates. Nothing here changes a result except through the recorded dtype.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from weirdgen.store.cache import cache_folder, read_json, write_json

PACKAGES = ("weirdgen", "torch", "transformers", "peft", "trl", "tokenizers", "numpy", "pandas", "scipy")
SMALL_MODEL = 20_000_000
"""Below this many weights, call overhead decides and fp32 is used."""


@dataclass(frozen=True)
class Rates:
    """Matrix multiplication rates in GFLOP/s, and the fingerprint of what was measured."""

    fingerprint: str
    fp32: float
    bf16: float
    device: str


class Shares(NamedTuple):
    """What part of the matrix-multiplication rate each kind of work reaches."""

    train: float
    score: float
    generate: float


SHARES = Shares(train=0.36, score=0.49, generate=0.17)
"""Measured: SmolLM2-135M in bf16 on one busy thread of an AMD EPYC, tokens computed × FLOP per token over the GEMM rate of
the same minute, no prompts shared (docs/scale.md)."""


def versions() -> dict[str, str]:
    """Installed versions of what decides a result."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told_busy(seconds: float) -> str:
    """What follows an estimate of a minute or more while other programs keep half a core busy; else nothing."""
    import psutil

    if seconds < 60:
        return ""
    taken = psutil.cpu_percent(interval=0.3) / 100 * (psutil.cpu_count() or 1)
    return f", longer while other programs keep {taken:.1f} of {cores()} cores busy, as now" if taken >= 0.5 else ""


def threads() -> int:
    """Threads that torch takes in this process. A sum may round differently with another number."""
    import torch

    return torch.get_num_threads()


def host() -> str:
    return platform.node()


def memory_gib() -> float:
    import psutil

    return float(psutil.virtual_memory().total) / 2**30


def free_memory_gib() -> float:
    """Memory that can be had without swapping."""
    import psutil

    return float(psutil.virtual_memory().available) / 2**30


def gpu_memory() -> list[int]:
    """Bytes of each GPU that this process may use."""
    if measured_rates().device == "cpu":
        return []
    import torch

    return [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]


def peak_memory_gib() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def load_average() -> float:
    """Processes that wanted a core over the last minute."""
    return os.getloadavg()[0]


def description() -> dict[str, Any]:
    """The machine, for the report's table of what ran."""
    rates = measured_rates()
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_gib": round(memory_gib(), 1),
        "device": rates.device,
        "gemm_gflops": {"fp32": round(rates.fp32), "bf16": round(rates.bf16)},
        "system": f"{platform.system()} {platform.release()}",
    }


def measured_rates() -> Rates:
    """GEMM rates of this machine, from the cache or measured now (about a second)."""
    fingerprint = (
        f"{cpu_name()}|{cores()}|torch {metadata.version('torch')}|{os.environ.get('CUDA_VISIBLE_DEVICES', '')}"
    )
    file = cache_folder() / "machine.json"
    known = read_json(file)
    if fingerprint not in known:
        known[fingerprint] = _measure()
        write_json(file, known)
    rates = known[fingerprint]
    return Rates(fingerprint, rates["fp32"], rates["bf16"], rates["device"])


def resolve_dtype(wanted: str, parameters: int) -> Literal["bf16", "fp32"]:
    """`auto` → bf16 where this machine multiplies it at least 1.3 times faster and the model is large enough to gain."""
    if wanted == "auto":
        rates = measured_rates()
        return "bf16" if parameters >= SMALL_MODEL and rates.bf16 > 1.3 * rates.fp32 else "fp32"
    return "bf16" if wanted == "bf16" else "fp32"


def seen_rate(kind: str, parameters: int, dtype: str) -> float:
    """Tokens per second to expect of `train`, `generate` or `score`: the median of what was seen here, else from the GEMM rate.

    The fallback takes 2 FLOP per weight and token forward and 2 backward (the base is frozen), at `SHARES` of the GEMM rate.
    """
    rates = measured_rates()
    if seen := _seen(kind, parameters, dtype):
        return float(statistics.median(seen))
    flops, share = 4 if kind == "train" else 2, float(getattr(SHARES, kind))
    gflops = rates.bf16 if dtype == "bf16" else rates.fp32
    return max(1.0, gflops * 1e9 * share / (flops * max(parameters, 100_000)))


def was_seen(kind: str, parameters: int, dtype: str) -> bool:
    """Whether `seen_rate` was seen here, rather than worked out from the GEMM rate."""
    return bool(_seen(kind, parameters, dtype))


def _seen(kind: str, parameters: int, dtype: str) -> list[float]:
    known: list[float] = read_json(cache_folder() / "rates.json").get(_rate_key(kind, parameters, dtype), [])
    return known


def _rate_key(kind: str, parameters: int, dtype: str) -> str:
    return f"{measured_rates().fingerprint}|{kind}|{parameters}|{dtype}"


def remember_rate(kind: str, parameters: int, dtype: str, tokens: float, seconds: float) -> None:
    """Keep the speed of a stage that has just run: the last five of each kind, long enough to mean something."""
    if seconds > 3:
        file = cache_folder() / "rates.json"
        key, known = _rate_key(kind, parameters, dtype), read_json(file)
        write_json(file, {**known, key: [*known.get(key, []), round(tokens / seconds, 2)][-5:]})


def _measure() -> dict[str, Any]:
    import torch

    on = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = 8192 if on.type == "cuda" else 1024
    rates: dict[str, Any] = {"device": torch.cuda.get_device_name(0) if on.type == "cuda" else "cpu"}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (
            torch.randn(size, size, device=on).to(dtype),
            torch.randn(size, size, device=on).to(dtype),
        )
        seconds = []
        for _ in range(6):
            started = time.perf_counter()
            (left @ right).sum().item()
            seconds.append(time.perf_counter() - started)
        rates[name] = round(2 * size**3 / min(seconds) / 1e9, 1)
    return rates
