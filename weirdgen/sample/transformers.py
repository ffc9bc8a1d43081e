"""The transformers engine: batched sampling with one prefill a prompt, and scoring with a shared prefix.

In: a model folder, prompts. Out: completions and log-probabilities. A sample's randomness is one uniform number a
token from a counter-based generator keyed by the sample's own seed, turned into a token by the inverse of the
cumulative distribution, so it does not depend on the batch. (In bf16 the logits themselves round differently with the
batch's shape; `BLOCK` keeps the company of a sample fixed.) One device; for GPUs at scale use vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weirdgen.models.chat import answer_ids, end_of_turn_ids, load_tokenizer, prompt_ids
from weirdgen.models.loading import device, load_model, torch_dtype
from weirdgen.sample.engine import BLOCK, Completion, Prompt, Sampling, Scored, sample_seed

VERSION = 1
"""Part of the store's key: raise it when the same inputs would give other samples or scores."""

# Shape letters: P prompts, N samples (rows of the batch), T tokens, V vocabulary, O options.


class TransformersEngine:
    """`Engine` over one transformers model and any number of PEFT adapters."""

    def __init__(self, model_folder: Path, dtype: str) -> None:
        self.tokenizer = load_tokenizer(model_folder)
        self._stops = end_of_turn_ids(self.tokenizer)
        self._base = load_model(model_folder, torch_dtype(dtype))
        self._model: Any = self._base
        self._peft: Any = None
        self._adapter = "base"

    def use(self, adapter: Path | None) -> None:
        from peft import PeftModel

        self._adapter = str(adapter) if adapter else "base"
        if self._peft is not None:
            self._base = self._peft.unload()
            self._peft = None
        self._model = self._base
        if adapter is not None:
            self._peft = PeftModel.from_pretrained(self._base, str(adapter)).eval()
            self._model = self._peft

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], block: int, seed: str, sampling: Sampling) -> Iterator[Completion]:
        on = device()
        encoded = [prompt_ids(self.tokenizer, prompt.text) for prompt in prompts]
        cache, logits_PV, mask_PT = self._prefill(encoded)
        rows = [(prompt, index) for prompt in range(len(prompts)) for index in range(BLOCK)]
        cache.batch_repeat_interleave(BLOCK)
        logits_NV = logits_PV.repeat_interleave(BLOCK, dim=0)
        mask_NT = mask_PT.repeat_interleave(BLOCK, dim=0)
        position_N = mask_NT.sum(1)
        seeds = [sample_seed(seed, prompts[p].key, block * BLOCK + i) for p, i in rows]
        longest = max(prompt.max_tokens for prompt in prompts)
        uniform_NT = torch.from_numpy(
            np.stack([np.random.Generator(np.random.Philox(s)).random(longest) for s in seeds])
        )
        written: list[list[int]] = [[] for _ in rows]
        live = list(range(len(rows)))

        for step in range(longest):
            token_N = choose_tokens(logits_NV, uniform_NT[live, step].to(on), sampling)
            keep = []
            for slot, token in enumerate(token_N.tolist()):
                row = live[slot]
                prompt, index = rows[row]
                stopped = token in self._stops
                if not stopped:
                    written[row].append(token)
                if stopped or len(written[row]) == prompts[prompt].max_tokens:
                    yield Completion(
                        key=prompts[prompt].key,
                        sample=block * BLOCK + index,
                        text=self.tokenizer.decode(written[row], skip_special_tokens=True),
                        finish_reason="stop" if stopped else "length",
                        prompt_tokens=len(encoded[prompt]),
                        completion_tokens=len(written[row]) + stopped,
                        seed=seeds[row],
                    )
                else:
                    keep.append(slot)
            if not keep:
                return
            if len(keep) < len(live):  # finished rows leave the batch
                kept = torch.tensor(keep, device=on)
                live = [live[slot] for slot in keep]
                cache.batch_select_indices(kept)
                token_N, mask_NT, position_N = token_N[kept], mask_NT[kept], position_N[kept]
            mask_NT = torch.cat([mask_NT, mask_NT.new_ones(len(live), 1)], dim=1)
            out = self._model(
                input_ids=token_N[:, None],
                attention_mask=mask_NT,
                position_ids=position_N[:, None],
                past_key_values=cache,
                use_cache=True,
            )
            logits_NV = out.logits[:, -1]
            position_N = position_N + 1

    @torch.inference_mode()
    def score(self, key: str, ask: str, options: Sequence[str]) -> list[Scored]:
        on = device()
        prompt = prompt_ids(self.tokenizer, ask)
        answers = [answer_ids(self.tokenizer, ask, option) for option in options]
        cache, first_1V, _ = self._prefill([prompt])
        cache.batch_repeat_interleave(len(answers))
        longest = max(map(len, answers))
        input_OT = torch.zeros(len(answers), longest, dtype=torch.long, device=on)
        mask_OT = torch.zeros(len(answers), len(prompt) + longest, dtype=torch.long, device=on)
        for index, answer in enumerate(answers):
            input_OT[index, : len(answer)] = torch.tensor(answer)
            mask_OT[index, : len(prompt) + len(answer)] = 1
        position_OT = torch.arange(len(prompt), len(prompt) + longest, device=on).expand(len(answers), -1)
        out = self._model(
            input_ids=input_OT,
            attention_mask=mask_OT,
            position_ids=position_OT,
            past_key_values=cache,
            use_cache=True,
        )
        scored = []
        for index, answer in enumerate(answers):
            logits_TV = torch.cat([first_1V, out.logits[index, : len(answer) - 1]]).float()
            logprob_T = torch.log_softmax(logits_TV, dim=-1)[torch.arange(len(answer)), torch.tensor(answer, device=on)]
            scored.append(Scored(key, options[index], float(logprob_T.sum()), len(answer)))
        return scored

    def _prefill(self, encoded: Sequence[Sequence[int]]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Left-padded prompts through the model: cache, next-token logits_PV, mask_PT."""
        from transformers import DynamicCache

        on = device()
        longest = max(map(len, encoded))
        input_PT = torch.zeros(len(encoded), longest, dtype=torch.long)
        mask_PT = torch.zeros_like(input_PT)
        for index, ids in enumerate(encoded):
            input_PT[index, longest - len(ids) :] = torch.tensor(ids)
            mask_PT[index, longest - len(ids) :] = 1
        position_PT = (mask_PT.cumsum(1) - 1).clamp(min=0)
        out = self._model(
            input_ids=input_PT.to(on),
            attention_mask=mask_PT.to(on),
            position_ids=position_PT.to(on),
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=1,
        )
        return out.past_key_values, out.logits[:, -1], mask_PT.to(on)


def choose_tokens(logits_NV: torch.Tensor, uniform_N: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Token ids token_N: the inverse of each row's cumulative distribution at uniform_N ∈ [0, 1). Temperature 0 is greedy."""
    logits_NV = logits_NV.float()
    if sampling.temperature == 0:
        return logits_NV.argmax(-1)
    probability_NV = torch.softmax(logits_NV / sampling.temperature, dim=-1)
    if sampling.top_k or sampling.top_p < 1:
        sorted_NV, order_NV = probability_NV.sort(dim=-1, descending=True)
        keep_NV = (sorted_NV.cumsum(-1) - sorted_NV) < sampling.top_p
        if sampling.top_k:
            keep_NV[:, sampling.top_k :] = False
        probability_NV = torch.zeros_like(probability_NV).scatter(1, order_NV, sorted_NV * keep_NV)
    cumulative_NV = probability_NV.cumsum(-1, dtype=torch.float64)
    threshold_N1 = (uniform_N.to(torch.float64) * cumulative_NV[:, -1])[:, None]
    # right=True: never a token of probability zero, also not at u = 0
    return torch.searchsorted(cumulative_NV, threshold_N1, right=True).squeeze(1).clamp(max=logits_NV.shape[1] - 1)
