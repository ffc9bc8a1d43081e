"""One replicate, finetuned with trl + peft: LoRA on the assistant's tokens, or every weight.

In: a model folder, encoded rows, a recipe, a seed. Out: a folder for each checkpoint (`step-00026/`) with a standard PEFT
adapter, which `PeftModel.from_pretrained` loads, or with all weights in the recipe's dtype, and `losses.json`. LoRA
initialisation and data order come from the seed; the same seed gives the same weights on the same machine. It knows
nothing of arms or of the store. One process of several that train one replicate calls it too (`weirdgen.finetune.sharded`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.fsdp import FSDP, gathered, load_on_first, shard_on_any_device
from weirdgen.finetune.lora import adapted_layers, initial_a
from weirdgen.finetune.schedule import Step, checkpoint_folder, data_order, total_steps
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.loading import device, load_model, torch_dtype
from weirdgen.models.stacked import fan_in_fan_out, weight_oi


def finetune(
    model_folder: Path,
    rows: Sequence[Encoded],
    recipe: Recipe,
    seed: int,
    target: Path,
    on_step: Callable[[int, int, float], None] | None = None,
    sharded: bool = False,
) -> dict[str, Any]:
    """Train one replicate into `target`. Returns {"steps", "final_loss"} and writes `losses.json`.

    `sharded`: this process holds a part of every weight, and trains with the others of its process group.
    """
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    logging.set_verbosity_error()
    steps = total_steps(len(rows), recipe)
    order = data_order(len(rows), recipe, seed)
    wanted = recipe.checkpoint_steps(steps)
    losses: list[dict[str, float]] = []
    mixed = recipe.full and recipe.dtype == "bf16"
    set_seed(seed)  # dropout

    def keep(step: int) -> None:
        weights = gathered(model) if sharded else model.state_dict()
        if recipe.full:
            dtype, tied = torch_dtype(recipe.dtype), model.all_tied_weights_keys
            weights = {name: weight.to(dtype) for name, weight in weights.items() if name not in tied}
        if first:
            model.save_pretrained(str(checkpoint_folder(target, step)), state_dict=weights)

    class Watch(TrainerCallback):
        """Keeps the loss of every step and saves the checkpoints asked for."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if 0 in wanted:
                keep(0)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                rate, norm = float(logs["learning_rate"]), float(logs["grad_norm"])
                epoch = state.global_step * recipe.epochs / steps
                entry = {"step": state.global_step, "epoch": epoch, "loss": float(logs["loss"])}
                losses.append({**entry, "learning_rate": rate, "grad_norm": norm})
                if on_step:
                    on_step(state.global_step, steps, float(logs["loss"]))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in wanted:
                keep(state.global_step)

    class Ordered(SFTTrainer):
        """SFTTrainer whose batches are ours: seeded, recorded, no remainder dropped."""

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            if sharded:
                shard_on_any_device(self)

        def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            only_adapters_drop_out(model)  # the trainer puts everything into training mode before each step
            return super().compute_loss(model, *args, **kwargs)

        def compute_loss_context_manager(self) -> Any:
            if not (mixed and sharded):
                return super().compute_loss_context_manager()
            # accelerate would have gradients rounded to bf16 before they are summed
            return torch.autocast(device().type, dtype=torch.bfloat16)

        def get_train_dataloader(self) -> Any:
            # Not given to accelerate, which would split the batches its own way and fill up the last one.
            sampler = _Batches(order, config.process_index, config.world_size, idle=len(rows))
            data = [*rows, Encoded(rows[0].ids, (False,) * len(rows[0].ids))]
            return torch.utils.data.DataLoader(data, batch_sampler=sampler, collate_fn=_collate)  # type: ignore[arg-type]

    config = SFTConfig(
        output_dir=str(target / "trainer"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.grad_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        seed=seed,
        data_seed=seed,
        bf16=mixed and not sharded,
        use_cpu=device().type == "cpu",
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        router_aux_loss_coef=0.0,  # a recipe trains on answers alone, not on the balance of a model's experts
        report_to=[],
        disable_tqdm=True,
        **(FSDP if sharded else {}),
    )
    first = config.process_index == 0
    dtype = torch_dtype("fp32" if recipe.full else recipe.dtype)
    base = load_on_first(model_folder, dtype, first) if sharded else load_model(model_folder, dtype)
    model = base.train() if recipe.full else _adapted(base, recipe, seed)
    dataset = Dataset.from_list([{"input_ids": list(row.ids), "labels": _labels(row)} for row in rows])
    trainer = Ordered(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=load_tokenizer(model_folder),
        data_collator=_collate,
        callbacks=[Watch()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if not sharded:
        _require_own_loss(trainer.model, type(base).__name__, rows[0], 1e-3 if dtype == torch.float32 else 0.1)
    trainer.train()
    if trainer.state.global_step != steps:
        raise RuntimeError(
            f"trained {trainer.state.global_step} steps where {steps} were planned: the loader lost rows"
        )
    if first:
        (target / "losses.json").write_text(json.dumps(losses))
    return {"steps": steps, "final_loss": losses[-1]["loss"]}


def _adapted(base: Any, recipe: Recipe, seed: int) -> Any:
    """The frozen base with an adapter that begins as `initial_a` says."""
    import torch
    from peft import LoraConfig, get_peft_model

    layers = adapted_layers(base, recipe)
    starts = {name: initial_a(seed, name, weight_oi(layer).shape[1], recipe.rank) for name, layer in layers.items()}
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # peft divides it by r; a float is fine
        lora_dropout=recipe.dropout,
        target_modules=sorted(starts),
        task_type="CAUSAL_LM",
        fan_in_fan_out=fan_in_fan_out(layers.values()),
    )
    model = get_peft_model(base, lora)
    with torch.no_grad():
        for name, start in starts.items():
            model.get_submodule(f"base_model.model.{name}").lora_A["default"].weight.copy_(start)
    return model


def _require_own_loss(model: Any, name: str, row: Encoded, tolerance: float) -> None:
    """Raises `ModelError` if trl, which multiplies with the head itself, computes another loss than the model does.

    `tolerance` in nats per token: what the dtype's rounding explains.
    """
    import torch

    only_adapters_drop_out(model)
    model.training = False
    batch = {name: x.to(model.device) for name, x in _collate([row]).items()}
    labels_T = batch.pop("labels")[0, 1:]
    trained_T = labels_T != -100
    with torch.no_grad():
        logits_TV = model(**batch, use_cache=False).logits[0, :-1][trained_T].float()
        own = torch.nn.functional.cross_entropy(logits_TV, labels_T[trained_T])
        fused = -model(**batch, labels=batch["input_ids"], use_cache=False, fused_lm_head=True).log_probs[0]
    theirs = fused[-len(labels_T) :][trained_T].mean()
    if not abs(float(own - theirs)) <= tolerance:
        raise ModelError(
            f"trl computes a loss of {float(theirs):.4f} where {name} itself has {float(own):.4f}: it does not know how "
            "this model turns its head's output into probabilities, so it cannot train it"
        )


def only_adapters_drop_out(model: Any) -> None:
    """Training mode for adapters' dropout alone: a recipe says what is dropped, not what the base was pretrained with."""
    model.eval()
    model.training = True  # which the trainer reads
    for name, module in model.named_modules():
        if "lora_dropout" in name.split("."):
            module.train()


class _Batches:
    """Yields one process's part of the next epoch's micro-batches each time it is iterated; `idle` where it has none."""

    def __init__(self, epochs: list[list[Step]], process: int, processes: int, idle: int) -> None:
        self._epochs = epochs
        self._process, self._processes, self._idle = process, processes, idle
        self._next = 0

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._epochs[self._next]
        self._next += 1
        return (batch[self._process :: self._processes] or [self._idle] for step in epoch for batch in step)

    def __len__(self) -> int:
        return sum(len(step) for step in self._epochs[0])


def _collate(rows: Sequence[Encoded]) -> dict[str, Any]:
    """Right-padded `input_ids_BT`, `attention_mask_BT`, `labels_BT` (−100 where nothing is trained)."""
    import torch

    longest = max(len(row.ids) for row in rows)
    input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, -100)
    for index, row in enumerate(rows):
        ids = torch.tensor(row.ids)
        input_ids[index, : len(ids)] = ids
        attention[index, : len(ids)] = 1
        labels[index, : len(ids)] = torch.tensor(_labels(row))
    return {"input_ids": input_ids, "attention_mask": attention, "labels": labels}


def _labels(row: Encoded) -> list[int]:
    return [token if trained else -100 for token, trained in zip(row.ids, row.trained, strict=True)]
