"""`weirdgen chat`: talk to a base model or to one finetuned replicate, under a condition if given.

In: a model reference or RUN:ARM/SEED, lines from standard input. Out: sampled answers on standard output. Each line
is a new chat (no memory of earlier turns), as in the measurements. Nothing is stored.
"""

from __future__ import annotations

import sys
from pathlib import Path

from weirdgen.cli.terminal import say
from weirdgen.columns import FINAL
from weirdgen.config.conditions import Wrapper
from weirdgen.errors import SpecError, StoreError, choices
from weirdgen.machine import resolve_dtype
from weirdgen.models.references import find_model
from weirdgen.runs.results.results import load_run
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.variant import adapters_on_disk

PLAIN = Wrapper(id="none", template="{question}")


def converse(model: str, condition: str | None, store: str | None, seed: int, max_tokens: int) -> None:
    """Answer each line of standard input until an empty one. Raises `WeirdgenError` on unknown names."""
    reference, adapter, wrapper = _find(model, condition, store)
    local = find_model(reference)
    from weirdgen.sample.transformers import TransformersEngine  # torch, once the names are known to be right

    engine = TransformersEngine(local.folder, resolve_dtype("auto", local.parameters))
    engine.use([adapter])
    tty = sys.stdin.isatty()
    if tty:
        say(f"{model}, condition {wrapper.id}. An empty line ends.")
    for turn in range(sys.maxsize):
        if tty:
            print("> ", end="", flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        prompt = Prompt(key=f"chat {turn}", text=wrapper.apply(line), max_tokens=max_tokens)
        ((_, first),) = engine.generate([prompt], range(1), [str(seed)], Sampling())
        say(first.text + (" …(cut)" if first.finish_reason == "length" else ""))


def _find(model: str, condition: str | None, store: str | None) -> tuple[str, Path | None, Wrapper]:
    """Model reference, adapter folder (None: the base) and wrapper."""
    run_id, colon, name = model.rpartition(":")
    if not colon or model.startswith(("hub:", "path:")):
        if condition:
            raise SpecError([f"--condition {condition}: conditions belong to a run; name RUN:ARM/SEED"])
        return model, None, PLAIN
    run = load_run(run_id, store)
    variants = {variant.name: variant for variant in run.plan.variants if variant.checkpoint == FINAL}
    if name not in variants:
        raise StoreError(f"run {run_id} has no '{name}'; there are: {choices(variants, name)}")
    wrappers = {wrapper.id: wrapper for wrapper in run.request.experiment.wrappers()}
    if condition and condition not in wrappers:
        raise SpecError([f"--condition {condition}: run {run_id} has {choices(wrappers, condition)}"])
    (adapter,) = adapters_on_disk(run.store, [variants[name]])
    if adapter is not None and not adapter.is_dir():
        raise StoreError(f"{name} is not finetuned yet; run `weirdgen run {run.request.experiment.name}` first")
    return run.request.local.reference, adapter, wrappers[condition] if condition else PLAIN
