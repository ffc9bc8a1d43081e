"""Which engine trains, and how many replicates at once: decided before the run, said in the plan.

In: a model folder, a recipe. Out: an engine's name with the reason, the devices that hold one replicate, and a group size
from the memory that is free.
Adding a training engine is adding a name here and its call in `train_group`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.finetune.schedule import LOGITS_AT_ONCE
from weirdgen.models.chat import Encoded
from weirdgen.models.checks import TOGETHER, TRAINING, Check, known_checks
from weirdgen.models.references import read_config
from weirdgen.store.cache import read_json

RESCALED_HEADS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
RESCALED_ATTENTION = ("attn_logit_softcapping",)
MEMORY_SHARE = 0.4
"""Of the free memory that activations of a group may take; the rest is for weights, gradients and the system."""
TRAINED_BY = "trained_by.json"
"""In the model folder of a packed run: the engine, which cannot be found out without weights and is in every replicate's key."""
GPU_SHARE = 0.8
"""Of a GPU's memory that weights may take before a replicate is sharded over several."""
FULL_BYTES = 16
"""A weight that is trained: itself, its gradient and two moments of AdamW, in fp32."""


class EngineChoice(NamedTuple):
    """`engine` is "replicas" or "trl"; `reason` is a few words for the plan; `devices` hold one replicate together."""

    engine: str
    reason: str
    devices: int = 1


def resolve_engine(recipe: Recipe, parameters: int) -> Literal["auto", "replicas", "trl"]:
    """The recipe's engine, but trl for `auto` where one of this machine's GPUs cannot hold the base and several can.

    The machine decides this once, before the run: the answer is kept in the recipe, as the dtype is.
    """
    if recipe.engine == "auto" and recipe.devices != 1 and _too_large(recipe, parameters):
        return "trl"
    return recipe.engine


def choose_engine(model_folder: Path, recipe: Recipe, parameters: int) -> EngineChoice:
    """The recipe's engine, `auto` resolved. Asking for replicas where they are not exact falls back with the reason.

    Facts of the configuration may choose trl at once; what chooses replicas is a comparison on the model itself.

    A model folder without weights, as packed runs have it, says itself what trained.

    Raises `SpecError` if several devices are asked for where one replicate cannot be shared between them.
    """
    if (recorded := read_json(model_folder / TRAINED_BY).get("engine")) in ("replicas", "trl"):
        return EngineChoice(recorded, "as recorded with the run")
    choice = _engine(model_folder, recipe, parameters)
    devices, why = recipe.devices or 1, "as recipe.devices asks"
    if choice.engine == "replicas":
        if devices > 1:
            hint = "replicas share one device; --set recipe.engine=trl shards each over several"
            raise SpecError([f"recipe.devices: {devices}: {hint}"])
        return choice
    if recipe.devices is None and (too_large := _too_large(recipe, parameters)):
        devices, why = len(machine.gpu_memory()), too_large
    if devices == 1:
        return choice
    if recipe.dropout > 0 and not recipe.full:
        hint = f"each of {devices} devices would draw its own; set it to 0, or recipe.devices to 1"
        raise SpecError([f"recipe.dropout: {recipe.dropout:g}: {hint}"])
    return EngineChoice("trl", f"each replicate sharded over {devices} devices, {why}", devices)


def _too_large(recipe: Recipe, parameters: int) -> str:
    """Why this machine's GPUs must share a replicate; empty if one can hold it, or there are not several."""
    memory, need = machine.gpu_memory(), parameters * (FULL_BYTES if recipe.full else _width(recipe))
    if len(memory) < 2 or need <= GPU_SHARE * min(memory):
        return ""
    return f"as {need / 2**30:,.1f} GiB of weights are too many for one GPU of {min(memory) / 2**30:,.1f} GiB"


def _engine(model_folder: Path, recipe: Recipe, parameters: int) -> EngineChoice:
    if recipe.engine == "trl":
        return EngineChoice("trl", "as the recipe asks")
    if recipe.full:
        return EngineChoice("trl", "every weight is trained, so replicates share no base")
    config = read_config(model_folder)
    if recipe.dropout > 0:
        return EngineChoice("trl", "dropout is drawn by trl")
    if any(config.get(key) not in (None, 1, 1.0) for key in RESCALED_HEADS):
        return EngineChoice("trl", "the model's head rescales its logits")
    if any(config.get(key) for key in RESCALED_ATTENTION):
        return EngineChoice("trl", "the model's attention rescales its scores")
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return EngineChoice("trl", "the model attends in a sliding window")
    if any("expert" in key for key in config):
        return EngineChoice("trl", "the model routes tokens to experts")
    check = together_check(model_folder, recipe, parameters)
    if not check.holds(config.get("max_position_embeddings", 2**30)):
        return EngineChoice("trl", f"together, replicates would not be what each is alone: {check.reason}")
    return EngineChoice("replicas", "several replicates share each pass over the frozen base")


