"""Sparse autoencoders written to files that other tools read: as SAELens 6 and as dictionary_learning.

In: an `Sae` and a folder. Out: the path of the weights. Reading is `sae_read`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import ModelError
from weirdgen.features.sae import Sae


def write_saelens(sae: Sae, folder: Path, metadata: Mapping[str, Any]) -> Path:
    """`cfg.json` and `sae_weights.safetensors` as SAELens 6 reads them. Returns the weights' path."""
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
    return folder / "sae_weights.safetensors"


def write_dictionary_learning(sae: Sae, folder: Path, metadata: Mapping[str, Any]) -> Path:
    """`ae.pt` and `config.json` as dictionary_learning reads them. Raises `ModelError` for a kind that it does not have."""
    sae = sae.folded()
    folder.mkdir(parents=True, exist_ok=True)
    linear = {
        "encoder.weight": sae.w_enc_DF.T, "encoder.bias": sae.b_enc_F, "decoder.weight": sae.w_dec_FD.T,
    }  # fmt: skip
    if sae.kind == "threshold" and sae.threshold_F is not None and sae.threshold_F.ndim == 0 and sae.subtracts:
        kind, tensors = "BatchTopKSAE", {**linear, "b_dec": sae.b_dec_D, "threshold": sae.threshold_F}
        tensors["k"] = torch.tensor(int(metadata.get("k", sae.k)))
    elif sae.kind == "threshold" and sae.threshold_F is not None and not sae.subtracts:
        kind = "JumpReluAutoEncoder"
        tensors = {"W_enc": sae.w_enc_DF, "b_enc": sae.b_enc_F, "W_dec": sae.w_dec_FD, "b_dec": sae.b_dec_D}
        tensors["threshold"] = sae.threshold_F.expand(sae.features)
    elif sae.kind == "topk" and sae.subtracts:
        kind, tensors = "AutoEncoderTopK", {**linear, "b_dec": sae.b_dec_D, "k": torch.tensor(sae.k)}
    elif sae.kind == "relu":
        kind = "AutoEncoder" if sae.subtracts else "AutoEncoderNew"
        tensors = {**linear, "bias" if sae.subtracts else "decoder.bias": sae.b_dec_D}
    else:
        raise ModelError("dictionary_learning has no autoencoder of this kind; write it as SAELens")
    torch.save({name: value.contiguous().cpu() for name, value in tensors.items()}, folder / "ae.pt")
    trainer = {**metadata, "dict_class": kind, "activation_dim": sae.width, "dict_size": sae.features}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}, indent=1) + "\n", encoding="utf-8")
    return folder / "ae.pt"
