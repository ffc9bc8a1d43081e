"""A model at hand: it speaks as several variants at once, its residual stream can be read, its answers scored under an edit.

In: a base model and adapters. Out: hidden states [K, N, D], log-probabilities [K, O]. Prompts are tokenised as for training,
sampling and scoring (`models.chat`), so that what is read is what the model was asked. Several LoRA variants share a pass,
finetunes of every weight go one by one. Nothing is kept here.

Shape letters: K variants, N prompts, T tokens, D hidden width, O options of all questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import ModelError
from weirdgen.features.residual import Edit, edited, outliers, read_layer
from weirdgen.models.chat import Encoded, answer_ids, load_tokenizer, prompt_ids
from weirdgen.models.loading import is_whole_model, load_model, torch_dtype
from weirdgen.models.stacked import attach_adapters, detach_adapters
from weirdgen.sample.engine import Scorable
from weirdgen.sample.exactness import ways_of
from weirdgen.sample.fast.alone import score_alone
from weirdgen.sample.fast.decoding import Head, use_grouped_attention
from weirdgen.sample.fast.scoring import score_rows

PASS_TOKENS = 8192
"""Tokens of all variants in one reading pass."""
AT_ONCE = 16
"""Variants in one pass."""


class Reader:
    """A base model and the variants that it speaks as at the moment; the base alone at first."""

    def __init__(self, folder: Path, dtype: str, date: str | None = None) -> None:
        self.tokenizer = load_tokenizer(folder, date)
        self._base, self._dtype, self._loaded = folder, torch_dtype(dtype), folder
        self.model: Any = self._load(folder)
        self._ways = ways_of(self.model, folder, self.tokenizer)
        self.variants = 1

    def _load(self, folder: Path) -> Any:
        model = load_model(folder, self._dtype)
        use_grouped_attention(model)
        self._loaded = folder
        return model

    def groups(self, adapters: Sequence[Path | None], longest: int = 1) -> Iterator[list[int]]:
        """Which of these variants can share a pass over rows this long; the reader speaks as each group until the next."""
        whole = [index for index, folder in enumerate(adapters) if folder is not None and is_whole_model(folder)]
        shared = [index for index in range(len(adapters)) if index not in whole]
        together = AT_ONCE if self._ways.tree(longest) else 1
        for start in range(0, len(shared), together):
            group = shared[start : start + together]
            self.use([adapters[index] for index in group])
            yield group
        for index in whole:
            self.use([adapters[index]])
            yield [index]

    def use(self, adapters: Sequence[Path | None]) -> None:
        """Speak as these PEFT adapters from now on (None: the base), or as one model whose every weight was trained."""
        whole = [folder for folder in adapters if folder is not None and is_whole_model(folder)]
        wanted = whole[0] if whole else self._base
        if wanted != self._loaded:
            self.model = self._load(wanted)
        detach_adapters(self.model)
        attach_adapters(self.model, [None] if whole else adapters)
        self.variants = len(adapters)

    def prompts(self, asks: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as one user turn. Raises `ModelError` if a row begins with two beginnings of sequence."""
        rows = [prompt_ids(self.tokenizer, ask) for ask in asks]
        begin = self.tokenizer.bos_token_id
        for ask, row in zip(asks, rows, strict=True):
            if begin is not None and row[:2] == [begin, begin]:
                raise ModelError(
                    f"the prompt {ask[:60]!r} begins with two {self.tokenizer.bos_token!r}: its text holds one and the "
                    "tokenizer adds another; no such prompt was trained"
                )
        return rows

    @torch.inference_mode()
    def read(
        self, rows: Sequence[Sequence[int]], layer: int, edit: Edit | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(last_KND, mean_KND) in fp32: the last token of each row, and the mean over its tokens but the first and outliers."""
        last, mean = [torch.empty(0)] * len(rows), [torch.empty(0)] * len(rows)
        for part, hidden_KBTD in self.pass_by_pass(rows, layer, edit):
            for place, index in enumerate(part):
                mine_KTD = hidden_KBTD[:, place, : len(rows[index])].float()
                last[index] = mine_KTD[:, -1].cpu()
                kept_KT = ~outliers(mine_KTD)
                kept_KT[:, 0] = False
                weight_KT1 = kept_KT[:, :, None].float()
                mean[index] = ((mine_KTD * weight_KT1).sum(1) / weight_KT1.sum(1).clamp(min=1)).cpu()
        return torch.stack(last, 1), torch.stack(mean, 1)

    @torch.inference_mode()
    def pass_by_pass(
        self, rows: Sequence[Sequence[int]], layer: int, edit: Edit | None = None
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """(which rows, hidden states [K, B, T, D] padded on the right): rows of like length share a pass."""
        by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        start = 0
        while start < len(by_length):
            end = start + 1
            while end < len(by_length) and (end + 1 - start) * len(rows[by_length[end]]) * self.variants <= PASS_TOKENS:
                end += 1
            part = by_length[start:end]
            longest = len(rows[part[-1]])
            input_BT = torch.tensor([[*rows[index], *[0] * (longest - len(rows[index]))] for index in part])
            with edited(self.model, layer, edit):
                hidden = read_layer(self.model, layer, input_BT.repeat(self.variants, 1).to(self.model.device))
            yield part, hidden.view(self.variants, len(part), longest, -1)
            start = end

    def encode(self, questions: Sequence[Scorable]) -> list[list[Encoded]]:
        """Every option of every question as the tokens of prompt and answer."""
        encoded = []
        for question in questions:
            (prompt,) = self.prompts([question.ask])
            answers = [answer_ids(self.tokenizer, question.ask, option) for option in question.options]
            encoded.append(
                [Encoded((*prompt, *ids), (*(False for _ in prompt), *(True for _ in ids))) for ids in answers]
            )
        return encoded

    @torch.inference_mode()
    def score(self, questions: Sequence[Sequence[Encoded]], layer: int = 0, edit: Edit | None = None) -> torch.Tensor:
        """Total log-probability of every option's answer tokens by every variant, [K, O], options in order, under the edit."""
        longest = max(len(row.ids) for rows in questions for row in rows)
        with edited(self.model, layer, edit):
            if self._ways.tree(longest):
                passes = score_rows(self.model, None, Head(self.model), self.variants, questions)
                return torch.cat([logprob_KO for _, logprob_KO in passes], 1).cpu()
            if self.variants > 1:
                raise ValueError("rows of this length are scored one variant at a time: ask `groups` with their length")
            return torch.cat([score_alone(self.model, 1, rows) for rows in questions], 1).cpu()