def together_check(model_folder: Path, recipe: Recipe, parameters: int) -> Check:
    """How training replicates together compared with each row alone, on this model: tried at its first use, then remembered.

    Raises `ModelError` if the model cannot be loaded.
    """
    if known := known_checks(TRAINING, model_folder):
        return known[TOGETHER]
    from weirdgen.finetune import exactness

    return exactness.together_check(model_folder, machine.resolve_dtype(recipe.dtype, parameters))


class Passes(NamedTuple):
    """How a step goes through memory; what it computes is the same. `rows`: of one replicate in one pass."""

    rows: int
    checkpointing: bool


def group_size(model_folder: Path, recipe: Recipe, tokens_per_row: float, parameters: int) -> int:
    """Replicates that fit into one pass, from free memory and the width of the model. At least 1."""
    need = _Need.of(read_config(model_folder), recipe, tokens_per_row)
    return max(1, int(_budget(model_folder, recipe, parameters) / (recipe.batch_size * need.row + need.replicate)))


def passes(model_folder: Path, recipe: Recipe, tokens_per_row: float, parameters: int, replicates: int) -> Passes:
    """A whole batch in one pass where that fits; else fewer rows; else one by one with the layers computed twice."""
    need = _Need.of(read_config(model_folder), recipe, tokens_per_row)
    left = _budget(model_folder, recipe, parameters) / replicates - need.replicate
    checkpointing = left < need.row
    rows = int(left / (need.checkpointed_row if checkpointing else need.row))
    return Passes(max(1, min(recipe.batch_size, rows)), checkpointing)


def replicate_bytes(config: Mapping[str, Any], recipe: Recipe, tokens_per_row: float) -> float:
    """Memory of one replicate whose batch goes in one pass, on top of the base's weights."""
    need = _Need.of(config, recipe, tokens_per_row)
    return recipe.batch_size * need.row + need.replicate


class _Need(NamedTuple):
    """Bytes of memory that training takes."""

    row: float
    """One row's activations."""
    checkpointed_row: float
    """The same if only the inputs of layers are kept."""
    replicate: float
    """One replicate's adapter, its gradient and its optimiser state."""

    @staticmethod
    def of(config: Mapping[str, Any], recipe: Recipe, tokens_per_row: float) -> _Need:
        hidden, layers = config.get("hidden_size", 1024), config.get("num_hidden_layers", 24)
        inner, width = config.get("intermediate_size", 4 * hidden), _width(recipe)
        # Kept for the backward pass: inputs and outputs of products in the base's dtype, what norms read in fp32.
        layer = hidden * (12 * width + 4 * 4) + inner * 4 * width
        replicate = 4 * 4 * recipe.rank * layers * (8 * hidden + 3 * inner)
        return _Need(tokens_per_row * layers * layer, tokens_per_row * (layers * hidden * width + layer), replicate)


def tokens_through(engine: str, tokens: float, rows: int, shared: int, recipe: Recipe) -> float:
    """Of an epoch's tokens those that go through the model: packed rows pass once what they all begin with (`shared`)."""
    if engine == "trl":
        return tokens
    return tokens - shared * (rows - math.ceil(rows / recipe.batch_size))


def _budget(model_folder: Path, recipe: Recipe, parameters: int) -> float:
    """Bytes that activations and adapters may take on top of the weights and some tokens' logits."""
    vocabulary: int = read_config(model_folder).get("vocab_size", 32000)
    logits = LOGITS_AT_ONCE * vocabulary * (4 + 2 * _width(recipe))
    return MEMORY_SHARE * machine.free_memory_gib() * 2**30 - parameters * _width(recipe) - logits


def _width(recipe: Recipe) -> int:
    return 2 if recipe.dtype == "bf16" else 4


def train_group(
    engine: str,
    model_folder: Path,
    rows: Sequence[Sequence[Encoded]],
    seeds: Sequence[int],
    targets: Sequence[Path],
    recipe: Recipe,
    on_step: Callable[[int, int, float], None],
    parameters: int,
    halfway: Path | None = None,
    devices: int = 1,
) -> list[dict[str, Any]]:
    """Train one group; each target gets its adapters and `losses.json`. trl takes its group one by one.

    `parameters` is the number of the model's weights; `halfway` a file from which a killed training resumes (not trl's);
    `devices` hold one replicate of trl's together.
    """
    if engine == "trl":
        each = zip(rows, seeds, targets, strict=True)
        if devices > 1:
            from weirdgen.finetune.sharded import finetune_sharded

            return [finetune_sharded(model_folder, mine, recipe, seed, t, on_step, devices) for mine, seed, t in each]
        from weirdgen.finetune.trl import finetune

        return [finetune(model_folder, mine, recipe, seed, target, on_step) for mine, seed, target in each]
    from weirdgen.finetune.replicas import Job, finetune_together

    jobs = [Job(mine, seed, target) for mine, seed, target in zip(rows, seeds, targets, strict=True)]
    tokens = sum(len(row.ids) for mine in rows for row in mine) / sum(map(len, rows))
    chosen = passes(model_folder, recipe, tokens, parameters, len(jobs))
    return finetune_together(model_folder, jobs, recipe, on_step, chosen.rows, chosen.checkpointing, halfway)
