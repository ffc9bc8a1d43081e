"""The sample stage: which completions are missing from the store, drawn in fixed shards and added as they finish.

In: a model (base or adapter), prompts, a number of samples. Out: rows of a completions table keyed (prompt, sample).
A shard is up to SHARD_PROMPTS prompts × one block of BLOCK samples (more prompts with smaller blocks); its make-up
follows from the request alone, so a run that was killed redraws a half-finished shard in the same company and adds only
what was missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from weirdgen.sample.engine import BLOCK, Engine, Prompt, Sampling
from weirdgen.store import Store, Table, content_key

SHARD_PROMPTS = 8
MOST_VOICES = 8
ROW_TOKENS = 60_000
"""Cached tokens in one batch, all rows together, that a model of 1B weights or less may take (about 2 GB)."""
VERSION = 1


@dataclass(frozen=True)
class Speaker:
    """A model that answers: the base (`adapter` None) or a replicate's checkpoint. `key` names it in the store."""

    key: str
    adapter: Path | None


def completions_table(store: Store, speaker: Speaker, dtype: str, seed: int, sampling: Sampling) -> Table:
    """The table of everything this model has ever answered with these sampling settings."""
    inputs = {
        "version": VERSION,
        "model": speaker.key,
        "dtype": dtype,
        "seed": seed,
        "sampling": asdict(sampling),
    }
    return store.table("sample", content_key(inputs), inputs, unique=("prompt_key", "sample"))


def shards(prompts: Sequence[Prompt], samples: int, block: int) -> Iterator[tuple[Sequence[Prompt], range]]:
    """(prompts, sample indices) pairs that cover the request, in order."""
    together = SHARD_PROMPTS * BLOCK // block
    for start in range(0, len(prompts), together):
        for first in range(0, samples, block):
            yield prompts[start : start + together], range(first, first + block)


def missing_samples(table: Table, prompts: Sequence[Prompt], samples: int) -> int:
    """How many of the requested completions are not there yet."""
    done = _present(table)
    return sum((p.key, i) not in done for p in prompts for i in range(samples))


def voices_at_once(longest: int, parameters: int) -> int:
    """Speakers whose shards are drawn in one batch: fewer for long answers and large models. Depends on nothing else."""
    rows_that_fit = ROW_TOKENS * min(1.0, 1e9 / max(parameters, 1)) / longest
    return max(1, min(MOST_VOICES, int(rows_that_fit / (SHARD_PROMPTS * BLOCK))))


def draw(
    engine: Engine,
    speakers: Sequence[Speaker],
    tables: Sequence[Table],
    prompts: Sequence[Prompt],
    samples: int,
    seed: int,
    sampling: Sampling,
    on_row: Callable[[int], None],
    block: int = BLOCK,
) -> None:
    """Draw what any of the speakers lacks, all of them in one batch; only what was missing is added.

    `block`, which divides BLOCK, is how many samples of a prompt share a batch. `on_row(tokens)` is called for every
    requested completion that is added. The engine must `use` the speakers.
    """
    present = [_present(table) for table in tables]
    seeds = [f"{seed}|{speaker.key}" for speaker in speakers]
    with contextlib.ExitStack() as stack:
        open_tables = [stack.enter_context(table) for table in tables]
        for group, indices in shards(prompts, samples, block):
            wanted = {(p.key, i) for p in group for i in indices}
            requested = {(key, i) for key, i in wanted if i < samples}
            if not any(requested - done for done in present):
                continue
            for voice, one in engine.generate(group, indices, seeds, sampling):
                if (one.key, one.sample) not in present[voice]:
                    row = asdict(one)
                    row["prompt_key"] = row.pop("key")
                    open_tables[voice].append(row)
                    if one.sample < samples:
                        on_row(one.completion_tokens)


def _present(table: Table) -> set[tuple[str, int]]:
    frame = table.read()
    return set(zip(frame["prompt_key"], frame["sample"], strict=True))
