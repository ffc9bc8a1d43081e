"""The autoencoder of a study: one that was named, or one that is trained here and kept in the store.

In: a `Subject`, and a file if one was named. Out: an `Autoencoder`: the `Sae`, what it is, and how well it describes base and
finetuned model, on the analysed prompts and on texts held out of its training. What its features say is `analysis` and `labels`.

Shape letters: N tokens, D hidden width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from weirdgen.features.corpus import corpus, hidden_states
from weirdgen.features.sae import Sae, fitness
from weirdgen.features.sae_read import SaeFile, read_sae
from weirdgen.features.sae_train import SaeRecipe, train
from weirdgen.features.subject import Subject
from weirdgen.sample.variant import Variant, adapters_on_disk
from weirdgen.store.keys import content_key

VERSION = 1
"""Raise it when the same inputs would give another autoencoder."""
HELD_OUT = 20
"""One row of so many is kept from training."""


@dataclass(frozen=True)
class Autoencoder:
    """`facts` and `fitness` are plain data for `features.json`."""

    sae: Sae
    facts: dict[str, Any]
    fitness: list[dict[str, Any]]


def autoencoder_of(subject: Subject, file: SaeFile | None, reference: str) -> Autoencoder:
    """The one of this file, or (None) the one that the size says, trained now unless the store has it."""
    arm = subject.last.arms[subject.arm]
    states = {
        ("base", "prompts"): subject.last.base_VQD.flatten(0, 1),
        ("finetuned", "prompts"): arm[0].flatten(0, 1),
    }
    facts: dict[str, Any] = {"reference": reference}
    if file is None:
        assert subject.size.sae is not None, "`study` asks for a name where none is trained"
        file, held_out = _trained(subject, subject.size.sae)
        facts |= {"digest": file.digest, "layout": "trained here"}
        states[("base", "corpus, held out")], states[("finetuned", "corpus, held out")] = held_out
    else:
        facts |= {"digest": file.digest, "layout": file.layout}
        if file.layer is not None and file.layer != subject.layer:
            facts["warning"] = f"it was made for layer {file.layer}, and layer {subject.layer} is read"
    facts |= {"features": file.sae.features, "kind": file.sae.kind}
    rows = [
        {"model": model, "on": where, **asdict(fitness(file.sae, value_ND))}
        for (model, where), value_ND in states.items()
    ]
    return Autoencoder(file.sae, facts, rows)


def _trained(subject: Subject, recipe: SaeRecipe) -> tuple[SaeFile, tuple[torch.Tensor, torch.Tensor]]:
    """(autoencoder, held-out states of base and first replicate): half base, half finetuned activations."""
    plan, pair = subject.plan, [subject.base, subject.finals(subject.arm)[0]]
    rows = corpus(plan, subject.pairs, subject.reader, subject.size.corpus, recipe.seed)
    cut = max(1, len(rows) // HELD_OUT)
    inputs = {
        "version": VERSION, "recipe": asdict(recipe), "layer": subject.layer, "dtype": plan.request.dtype,
        "models": [one.key for one in pair], "tokens": content_key(rows),
    }  # fmt: skip
    key = content_key(inputs)
    base_ND, tuned_ND = _states(subject, rows[:cut], pair)
    if plan.store.marker("sae", key) is None:
        states_ND = torch.cat(_states(subject, rows[cut:], pair)).to(subject.device)
        with subject.progress.stage("autoencoder", recipe.tokens, "tokens") as bar, torch.enable_grad():
            sae = train(states_ND, recipe, bar.advance)
        metadata = {"k": recipe.k, "layer": subject.layer, "model_name": plan.request.model.reference}
        with plan.store.create("sae", key, inputs) as folder:
            write_saelens(sae, folder, metadata)
    return read_sae(plan.store.artifact("sae", key)), (base_ND, tuned_ND)


def write_saelens(sae: Sae, folder: Path, metadata: Mapping[str, Any]) -> None:
    """`cfg.json` and `sae_weights.safetensors`, which SAELens 6 and `sae_read` read."""
    from safetensors.torch import save_file

    sae = sae.folded()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"W_enc": sae.w_enc_DF, "b_enc": sae.b_enc_F, "W_dec": sae.w_dec_FD, "b_dec": sae.b_dec_D}
    config: dict[str, Any] = {
        "architecture": {"relu": "standard", "threshold": "jumprelu", "topk": "topk"}[sae.kind],
        "d_in": sae.width,
        "d_sae": sae.features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.subtracts,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": dict(metadata),
    }
    if sae.kind == "threshold" and sae.threshold_F is not None:
        tensors["threshold"] = sae.threshold_F.expand(sae.features)
    if sae.kind == "topk":
        config["k"] = sae.k
    save_file(
        {name: value.float().contiguous().cpu() for name, value in tensors.items()}, folder / "sae_weights.safetensors"
    )
    (folder / "cfg.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _states(subject: Subject, rows: Sequence[Sequence[int]], variants: Sequence[Variant]) -> list[torch.Tensor]:
    """[N, D] of each variant on these rows."""
    states: dict[int, torch.Tensor] = {}
    for group in subject.reader.groups(adapters_on_disk(subject.plan.store, variants)):
        states |= dict(zip(group, hidden_states(subject.reader, rows, subject.layer), strict=True))
    return [states[index] for index in range(len(variants))]
