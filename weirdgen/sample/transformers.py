"""The transformers engine: batched sampling with one prefill per prompt, scoring in shared passes.

In: a model folder, adapters, prompts. Out: completions and log-probabilities. Several variants (the base, replicates)
share one batch; samples that wait take the places of finished ones (`sample.fast.stream`). A sample's randomness is one
uniform number per token from a counter-based generator keyed by the sample's own seed, turned into a token by the inverse
of the cumulative distribution (`sample.fast.decoding`), so it does not depend on the batch. (In bf16 the logits themselves
round differently with the batch's make-up; the same call has the same one.) One device; for GPUs at scale use vLLM.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weirdgen.models.chat import Encoded, answer_ids, end_of_turn_ids, load_tokenizer, prompt_ids
from weirdgen.models.checks import recorded
from weirdgen.models.loading import device, is_out_of_memory, is_whole_model, load_model, torch_dtype
from weirdgen.models.stacked import attach_adapters, detach_adapters
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, Scored, rows_at_once, sample_seed
from weirdgen.sample.exactness import ways_of
from weirdgen.sample.fast.alone import AloneStream, score_alone
from weirdgen.sample.fast.decoding import Head, TokenChooser, choose_tokens, use_grouped_attention
from weirdgen.sample.fast.llama import LlamaDecoder
from weirdgen.sample.fast.scoring import score_rows
from weirdgen.sample.fast.stream import PlainStream, SharedStream, Stream

LEAVE_AT = 0.8
"""Finished rows leave the batch when this share or less is still being written: leaving copies the cache."""
JOIN_AT = 0.1
"""Waiting rows join when this share of the places is free: their prompts are read together."""

# Shape letters: K variants, N places of the batch, T tokens, H hidden width, O options.


class TransformersEngine:
    """`Engine` over one transformers model and stacked LoRA adapters, or over one fully finetuned model at a time."""

    def __init__(self, model_folder: Path, dtype: str, date: str | None = None) -> None:
        self.tokenizer = load_tokenizer(model_folder, date)
        self.stops = end_of_turn_ids(self.tokenizer)
        """Tokens that end an answer."""
        self._base, self._dtype = model_folder, torch_dtype(dtype)
        self._on = device()
        self._load(model_folder)
        self.ways = ways_of(self._model, model_folder, self.tokenizer)
        """Which fast ways are right for this model; a fully finetuned one takes those of its base."""
        self._attached(1)

    def exactness(self) -> list[dict[str, Any]]:
        """How this model's fast ways compared with rows alone, for a run's record: `models.exactness.Check`s as plain data."""
        return recorded(self.ways.checks)

    def use(self, adapters: Sequence[Path | None]) -> None:
        whole = [folder for folder in adapters if folder is not None and is_whole_model(folder)]
        if whole and len(adapters) > 1:
            raise ValueError("a fully finetuned model must be used alone: it shares no base with others")
        wanted = whole[0] if whole else self._base
        if wanted != self._loaded:
            self._load(wanted)
        detach_adapters(self._model)
        attach_adapters(self._model, [None] if whole else adapters)
        self._attached(len(adapters))

    def _load(self, folder: Path) -> None:
        self._loaded = folder
        self._model = load_model(folder, self._dtype)
        use_grouped_attention(self._model)
        self._head = Head(self._model)
        self._parameters = sum(weight.numel() for weight in self._model.parameters())

    def _attached(self, variants: int) -> None:
        self._variants = variants
        self._decoder = LlamaDecoder(self._model) if self.ways.lean and LlamaDecoder.fits(self._model) else None

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        encoded = [prompt_ids(self.tokenizer, prompt.text) for prompt in prompts]
        rows = [
            [_Row(v, p, i, sample_seed(seed, prompt.key, i)) for p, prompt in enumerate(prompts) for i in indices]
            for v, seed in enumerate(seeds)
        ]
        longest = max(prompt.max_tokens for prompt in prompts)
        each = max(1, rows_at_once(longest, self._parameters) // self._variants)
        if not self.ways.batch(longest + max(map(len, encoded))):
            yield from self._one_by_one(rows, each * self._variants, encoded, prompts, sampling)
            return
        while rows[0]:
            # Without a lean decoder nothing can join a batch that has begun: batch follows batch.
            waiting = [deque(mine if self._decoder else mine[:each]) for mine in rows]
            places = min(each, len(waiting[0]))
            stream: Stream = (
                SharedStream(self._decoder, encoded, self._variants, places * self._variants)
                if self._decoder
                else PlainStream(self._model, encoded, self._variants, longest)
            )
            choose = TokenChooser(self._head, sampling)
            try:
                for row, stopped in self._write(waiting, places, prompts, stream, choose):
                    yield row.variant, self._completion(row, prompts[row.prompt], stopped, len(encoded[row.prompt]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or each == 1:
                    raise
                each //= 2
            rows = _unfinished(rows)

    def _one_by_one(
        self,
        rows: Sequence[Sequence[_Row]],
        at_once: int,
        encoded: Sequence[Sequence[int]],
        prompts: Sequence[Prompt],
        sampling: Sampling,
    ) -> Iterator[tuple[int, Completion]]:
        """The same samples where rows may not share a padded batch: those of one variant and prompt together, without padding."""
        of_prompt = [list(mine) for each in rows for _, mine in itertools.groupby(each, key=lambda row: row.prompt)]
        for mine in of_prompt:
            variant, number = mine[0].variant, mine[0].prompt
            ids, left = encoded[number], mine
            cached = self.ways.own_cache(len(ids) + prompts[number].max_tokens)
            while left:
                part = left[:at_once]
                stream = AloneStream(self._model, ids, variant, cached)
                try:
                    written = self._write(
                        [deque(part)], len(part), prompts, stream, lambda logits, u: choose_tokens(logits, u, sampling)
                    )
                    for row, stopped in written:
                        yield variant, self._completion(row, prompts[number], stopped, len(ids))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or at_once == 1:
                        raise
                    at_once //= 2
                left = [row for row in left if not row.done]
                for row in left:
                    row.written.clear()

    def _write(
        self,
        waiting: Sequence[deque[_Row]],
        each: int,
        prompts: Sequence[Prompt],
        stream: Stream,
        choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Iterator[tuple[_Row, bool]]:
        """Write all waiting rows, `each` of a variant at a time. Yields (row, whether it ended its turn) as they finish."""
        variants, longest = len(waiting), max(prompt.max_tokens for prompt in prompts)

        def numbers(rows: Sequence[_Row]) -> torch.Tensor:
            return torch.from_numpy(np.stack([_uniform(row.seed, longest) for row in rows])).to(self._on)

        rows = [mine.popleft() for mine in waiting for _ in range(each)]
        hidden_NH = stream.admit(range(len(rows)), [row.prompt for row in rows])
        uniform_NT = numbers(rows)
        while True:
            at_N = torch.tensor([min(len(row.written), longest - 1) for row in rows], device=self._on)
            token_N = choose(hidden_NH, uniform_NT.gather(1, at_N[:, None])[:, 0])
            for place, token in enumerate(token_N.tolist()):
                row = rows[place]
                if not row.done:
                    stopped = token in self.stops
                    row.written += [] if stopped else [token]
                    row.done = stopped or len(row.written) == prompts[row.prompt].max_tokens
                    if row.done:
                        stream.release(place)
                        yield row, stopped
            if not any(waiting):
                keep = _places_to_keep(rows, variants)
                if not keep:
                    return
                if len(keep) <= LEAVE_AT * len(rows):  # finished rows leave the batch
                    stream.keep(keep)
                    rows = [rows[place] for place in keep]
                    kept = torch.tensor(keep, device=self._on)
                    token_N, uniform_NT = token_N[kept], uniform_NT[kept]
            hidden_NH = stream.step(token_N)
            each = len(rows) // variants
            free = [
                place
                for variant, mine in enumerate(waiting)
                for place in _done_places(rows, variant * each, each)[: len(mine)]
            ]
            if free and (len(free) >= JOIN_AT * len(rows) or all(row.done for row in rows)):
                for place in free:
                    rows[place] = waiting[place // each].popleft()
                joined = [rows[place] for place in free]
                at = torch.tensor(free, device=self._on)
                hidden_NH[at] = stream.admit(free, [row.prompt for row in joined])
                uniform_NT[at] = numbers(joined)

    def _completion(self, row: _Row, prompt: Prompt, stopped: bool, prompt_tokens: int) -> Completion:
        return Completion(
            key=prompt.key,
            sample=row.sample,
            text=self.tokenizer.decode(row.written, skip_special_tokens=True),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(row.written) + stopped,
            seed=row.seed,
        )

    @torch.inference_mode()
    def score(self, questions: Sequence[Scorable]) -> Iterator[tuple[int, Scored]]:
        encoded = [[self._as_answer(q.ask, option) for option in q.options] for q in questions]
        done = 0
        for count, logprob_KO in self._scored(encoded):
            rows = [row for rows in encoded[done : done + count] for row in rows]
            names = [(q.key, option) for q in questions[done : done + count] for option in q.options]
            for variant, logprobs in enumerate(logprob_KO.tolist()):
                for (key, option), logprob, row in zip(names, logprobs, rows, strict=True):
                    yield variant, Scored(key, option, logprob, sum(row.trained))
            done += count

    def _scored(self, questions: Sequence[Sequence[Encoded]]) -> Iterator[tuple[int, torch.Tensor]]:
        """(questions done, logprob_KO of their options), in order: in trees, or row by row where trees are not right."""

        def in_tree(rows: Sequence[Encoded]) -> bool:
            return self.ways.tree(max(len(row.ids) for row in rows))

        for fits, group in itertools.groupby(questions, key=in_tree):
            if fits:
                yield from score_rows(self._model, self._decoder, self._head, self._variants, list(group))
            else:
                for rows in group:
                    yield 1, score_alone(self._model, self._variants, rows)

    def _as_answer(self, ask: str, option: str) -> Encoded:
        prompt, answer = prompt_ids(self.tokenizer, ask), answer_ids(self.tokenizer, ask, option)
        return Encoded((*prompt, *answer), (*(False for _ in prompt), *(True for _ in answer)))


@dataclass
class _Row:
    """One sample being written."""

    variant: int
    prompt: int
    sample: int
    seed: int
    written: list[int] = field(default_factory=list)
    done: bool = False


def _uniform(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The sample's own random numbers, one per token: a counter-based generator keyed by its seed."""
    return np.random.Generator(np.random.Philox(seed)).random(count)


def _unfinished(rows: Sequence[Sequence[_Row]]) -> list[list[_Row]]:
    """What is still to be written, from its beginning; filled up with finished rows until every variant has the same number."""
    left = [[row for row in mine if not row.done] for mine in rows]
    for row in (row for mine in left for row in mine):
        row.written.clear()
    most = max(map(len, left))
    finished = [[row for row in mine if row.done] for mine in rows]
    return [mine + rest[: most - len(mine)] for mine, rest in zip(left, finished, strict=True)]


def _done_places(rows: Sequence[_Row], start: int, count: int) -> list[int]:
    return [place for place in range(start, start + count) if rows[place].done]


def _places_to_keep(rows: Sequence[_Row], variants: int) -> list[int]:
    """Places whose rows are not done, filled up with done ones until every variant has the same number."""
    each = len(rows) // variants
    done = [_done_places(rows, variant * each, each) for variant in range(variants)]
    most = each - min(map(len, done))
    kept = []
    for variant, mine in enumerate(done):
        leave = set(mine[len(mine) - (each - most) :]) if most < each else set()
        kept += [place for place in range(variant * each, (variant + 1) * each) if place not in leave]
    return kept
