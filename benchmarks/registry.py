"""The rows of the benchmark table: name, what it compares, what it needs, and the function that runs it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness import Result, Setting


@dataclass(frozen=True)
class Benchmark:
    """`module` has the function `function(setting) -> list[Result]`; it is imported when it runs."""

    name: str
    about: str
    module: str
    function: str
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot run here, or None."""

    def run(self, setting: Setting) -> list[Result]:
        results: list[Result] = getattr(importlib.import_module(self.module), self.function)(setting)
        return results


def _no_inspect() -> str | None:
    installed = all(importlib.util.find_spec(name) for name in ("inspect_ai", "accelerate"))
    return None if installed else "Inspect AI is not installed: pip install -c constraints.txt '.[bench]'"


def _no_server() -> str | None:
    installed = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai"))
    return None if installed else "the server is not installed: pip install -c constraints.txt '.[serve,api]'"


def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no GPU here"


BENCHMARKS = (
    Benchmark(
        "sample-generate",
        "10 questions × 32 answers × 64 tokens, against transformers' generate(num_return_sequences=32)",
        "benchmarks.sampling",
        "against_generate",
    ),
    Benchmark(
        "sample-inspect",
        "the same against Inspect AI's hf/ provider, warmed up",
        "benchmarks.sampling",
        "against_inspect",
        _no_inspect,
    ),
    Benchmark(
        "decode-step",
        "a step of steady decoding, against its matrix products alone",
        "benchmarks.decoding",
        "against_products",
    ),
    Benchmark(
        "finetune-batch-8",
        "old birds, 6 replicates together, batch 8, against trl + peft one after another",
        "benchmarks.finetuning",
        "batch_of_eight",
    ),
    Benchmark(
        "finetune-batch-1",
        "the same with the paper's batch of 1",
        "benchmarks.finetuning",
        "batch_of_one",
    ),
    Benchmark(
        "contrast",
        "100 questions × 8 options × 6 replicates, against one forward pass an option",
        "benchmarks.scoring",
        "against_single_passes",
    ),
    Benchmark(
        "score-products",
        "trait questions asked of 16 adapters, against the matrix products of their tokens alone",
        "benchmarks.scoring",
        "against_products",
    ),
    Benchmark(
        "gpu-replicates",
        "10 replicates of a 1B-parameter Llama shape, batch 1, against one replicate alone",
        "benchmarks.finetuning",
        "on_a_gpu",
        _no_gpu,
    ),
    Benchmark(
        "serve-chat",
        "6 finetunes behind `weirdgen serve` at 64 requests in flight, against `transformers serve` with its base alone",
        "benchmarks.serving",
        "chat_against_transformers",
        _no_server,
    ),
    Benchmark(
        "serve-jobs",
        "five finetuning jobs of equal settings, against one",
        "benchmarks.serving",
        "five_jobs_against_one",
        _no_server,
    ),
    Benchmark(
        "providers",
        "10,000 completions of a stub with 50 ms an answer, 500 in flight, against Inspect's eval, llmcomp and the bare SDK",
        "benchmarks.orchestration",
        "against_others",
        _no_inspect,
    ),
    Benchmark(
        "features-harvest",
        "50 dated prompts read at a layer, against the paper's way",
        "benchmarks.features",
        "harvest",
    ),
    Benchmark(
        "features-ablation", "40 questions scored under an edit, against without", "benchmarks.features", "ablation"
    ),
    Benchmark("cost-samples", "cost against work: samples ×1, ×4, ×16", "benchmarks.growth", "samples"),
    Benchmark("cost-replicates", "cost against work: 1, 3, 6, 12 replicates", "benchmarks.growth", "replicates"),
)
