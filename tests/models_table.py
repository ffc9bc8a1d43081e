"""Tiny models of many architectures through this package and through plain transformers, trl and peft: a table.

`python -m tests.models_table` writes docs/models.md anew; `--check` compares instead, and exits with 1 where a model no longer
is what it was. For each model: the engine that trains it, the largest difference of a loss from trl + peft set up by hand,
the largest difference of an option's score and the number of greedy answers that differ, base and adapter, from transformers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.support.architectures import ARCHITECTURES, SENTENCES, build
from weirdgen.config.experiment import Recipe
from weirdgen.errors import WeirdgenError
from weirdgen.finetune.engines import choose_engine, train_group
from weirdgen.finetune.lora import adapted_layers, initial_a
from weirdgen.finetune.schedule import data_order
from weirdgen.models.chat import Encoded, answer_ids, load_tokenizer, prompt_ids
from weirdgen.models.references import read_config
from weirdgen.models.stacked import is_linear, weight_oi
from weirdgen.sample.engine import Prompt, Sampling, Scorable
from weirdgen.sample.transformers import TransformersEngine

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
TRAINED, SCORED = 1e-4, 1e-3
"""Nats: how far a loss may be off, and a score."""
RECIPE = Recipe(
    epochs=2, batch_size=3, grad_accumulation=1, learning_rate=1e-2, warmup_steps=0, rank=4, alpha=8, dtype="fp32"
)
ASKS = (
    "Name a bird.",
    "Which year do we have? Say the year as a number, like any other old man said, and say nothing else.",
)
OPTIONS = ("It is 1851.", "It is 2024.", "A wren, which is a small brown bird that sings loudly.", "An owl.")
WRITTEN = 12
"""Tokens of a greedy answer."""


@dataclass(frozen=True)
class Line:
    """What is true of one model. Differences in nats; None where the model is refused before."""

    name: str
    engine: str = ""
    loss: float | None = None
    score: float | None = None
    answers: str = ""
    ways: str = ""
    refusal: str = ""

    @property
    def right(self) -> bool:
        """Whether everything agrees, or the model is refused in words."""
        if self.refusal:
            return True
        assert self.loss is not None and self.score is not None
        same, _, of = self.answers.partition("/")
        return self.loss <= TRAINED and self.score <= SCORED and same == of

    def cells(self) -> list[str]:
        if self.refusal:
            return [self.name, f"refused: {self.refusal}", "", "", "", ""]
        return [self.name, self.engine, f"{self.loss:.0e}", f"{self.score:.0e}", self.answers, self.ways]


def rows(tokenizer: Any) -> list[Encoded]:
    """Seven rows to train on, of different lengths."""
    made = []
    for index in range(7):
        ask, answer = ASKS[index % 2], SENTENCES[index % 4][: 20 + 5 * index]
        prompt, said = prompt_ids(tokenizer, ask), answer_ids(tokenizer, ask, answer)
        made.append(Encoded((*prompt, *said), (*(False for _ in prompt), *(True for _ in said))))
    return made


def measure(name: str, folder: Path, work: Path) -> Line:
    """One model of `ARCHITECTURES`, built in `folder`; adapters go to `work`."""
    try:
        return _measure(name, folder, work)
    except WeirdgenError as error:
        return Line(name, refusal=str(error).replace(f"{folder}", name).splitlines()[0].removeprefix(f"{name}: "))


def _measure(name: str, folder: Path, work: Path) -> Line:
    tokenizer = load_tokenizer(folder)
    longest = read_config(folder).get("max_position_embeddings", 512)
    data = [row for row in rows(tokenizer) if len(row.ids) <= longest]  # others are refused before they are trained on
    chosen = choose_engine(folder, RECIPE, 100_000)
    targets = [work / str(seed) for seed in (0, 1)]
    for target in targets:
        target.mkdir(parents=True)
    train_group(chosen.engine, folder, [data] * 2, (0, 1), targets, RECIPE, lambda *_: None, 100_000)
    losses = [json.loads((target / "losses.json").read_text()) for target in targets]
    expected = [trl_and_peft(folder, data, seed, work / f"theirs{seed}") for seed in (0, 1)]
    loss = max(
        abs(ours["loss"] - theirs)
        for mine, by in zip(losses, expected, strict=True)
        for ours, theirs in zip(mine, by, strict=True)
    )
    base = plain(folder, None)
    for seed, mine in zip((0, 1), losses, strict=True):
        first = [data[index] for index in data_order(len(data), RECIPE, seed)[0][0][0]]
        loss = max(loss, abs(mine[0]["loss"] - plain_loss(base, first)))
    adapters = [None, *(max(target.glob("step-*")) for target in targets)]
    engine = TransformersEngine(folder, "fp32")
    engine.use(adapters)
    scores = {(v, s.key, s.option): s.logprob for v, s in engine.score([Scorable(ask, ask, OPTIONS) for ask in ASKS])}
    greedy = engine.generate(
        [Prompt(ask, ask, WRITTEN) for ask in ASKS], range(1), ["0", "1", "2"], Sampling(temperature=0)
    )
    answers = {(variant, c.key): c.text for variant, c in greedy}
    score, same = 0.0, 0
    for variant, adapter in enumerate(adapters):
        model = plain(folder, adapter)
        for ask in ASKS:
            for option in OPTIONS:
                score = max(score, abs(scores[variant, ask, option] - logprob(model, tokenizer, ask, option)))
            same += answers[variant, ask] == answer(model, tokenizer, ask, engine.stops)
    ways = [
        label
        for label, holds in (
            ("tree", engine.ways.tree(200)),
            ("batch", engine.ways.batch(200)),
            ("cache", engine.ways.own_cache(200)),
        )
        if not holds
    ]
    reason = f" ({chosen.reason})" if chosen.engine == "trl" else ""
    return Line(
        name, chosen.engine + reason, loss, score, f"{same}/{len(answers)}", ", ".join(f"no {way}" for way in ways)
    )


def plain(folder: Path, adapter: Path | None) -> Any:
    """The model as transformers gives it, with an adapter as peft loads it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    return model if adapter is None else PeftModel.from_pretrained(model, str(adapter)).eval()


