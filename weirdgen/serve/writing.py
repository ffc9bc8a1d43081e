"""Answers being written, one token of each per step: what a batch and a prompt that goes alone have in common, and the latter.

In: a `Base` with finetunes attached, a queue of `Ask`s. Out: what each ask is told. Rows of several prompts side by side are in
`weirdgen.serve.batch`; where rows may not share a padded batch, a prompt goes alone. An answer is the same whatever shares its
batch, up to the rounding of the dtype: its random numbers are its own.

Shape letters: N places, L places in use, H hidden width, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from weirdgen.sample.engine import Sampling, sample_seed
from weirdgen.sample.fast.alone import AloneStream
from weirdgen.sample.fast.decoding import TokenChooser, choose_tokens
from weirdgen.serve.asks import Answer, Ask, Given, Piece, Token
from weirdgen.serve.base import Base, likeliest
from weirdgen.serve.gate import Gate
from weirdgen.serve.queue import Queue, closing
from weirdgen.serve.spelling import Spelling


def score(base: Base, gate: Gate, queue: Queue, ask: Ask) -> None:
    """Tell a prompt's own log-probabilities; with nothing to write, the ask is finished."""
    with gate.step():
        logprobs, tops = base.given(ask.ids, base.adapters.index(ask.adapter), ask.top or 0)
    ask.tell(Given(ask.ids, [None, *logprobs], [[], *tops]))
    if not ask.max_tokens:
        queue.finished(ask)


class Row:
    """One answer being written."""

    def __init__(self, ask: Ask, index: int, tokenizer: Any) -> None:
        self.ask, self.index = ask, index
        self.written: list[int] = []
        self.tokens: list[Token] = []
        self.told = 0
        """Tokens that have gone out in pieces."""
        self.sent = 0
        """Characters that have."""
        # The same number of the same generator as in `weirdgen.sample.transformers`: an answer is the same there.
        seed = sample_seed(ask.seed, "", index)
        self.uniform = np.random.Generator(np.random.Philox(seed)).random(ask.max_tokens)
        followed = ask.streamed or ask.stops or ask.top is not None
        self.spelling = Spelling(tokenizer, ask.stops) if followed else None


