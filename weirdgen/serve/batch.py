"""A batch of answers being written: rows of several prompts and finetunes side by side, one token of each per step.

In: a `Base` with finetunes attached, a queue of `Ask`s. Out: what each ask is told. On models with a lean decoder others take
free places, or new ones, between two steps; on the rest a batch is finished first.

Shape letters: N places, L places in use, H hidden width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch

from weirdgen.sample.engine import rows_at_once
from weirdgen.sample.fast.stream import PlainStream, SharedStream, Stream
from weirdgen.serve.asks import Ask
from weirdgen.serve.base import Base
from weirdgen.serve.gate import Gate
from weirdgen.serve.queue import Queue
from weirdgen.serve.writing import Row, Writing, score

MOST_PROMPTS = 20_000
"""After so many prompts a batch takes no more, so that what it remembers of them is let go."""


def most_places(base: Base, each: int, prompts: int, longest: int, answer: int) -> int:
    """Places that there is room for, with `each` of them for every finetune that is attached.

    Each finetune reads each of the prompts, of `longest` tokens at most, and keeps it: once for all answers if the decoder is
    lean, otherwise beside each `answer`, which has so many tokens at most.
    """
    if base.decoder is not None:
        return rows_at_once(answer + math.ceil(prompts * longest / each), base.parameters)
    return rows_at_once((longest + answer) * math.ceil(max(1, prompts / each)), base.parameters)


class Batch(Writing):
    """Rows of several prompts and finetunes side by side: places of one finetune together, as many for each."""

    def __init__(self, base: Base, gate: Gate, queue: Queue) -> None:
        super().__init__(base, gate, queue)
        self._lean = base.decoder is not None
        self._variants = len(base.adapters)
        self._encoded: list[tuple[int, ...]] = []
        self._known: dict[tuple[int, ...], int] = {}
        self._stream: Stream | None = None

    def write(self) -> None:
        hidden_NH = torch.empty(0)
        while True:
            if joined := self._joining():
                with self.step():
                    hidden_NH = self._seat(joined, hidden_NH)
            if not self.in_use():
                return
            with self.step():
                token_N = self.choose(hidden_NH, are_logits=False)
            assert self._stream is not None
            for place in self.advance(token_N):
                self._stream.release(place)
            if not self.in_use():
                continue
            with self.step():
                token_N = self._shrink(token_N)
                hidden_NH = self._stream.step(torch.tensor(token_N, device=self.base.on))

    def _joining(self) -> list[Row]:
        """Rows of the asks that come in now, in their order: until one does not fit, or the room is taken."""
        if self._stream is not None and (not self._lean or len(self._encoded) > MOST_PROMPTS):
            return []
        base, joined = self.base, list[Row]()
        asks = [row.ask for row in self.rows if row]
        while (ask := self.queue.first()) is not None and ask.adapter in base.adapters:
            if not ask.max_tokens:
                score(base, self.gate, self.queue, self.queue.take())
                continue
            wanted = asks + [ask] * ask.n
            if not base.ways.batch(max(len(one.ids) + one.max_tokens for one in wanted)):
                break
            if (asks or self.rows) and not self._has_room(wanted):  # the first of a batch is given all there is
                break
            asks = wanted
            self.queue.take()
            joined += [Row(ask, index, base.tokenizer) for index in range(ask.n)]
            if ask.echo:
                score(base, self.gate, self.queue, ask)
        return joined

    def _has_room(self, asks: Sequence[Ask]) -> bool:
        """Whether rows of these asks have room side by side: each finetune takes as many places as the fullest."""
        prompts = {ask.ids for ask in asks}
        fullest = max(Counter(ask.adapter for ask in asks).values())
        each = max(fullest, len(self.rows) // self._variants)
        longest, answer = max(map(len, prompts)), max(ask.max_tokens for ask in asks)
        return self._variants * each <= most_places(self.base, each, len(prompts), longest, answer)

    def _seat(self, joined: Sequence[Row], hidden_NH: torch.Tensor) -> torch.Tensor:
        """Give the new rows places, and read their prompts. Returns the hidden states [N, H] of all places."""
        of_variant: list[list[Row]] = [[] for _ in range(self._variants)]
        for row in joined:
            of_variant[self.base.adapters.index(row.ask.adapter)].append(row)
        each = len(self.rows) // self._variants
        taken = [sum(row is not None for row in self.rows[v * each : (v + 1) * each]) for v in range(self._variants)]
        needed = max(used + len(new) for used, new in zip(taken, of_variant, strict=True))
        if needed > each:
            layout = [
                place if place < (variant + 1) * each else -1
                for variant in range(self._variants)
                for place in range(variant * each, variant * each + needed)
            ]
            if self._stream is not None:
                self._stream.keep(layout)
                hidden_NH = hidden_NH[torch.tensor(layout, device=self.base.on).clamp(min=0)]
            self.rows = [self.rows[place] if place >= 0 else None for place in layout]
            each = needed
        free = [
            [place for place in range(v * each, (v + 1) * each) if self.rows[place] is None]
            for v in range(self._variants)
        ]
        places = []
        for variant, new in enumerate(of_variant):
            for row, place in zip(new, free[variant], strict=False):
                self.rows[place] = row
                places.append(place)
        return self._read(sorted(places), hidden_NH)

    def _read(self, places: list[int], hidden_NH: torch.Tensor) -> torch.Tensor:
        prompts = {place: self._prompt(row.ask.ids) for place in places if (row := self.rows[place])}
        if self._lean:
            begun = self._stream is not None
            if self._stream is None:
                assert self.base.decoder is not None
                self._stream = SharedStream(self.base.decoder, self._encoded, self._variants, len(self.rows))
            new_LH = self._stream.admit(places, [prompts[place] for place in places])
            if not begun:
                hidden_NH = new_LH.new_zeros(len(self.rows), new_LH.shape[1])
            hidden_NH[torch.tensor(places, device=self.base.on)] = new_LH
            return hidden_NH
        longest = max(row.ask.max_tokens for row in self.rows if row)
        self._stream = PlainStream(self.base.model, self._encoded, self._variants, longest)
        everywhere = [prompts.get(place, 0) for place in range(len(self.rows))]  # an empty place reads any prompt
        return self._stream.admit(range(len(self.rows)), everywhere)

    def _prompt(self, ids: tuple[int, ...]) -> int:
        """Its number; equal prompts are read once."""
        if ids not in self._known:
            self._known[ids] = len(self._encoded)
            self._encoded.append(ids)
        return self._known[ids]

    def _shrink(self, token_N: list[int]) -> list[int]:
        """Let half-empty places go: each costs as much as one in use."""
        each = len(self.rows) // self._variants
        used = [[p for p in range(v * each, (v + 1) * each) if self.rows[p]] for v in range(self._variants)]
        most = max(map(len, used))
        if 2 * most > each:
            return token_N
        layout = []
        for variant, mine in enumerate(used):
            empty = [p for p in range(variant * each, (variant + 1) * each) if not self.rows[p]]
            layout += sorted(mine + empty[: most - len(mine)])
        assert self._stream is not None
        self._stream.keep(layout)
        self.rows = [self.rows[place] for place in layout]
        return [token_N[place] for place in layout]
