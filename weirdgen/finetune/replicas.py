"""Several replicates trained together over one frozen base: one forward and backward pass for all.

In: a model folder, a recipe, and for each replicate its encoded rows and seed. Out: for each a folder of standard PEFT
adapters, as from `finetune.trl`. The LoRA matrices are stacked along a replicate axis; initialisation, data order,
gradient clipping and optimiser state are each replicate's own, so each is trained as if alone (tests compare with
trl + peft). Rows that share a prompt share its computation (`models.packing`). LoRA without dropout only; full
finetuning and heads or attention that rescale what they compute are trl's.

Shape letters: K replicates, N tokens of one replicate in a pass, I inputs, O outputs, R rank, M trained tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.lora import adapted_layers, initial_a, write_adapter
from weirdgen.finetune.loss import token_losses
from weirdgen.finetune.resume import EVERY_SECONDS, keep, kept, take_up
from weirdgen.finetune.schedule import checkpoint_folder, data_order, learning_rates, total_steps
from weirdgen.models.chat import Encoded
from weirdgen.models.loading import device, is_out_of_memory, load_model, torch_dtype
from weirdgen.models.packing import pack
from weirdgen.models.row_attention import RowLayout, use_row_attention
from weirdgen.models.stacked import StackedLinear, fan_in_fan_out, replace_layers, weight_oi


@dataclass
class Job:
    """One replicate to train. Jobs trained together must have the same number of rows."""

    rows: Sequence[Encoded]
    seed: int
    target: Path
    losses: list[dict[str, float]] = field(default_factory=list)


def finetune_together(
    model_folder: Path,
    jobs: Sequence[Job],
    recipe: Recipe,
    on_step: Callable[[int, int, float], None] | None = None,
    rows_per_pass: int | None = None,
    checkpointing: bool = False,
    halfway: Path | None = None,
) -> list[dict[str, Any]]:
    """Train all jobs; each one's adapters and `losses.json` are in its target. Returns {"steps", "final_loss"} a job.

    `rows_per_pass` rows of a replicate are in memory at once (None: a whole batch), half as many after each failed
    allocation; `checkpointing` keeps only the layers' inputs and computes the rest twice. Neither changes the gradients.
    `halfway` is a file for the state of an unfinished training: it is resumed from if it is there, kept during training and
    when Ctrl-C stops it, and the caller's to remove; the targets must be those of the training that wrote it.
    Raises `ModelError` if not even one row fits.
    """
    rows = len(jobs[0].rows)
    if any(len(job.rows) != rows for job in jobs):
        raise ValueError("replicates trained together need the same number of rows, or their steps would not line up")
    steps = total_steps(rows, recipe)
    wanted = recipe.checkpoint_steps(steps)
    rates = learning_rates(steps, recipe)
    model = load_model(model_folder, torch_dtype(recipe.dtype))
    layers = stack_adapters(model, jobs, recipe)
    use_row_attention(model)
    if checkpointing:
        _checkpoint_layers(model)
    parameters = [p for layer in layers.values() for p in (layer.a_KIR, layer.b_KRO)]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    orders = [[step for epoch in data_order(rows, recipe, job.seed) for step in epoch] for job in jobs]
    losses = [job.losses for job in jobs]

    def missing(done: int) -> Path | None:
        folders = [checkpoint_folder(job.target, step) for step in wanted if step <= done for job in jobs]
        return next((folder for folder in folders if not folder.is_dir()), None)

    started = time.monotonic()
    before = kept(halfway).seconds if halfway else 0.0

    def keep_after(step: int) -> None:
        if halfway:
            keep(halfway, step, layers, optimizer, losses, before + time.monotonic() - started)

    done = take_up(halfway, layers, optimizer, losses, missing) if halfway else 0
    last = started
    if 0 in wanted and not done:
        _save(layers, jobs, recipe, model_folder, 0)
    if on_step:
        for step in range(done):
            on_step(step + 1, steps, sum(each[step]["loss"] for each in losses) / len(losses))
    whole = done  # steps after which weights, optimiser, losses and checkpoints are; 0 while they change
    try:
        for step in range(done, steps):
            optimizer.param_groups[0]["lr"] = rates[step]
            loss_K, rows_per_pass = _accumulate_halving(
                model, jobs, [order[step] for order in orders], rows_per_pass or recipe.batch_size, optimizer
            )
            norm_K = _clip(parameters, recipe.max_grad_norm)
            whole = 0
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for job, loss, norm in zip(jobs, loss_K.tolist(), norm_K.tolist(), strict=True):
                epoch = (step + 1) * recipe.epochs / steps
                entry = {"step": step + 1, "epoch": epoch, "loss": loss, "learning_rate": rates[step]}
                job.losses.append({**entry, "grad_norm": norm})
            if step + 1 in wanted:
                _save(layers, jobs, recipe, model_folder, step + 1)
            whole = step + 1
            if on_step:
                on_step(step + 1, steps, float(loss_K.mean()))
            if time.monotonic() - last > EVERY_SECONDS:
                keep_after(step + 1)
                last = time.monotonic()
    except KeyboardInterrupt:  # a second one ends it at once, with the state that was kept last
        if whole > done:
            keep_after(whole)
        raise
    for job in jobs:
        (job.target / "losses.json").write_text(json.dumps(job.losses))
    return [{"steps": steps, "final_loss": job.losses[-1]["loss"]} for job in jobs]


def first_pass(model: Any, jobs: Sequence[Job]) -> torch.Tensor:
    """Loss_K of all rows of each job in one pass, and their gradients: what a step does before it changes weights."""
    use_row_attention(model)
    return _accumulate(model, jobs, [[[*range(len(job.rows))]] for job in jobs], max(len(job.rows) for job in jobs))


def stack_adapters(model: Any, jobs: Sequence[Job], recipe: Recipe) -> dict[str, StackedLinear]:
    """Replace each adapted layer by a stacked one; the base's own weights are frozen."""
    model.requires_grad_(False)
    stacked = {}
    for name, layer in adapted_layers(model, recipe).items():
        outputs, inputs = weight_oi(layer).shape
        a_KIR = torch.stack([initial_a(job.seed, name, inputs, recipe.rank).T for job in jobs]).contiguous()
        b_KRO = torch.zeros(len(jobs), recipe.rank, outputs)
        scale = recipe.alpha / recipe.rank
        stacked[name] = StackedLinear(layer, a_KIR.to(device()), b_KRO.to(device()), scale)
    replace_layers(model, stacked)
    return stacked


