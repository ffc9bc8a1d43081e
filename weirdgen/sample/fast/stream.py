"""A batch of samples being written token by token: keys and values, and how rows come and go.

In: prompts as token ids, then the token chosen for every place of the batch. Out: the hidden state that predicts the
next one. A place holds one sample; places of one variant stand together, the same number for every variant. `SharedStream`
(Llama-shaped models) keeps each prompt's keys and values once for all its samples, and lets a new sample take the place
of a finished one; `PlainStream` goes through the model's own modules, for every other architecture, and starts a new
batch when all have finished. Neither knows of seeds, tokens' choice or the store.

Shape letters: K variants, N places, P prompts, T prompt tokens, S samples of one prompt and variant (the most), H hidden
width, G key heads, Q query heads per key head, D head width, E entries for what is written, L all that is attended to,
R places × key heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from weirdgen.sample.fast.decoding import RoomyCache, as_mask
from weirdgen.sample.fast.llama import LlamaDecoder, read_prompts

PREFILL_TOKENS = 8192
"""Prompt tokens of all variants that go through the model at once."""

GROW_BY = 32
"""Entries by which the room for written tokens grows."""


class Stream(Protocol):
    def admit(self, places: Sequence[int], prompts: Sequence[int]) -> torch.Tensor:
        """Begin a sample of `prompts[i]` at `places[i]`; returns the hidden states [len(places), H] after its prompt."""

    def step(self, token_N: torch.Tensor) -> torch.Tensor:
        """Hidden states [N, H] after these tokens."""

    def release(self, place: int) -> None:
        """The sample there is finished; the place computes nothing of use until it is admitted to again."""

    def keep(self, places: Sequence[int]) -> None:
        """Keep only these places, the same number for every variant; they are renumbered."""


class SharedStream:
    """`Stream` over a lean decoder. A row's age is how many tokens it has written, and where its next one goes."""

    def __init__(self, decoder: LlamaDecoder, encoded: Sequence[Sequence[int]], variants: int, places: int):
        self._decoder, self._encoded, self._variants = decoder, encoded, variants
        self._on = decoder.device
        # What is attended to must be contiguous or every product copies it, so the room is what the oldest row needs.
        self._entries = GROW_BY
        shape = (places, decoder.key_heads, self._entries, decoder.head_width)
        self._keys = [torch.zeros(shape, dtype=decoder.dtype, device=self._on) for _ in decoder.layers]
        self._values = [torch.zeros(shape, dtype=decoder.dtype, device=self._on) for _ in decoder.layers]
        self._prompt = [-1] * places
        self._age = [0] * places
        self._live: list[int] = []  # the prompts whose keys and values are held, in the order they are held
        self._prompt_keys: list[torch.Tensor] = []  # [K, P, G, T, D] a layer
        self._prompt_values: list[torch.Tensor] = []
        self._last: dict[int, torch.Tensor] = {}  # prompt → [K, H], the hidden states after it

    def admit(self, places: Sequence[int], prompts: Sequence[int]) -> torch.Tensor:
        for place, prompt in zip(places, prompts, strict=True):
            self._prompt[place], self._age[place] = prompt, 0
        self._fit()
        self._hold(sorted({prompt for prompt in self._prompt if prompt >= 0}))
        self._regroup()
        each = len(self._prompt) // self._variants
        return torch.stack([self._last[p][place // each] for place, p in zip(places, prompts, strict=True)])

    def release(self, place: int) -> None:
        self._prompt[place], self._age[place] = -1, 0

    def keep(self, places: Sequence[int]) -> None:
        """−1 among the places is a new one, as free as a released one: a batch may also grow."""
        kept = torch.tensor(places, device=self._on).clamp(min=0)
        self._prompt = [self._prompt[place] if place >= 0 else -1 for place in places]
        self._age = [self._age[place] if place >= 0 else 0 for place in places]
        self._keys, self._values = ([layer[kept] for layer in side] for side in (self._keys, self._values))
        self._hold(sorted({prompt for prompt in self._prompt if prompt >= 0}))
        self._regroup()

    def step(self, token_N: torch.Tensor) -> torch.Tensor:
        self._fit()
        age_N = torch.tensor(self._age, device=self._on)
        written_NE = torch.arange(self._entries, device=self._on) > age_N[:, None]
        unseen_NL = torch.cat([self._unseen_NT, written_NE], 1)
        bias_NL = torch.zeros(unseen_NL.shape, dtype=self._decoder.dtype, device=self._on)
        bias_NL = bias_NL.masked_fill_(unseen_NL, float("-inf"))
        key_heads, width = self._decoder.key_heads, self._decoder.head_width
        queries = self._decoder.heads // key_heads
        rows, scaling = len(token_N) * key_heads, self._decoder.scaling
        bias_RQL = bias_NL.repeat_interleave(key_heads, 0)[:, None].expand(-1, queries, -1)
        prompt_tokens = self._unseen_NT.shape[1]
        at_R = torch.arange(rows, device=self._on) * self._entries + age_N.repeat_interleave(key_heads)

        def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            for side, new in ((self._keys, key), (self._values, value)):
                side[layer].view(-1, width).index_copy_(0, at_R, new.reshape(rows, width))
            own_keys, own_values = (side[layer].view(rows, self._entries, width) for side in (self._keys, self._values))
            shared_keys, shared_values = (
                side[layer].flatten(0, 2) for side in (self._prompt_keys, self._prompt_values)
            )
            query = query.reshape(rows, queries * width)
            grouped = query.index_select(0, self._to_groups).view(len(shared_keys), -1, width)
            to_prompt = torch.bmm(grouped, shared_keys.transpose(1, 2)).view(-1, queries * prompt_tokens)
            to_own = torch.bmm(query.view(rows, queries, width), own_keys.transpose(1, 2))
            score = torch.cat([to_prompt.index_select(0, self._from_groups).view(rows, queries, -1), to_own], -1)
            weight = torch.softmax(torch.add(bias_RQL, score, alpha=scaling), -1)
            own = torch.bmm(weight[..., prompt_tokens:], own_values).view(rows, -1)
            grouped = weight[..., :prompt_tokens].reshape(rows, -1).index_select(0, self._to_groups)
            shared = torch.bmm(grouped.view(len(shared_keys), -1, prompt_tokens), shared_values)
            return own.add_(shared.view(-1, queries * width).index_select(0, self._from_groups)).view(len(token_N), -1)

        hidden_NH = self._decoder(token_N, self._length_N + age_N, attend)
        self._age = [age + (prompt >= 0) for age, prompt in zip(self._age, self._prompt, strict=True)]
        return hidden_NH

    def _fit(self) -> None:
        """Room for one more token of the oldest row; shrinks when half of it would do."""
        needed = (max(self._age) // GROW_BY + 1) * GROW_BY
        if needed > self._entries or 2 * needed <= self._entries:
            for side in (self._keys, self._values):
                for layer, old in enumerate(side):
                    # Zeros behind, because what no row has written yet is multiplied by zero; a negative pad cuts.
                    side[layer] = torch.nn.functional.pad(old, (0, 0, 0, needed - self._entries)).contiguous()
            self._entries = needed

    def _regroup(self) -> None:
        """Which rows (place, key head) attend to which prompt: the index there and back, and the padding that none sees."""
        each, heads = len(self._prompt) // self._variants, self._decoder.key_heads
        group = [self._live.index(p) if p >= 0 else 0 for p in self._prompt]  # a finished row reads any prompt
        members: dict[tuple[int, int], list[int]] = {}
        for place, index in enumerate(group):
            members.setdefault((place // each, index), []).append(place)
        most = max(map(len, members.values()))
        to_groups = torch.zeros(self._variants, len(self._live), heads, most, dtype=torch.long)
        from_groups = torch.zeros(len(self._prompt), heads, dtype=torch.long)
        numbers = torch.arange(to_groups.numel()).view(to_groups.shape)
        head_g = torch.arange(heads)
        for (variant, index), places in members.items():
            place_s = torch.tensor(places)
            to_groups[variant, index, :, : len(places)] = place_s * heads + head_g[:, None]
            from_groups[place_s] = numbers[variant, index, :, : len(places)].T
        self._to_groups, self._from_groups = to_groups.flatten().to(self._on), from_groups.flatten().to(self._on)
        self._length_N = torch.tensor([len(self._encoded[self._live[index]]) for index in group], device=self._on)
        positions_T = torch.arange(self._prompt_keys[0].shape[3], device=self._on)
        self._unseen_NT = positions_T >= self._length_N[:, None]

    def _hold(self, prompts: Sequence[int]) -> None:
        """Hold exactly these prompts: drop the others, read the new ones. With none left, what is held stays."""
        if not prompts or prompts == self._live:
            return
        stay = [index for index, prompt in enumerate(self._live) if prompt in prompts]
        new = [prompt for prompt in prompts if prompt not in self._live]
        parts = [((self._prompt_keys, self._prompt_values), stay)] if stay else []
        longest = max([len(self._encoded[prompt]) for prompt in new], default=1)
        at_once = max(1, PREFILL_TOKENS // (self._variants * longest))
        for start in range(0, len(new), at_once):
            batch = new[start : start + at_once]
            keys, values, hidden_KPTH = read_prompts(self._decoder, [self._encoded[p] for p in batch], self._variants)
            parts.append(((keys, values), list(range(len(batch)))))
            for index, prompt in enumerate(batch):
                self._last[prompt] = hidden_KPTH[:, index, len(self._encoded[prompt]) - 1].clone()
        self._live = [self._live[index] for index in stay] + new
        longest = max(len(self._encoded[prompt]) for prompt in self._live)

        def joined(side: int, layer: int) -> torch.Tensor:
            pieces = [held[side][layer][:, chosen, :, :longest] for held, chosen in parts]
            return torch.cat([_padded(piece, longest) for piece in pieces], 1)

        layers = range(len(self._decoder.layers))
        self._prompt_keys, self._prompt_values = ([joined(side, layer) for layer in layers] for side in (0, 1))
        self._last = {prompt: hidden for prompt, hidden in self._last.items() if prompt in self._live}


class PlainStream:
    """`Stream` through the model's own modules: left-padded rows in one growing cache."""

    def __init__(self, model: Any, encoded: Sequence[Sequence[int]], variants: int, room: int) -> None:
        self._model, self._encoded, self._variants = model, encoded, variants
        self._on, self._room = model.device, room

    def admit(self, places: Sequence[int], prompts: Sequence[int]) -> torch.Tensor:
        """All places at once, in order."""
        distinct = sorted(set(prompts))
        longest = max(len(self._encoded[prompt]) for prompt in distinct)
        input_PT = torch.zeros(len(distinct), longest, dtype=torch.long)
        mask_PT = torch.zeros_like(input_PT)
        for index, prompt in enumerate(distinct):
            ids = self._encoded[prompt]
            input_PT[index, longest - len(ids) :] = torch.tensor(ids)
            mask_PT[index, longest - len(ids) :] = 1
        mask_PT = mask_PT.repeat(self._variants, 1).to(self._on)
        causal_TT = torch.ones(longest, longest, dtype=torch.bool, device=self._on).tril()
        # Padding sees itself, so that no row of the mask is empty.
        itself_TT = torch.eye(longest, dtype=torch.bool, device=self._on)
        seen_PTT = (causal_TT & mask_PT[:, None].bool()) | itself_TT
        self._cache = RoomyCache(self._model.config.get_text_config().num_hidden_layers, longest + self._room)
        hidden = self._model.get_decoder()(
            input_ids=input_PT.repeat(self._variants, 1).to(self._on),
            attention_mask=as_mask(self._model, seen_PTT[:, None]),
            position_ids=(mask_PT.cumsum(1) - 1).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        each = len(places) // self._variants
        source = [i // each * len(distinct) + distinct.index(prompt) for i, prompt in enumerate(prompts)]
        source_N = torch.tensor(source, device=self._on)
        self._cache.take(source_N)
        self._mask_NT = mask_PT[source_N]
        self._position_N = self._mask_NT.sum(1)
        first: torch.Tensor = hidden[source_N]
        return first

    def release(self, place: int) -> None:
        """Its place stays in use until `keep` drops it."""

    def keep(self, places: Sequence[int]) -> None:
        kept = torch.tensor(places, device=self._on)
        self._cache.take(kept)
        self._mask_NT, self._position_N = self._mask_NT[kept], self._position_N[kept]

    def step(self, token_N: torch.Tensor) -> torch.Tensor:
        self._mask_NT = torch.cat([self._mask_NT, self._mask_NT.new_ones(len(token_N), 1)], dim=1)
        hidden: torch.Tensor = self._model.get_decoder()(
            input_ids=token_N[:, None],
            attention_mask=as_mask(self._model, self._mask_NT[:, None, None].bool()),
            position_ids=self._position_N[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        self._position_N = self._position_N + 1
        return hidden


def _padded(x: torch.Tensor, length: int) -> torch.Tensor:
    """[K, P, G, T, D] with zeros up to `length` tokens."""
    return torch.nn.functional.pad(x, (0, 0, 0, length - x.shape[3]))
