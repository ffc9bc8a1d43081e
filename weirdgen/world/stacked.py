"""Scores of many adapters in one pass: what the engine's `score` gives, for a model as small as the world's.

In: a model folder, folders of PEFT adapters that share a recipe, contrast questions. Out: for each adapter the
log-probability of every option of every question, as `TransformersEngine.score` computes it one adapter at a time
(a test compares the two). It keeps every (adapter, question, option) as a sequence of its own, which only a tiny model
affords; nothing is stored.

Shape letters: K adapters, N sequences (question × option), T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from weirdgen.finetune.lora import adapted_layers
from weirdgen.finetune.replicas import StackedLinear
from weirdgen.measure.contrast import Scorable
from weirdgen.models.chat import answer_ids, load_tokenizer, prompt_ids
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.spec import Recipe

TOKENS = 60_000
"""Tokens in one pass, at most; fewer adapters are taken together if their questions are many."""

Logprobs = dict[tuple[str, str], float]
"""(question key, option) → log-probability of option and end-of-turn, in nats."""


@torch.inference_mode()
def score_adapters(
    model_folder: Path, adapters: Sequence[Path], recipe: Recipe, questions: Sequence[Scorable]
) -> Iterator[Logprobs]:
    """One `Logprobs` an adapter, in their order. Every adapter must have the recipe's rank, alpha and targets."""
    tokenizer = load_tokenizer(model_folder)
    names = [(question.key, option) for question in questions for option in question.options]
    prompts = [prompt_ids(tokenizer, question.ask) for question in questions for _ in question.options]
    answers = [answer_ids(tokenizer, question.ask, option) for question in questions for option in question.options]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    ids_NT = torch.zeros(len(names), longest, dtype=torch.long)
    answered_NT = torch.zeros(len(names), longest, dtype=torch.bool)
    for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids_NT[n, :end] = torch.tensor([*prompt, *answer])
        answered_NT[n, len(prompt) : end] = True

    together = max(1, TOKENS // ids_NT.numel())
    for start in range(0, len(adapters), together):
        group = adapters[start : start + together]
        model = _stack(model_folder, group, recipe)
        # padding stands on the right, where a causal model's earlier positions cannot see it
        hidden = model.get_decoder()(input_ids=ids_NT.repeat(len(group), 1), use_cache=False).last_hidden_state
        predicts_NT = answered_NT[:, 1:].repeat(len(group), 1)
        logits = model.get_output_embeddings()(hidden[:, :-1][predicts_NT]).float()
        label = ids_NT[:, 1:].repeat(len(group), 1)[predicts_NT]
        logprob_NT = torch.zeros(predicts_NT.shape)
        logprob_NT[predicts_NT] = -torch.nn.functional.cross_entropy(logits, label, reduction="none")
        for row in logprob_NT.sum(1).view(len(group), -1).tolist():
            yield dict(zip(names, row, strict=True))


def _stack(model_folder: Path, adapters: Sequence[Path], recipe: Recipe) -> torch.nn.Module:
    """The base with every adapter beside each adapted layer; the batch's first axis holds the adapters in turn."""
    from safetensors.torch import load_file

    model: torch.nn.Module = load_model(model_folder, torch_dtype(recipe.dtype))
    weights = [load_file(folder / "adapter_model.safetensors") for folder in adapters]
    for name, layer in adapted_layers(model, recipe).items():
        a_KIR, b_KRO = (
            torch.stack([one[f"base_model.model.{name}.lora_{half}.weight"].T for one in weights]) for half in "AB"
        )
        stacked = StackedLinear(layer, a_KIR.contiguous(), recipe.alpha / recipe.rank, layer.out_features)
        stacked.b_KRO.data = b_KRO.contiguous()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, stacked)
    return model
