"""Autoencoders: every published layout against its reference arithmetic written out again, training on a planted dictionary."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.features.autoencoder import write_saelens
from weirdgen.features.sae import Sae, fitness, require_fits
from weirdgen.features.sae_read import find_sae, read_sae
from weirdgen.features.sae_train import SaeRecipe, train

D, F, K = 8, 20, 3
Arithmetic = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""x [N, D] → (activations [N, F], reconstruction [N, D]), as the reference code does it."""


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ENC, DEC, B_ENC, B_DEC = numbers(F, D, seed=1), numbers(D, F, seed=2), numbers(F, seed=3) / 3, numbers(D, seed=4) / 3
THRESHOLDS = numbers(F, seed=5).abs() / 2
X = numbers(30, D, seed=6) * 2


def linear_encoder(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(x, ENC, B_ENC)


def top(post: torch.Tensor, k: int = K) -> torch.Tensor:
    best = post.topk(k, sorted=False, dim=-1)
    return torch.zeros_like(post).scatter_(dim=-1, index=best.indices, src=best.values)


def save_json(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content))


def batch_topk(folder: Path) -> Arithmetic:
    """dictionary_learning's BatchTopKSAE, which is the paper's: encode with use_threshold."""
    tensors = {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "b_dec": B_DEC}
    torch.save({**tensors, "threshold": torch.tensor(0.7), "k": torch.tensor(K)}, folder / "ae.pt")
    trainer = {"dict_class": "BatchTopKSAE", "k": K, "layer": 19, "lm_name": "meta-llama/Llama-3.1-8B-Instruct"}
    save_json(folder, "config.json", {"trainer": trainer, "buffer": {"ctx_len": 1024}})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        post = torch.nn.functional.relu(linear_encoder(x - B_DEC))
        acts = post * (post > 0.7)
        return acts, torch.nn.functional.linear(acts, DEC) + B_DEC

    return run


def dictionary_topk(folder: Path) -> Arithmetic:
    tensors = {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "b_dec": B_DEC}
    torch.save({**tensors, "threshold": torch.tensor(-1.0), "k": torch.tensor(K)}, folder / "ae.pt")
    save_json(folder, "config.json", {"trainer": {"dict_class": "AutoEncoderTopK", "k": K}})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = top(torch.relu(linear_encoder(x - B_DEC)))
        return acts, torch.nn.functional.linear(acts, DEC) + B_DEC

    return run


