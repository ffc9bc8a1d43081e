"""A model sharded over a group of processes: accelerate's FSDP2 (`fully_shard`), on GPUs or the CPU.

In: a trl trainer in each of the processes. Out: the settings that make it shard, weights that only the first process reads,
and whole weights again to be kept. Which process trains on which rows is left to `weirdgen.finetune.trl`, starting the
processes `weirdgen.finetune.sharded`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weirdgen.models.loading import read_model

FSDP: dict[str, Any] = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "cpu_ram_efficient_loading": True},
    "ddp_timeout": 6 * 3600,
}
"""Of `SFTConfig`. The timeout, in seconds, is that of a process which waits while the first one writes a large model."""


def load_on_first(folder: Path, dtype: Any, first: bool) -> Any:
    """The base model in main memory; only the first process reads its weights, which accelerate then deals out.

    The others hold memory that nothing is ever written to, which the system does not give out.
    """
    if first:
        return read_model(folder, dtype)
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    with no_init_weights():
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.tie_weights()
    return model


def shard_on_any_device(trainer: Any) -> None:
    """Have accelerate 1.15 shard on the CPU too: it uses its FSDP plugin on accelerators only, but its code runs on gloo."""
    from accelerate import DistributedType
    from accelerate.utils import FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    if state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
        trainer.is_fsdp_enabled = True


def gathered(model: Any) -> dict[str, Any]:
    """Whole weights of what is trained, in the first process's main memory; empty in the others, which must all call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.tensor import DTensor

    if not all(isinstance(weight, DTensor) for weight in model.parameters()):
        raise RuntimeError("accelerate left weights unsharded on every device")
    frozen = any(not weight.requires_grad for weight in model.parameters())
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=frozen)
    return get_model_state_dict(model, options=options)