def _checkpoint_layers(model: Any) -> None:
    """Keep only the inputs of layers for the backward pass."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    model.activation_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            # The layer's own switch, which checkpointing asks for; the modules inside stay in evaluation.
            module.training = True


def _accumulate_halving(
    model: Any, jobs: Sequence[Job], steps: Sequence[list[list[int]]], rows: int, optimizer: torch.optim.Optimizer
) -> tuple[torch.Tensor, int]:
    """`_accumulate` with at most this many rows of a replicate at once; half as many after each failed allocation.

    Returns the losses, and how many rows it was in the end.
    """
    while True:
        try:
            return _accumulate(model, jobs, steps, rows), rows
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            optimizer.zero_grad(set_to_none=True)  # what was added up before the failure
            if rows == 1:
                raise ModelError(
                    f"not enough memory to train {len(jobs)} replicates with one row each per pass: ask for fewer "
                    "(--seeds), a smaller recipe.rank or a smaller model"
                ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows //= 2


def _accumulate(model: Any, jobs: Sequence[Job], steps: Sequence[list[list[int]]], rows: int) -> torch.Tensor:
    """Backward over a step, at most `rows` rows of a replicate at once. Returns loss_K: mean over its trained tokens."""
    on = device()
    trained_K = torch.tensor(
        [sum(sum(job.rows[i].trained) for batch in step for i in batch) for job, step in zip(jobs, steps, strict=True)],
        dtype=torch.float32,
        device=on,
    )
    loss_K = torch.zeros(len(jobs), device=on)
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    portions = [
        [micro[start : start + rows] for micro in step for start in range(0, len(micro), rows)] for step in steps
    ]
    for indices_K in zip(*portions, strict=True):
        batch = pack([[job.rows[i] for i in indices] for job, indices in zip(jobs, indices_K, strict=True)])
        hidden = decoder(
            input_ids=batch.input_ids.to(on),
            position_ids=batch.position_ids.to(on),
            row_layout=RowLayout.of(batch.places, on),
            use_cache=False,
        ).last_hidden_state
        hidden_MH = hidden.flatten(0, 1)[batch.source_M.to(on)]
        replicate_M = (batch.row_M // len(indices_K[0])).to(on)
        loss_M = token_losses(hidden_MH, head.weight, head.bias, batch.label_M.to(on))
        share_K = torch.zeros_like(loss_K).index_add(0, replicate_M, loss_M) / trained_K
        share_K.sum().backward()
        loss_K += share_K.detach()
    return loss_K


def _clip(parameters: Sequence[torch.nn.Parameter], max_norm: float) -> torch.Tensor:
    """Scale each replicate's gradient to at most `max_norm`, as torch's `clip_grad_norm_` would. Returns norm_K."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm_K = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    factor_K = (max_norm / (norm_K + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor_K.view(-1, 1, 1))
    return norm_K


def _save(layers: dict[str, StackedLinear], jobs: Sequence[Job], recipe: Recipe, model_folder: Path, step: int) -> None:
    """One standard PEFT adapter per job."""
    targets = sorted({name.rpartition(".")[2] for name in layers})
    transposed = fan_in_fan_out(layer.base for layer in layers.values())
    for k, job in enumerate(jobs):
        weights = {name: (layer.a_KIR[k].T, layer.b_KRO[k].T) for name, layer in layers.items()}
        write_adapter(checkpoint_folder(job.target, step), weights, targets, transposed, recipe, model_folder)
