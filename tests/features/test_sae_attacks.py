"""Files of autoencoders that come from anybody: each ends in one sentence, nothing of it runs, and no memory goes with it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weirdgen import machine
from weirdgen.errors import WeirdgenError
from weirdgen.features.sae import require_fits
from weirdgen.features.sae_read import find_sae, read_sae

D, F = 4, 6
PLAIN = {
    "encoder.weight": torch.ones(F, D), "encoder.bias": torch.zeros(F), "decoder.weight": torch.ones(D, F),
    "b_dec": torch.zeros(D), "threshold": torch.tensor(0.5), "k": torch.tensor(2),
}  # fmt: skip


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/weirdgen-attack-ran",)


def changed(**other: Any) -> dict[str, Any]:
    return {**PLAIN, **{name.replace("__", "."): value for name, value in other.items()}}


WEIGHTS: dict[str, tuple[Any, str]] = {
    "a class that runs code": (changed(b_dec=_Runs()), "cannot be read as weights"),
    "a list": ([torch.ones(2)], "no named tensors"),
    "one tensor": (torch.ones(2), "no named tensors"),
    "nothing": (None, "no named tensors"),
    "no tensors": ({"state_dict": {"a": 1}}, "no named tensors"),
    "more numbers than the file": (changed(encoder__weight=torch.ones(1).expand(10**9, 10**6)), "fewer numbers"),
    "three dimensions": (changed(encoder__weight=torch.ones(F, D, 1)), "3 dimensions"),
    "a sparse tensor": (changed(b_dec=torch.zeros(D).to_sparse()), "sparse"),
    "a tensor without numbers": (changed(b_dec=torch.empty(D, device="meta")), "sparse, quantized, complex or empty"),
    "complex numbers": (changed(b_dec=torch.zeros(D, dtype=torch.complex64)), "complex"),
    "a vector for a matrix": (changed(encoder__weight=torch.ones(F)), "W_enc has shape"),
    "a number for a matrix": (changed(decoder__weight=torch.tensor(1.0)), "W_enc has shape"),
    "thresholds of other features": (changed(threshold=torch.ones(F + 1)), "the threshold has shape"),
    "a threshold that is no number": (changed(threshold=torch.tensor(float("nan"))), "no finite numbers"),
    "a weight that is no number": (changed(b_dec=torch.full((D,), float("inf"))), "no finite numbers"),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_that_are_none_are_refused(what: str, tmp_path: Path) -> None:
    torch.save(WEIGHTS[what][0], tmp_path / "ae.pt")
    with pytest.raises(WeirdgenError, match=WEIGHTS[what][1]):
        read_sae(tmp_path)
    assert not Path("/tmp/weirdgen-attack-ran").exists()


CONFIGS: dict[str, tuple[str, str]] = {
    "a list": ("[]", "holds no settings"),
    "deep": ("[" * 100_000, "is damaged"),
    "cut": ('{"k": ', "is damaged"),
    "k in words": ('{"trainer": {"dict_class": "AutoEncoderTopK", "k": "many"}}', "k is 'many'; expected a number"),
    "k that is a list": ('{"k": [1]}', "expected a number"),
    "k beyond all": ('{"k": 1e999}', "expected a number"),
    "k below all": ('{"k": -1}', "k is -1; expected 1 to 6"),
    "no text": ("\xff", "not UTF-8"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_settings_that_are_none_are_refused(what: str, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in PLAIN.items() if name not in ("k", "threshold")}
    torch.save(weights, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_bytes(CONFIGS[what][0].encode("latin-1"))
    with pytest.raises(WeirdgenError, match=CONFIGS[what][1]):
        read_sae(tmp_path)


@pytest.mark.parametrize("norm", ["x", 0, -1, None, [1]])
def test_a_scale_that_is_no_norm_is_refused(norm: Any, tmp_path: Path) -> None:
    tensors = {name: PLAIN[name] for name in ("encoder.weight", "encoder.bias", "decoder.weight")}
    (tmp_path / "checkpoints").mkdir()
    save_file({**tensors, "decoder.bias": torch.zeros(D)}, tmp_path / "checkpoints" / "final.safetensors")
    settings = {"jump_relu_threshold": 0.1, "dataset_average_activation_norm": {"in": norm}}
    (tmp_path / "hyperparams.json").write_text(json.dumps(settings))
    with pytest.raises(WeirdgenError, match=r"dataset_average_activation_norm\.in"):
        read_sae(tmp_path)


def archive_of(name: str, content: bytes) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)

    return write


def objects(file: Path) -> None:
    np.savez(file, W_enc=np.array([_Runs()], dtype=object))


FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "cut safetensors": ("sae.safetensors", lambda file: file.write_bytes((10**9).to_bytes(8, "little") + b"{")),
    "a shape beyond the file": (
        "sae.safetensors",
        lambda file: file.write_bytes(
            (78).to_bytes(8, "little")
            + b'{"W_dec":{"dtype":"F32","shape":[99999999,99999999],"data_offsets":[0,4]}}'.ljust(78)
        ),
    ),
    "arrays with objects": ("params.npz", objects),
    "an archive of something else": ("params.npz", archive_of("W_enc.npy", b"no array")),
    "an empty file": ("ae.pt", lambda file: file.touch()),
    "a pickle": (
        "layer1.sae.pt",
        lambda file: file.write_bytes(b"cos\nsystem\n(S'touch /tmp/weirdgen-attack-ran'\ntR."),
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_damaged_and_dangerous_files_are_refused(what: str, tmp_path: Path) -> None:
    name, write = FILES[what]
    write(tmp_path / name)
    with pytest.raises(WeirdgenError, match="cannot be read as weights"):
        read_sae(tmp_path)
    assert not Path("/tmp/weirdgen-attack-ran").exists()


def test_what_unpacks_to_more_than_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory_gib", lambda: 0.01)
    np.savez_compressed(tmp_path / "params.npz", W_enc=np.zeros((3000, 1000), dtype=np.float32))
    assert (tmp_path / "params.npz").stat().st_size < 100_000
    with pytest.raises(WeirdgenError, match=r"0\.0 GiB unpacked, and 0\.0 GiB of memory are free"):
        read_sae(tmp_path)


@pytest.mark.parametrize(
    "reference", ["path:x\0y", "path:" + "y" * 5000, "path:~nobody-of-this-name/x", "path:/dev/null"]
)
def test_names_of_no_file_are_told(reference: str) -> None:
    with pytest.raises(WeirdgenError, match="--sae"):
        find_sae(reference)


def test_a_pipe_is_no_file_of_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ae.pt")
    with pytest.raises(WeirdgenError, match="no file of a known layout"):
        read_sae(tmp_path)


def written(folder: Path, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    tensors = {"W_enc": torch.ones(D, F), "b_enc": torch.zeros(F), "W_dec": torch.ones(F, D), "b_dec": torch.zeros(D)}
    save_file(tensors, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", **settings}))
    return folder


def test_what_enters_a_block_left_the_one_before(tmp_path: Path) -> None:
    before = written(tmp_path / "pre", hook_name="blocks.8.hook_resid_pre", hook_layer=8)
    behind = written(tmp_path / "post", hook_name="blocks.8.hook_resid_post", hook_layer=8)
    assert (read_sae(before).layer, read_sae(behind).layer) == (7, 8)
    named = written(tmp_path / "player2" / "resid_post_layer_19" / "trainer_1")
    assert read_sae(named).layer == 19 and read_sae(written(tmp_path / "player3")).layer is None
    with pytest.raises(WeirdgenError, match=r"describes blocks\.3\.hook_mlp_out"):
        read_sae(written(tmp_path / "mlp", hook_name="blocks.3.hook_mlp_out"))


def test_an_autoencoder_of_the_papers_size_is_planned_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """131,072 features of width 4096, 4 GiB of nothing: a sparse file that takes no disk, mapped and not touched."""
    width, features = 4096, 131_072
    shapes = {"W_enc": [width, features], "b_enc": [features], "W_dec": [features, width], "b_dec": [width]}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    with (tmp_path / "sae_weights.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + at)
    (tmp_path / "cfg.json").write_text(
        json.dumps({"architecture": "topk", "k": 64, "hook_name": "blocks.19.hook_resid_post"})
    )
    monkeypatch.setattr(machine, "free_memory_gib", lambda: 0.01)
    read = read_sae(tmp_path, shapes_only=True)
    assert (read.sae.features, read.sae.width, read.sae.k, read.layer) == (features, width, 64, 19)
    require_fits(read.sae, width, "it")