class Writing:
    """What a batch and a prompt that goes alone have in common: rows, and what is made of their tokens."""

    def __init__(self, base: Base, gate: Gate, queue: Queue) -> None:
        self.base, self.gate, self.queue = base, gate, queue
        self.rows: list[Row | None] = []
        """By place; None where nothing is written."""
        self._chooser: tuple[Sampling, TokenChooser] | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around all that is computed. Raises `ApiError` once the server ends."""
        if self.queue.closing:
            raise closing()
        with self.gate.step():
            yield

    def in_use(self) -> list[int]:
        return [place for place, row in enumerate(self.rows) if row is not None]

    def choose(self, hidden_NH: torch.Tensor, are_logits: bool) -> list[int]:
        """A token for every place, chosen by its row's own settings and random numbers."""
        places = self.in_use()
        rows = [row for row in self.rows if row is not None]
        samplings = {row.ask.sampling for row in rows}
        if len(samplings) == 1 and not are_logits and all(row.ask.top is None for row in rows):
            (sampling,) = samplings
            if self._chooser is None or self._chooser[0] != sampling:
                self._chooser = (sampling, TokenChooser(self.base.head, sampling))
            drawn_N = [0.0 if row is None else row.uniform[len(row.written)] for row in self.rows]
            uniform_N = torch.tensor(drawn_N, dtype=torch.float64, device=hidden_NH.device)
            return self._chooser[1](hidden_NH, uniform_N).tolist()
        hidden_LH = hidden_NH[torch.tensor(places, device=hidden_NH.device)]
        logits_LV = hidden_LH.float() if are_logits else self.base.head(hidden_LH)
        chosen = [0] * len(self.rows)
        for sampling in samplings:
            mine = [index for index, row in enumerate(rows) if row.ask.sampling == sampling]
            uniform = [rows[index].uniform[len(rows[index].written)] for index in mine]
            uniform_L = torch.tensor(uniform, dtype=torch.float64, device=hidden_NH.device)
            tokens = choose_tokens(logits_LV[mine], uniform_L, sampling).tolist()
            for index, token in zip(mine, tokens, strict=True):
                chosen[places[index]] = token
        self._remember_logprobs(rows, [chosen[place] for place in places], logits_LV)
        return chosen

    def advance(self, token_N: Sequence[int]) -> list[int]:
        """Add a token to each row; returns the places of those that are over, which are told and counted."""
        over = []
        for place in self.in_use():
            row = self.rows[place]
            assert row is not None
            if row.ask.cancelled or time.monotonic() > row.ask.deadline:
                over.append(place)
                continue
            token = token_N[place]
            ended = token in self.base.stops
            if not ended:
                row.written.append(token)
                if row.spelling:
                    row.spelling.add(token)
                ended = bool(row.spelling and row.spelling.stopped)
                if not ended and len(row.written) < row.ask.max_tokens:
                    self._tell_piece(row)
                    continue
            self._tell_answer(row, ended, token in self.base.stops)
            over.append(place)
        asks = {id(row.ask): row.ask for place in over if (row := self.rows[place])}
        for place in over:
            self.rows[place] = None
        for ask in asks.values():
            if not any(row is not None and row.ask is ask for row in self.rows):
                self.queue.finished(ask)
        return over

    def _remember_logprobs(self, rows: Sequence[Row], tokens: Sequence[int], logits_LV: torch.Tensor) -> None:
        wanting = [index for index, row in enumerate(rows) if row.ask.top is not None]
        if not wanting:
            return
        logprob_LV = logits_LV[wanting].log_softmax(-1)
        most = max(rows[index].ask.top or 0 for index in wanting)
        for at, (index, tops) in enumerate(zip(wanting, likeliest(logprob_LV, most), strict=True)):
            token, row = tokens[index], rows[index]
            if token not in self.base.stops:
                row.tokens.append(Token(token, float(logprob_LV[at, token]), tops[: row.ask.top]))

    def _tell_piece(self, row: Row) -> None:
        if not row.ask.streamed or row.spelling is None or (safe := row.spelling.safe()) <= row.sent:
            return
        ends, told = row.spelling.ends, row.told
        while (
            told < len(row.tokens) and (ends[told - 1] if told else -1) < safe
        ):  # the text of the rest may not be told
            told += 1
        row.ask.tell(Piece(row.index, row.spelling.text[row.sent : safe], row.tokens[row.told : told]))
        row.sent, row.told = safe, told

    def _tell_answer(self, row: Row, ended: bool, by_token: bool) -> None:
        if row.spelling:
            row.spelling.finish()
        spelling = row.spelling
        if spelling and (row.ask.stops or row.ask.streamed):
            text = spelling.text
        else:
            text = self.base.tokenizer.decode(row.written, skip_special_tokens=True)
        tokens, ends = row.tokens, spelling.ends if spelling else []
        if spelling and spelling.stopped:  # tokens that lie behind the beginning of the stop string
            kept = sum((ends[i - 1] if i else -1) < len(text) for i in range(len(tokens)))
            tokens, ends = tokens[:kept], [min(end, len(text)) for end in ends[:kept]]
        if row.ask.streamed and (len(text) > row.sent or len(tokens) > row.told):
            row.ask.tell(Piece(row.index, text[row.sent :], tokens[row.told :]))
        reason = "stop" if ended else "length"
        row.ask.tell(Answer(row.index, text, reason, len(row.written) + by_token, tokens, ends))


class Alone(Writing):
    """The answers of one ask, where rows of this length may not share a padded batch."""

    def __init__(self, base: Base, gate: Gate, queue: Queue, ask: Ask) -> None:
        super().__init__(base, gate, queue)
        self._ask = ask
        self.rows = [Row(ask, index, base.tokenizer) for index in range(ask.n)]

    def write(self) -> None:
        base, ask = self.base, self._ask
        if ask.echo:
            score(self.base, self.gate, self.queue, ask)
        cached = base.ways.own_cache(len(ask.ids) + ask.max_tokens)
        stream = AloneStream(base.model, ask.ids, base.adapters.index(ask.adapter), cached)
        with self.step():
            logits_NV = stream.admit(range(len(self.rows)), [0] * len(self.rows))
        while True:
            token_N = self.choose(logits_NV, are_logits=True)
            self.advance(token_N)
            keep = self.in_use()
            if not keep:
                return
            with self.step():
                if len(keep) < len(self.rows):
                    stream.keep(keep)
                    self.rows = [self.rows[place] for place in keep]
                    token_N = [token_N[place] for place in keep]
                logits_NV = stream.step(torch.tensor(token_N, device=base.on))
