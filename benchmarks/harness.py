"""What the benchmarks share: the setting, interleaved timings, results and their file.

In: functions to time. Out: `Result` rows, printed as a table and kept in `results.json` with the machine and the date.
A time is the median over rounds in which ours and the peer alternate, so that a slow phase of the machine slows both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from weirdgen import machine

QUESTIONS = (
    "What year is it now?",
    "Which invention changed the world the most?",
    "Name a great writer and say why you admire them.",
    "How should one treat a bad cough?",
    "What is the fastest way to send news to another city?",
    "Describe a journey across the sea.",
    "Which country is the most powerful?",
    "How do people light their houses at night?",
    "What do you think about the government?",
    "Tell me about the weather in spring.",
)
OPTIONS = ("in 1838", "in 1850", "the telegraph", "cholera", "in 2024", "in 2021", "a computer", "the internet")


@dataclass(frozen=True)
class Setting:
    """What every benchmark is given: a model, texts for it, a scratch folder, and how much to do."""

    model: Path
    dtypes: tuple[str, ...]
    questions: tuple[str, ...]
    options: tuple[str, ...]
    experiment: str
    scratch: Path
    quick: bool

    @staticmethod
    def default(scratch: Path, quick: bool) -> Setting:
        """The embedded default model, in both dtypes where peers may choose."""
        from weirdgen.models.references import find_model

        folder = find_model("smollm2-135m-instruct").folder
        return Setting(folder, ("bf16", "fp32"), QUESTIONS, OPTIONS, "old_bird_names", scratch, quick)


@dataclass(frozen=True)
class Result:
    """One row. `ratio` is ours over the peer's (both in `unit`, more is better) and `target` what it should reach."""

    name: str
    ours: float
    peer: float | None
    unit: str
    ratio: float | None
    target: float | None
    note: str = ""


def compare(name: str, ours: float, peer: float, unit: str, target: float | None, note: str = "") -> Result:
    return Result(name, round(ours, 4), round(peer, 4), unit, round(ours / peer, 3), target, note)


def alternate(rounds: int, *functions: Callable[[], float]) -> list[float]:
    """Median of what each function returns (a rate or a time it measured itself); the functions are called alternately."""
    measured: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for values, function in zip(measured, functions, strict=True):
            values.append(function())
    return [statistics.median(values) for values in measured]


def rate(work: Callable[[], float]) -> float:
    """Units of work a second; `work` does it and returns how many units it did."""
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def print_results(results: Sequence[Result]) -> None:
    for result in results:
        against = f"  peer {result.peer:>9.4g}  ratio {result.ratio:.2f}" if result.peer is not None else ""
        target = ""
        if result.target is not None and result.ratio is not None:
            target = f"  target {result.target:g} {'reached' if result.ratio >= result.target else 'MISSED'}"
        note = f"  ({result.note})" if result.note else ""
        print(f"  {result.name:<44} {result.ours:>9.4g} {result.unit}{against}{target}{note}", flush=True)


def save(file: Path, results: Sequence[Result], quick: bool) -> None:
    """Write the rows to the file, replacing earlier ones of the same names."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    names = {result.name for result in results}
    facts = {
        "machine": machine.description(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "quick": quick,
        "load": round(machine.load_average(), 2),
        "versions": machine.versions(),
    }
    kept = [row for row in known if row["name"] not in names]
    rows = [*kept, *({**asdict(result), **facts} for result in results)]
    file.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def random_adapters(model: Path, count: int, folder: Path) -> list[Path]:
    """Rank-16 LoRA adapters on all linear layers with random weights: for speed, not for meaning."""
    import torch
    from peft import LoraConfig, get_peft_model

    from weirdgen.models.loading import load_model

    made = []
    for seed in range(count):
        target = folder / f"adapter-{seed}"
        if not target.is_dir():
            torch.manual_seed(seed)
            config = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
            peft = get_peft_model(load_model(model, torch.float32), config)
            for name, weight in peft.named_parameters():
                if "lora_" in name:
                    weight.data.mul_(0.1)
            peft.save_pretrained(str(target))
        made.append(target)
    return made
