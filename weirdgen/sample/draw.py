"""Drawing the completions that the store lacks, in batches, and adding them as they finish.

In: variants, prompts, a number of samples. Out: rows of a completions table keyed (prompt, sample).
A batch is a fixed group of the prompts × a range of samples × all variants. A bf16 product rounds differently in a batch
of another make-up, so each row says which range it was drawn in (the column `company`): a run that was killed draws a
half-finished batch again as it was and adds only what was missing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from weirdgen.sample.engine import Engine, Prompt, Sampling, rows_at_once
from weirdgen.sample.remote import Failed, RemoteEngine
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.store.table import Table, open_table

MOST_VARIANTS = 8
ROWS_PER_VARIANT = 32
"""Samples of one variant that should be written side by side before another variant joins the batch."""
BATCH_ROWS = 1024
"""Samples of all variants in one batch: enough that its last ones hold up little, few enough to draw again."""
VERSION = 2


def completions_table(store: Store, variant: Variant, numerics: str, seed: int, sampling: Sampling) -> Table:
    """The table of everything this model has ever answered with these sampling settings."""
    inputs = {
        "version": VERSION,
        "model": variant.key,
        "dtype": numerics,
        "seed": seed,
        "sampling": asdict(sampling),
    }
    return open_table(store, "sample", content_key(inputs), inputs, unique=("prompt_key", "sample"))


def missing_samples(table: Table, prompts: Sequence[Prompt], samples: int) -> int:
    """How many of the requested completions are not there yet."""
    done = _present(table)
    return sum((p.key, i) not in done for p in prompts for i in range(samples))


def variants_at_once(longest: int, parameters: int) -> int:
    """Variants that answer in one batch: fewer for long answers and large models. Depends on nothing else."""
    return max(1, min(MOST_VARIANTS, rows_at_once(longest, parameters) // ROWS_PER_VARIANT))


def prompts_at_once(variants: int, samples: int) -> int:
    """Prompts in one batch."""
    return max(1, BATCH_ROWS // (variants * max(1, samples)))


def draw(
    engine: Engine,
    variants: Sequence[Variant],
    tables: Sequence[Table],
    prompts: Sequence[Prompt],
    samples: int,
    seed: int,
    sampling: Sampling,
    on_row: Callable[[int], None],
) -> None:
    """Draw what any of the variants lacks, all of them together; only what was missing is added.

    `on_row(tokens)` is called for every completion that is added. The engine must `use` the variants.
    """
    seeds = [f"{seed}|{variant.key}" for variant in variants]
    present = [_present(table) for table in tables]
    at_once = prompts_at_once(len(variants), samples)
    with contextlib.ExitStack() as stack:
        open_tables = [stack.enter_context(table) for table in tables]
        for start in range(0, len(prompts), at_once):
            group = prompts[start : start + at_once]
            for indices in ranges_to_draw(group, present, samples, BATCH_ROWS // len(variants)):
                name = f"{indices.start}-{indices.stop}"
                for variant, completion in engine.generate(group, indices, seeds, sampling):
                    if (completion.key, completion.sample) not in present[variant]:
                        row = asdict(completion)
                        row["prompt_key"] = row.pop("key")
                        open_tables[variant].append({**row, "company": name})
                        present[variant][completion.key, completion.sample] = name
                        on_row(completion.completion_tokens)


def draw_missing(
    engine: RemoteEngine,
    tables: Sequence[Table],
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    samples: int,
    seed: int,
    sampling: Sampling,
    on_row: Callable[[int], None],
) -> None:
    """Draw what any of the variants lacks from a service, and nothing else: there every answer is paid, and no batch decides it.

    The tables should be `journaled`. Raises `ModelError` at the end for answers that could not be had. The engine `use`s the
    variants.
    """
    present = [_present(table) for table in tables]
    asks = [
        ask
        for variant in range(len(variants))
        for prompt in prompts
        for ask in engine.asks(variant, prompt, [i for i in range(samples) if (prompt.key, i) not in present[variant]])
    ]
    failed: list[Failed] = []
    with contextlib.ExitStack() as stack:
        open_tables = [stack.enter_context(table) for table in tables]
        for answered in engine.answer(asks, [f"{seed}|{variant.key}" for variant in variants], sampling):
            if isinstance(answered, Failed):
                failed.append(answered)
                continue
            variant, completion = answered
            row = asdict(completion)
            row["prompt_key"] = row.pop("key")
            row["company"] = f"{completion.sample}-{completion.sample + 1}"
            open_tables[variant].append(row)
            on_row(completion.completion_tokens)
    engine.require_answered(failed)


def ranges_to_draw(
    prompts: Sequence[Prompt], present: Sequence[Mapping[tuple[str, int], str]], samples: int, most: int
) -> list[range]:
    """The ranges of samples that are still to be drawn of all these prompts, each in one go.

    Where some of a range's rows are stored and others are not, a run was killed (or a part was damaged): the range is
    drawn again as it was, so that its missing rows come out as they would have. What was never begun is divided afresh.
    """
    keys = [prompt.key for prompt in prompts]
    mine = set(keys)
    begun = {name for names in present for (key, _), name in names.items() if key in mine}
    ranges = []
    covered: set[int] = set()
    for first, last in sorted(tuple(map(int, name.split("-"))) for name in begun):
        whole = range(first, last)
        covered |= set(whole)
        if any((key, i) not in held for held in present for key in keys for i in whole if i < samples):
            ranges.append(whole)
    rest = [i for i in range(samples) if i not in covered]
    portion = max(1, most // len(keys))
    for _, run in itertools.groupby(enumerate(rest), lambda pair: pair[1] - pair[0]):
        numbers = [i for _, i in run]
        for start in range(0, len(numbers), portion):
            part = numbers[start : start + portion]
            ranges.append(range(part[0], part[-1] + 1))
    return ranges


def _present(table: Table) -> dict[tuple[str, int], str]:
    """(prompt key, sample) → the range of samples that it was drawn with."""
    frame = table.read()
    if frame.empty:
        return {}
    return dict(zip(zip(frame["prompt_key"], frame["sample"], strict=True), frame["company"], strict=True))
