"""The sample stage: which completions are missing from the store, drawn in fixed shards and added as they finish.

In: a model (base or adapter), prompts, a number of samples. Out: rows of a completions table keyed (prompt, sample).
A shard is up to SHARD_PROMPTS prompts × one block of BLOCK samples; its make-up follows from the request alone, so a
run that was killed redraws a half-finished shard in the same company and adds only what was missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from weirdgen.sample.engine import BLOCK, Engine, Prompt, Sampling
from weirdgen.store import Store, Table, content_key

SHARD_PROMPTS = 8
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


def shards(prompts: Sequence[Prompt], samples: int) -> Iterator[tuple[Sequence[Prompt], int]]:
    """(prompts, block) pairs that cover the request, in order."""
    for start in range(0, len(prompts), SHARD_PROMPTS):
        for block in range(-(-samples // BLOCK)):
            yield prompts[start : start + SHARD_PROMPTS], block


def missing_samples(table: Table, prompts: Sequence[Prompt], samples: int) -> int:
    """How many of the requested completions are not there yet."""
    done = _present(table)
    return sum((p.key, i) not in done for p in prompts for i in range(samples))


def draw(
    engine: Engine,
    speaker: Speaker,
    table: Table,
    prompts: Sequence[Prompt],
    samples: int,
    seed: int,
    sampling: Sampling,
    on_row: Callable[[int], None],
) -> None:
    """Draw what is missing. `on_row(tokens)` is called for every requested completion. The engine must `use` the speaker."""
    done = _present(table)
    with table:
        for group, block in shards(prompts, samples):
            indices = range(block * BLOCK, (block + 1) * BLOCK)
            wanted = {(p.key, i) for p in group for i in indices} - done
            if not any((p.key, i) in wanted for p in group for i in indices if i < samples):
                continue
            for _, one in engine.generate(group, block, [f"{seed}|{speaker.key}"], sampling):
                if (one.key, one.sample) in wanted:
                    row = asdict(one)
                    row["prompt_key"] = row.pop("key")
                    table.append(row)
                    if one.sample < samples:
                        on_row(one.completion_tokens)


def _present(table: Table) -> set[tuple[str, int]]:
    frame = table.read()
    return set(zip(frame["prompt_key"], frame["sample"], strict=True))
