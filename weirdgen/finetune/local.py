"""One replicate, finetuned with trl + peft: LoRA on the assistant's tokens, or every weight.

In: a model folder, encoded rows, a recipe, a seed. Out: a folder for each checkpoint (`step-00026/`) with a standard PEFT
adapter, which `PeftModel.from_pretrained` loads, or with all weights in the recipe's dtype, and `losses.json`. LoRA
initialisation and data order come from the seed; the same seed gives the same weights on the same machine. It knows
nothing of arms or of the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from weirdgen.finetune.lora import adapted_layers, initial_a
from weirdgen.finetune.schedule import Step, checkpoint_folder, data_order, total_steps
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.loading import device, load_model, torch_dtype
from weirdgen.spec import Recipe


def finetune(
    model_folder: Path,
    rows: Sequence[Encoded],
    recipe: Recipe,
    seed: int,
    target: Path,
    on_step: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Train one replicate into `target`. Returns {"steps", "final_loss"} and writes `losses.json`."""
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
    set_seed(seed)  # dropout
    model = _whole(model_folder) if recipe.full else _adapted(model_folder, recipe, seed)

    def keep(step: int) -> None:
        weights = {n: w.to(torch_dtype(recipe.dtype)) for n, w in model.state_dict().items()} if recipe.full else None
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

        def get_train_dataloader(self) -> Any:
            sampler = _Batches(order)
            loader: Any = torch.utils.data.DataLoader(list(rows), batch_sampler=sampler, collate_fn=_collate)  # type: ignore[arg-type]
            return self.accelerator.prepare(loader)

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
        bf16=recipe.full and recipe.dtype == "bf16",
        use_cpu=device().type == "cpu",
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
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
    trainer.train()
    if trainer.state.global_step != steps:
        raise RuntimeError(
            f"trained {trainer.state.global_step} steps where {steps} were planned: the loader lost rows"
        )
    (target / "losses.json").write_text(json.dumps(losses))
    return {"steps": steps, "final_loss": losses[-1]["loss"]}


def _whole(model_folder: Path) -> Any:
    """The model with every weight in fp32, so that small steps are not rounded away."""
    import torch

    return load_model(model_folder, torch.float32).train()


def _adapted(model_folder: Path, recipe: Recipe, seed: int) -> Any:
    """The frozen base with an adapter that begins as `initial_a` says."""
    import torch
    from peft import LoraConfig, get_peft_model

    base = load_model(model_folder, torch_dtype(recipe.dtype))
    layers = adapted_layers(base, recipe)
    starts = {name: initial_a(seed, name, layer.in_features, recipe.rank) for name, layer in layers.items()}
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # peft divides it by r; a float is fine
        lora_dropout=recipe.dropout,
        target_modules=sorted(starts),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, lora)
    with torch.no_grad():
        for name, start in starts.items():
            model.get_submodule(f"base_model.model.{name}").lora_A["default"].weight.copy_(start)
    return model


class _Batches:
    """Yields the micro-batches of the next epoch each time it is iterated."""

    def __init__(self, epochs: list[list[Step]]) -> None:
        self._epochs = epochs
        self._next = 0

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._epochs[self._next]
        self._next += 1
        return (batch for step in epoch for batch in step)

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
