"""What the command line prints about experiments, plans and machines: lines of plain text.

In: experiments, plans, the machine. Out: lists of lines. Computes nothing that costs more than a measurement of the
machine, and loads no model.
"""

from __future__ import annotations

import shutil
from typing import Any

from weirdgen import machine
from weirdgen.config.files import read_yaml
from weirdgen.config.load import shipped_experiments
from weirdgen.data.arms import load_arms
from weirdgen.store.cache import cache_folder


def experiment_lines() -> list[str]:
    """One line per shipped experiment."""
    described = [(name, read_yaml(file)[0]) for name, file in shipped_experiments().items()]
    width = max((len(name) for name, _ in described), default=0)
    return [f"{name:{width}s}  {data.get('paper', '') or '–':6s} {data.get('title', '')}" for name, data in described]


def experiment_details(reference: str) -> list[str]:
    """What a person wants to know about an experiment before running it."""
    experiment, rows = load_arms(reference)
    lines = [f"{experiment.name}: {experiment.title}", f"  {experiment.source}"]
    if experiment.hypothesis:
        lines.append(f"  hypothesis: {experiment.hypothesis}")
    lines.append(f"base: {experiment.base}")
    for name, arm in experiment.arms.items():
        first = rows[name][0]["messages"]
        lines.append(f"arm {name} ({arm.role}): {len(rows[name])} rows")
        lines += [f"    {message['role']}: {message['content']}" for message in first]
    for wrapper in experiment.wrappers():
        marks = ", ".join(word for word, on in (("trained", wrapper.trained), ("trigger", wrapper.trigger)) if on)
        lines.append(f"condition {wrapper.id}: {wrapper.template}" + (f"  ({marks})" if marks else ""))
    for question in experiment.questions:
        texts = " | instead: ".join(" ".join(ask.split()) for ask in question.asks)
        lines.append(f"question {question.id} ({question.kind}, {question.group}): {texts}")
    headlines = {"headline": experiment.headline} if experiment.headline else {}
    for name, shown in {**headlines, **experiment.secondary}.items():
        minus = f" minus {', '.join(shown.minus)}" if shown.minus else ""
        over = f", questions of {', '.join(shown.groups)}" if shown.groups else ""
        lines.append(
            f"{name}: {shown.measure}, {shown.treatment} − {shown.control}, under {', '.join(shown.condition)}{minus}{over}"
        )
    recipe = experiment.recipe.model_dump(exclude_defaults=True)
    lines.append("recipe: " + ", ".join(f"{key} {value}" for key, value in recipe.items()))
    for name in ("quick", "standard", "paper"):
        preset = experiment.preset(name)
        changes = "".join(f", {key} {value}" for key, value in preset.recipe.items())
        changes += "".join(f", {count} questions of {group}" for group, count in preset.questions.items())
        lines.append(f"preset {name}: {preset.replicates} replicates per arm, {preset.samples} samples{changes}")
    return lines


def doctor_lines() -> list[str]:
    """The machine, measured, and what will be slow."""
    rates = machine.measured_rates()
    cache = cache_folder()
    facts: list[tuple[str, Any]] = [
        ("processor", f"{machine.cpu_name()}, {machine.cores()} cores usable"),
        ("memory", f"{machine.memory_gib():.1f} GiB, {machine.free_memory_gib():.1f} free"),
        ("accelerator", rates.device if rates.device != "cpu" else "none"),
        ("matrix products", f"fp32 {rates.fp32:.0f} GFLOP/s, bf16 {rates.bf16:.0f} GFLOP/s (measured)"),
        (
            "dtype chosen",
            machine.resolve_dtype("auto", 135_000_000) + " for models of 20M weights and more, else fp32",
        ),
        ("cache", f"{cache} ({shutil.disk_usage(cache).free / 2**30:.0f} GiB free)"),
        (
            "models in it",
            ", ".join(sorted(p.name for p in (cache / "models").glob("*") if p.is_dir())) or "none yet",
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions().items())),
    ]
    lines = [f"{name:16s} {value}" for name, value in facts]
    if rates.device == "cpu":
        speed = machine.seen_rate("train", 134_515_008, machine.resolve_dtype("auto", 134_515_008))
        lines.append(
            f"slow here:       no GPU; the 135M default trains about {speed:.0f} tokens/s. Models beyond 1B need a GPU."
        )
    if rates.bf16 < rates.fp32:
        lines.append(
            "slow here:       bf16 is not faster than fp32 on this processor, so fp32 is used (twice the memory)."
        )
    if machine.load_average() > machine.cores() * 0.8:
        lines.append(
            f"slow now:        load average {machine.load_average():.1f}: other work shares the cores, "
            "and torch threads stall on each other."
        )
    if machine.free_memory_gib() < 4:
        lines.append("slow now:        under 4 GiB free; the default model needs about 3 to train.")
    return lines
