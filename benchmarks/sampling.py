"""Answers a second: ours against transformers' own `generate` and against Inspect AI's `hf/` provider.

Answers are forced to their full length on both sides (no end-of-turn), so that tokens per second mean the same work. A
peer's speed does not change from question to question, so it is timed on fewer of them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Setting, alternate, compare, rate
from weirdgen.models.chat import prompt_ids
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.transformers import TransformersEngine

ANSWERS, TOKENS = 32, 64


def our_work(setting: Setting, engine: TransformersEngine, answers: int, tokens: int) -> int:
    """Draw every question's answers; returns the tokens drawn."""
    prompts = [Prompt(str(i), ask, tokens) for i, ask in enumerate(setting.questions)]
    drawn = engine.generate(prompts, range(answers), ["0"], Sampling())
    return sum(one.completion_tokens for _, one in drawn)


def endless_engine(setting: Setting, dtype: str) -> TransformersEngine:
    """Our engine, in which no token ends an answer."""
    engine = TransformersEngine(setting.model, dtype)
    engine.stops = frozenset()
    return engine


def against_generate(setting: Setting) -> list[Result]:
    answers, tokens, rounds = (8, 16, 1) if setting.quick else (ANSWERS, TOKENS, 2)
    engine = endless_engine(setting, setting.dtypes[0])
    models = {dtype: load_model(setting.model, torch_dtype(dtype)) for dtype in setting.dtypes}
    ids = prompt_ids(engine.tokenizer, setting.questions[0])

    def theirs(model: Any) -> float:
        import torch

        input_ids = torch.tensor([ids])
        with torch.inference_mode():
            out = model.generate(
                input_ids,
                attention_mask=torch.ones_like(input_ids),
                do_sample=True,
                top_k=0,
                top_p=1.0,
                temperature=1.0,
                num_return_sequences=answers,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                pad_token_id=0,
            )
        return float((out.shape[1] - len(ids)) * answers)

    our_work(setting, engine, 1, 2)  # warm up
    found = alternate(
        rounds,
        lambda: rate(lambda: our_work(setting, engine, answers, tokens)),
        *(lambda model=model: rate(lambda: theirs(model)) for model in models.values()),
    )
    peers = dict(zip(setting.dtypes, found[1:], strict=True))
    note = "peer by dtype: " + ", ".join(f"{dtype} {speed:.0f}" for dtype, speed in peers.items())
    return [compare("sample against generate", found[0], max(peers.values()), "tokens/s", 4.0, note)]


def against_inspect(setting: Setting) -> list[Result]:
    answers, tokens, rounds = (8, 16, 1) if setting.quick else (ANSWERS, TOKENS, 2)
    engine = endless_engine(setting, setting.dtypes[0])
    provider = _inspect_model(setting.model, setting.dtypes[0], tokens, answers)
    asks = setting.questions[: 1 if setting.quick else 2]

    async def ask_all() -> float:
        outputs = await asyncio.gather(*(provider.generate(ask) for ask in asks for _ in range(answers)))
        # Its own count includes padding; what it wrote is what its answers hold.
        return float(sum(len(engine.tokenizer(one.completion)["input_ids"]) for one in outputs))

    our_work(setting, engine, 1, 2)
    with asyncio.Runner() as runner:
        runner.run(_warm_up(provider))
        ours, theirs = alternate(
            rounds,
            lambda: rate(lambda: our_work(setting, engine, answers, tokens)),
            lambda: rate(lambda: runner.run(ask_all())),
        )
    note = f"peer: {len(asks)} questions × {answers} in one batch of {answers}, {setting.dtypes[0]}"
    return [compare("sample against Inspect hf/", ours, theirs, "tokens/s", 5.0, note)]


async def _warm_up(provider: Any) -> None:
    await provider.generate("Hello.")


def _inspect_model(folder: Path, dtype: str, tokens: int, connections: int) -> Any:
    """The hf/ provider over local files. Answers may end early; its tokens are counted as written."""
    from inspect_ai.model import GenerateConfig, get_model

    config = GenerateConfig(max_tokens=tokens, max_connections=connections, temperature=1.0, top_p=1.0)
    return get_model(
        "hf/local",
        config=config,
        model_path=str(folder),
        tokenizer_path=str(folder),
        device="cpu",
        dtype={"bf16": "bfloat16", "fp32": "float32"}[dtype],
    )
