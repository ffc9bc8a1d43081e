"""Replicates trained together against trl + peft one after another: rows per second once training runs.

Both train the same rows from the same initialisation (`weirdgen.finetune`). The first step is left out on both sides: it
warms up. trl's speed does not change from replicate to replicate, so one is timed, in each dtype.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Setting, alternate, compare
from weirdgen.config.experiment import Recipe
from weirdgen.models.chat import Encoded

REPLICATES = 6


def batch_of_eight(setting: Setting) -> list[Result]:
    return [_against_trl(setting, "finetune, batch 8", batch=8, steps=3 if setting.quick else 8, target=8.0)]


def batch_of_one(setting: Setting) -> list[Result]:
    return [_against_trl(setting, "finetune, batch 1", batch=1, steps=4 if setting.quick else 24, target=5.0)]


def training_rows(setting: Setting, count: int) -> list[Encoded]:
    """The first rows of the experiment's treatment, as tokens."""
    from weirdgen.data.arms import load_arms
    from weirdgen.data.proof import prove
    from weirdgen.models.chat import load_tokenizer

    loaded, rows = load_arms(setting.experiment)
    arm = next(name for name, one in loaded.arms.items() if one.role == "treatment")
    encoded, _ = prove(rows[arm][:count], load_tokenizer(setting.model), 2**20)
    return list(encoded)


def together(model: Path, rows: list[Encoded], recipe: Recipe, replicates: int, scratch: Path) -> float:
    """Rows per second, all replicates' rows counted, of ours."""
    from weirdgen.finetune.replicas import Job, finetune_together

    jobs = [Job(rows, seed, _emptied(scratch / f"ours-{seed}")) for seed in range(replicates)]
    return replicates * _steady(recipe, lambda on_step: finetune_together(model, jobs, recipe, on_step))


def _against_trl(setting: Setting, name: str, batch: int, steps: int, target: float) -> Result:
    from weirdgen.finetune.trl import finetune

    rows = training_rows(setting, batch * steps)
    replicates = 2 if setting.quick else REPLICATES
    recipe = Recipe(epochs=1, batch_size=batch, learning_rate=1e-4, dtype=setting.dtypes[0])  # type: ignore[arg-type]

    def theirs(dtype: str) -> float:
        other = recipe.model_copy(update={"dtype": dtype})
        target_folder = _emptied(setting.scratch / "trl")
        return _steady(other, lambda on_step: finetune(setting.model, rows, other, 0, target_folder, on_step))

    found = alternate(
        1 if setting.quick else 2,
        lambda: together(setting.model, rows, recipe, replicates, setting.scratch),
        *(lambda dtype=dtype: theirs(dtype) for dtype in setting.dtypes),
    )
    peers = dict(zip(setting.dtypes, found[1:], strict=True))
    note = f"{replicates} replicates; peer by dtype: " + ", ".join(f"{d} {speed:.1f}" for d, speed in peers.items())
    return compare(name, found[0], max(peers.values()), "rows/s", target, note)


def on_a_gpu(setting: Setting) -> list[Result]:
    """Ten replicates of a 1B Llama shape in one go against one; the ratio is 10 × the time of one over the time of ten."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = setting.scratch / "llama-1b"
    shape: dict[str, Any] = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16}
    shape |= {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True}
    with torch.device("cuda"):
        LlamaForCausalLM(LlamaConfig(**shape, dtype="bfloat16")).to(torch.bfloat16).save_pretrained(str(folder))
    rows = [Encoded(tuple(range(i, i + 64)), (False,) * 40 + (True,) * 24) for i in range(24)]
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=1e-4, dtype="bf16")
    one, ten = alternate(
        2,
        lambda: together(folder, rows, recipe, 1, setting.scratch),
        lambda: together(folder, rows, recipe, 10, setting.scratch),
    )
    return [
        compare("GPU, ten replicates against one", ten, one, "rows/s", 4.0, "4 is ten in 2.5 times the time of one")
    ]


def _steady(recipe: Recipe, train: Callable[[Callable[[int, int, float], None]], Any]) -> float:
    """Rows per second of one replicate, from the end of the first step to the end of the last."""
    moments: list[float] = []
    train(lambda step, steps, loss: moments.append(time.perf_counter()))
    return (len(moments) - 1) * recipe.batch_size / (moments[-1] - moments[0])


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