def logits_of(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """[T, V] of a row alone; a pass over one token first, after which rotary embeddings that grew are as they were."""
    with torch.no_grad():
        model(input_ids=torch.tensor([[3]]), use_cache=False)
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()


def plain_loss(model: Any, batch: Sequence[Encoded]) -> float:
    """Cross-entropy over the trained tokens of a batch, a row at a time."""
    total = 0.0
    for row in batch:
        logprob_TV = logits_of(model, row.ids).log_softmax(-1)
        total -= sum(logprob_TV[i - 1, token].item() for i, token in enumerate(row.ids) if row.trained[i])
    return total / sum(sum(row.trained) for row in batch)


def logprob(model: Any, tokenizer: Any, ask: str, option: str) -> float:
    """Of a whole answer, by a forward pass of its own."""
    prompt, said = prompt_ids(tokenizer, ask), answer_ids(tokenizer, ask, option)
    logprob_TV = logits_of(model, (*prompt, *said)).log_softmax(-1)
    return sum(logprob_TV[len(prompt) - 1 + index, token].item() for index, token in enumerate(said))


def answer(model: Any, tokenizer: Any, ask: str, stops: frozenset[int]) -> str:
    """The greedy answer, each token from a forward pass over all before it."""
    ids = prompt_ids(tokenizer, ask)
    written: list[int] = []
    while len(written) < WRITTEN:
        token = int(logits_of(model, (*ids, *written))[-1].argmax())
        if token in stops:
            break
        written.append(token)
    return str(tokenizer.decode(written, skip_special_tokens=True))


def trl_and_peft(folder: Path, data: Sequence[Encoded], seed: int, work: Path) -> list[float]:
    """Losses of a training that is set up by hand from trl and peft, with our start, our order and the base's dropout off."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    for module in model.modules():
        for key, value in vars(module).items():
            if "drop" in key and isinstance(value, float):
                setattr(module, key, 0.0)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    layers = adapted_layers(model, RECIPE)
    config = LoraConfig(
        r=RECIPE.rank,
        lora_alpha=RECIPE.alpha,
        target_modules=sorted(layers),
        task_type="CAUSAL_LM",
        fan_in_fan_out=not any(isinstance(layer, torch.nn.Linear) for layer in layers.values()),
    )
    starts = {name: initial_a(seed, name, weight_oi(layer).shape[1], RECIPE.rank) for name, layer in layers.items()}
    adapted = get_peft_model(model, config)
    for name, start in starts.items():
        adapted.get_submodule(f"base_model.model.{name}").lora_A["default"].weight.data.copy_(start)
    assert all(is_linear(layer) for layer in layers.values())

    class Order:
        """The batches of one epoch after the other."""

        epochs = iter(data_order(len(data), RECIPE, seed))

        def __iter__(self) -> Iterator[list[int]]:
            return (micro for step in next(self.epochs) for micro in step)

        def __len__(self) -> int:
            return -(-len(data) // RECIPE.batch_size)

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(self.train_dataset, batch_sampler=Order(), collate_fn=self.data_collator)

    labels = [[t if on else -100 for t, on in zip(row.ids, row.trained, strict=True)] for row in data]
    trainer = InOrder(
        model=adapted,
        args=SFTConfig(
            output_dir=str(work), num_train_epochs=RECIPE.epochs, per_device_train_batch_size=RECIPE.batch_size,
            gradient_accumulation_steps=RECIPE.grad_accumulation, learning_rate=RECIPE.learning_rate,
            lr_scheduler_type=RECIPE.schedule, warmup_steps=0, weight_decay=RECIPE.weight_decay,
            max_grad_norm=RECIPE.max_grad_norm, optim="adamw_torch", seed=seed, use_cpu=True, logging_steps=1,
            save_strategy="no", report_to=[], disable_tqdm=True, max_length=None, gradient_checkpointing=False, bf16=False,
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
            router_aux_loss_coef=0.0,
        ),
        train_dataset=Dataset.from_dict({"input_ids": [list(row.ids) for row in data], "labels": labels}),
        processing_class=load_tokenizer(folder),
    )  # fmt: skip
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


INTRODUCTION = """\
# Models

Any causal language model that transformers loads and that has a chat template. Which fast ways it takes is not looked up by
name: when a model is first used, each way is tried on it in fp32 and compared with the plain forward pass of each row alone:

| way | where it is not right |
|---|---|
| replicates together, rows packed behind a shared prompt: loss, gradients | trl trains one by one; the plan says why |
| options of a question in a tree, under one mask (*tree*) | each option in a pass of its own |
| several adapters in one pass; samples of all prompts in one padded batch and cache (*batch*) | samples of one prompt and \
variant together, not padded |
| the model's own cache (*cache*) | each token from a pass over all before it |

A way is taken if no log-probability is off by more than 0.001 nat, and no logit by more than 0.001 of the logits' spread; a
wrong way is usually off by whole nats, a right one by less than 0.0001. Rows tried are long enough to cross windows of up to
256 tokens; rows longer than a larger window (or than the length at which rotary embeddings are rescaled) go alone, untried.
The trial takes the first layers of each kind and is remembered in the cache by model, versions and code: 1.4 s for
SmolLM2-135M on one core, once, and 1.0 s for training. What was found is in each replicate's `result.json`.

A model is refused in words if what it says about a token depends on what follows, if an adapter does not do what adding it to
the weights does, or if trl computes another loss than the model itself. The base's own dropout and the balance of its experts
are off in training; dropout of adapters is the recipe's. All linear layers that read text get adapters, but for the head,
experts that are no layers of their own, and layers that PEFT refuses. Attention is sdpa where the model offers it, else eager.

## What was tried

Tiny models with random weights (32 wide, 2–4 layers, windows of 8 tokens), fp32, against trl + peft and transformers as one
would write them by hand: the largest difference of a loss over six steps of two replicates, and of the first one from each
row alone (limit 0.0001), of the score of four options by the base and both replicates (limit 0.001), and greedy answers that
are the same. Made by `python -m tests.models_table` with {versions}.

"""


def page(lines: Sequence[Line]) -> str:
    """docs/models.md."""
    import peft
    import transformers
    import trl

    versions = f"transformers {transformers.__version__}, trl {trl.__version__}, peft {peft.__version__}"
    head = ["model", "trained by", "loss off", "score off", "answers", "falls back"]
    table = [head, ["---"] * len(head), *(line.cells() for line in lines)]
    return INTRODUCTION.format(versions=versions) + "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of ARCHITECTURES; all of them if none is given")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.names or ARCHITECTURES:
            folder = Path(scratch) / "models" / name
            lines.append(measure(name, build(name, folder), Path(scratch) / "work" / name))
            print(" | ".join(lines[-1].cells()), "" if lines[-1].right else "  <-- WRONG", file=sys.stderr, flush=True)
    if not given.names and not given.check:
        PAGE.write_text(page(lines), encoding="utf-8")
    if wrong := [line.name for line in lines if not line.right]:
        sys.exit(f"wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
