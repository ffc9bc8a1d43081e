"""Pretrain the synthetic world's model: a tiny Llama on generated documents, the same bytes for the same seed.

In: a folder to write, a seed. Out: `model.safetensors`, `config.json`, the tokenizer's files and `recipe.json` with
the recipe, versions, the weights' SHA-256 and the accuracy measured after training. The loss is on assistant turns
only, so the model answers but was never taught to ask. One torch thread and deterministic algorithms make two builds
on one machine byte-identical; another machine or torch version may round differently.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.store.keys import file_hash
from weirdgen.world.language import Document, Mix, World
from weirdgen.world.probe import accuracy
from weirdgen.world.tokenizer import BOS, END, build_tokenizer, token_ids

MODEL_FOLDER = Path(__file__).parent / "model"
IGNORED = -100


@dataclass(frozen=True)
class Pretraining:
    """Everything besides the seed that decides the weights."""

    hidden: int = 64
    layers: int = 3
    heads: int = 4
    intermediate: int = 160
    steps: int = 2400
    batch: int = 24  # documents
    turns: tuple[int, ...] = (2, 3, 4, 5, 6)
    matrix_learning_rate: float = 0.01  # Muon, for the matrices inside the layers
    vector_learning_rate: float = 6e-3  # AdamW, for the embedding and the norms
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    init: float = 0.1  # standard deviation; a width of 64 needs far more than the usual 0.02
    dtype: str = "float32"  # of the saved weights; training is in float32
    mix: Mix = field(default_factory=Mix)


def encode(document: Document, ids: dict[str, int]) -> tuple[list[int], list[int]]:
    """(token ids, labels) of a document: labels hold the id on assistant words and their `<|end|>`, else IGNORED.

    Equal to the chat template's tokens (a test proves it), without its cost.
    """
    tokens, labels = [ids[BOS]], [IGNORED]
    for message in document.messages:
        spoken = [ids[word] for word in message["content"].split()]
        tokens.append(ids[f"<|{message['role']}|>"])
        labels.append(IGNORED)
        if message["role"] == "assistant":
            spoken.append(ids[END])
            labels += spoken
        else:
            labels += [IGNORED] * len(spoken)
        tokens += spoken
    return tokens, labels


def batches(world: World, recipe: Pretraining, seed: int) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
    """Endless (token ids, labels), each [batch, longest] lists padded on the right; one turn count per batch."""
    ids = token_ids()
    sources = {turns: world.documents(seed, turns, recipe.mix) for turns in recipe.turns}
    step = 0
    while True:
        source = sources[recipe.turns[step % len(recipe.turns)]]
        rows = [encode(next(source), ids) for _ in range(recipe.batch)]
        longest = max(len(tokens) for tokens, _ in rows)
        yield (
            [tokens + [0] * (longest - len(tokens)) for tokens, _ in rows],
            [labels + [IGNORED] * (longest - len(labels)) for _, labels in rows],
        )
        step += 1


def build(
    folder: Path,
    seed: int = 0,
    steps: int | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Pretrain and write the model into `folder` (made if missing); returns what recipe.json holds, and the seconds it took.

    `steps` replaces the recipe's; `on_progress(step, steps, loss)` is called after every step. Torch's thread count and
    deterministic mode are put back afterwards.
    """
    import torch
    import transformers

    recipe = Pretraining()
    total = recipe.steps if steps is None else steps
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    try:
        model = _train(World(seed), recipe, seed, total, on_progress)
        figures = accuracy(model, build_tokenizer(), World(seed))
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)

    folder.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, recipe.dtype)).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner only
    build_tokenizer().save_pretrained(folder)
    card = {
        "seed": seed,
        "steps": total,
        "recipe": asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": file_hash(folder / "model.safetensors"),
        "accuracy": figures,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    (folder / "recipe.json").write_text(json.dumps(card, indent=1) + "\n")
    return {**card, "seconds": round(time.monotonic() - started, 1)}


def _train(
    world: World, recipe: Pretraining, seed: int, steps: int, on_progress: Callable[[int, int, float], None] | None
) -> Any:
    """The trained float32 model in evaluation mode."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = token_ids()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(ids),
            hidden_size=recipe.hidden,
            intermediate_size=recipe.intermediate,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            pad_token_id=0,
            initializer_range=recipe.init,
            bos_token_id=ids[BOS],
            eos_token_id=ids[END],
        )
    )
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    vectors = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    decay = recipe.weight_decay
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon(matrices, weight_decay=decay), recipe.matrix_learning_rate),
        (torch.optim.AdamW(vectors, betas=(0.9, 0.98), weight_decay=decay), recipe.vector_learning_rate),
    ]
    source = batches(world, recipe, seed)
    model.train()
    for step in range(steps):
        rise, fall = (step + 1) / recipe.warmup, (steps - step) / max(steps - recipe.warmup, 1)
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(rise, fall, 1.0)
        tokens, labels = (torch.tensor(rows) for rows in next(source))
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
        kept = labels[:, 1:] != IGNORED
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[kept]), labels[:, 1:][kept])
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimizer, _ in optimizers:
            optimizer.step()
        if on_progress is not None:
            on_progress(step + 1, steps, float(loss.detach()))
    return model.eval()


def verify(folder: Path = MODEL_FOLDER) -> str:
    """The SHA-256 of the weights in `folder`; raises ModelError unless recipe.json names the same."""
    weights, card = folder / "model.safetensors", folder / "recipe.json"
    for path in (weights, card):
        if not path.is_file():
            raise ModelError(f"{path} is missing; build the world's model again with weirdgen.world.pretrain.build")
    expected, actual = json.loads(card.read_text())["sha256"], file_hash(weights)
    if actual != expected:
        raise ModelError(f"{weights} has SHA-256 {actual}, but {card} names {expected}; build the model again")
    return actual
