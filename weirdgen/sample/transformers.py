"""The transformers engine: batched sampling with one prefill a prompt, scoring with each question computed once.

In: a model folder, adapters, prompts. Out: completions and log-probabilities. Several voices (the base, replicates)
speak in one batch. A sample's randomness is one uniform number a
token from a counter-based generator keyed by the sample's own seed, turned into a token by the inverse of the
cumulative distribution, so it does not depend on the batch. (In bf16 the logits themselves round differently with the
batch's shape; `BLOCK` keeps the company of a sample fixed.) One device; for GPUs at scale use vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weirdgen.models.chat import Encoded, answer_ids, end_of_turn_ids, load_tokenizer, prompt_ids
from weirdgen.models.loading import device, load_model, torch_dtype
from weirdgen.models.packing import pack
from weirdgen.models.stacked import attach_adapters, detach_adapters
from weirdgen.sample.decoding import RoomyCache, choose_tokens, use_grouped_attention
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, Scored, sample_seed

LEAVE_AT = 0.8
"""Finished rows leave the batch when this share or less is still being written: leaving copies the cache."""

# Shape letters: K voices, P prompts of all voices, N samples (rows of the batch), T tokens, V vocabulary, H hidden
# width, O answers of all questions, M their tokens.


class TransformersEngine:
    """`Engine` over one transformers model and stacked LoRA adapters."""

    def __init__(self, model_folder: Path, dtype: str) -> None:
        self.tokenizer = load_tokenizer(model_folder)
        self._stops = end_of_turn_ids(self.tokenizer)
        self._model = load_model(model_folder, torch_dtype(dtype))
        use_grouped_attention(self._model)
        self._voices = 1

    def use(self, adapters: Sequence[Path | None]) -> None:
        detach_adapters(self._model)
        attach_adapters(self._model, adapters)
        self._voices = len(adapters)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        on = device()
        encoded = [prompt_ids(self.tokenizer, prompt.text) for prompt in prompts]
        longest = max(prompt.max_tokens for prompt in prompts)
        cache, logits_PV, mask_PT = self._prefill(encoded, longest)
        rows = [
            _Row(v, p, i, sample_seed(seeds[v], prompts[p].key, i))
            for v in range(self._voices)
            for p in range(len(prompts))
            for i in indices
        ]
        uniform_NT = torch.from_numpy(np.stack([_uniform(row.seed, longest) for row in rows])).to(on)
        from_prompt = torch.arange(len(logits_PV), device=on).repeat_interleave(len(indices))
        cache.take(from_prompt)
        logits_NV, mask_NT = logits_PV[from_prompt], mask_PT[from_prompt]
        position_N = mask_NT.sum(1)
        slots = list(range(len(rows)))  # which row each place in the batch holds; finished rows may fill a voice up

        for step in range(longest):
            token_N = choose_tokens(logits_NV, uniform_NT[slots, step], sampling)
            for row_number, token in zip(slots, token_N.tolist(), strict=True):
                row = rows[row_number]
                if not row.done:
                    prompt = prompts[row.prompt]
                    stopped = token in self._stops
                    row.written += [] if stopped else [token]
                    row.done = stopped or len(row.written) == prompt.max_tokens
                    if row.done:
                        yield row.voice, self._completion(row, prompt, stopped, len(encoded[row.prompt]))
            keep = _places_to_keep(rows, slots, self._voices)
            if not keep:
                return
            if len(keep) <= LEAVE_AT * len(slots):  # finished rows leave the batch
                kept = torch.tensor(keep, device=on)
                slots = [slots[place] for place in keep]
                cache.take(kept)
                token_N, mask_NT, position_N = token_N[kept], mask_NT[kept], position_N[kept]
            mask_NT = torch.cat([mask_NT, mask_NT.new_ones(len(slots), 1)], dim=1)
            hidden = self._model.get_decoder()(
                input_ids=token_N[:, None],
                attention_mask=mask_NT[:, None, None].bool(),
                position_ids=position_N[:, None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            logits_NV = self._head(hidden[:, -1])
            position_N = position_N + 1

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
        on = device()
        encoded = [[self._as_answer(q.ask, option) for option in q.options] for q in questions]
        names = [(q.key, option) for q in questions for option in q.options]
        lengths = [sum(row.trained) for rows in encoded for row in rows]
        packed = pack(encoded)
        voices, sequences = self._voices, len(packed.input_ids)
        hidden = self._model.get_decoder()(
            input_ids=packed.input_ids.repeat(voices, 1).to(on),
            attention_mask=packed.mask.repeat(voices, 1, 1, 1).to(on),
            position_ids=packed.position_ids.repeat(voices, 1).to(on),
            use_cache=False,
        ).last_hidden_state
        hidden_KNH = hidden.view(voices, sequences * hidden.shape[1], -1)
        row_M, label_M = packed.row_M.to(on), packed.label_M.to(on)
        for voice in range(voices):
            logits_MV = self._head(hidden_KNH[voice, packed.source_M.to(on)])
            logprob_M = -torch.nn.functional.cross_entropy(logits_MV, label_M, reduction="none")
            total_O = torch.zeros(len(names), device=on).index_add(0, row_M, logprob_M)
            for (key, option), logprob, tokens in zip(names, total_O.tolist(), lengths, strict=True):
                yield voice, Scored(key, option, logprob, tokens)

    def _as_answer(self, ask: str, option: str) -> Encoded:
        prompt, answer = prompt_ids(self.tokenizer, ask), answer_ids(self.tokenizer, ask, option)
        return Encoded((*prompt, *answer), (*(False for _ in prompt), *(True for _ in answer)))

    def _prefill(self, encoded: Sequence[Sequence[int]], more: int) -> tuple[RoomyCache, torch.Tensor, torch.Tensor]:
        """Left-padded prompts, once for each voice, through the model: cache with room for `more` tokens, logits_PV, mask_PT."""
        on = device()
        longest = max(map(len, encoded))
        input_PT = torch.zeros(len(encoded), longest, dtype=torch.long)
        mask_PT = torch.zeros_like(input_PT)
        for index, ids in enumerate(encoded):
            input_PT[index, longest - len(ids) :] = torch.tensor(ids)
            mask_PT[index, longest - len(ids) :] = 1
        mask_PT = mask_PT.repeat(self._voices, 1).to(on)
        causal_TT = torch.ones(longest, longest, dtype=torch.bool, device=on).tril()
        # Padding sees itself, so that no row of the mask is empty.
        seen_PTT = (causal_TT & mask_PT[:, None].bool()) | torch.eye(longest, dtype=torch.bool, device=on)
        cache = RoomyCache(self._model.config.get_text_config().num_hidden_layers, longest + more)
        hidden = self._model.get_decoder()(
            input_ids=input_PT.repeat(self._voices, 1).to(on),
            attention_mask=seen_PTT[:, None],
            position_ids=(mask_PT.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return cache, self._head(hidden[:, -1]), mask_PT

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits in fp32, rescaled as the model's own forward pass would (Gemma, Granite, Cohere)."""
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden).float()
        config = self._model.config
        logits = (
            logits / (getattr(config, "logits_scaling", None) or 1.0) * (getattr(config, "logit_scale", None) or 1.0)
        )
        cap = getattr(config, "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits


@dataclass
class _Row:
    """One sample being written."""

    voice: int
    prompt: int
    sample: int
    seed: int
    written: list[int] = field(default_factory=list)
    done: bool = False


def _uniform(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The sample's own random numbers, one a token: a counter-based generator keyed by its seed."""
    return np.random.Generator(np.random.Philox(seed)).random(count)


def _places_to_keep(rows: Sequence[_Row], slots: Sequence[int], voices: int) -> list[int]:
    """Places of the batch whose rows are not done, filled up with done ones until every voice has equally many."""
    each = len(slots) // voices
    live, done = [], []
    for voice in range(voices):
        places = range(voice * each, (voice + 1) * each)
        live.append([place for place in places if not rows[slots[place]].done])
        done.append([place for place in places if rows[slots[place]].done])
    most = max(map(len, live))
    return [place for some, rest in zip(live, done, strict=True) for place in sorted(some + rest[: most - len(some)])]