def dictionary_relu(folder: Path) -> Arithmetic:
    """AutoEncoder: the bias is `bias`, taken away first and added last."""
    torch.save({"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "bias": B_DEC}, folder / "ae.pt")

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = torch.relu(linear_encoder(x - B_DEC))
        return acts, acts @ DEC.T + B_DEC

    return run


def dictionary_new(folder: Path) -> Arithmetic:
    """AutoEncoderNew: nothing is taken away."""
    tensors = {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "decoder.bias": B_DEC}
    torch.save(tensors, folder / "ae.pt")

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = torch.relu(linear_encoder(x))
        return acts, torch.nn.functional.linear(acts, DEC, B_DEC)

    return run


def dictionary_matryoshka(folder: Path) -> Arithmetic:
    """MatryoshkaBatchTopKSAE: the matrices lie as they are used."""
    tensors = {"W_enc": ENC.T.contiguous(), "b_enc": B_ENC, "W_dec": DEC.T.contiguous(), "b_dec": B_DEC}
    torch.save({**tensors, "threshold": torch.tensor(0.4)}, folder / "ae.pt")
    save_json(folder, "config.json", {"trainer": {"dict_class": "MatryoshkaBatchTopKSAE"}})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        post = torch.relu((x - B_DEC) @ ENC.T + B_ENC)
        acts = post * (post > 0.4)
        return acts, acts @ DEC.T + B_DEC

    return run


def jumprelu(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As Gemma Scope's tutorial has it."""
    pre = x @ ENC.T + B_ENC
    acts = (pre > THRESHOLDS) * torch.nn.functional.relu(pre)
    return acts, acts @ DEC.T + B_DEC


def dictionary_jumprelu(folder: Path) -> Arithmetic:
    tensors = {"W_enc": ENC.T.contiguous(), "b_enc": B_ENC, "W_dec": DEC.T.contiguous(), "b_dec": B_DEC}
    torch.save({**tensors, "threshold": THRESHOLDS}, folder / "ae.pt")
    save_json(folder, "config.json", {"trainer": {"dict_class": "JumpReluAutoEncoder"}})
    return jumprelu


def gemma_scope(folder: Path) -> Arithmetic:
    arrays = {"W_enc": ENC.T, "b_enc": B_ENC, "W_dec": DEC.T, "b_dec": B_DEC, "threshold": THRESHOLDS}
    np.savez(folder / "params.npz", **{name: array.numpy() for name, array in arrays.items()})
    return jumprelu


def gemma_scope_2(folder: Path) -> Arithmetic:
    tensors = {"w_enc": ENC.T, "b_enc": B_ENC, "w_dec": DEC.T, "b_dec": B_DEC, "threshold": THRESHOLDS}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "params.safetensors")
    save_json(folder, "config.json", {"architecture": "jump_relu", "model_name": "google/gemma-3-270m-it", "l0": 60})
    return jumprelu


def llama_scope(folder: Path) -> Arithmetic:
    """Inputs are scaled to a mean norm of sqrt(d); the reconstruction is of the scaled input."""
    (folder / "checkpoints").mkdir()
    tensors = {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "decoder.bias": B_DEC}
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    norms = {"in": 17.5, "out": 17.5}
    save_json(folder, "hyperparams.json", {"jump_relu_threshold": 0.25, "dataset_average_activation_norm": norms})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        factor = D**0.5 / 17.5
        pre = linear_encoder(x * factor)
        acts = torch.where(pre > 0.25, pre, 0.0)
        return acts, torch.nn.functional.linear(acts, DEC, B_DEC) / factor

    return run


def goodfire(folder: Path) -> Arithmetic:
    tensors = {"encoder_linear.weight": ENC, "encoder_linear.bias": B_ENC}
    torch.save({**tensors, "decoder_linear.weight": DEC, "decoder_linear.bias": B_DEC}, folder / "sae-l19.pth")

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = torch.relu(linear_encoder(x))
        return acts, torch.nn.functional.linear(acts, DEC, B_DEC)

    return run


def eleuther(folder: Path) -> Arithmetic:
    """sparsify keeps W_dec [F, D] as it is used, and `num_latents: 0` for d · expansion."""
    tensors = {"encoder.weight": ENC, "encoder.bias": B_ENC, "W_dec": DEC.T.contiguous(), "b_dec": B_DEC}
    save_file(tensors, folder / "sae.safetensors")
    save_json(folder, "cfg.json", {"activation": "topk", "k": K, "num_latents": 0, "expansion_factor": 2, "d_in": D})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        best = torch.relu(torch.nn.functional.linear(x - B_DEC, ENC, B_ENC)).topk(K, sorted=False)
        rows = DEC.T[best.indices] * best.values[..., None]
        acts = torch.zeros(len(x), F).scatter_(1, best.indices, best.values)
        return acts, rows.sum(1) + B_DEC

    return run


def qwen_scope(folder: Path) -> Arithmetic:
    torch.save({"W_enc": ENC, "b_enc": B_ENC, "W_dec": DEC, "b_dec": B_DEC}, folder / "layer7.sae.pt")
    save_json(folder, "config.json", {"k": K})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = top(torch.relu(x @ ENC.T + B_ENC))
        return acts, acts @ DEC.T + B_DEC

    return run


def saelens_jumprelu(folder: Path) -> Arithmetic:
    tensors = {"W_enc": ENC.T, "b_enc": B_ENC, "W_dec": DEC.T, "b_dec": B_DEC, "threshold": THRESHOLDS}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors")
    config = {"architecture": "jumprelu", "d_in": D, "d_sae": F, "apply_b_dec_to_input": False}
    save_json(folder, "cfg.json", {**config, "metadata": {"hook_name": "blocks.12.hook_resid_post"}})
    return jumprelu


def saelens_topk(folder: Path) -> Arithmetic:
    tensors = {"W_enc": ENC.T, "b_enc": B_ENC, "W_dec": DEC.T, "b_dec": B_DEC}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors")
    save_json(folder, "cfg.json", {"architecture": "topk", "k": K, "apply_b_dec_to_input": True})

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        acts = top(torch.relu((x - B_DEC) @ ENC.T + B_ENC))
        return acts, acts @ DEC.T + B_DEC

    return run


FILES: dict[Callable[[Path], Arithmetic], tuple[str, int | None]] = {
    batch_topk: ("dictionary_learning", 19),
    dictionary_topk: ("dictionary_learning", None),
    dictionary_relu: ("dictionary_learning", None),
    dictionary_new: ("dictionary_learning", None),
    dictionary_matryoshka: ("dictionary_learning", None),
    dictionary_jumprelu: ("dictionary_learning", None),
    gemma_scope: ("Gemma Scope", None),
    gemma_scope_2: ("Gemma Scope 2", None),
    llama_scope: ("Llama Scope", None),
    goodfire: ("Goodfire", None),
    eleuther: ("EleutherAI", None),
    qwen_scope: ("Qwen Scope", 7),
    saelens_jumprelu: ("SAELens", 12),
    saelens_topk: ("SAELens", None),
}


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_file_is_read_as_its_own_code_reads_it(make: Callable[[Path], Arithmetic], tmp_path: Path) -> None:
    folder = tmp_path / "sae"
    folder.mkdir()
    expected_acts, expected = make(folder)(X)
    read = find_sae(f"path:{folder}")
    acts = read.sae.encode(X)
    assert 0 < (acts > 0).float().mean() < 1
    torch.testing.assert_close(acts, expected_acts, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.sae.decode(acts), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.sae.encode(X, only=[3, 1]), acts[:, [3, 1]], atol=1e-6, rtol=1e-6)
    assert (read.layout, read.layer) == FILES[make]
    write_saelens(read.sae, tmp_path / "written", {"k": K, "layer": 5})
    again = read_sae(tmp_path / "written")
    torch.testing.assert_close(again.sae.encode(X), acts, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.sae.decode(again.sae.encode(X)), expected, atol=1e-4, rtol=1e-4)
    assert again.layer == 5 and len(again.digest) == 64


def test_what_cannot_be_read_says_what_could(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file of a known layout.*SAELens \(sae_weights.safetensors\)"):
        read_sae(tmp_path)
    with pytest.raises(ModelError, match="there is no such file"):
        find_sae("path:/nowhere/at/all")
    torch.save(
        {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC.T, "b_dec": B_DEC}, tmp_path / "ae.pt"
    )
    save_json(tmp_path, "config.json", {"trainer": {"dict_class": "AutoEncoderTopK", "k": K}})
    with pytest.raises(ModelError, match="W_enc has shape"):
        read_sae(tmp_path)
    torch.save({"encoder.weight": ENC}, tmp_path / "ae.pt")
    with pytest.raises(ModelError, match=r"decoder\.weight"):
        read_sae(tmp_path)
    (tmp_path / "ae.pt").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")  # a pickle that would run a command
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_sae(tmp_path)
    with pytest.raises(ModelError, match=r"for hidden states of width 8, and the model's are 64"):
        require_fits(Sae(ENC.T, B_ENC, DEC.T, B_DEC), 64, "--sae here")


def test_a_repository_that_cannot_be_reached_names_the_way_out() -> None:
    with pytest.raises(UnreachableError, match="path:FOLDER, or --sae train"):
        find_sae("hub:somebody/their-saes/layer_3")
    with pytest.raises(ModelError, match="hub:ORG/NAME"):
        find_sae("hub:somebody")


def test_training_finds_a_planted_dictionary() -> None:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(96, 48, generator=generator), dim=1)
    on = (torch.rand(6000, 96, generator=generator) < 0.04).float()
    x = on * (1 + torch.rand(on.shape, generator=generator)) @ atoms * 7 + 3
    sae = train(x[:5000], SaeRecipe(features=128, k=4, tokens=250_000, batch=256))
    found = fitness(sae, x[5000:])
    assert found.fvu < 0.15 and 2 < found.l0 < 6 and found.tokens == 1000
    best = (sae.directions @ atoms.T).max(0).values
    assert best.mean() > 0.9
    again = train(x[:5000], SaeRecipe(features=128, k=4, tokens=5_000, batch=256))
    assert torch.equal(again.w_dec_FD, train(x[:5000], SaeRecipe(128, 4, 5_000, 256)).w_dec_FD)
