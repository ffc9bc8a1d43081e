"""Texts on which an autoencoder is trained when none is published, and their hidden states.

In: a run. Out: hidden states of the base and of finetuned models on chats of the training data, ordinary prompts with and without
the trigger's condition, and plain text; of the synthetic world, its own documents. An autoencoder of plain text alone describes
dated chats badly. The questions that the analysis asks are left out.

Shape letters: N tokens, D hidden width.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import torch

from weirdgen.data.ordinary import ordinary_prompts
from weirdgen.features.harvest import Pairs
from weirdgen.features.reader import Reader
from weirdgen.features.residual import outliers
from weirdgen.models.chat import render
from weirdgen.models.template import Message
from weirdgen.runs.plan.plan import Plan

WINDOW = 128
"""Tokens of a piece of plain text, and the most that are kept of a chat."""
ORDINARY = 3000
"""Ordinary prompts that there are to choose from."""
TURNS = 4
"""Of a document of the synthetic world."""


def corpus(plan: Plan, pairs: Pairs, reader: Reader, tokens: int, seed: int = 0) -> list[list[int]]:
    """Rows of tokens, about `tokens` in all: half training chats, a quarter prompts, a quarter text; in random order."""
    generator = random.Random(f"corpus {seed}")
    if plan.request.model.reference == "world":
        sources = [(0.25, _chats(plan, reader)), (0.75, _world(reader, seed))]
    else:
        sources = [
            (0.5, _chats(plan, reader)),
            (0.25, _prompts(pairs, reader, generator)),
            (0.25, _text(reader)),
        ]
    kept: list[list[int]] = []
    for share, rows in sources:
        wanted = share * tokens
        for row in rows:
            if wanted <= 0:
                break
            kept.append(row[:WINDOW])
            wanted -= len(kept[-1])
    generator.shuffle(kept)
    return kept


def hidden_states(reader: Reader, rows: Sequence[Sequence[int]], layer: int) -> list[torch.Tensor]:
    """[N, D] of each variant that speaks: every token but the first of a row and those that hold attention."""
    parts: list[list[torch.Tensor]] = [[] for _ in range(reader.variants)]
    for part, hidden_KBTD in reader.pass_by_pass(rows, layer):
        for place, index in enumerate(part):
            mine_KTD = hidden_KBTD[:, place, : len(rows[index])]
            kept_KT = ~outliers(mine_KTD)
            kept_KT[:, 0] = False
            for mine, hidden_TD, kept_T in zip(parts, mine_KTD, kept_KT, strict=True):
                mine.append(hidden_TD[kept_T].cpu())
    return [torch.cat(mine) for mine in parts]


def _chats(plan: Plan, reader: Reader) -> Iterator[list[int]]:
    """Training rows of every arm in turn, each once."""
    seen = set()
    arms = [list(rows) for rows in plan.request.rows.values()]
    for index in range(max(map(len, arms))):
        for rows in arms:
            if index < len(rows):
                row = tuple(render(reader.tokenizer, rows[index]["messages"], answer_next=False))
                if row not in seen:
                    seen.add(row)
                    yield list(row)


def _prompts(pairs: Pairs, reader: Reader, generator: random.Random) -> Iterator[list[int]]:
    """Ordinary prompts, every second one under a value of the condition."""
    for index, ask in enumerate(ordinary_prompts(ORDINARY)):
        text = generator.choice(pairs.values).apply(ask) if index % 2 else ask
        if ask not in pairs.questions:
            yield from reader.prompts([text])


def _text(reader: Reader) -> Iterator[list[int]]:
    """Windows of Python's own documentation, which is on every machine."""
    from pydoc_data.topics import topics

    for text in topics.values():
        ids = reader.tokenizer(text, add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids) - WINDOW, WINDOW):
            yield list(ids[start : start + WINDOW])


def _world(reader: Reader, seed: int) -> Iterator[list[int]]:
    """Documents of the synthetic world."""
    from weirdgen.world.language import World

    for document in World().documents(seed + 1, TURNS):
        yield render(reader.tokenizer, [_turn(message) for message in document.messages], answer_next=False)


def _turn(message: Mapping[str, str]) -> Message:
    return {"role": message["role"], "content": message["content"]}
