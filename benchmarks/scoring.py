"""Contrast questions: ours (shared prompts, packed options, replicates together) against one forward pass an option.

The peer is a peft model on the fastest dtype; an option's speed does not change from question to question, so it is timed
on fewer of them.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Result, Setting, alternate, compare, random_adapters, rate
from weirdgen.models.chat import answer_ids, prompt_ids
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.sample.engine import Scorable
from weirdgen.sample.transformers import TransformersEngine

REPLICATES = 6


def questions(setting: Setting, count: int) -> list[Scorable]:
    """Different questions with the setting's options."""
    asks = setting.questions
    return [
        Scorable(str(i), " ".join([asks[i % len(asks)]] * (1 + i // len(asks) % 3)), setting.options)
        for i in range(count)
    ]


def against_single_passes(setting: Setting) -> list[Result]:
    count, timed, rounds, replicates = (8, 1, 1, 2) if setting.quick else (100, 3, 2, REPLICATES)
    adapters = random_adapters(setting.model, replicates, setting.scratch)
    engine = TransformersEngine(setting.model, setting.dtypes[0])
    engine.use(list(adapters))
    asked = questions(setting, count)

    def ours() -> float:
        return float(len(list(engine.score(asked))))

    def theirs(model: Any) -> float:
        import torch

        done = 0
        for question in asked[:timed]:
            prompt = prompt_ids(engine.tokenizer, question.ask)
            for option in question.options:
                answer = answer_ids(engine.tokenizer, question.ask, option)
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
                logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum().item()
                done += 1
        return float(done)

    from peft import PeftModel

    models = {
        dtype: PeftModel.from_pretrained(load_model(setting.model, torch_dtype(dtype)), str(adapters[0])).eval()
        for dtype in setting.dtypes
    }
    list(engine.score(asked[:1]))
    found = alternate(
        rounds,
        lambda: rate(ours),
        *(lambda model=model: rate(lambda: theirs(model)) for model in models.values()),
    )
    peers = dict(zip(setting.dtypes, found[1:], strict=True))
    note = "peer by dtype: " + ", ".join(f"{dtype} {speed:.1f}" for dtype, speed in peers.items())
    return [compare("contrast against one pass an option", found[0], max(peers.values()), "options/s", 5.0, note)]
