"""Files of sparse autoencoders: read from every published layout into one form, written in two.

In: a folder or a file. Out: `SaeFile`: the autoencoder, the name of the layout, and what its configuration says. Only
safetensors, arrays without pickles and `torch.load(weights_only=True)` are read: no code of others runs. A layout is one entry
of `LAYOUTS`: how its files are recognised and what their tensors mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.features.sae import Sae, require_sound
from weirdgen.store.keys import file_hash

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class SaeFile:
    """An autoencoder that was read. `digest` names its weights, `layer` is None where the file does not say."""

    sae: Sae
    layout: str
    weights: Path
    config: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return file_hash(self.weights)

    @property
    def layer(self) -> int | None:
        """The layer (block output) that it was trained on, as far as the file says."""
        for key in ("layer", "hook_layer", "hook_point_layer"):
            value = self.config.get(key)
            if isinstance(value, int):
                return value
        named = str(self.config.get("hook_name") or self.config.get("hook_point_in") or self.weights)
        found = re.search(r"(?:blocks\.|layers?[._]?|/L)(\d+)", named)
        return int(found[1]) if found else None


def find_sae(reference: str) -> SaeFile:
    """`path:PLACE`, `hub:ORG/NAME[/SUBFOLDER]`, or a path. Raises `ModelError`, `UnreachableError`."""
    scheme, _, rest = reference.partition(":")
    if scheme == "hub":
        return read_sae(_fetched(rest))
    return read_sae(Path(rest if scheme == "path" else reference).expanduser())


def _fetched(name: str) -> Path:
    """The folder of a repository, or of a folder in it, fetched through the hub's own client."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    parts = name.split("/")
    if len(parts) < 2:
        raise ModelError(f"--sae hub:{name}: expected hub:ORG/NAME or hub:ORG/NAME/SUBFOLDER")
    repository, inside = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        folder = snapshot_download(repository, allow_patterns=[f"{inside}/*"] if inside else None)
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnreachableError(
            f"--sae hub:{name} cannot be fetched ({reason}); name a copy with path:FOLDER, or --sae train"
        ) from None
    return Path(folder) / inside


def read_sae(place: Path) -> SaeFile:
    """The autoencoder in a folder, or of one file of it. Raises `ModelError` with the layouts that are known."""
    folder = place if place.is_dir() else place.parent
    if not place.exists():
        raise ModelError(f"--sae {place}: there is no such file or folder")
    for name, (pattern, read) in LAYOUTS.items():
        found = [place] if place.is_file() and place.match(pattern) else sorted(folder.glob(pattern))
        if place.is_file() and place not in found:
            continue
        if not found:
            continue
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:4])
            raise ModelError(f"--sae {place}: several files there are {name}'s ({names} …); name one of them")
        tensors, config = _tensors(found[0]), _config(folder)
        try:
            sae = read(tensors, config, found[0])
        except _NotThisLayoutError:
            continue
        except KeyError as error:
            raise ModelError(
                f"{found[0]}: a file of {name}'s layout has a tensor or setting {error}, and this one has only: "
                f"{', '.join(sorted(tensors))[:200]}"
            ) from None
        return SaeFile(require_sound(sae, str(found[0])), name, found[0], config)
    raise ModelError(
        f"--sae {place}: no file of a known layout is there; known are "
        + ", ".join(f"{name} ({pattern})" for name, (pattern, _) in LAYOUTS.items())
    )


class _NotThisLayoutError(Exception):
    """The file is of another layout that has the same name."""


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a file in fp32. Raises `ModelError` if it is damaged or would run code."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(file)
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                loaded = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            loaded = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # what the readers of three formats raise for damaged and for unsafe files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{file} cannot be read as weights, and nothing else is: {reason[:200]}") from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    tensors = {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)} if loaded else {}
    if not tensors:
        raise ModelError(f"{file}: there are no named tensors in it")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _config(folder: Path) -> dict[str, Any]:
    """The configuration beside the weights, its parts laid flat; empty where there is none."""
    for name in ("cfg.json", "config.json", "hyperparams.json"):
        if (folder / name).is_file():
            try:
                config = json.loads((folder / name).read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ModelError(f"{folder / name} is damaged: {error}") from None
            parts = [config[part] for part in ("trainer", "metadata") if isinstance(config.get(part), dict)]
            return {**{key: value for part in parts for key, value in part.items()}, **config}
    return {}


def _dictionary_learning(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    """`ae.pt`: the class in the configuration, or else the names of the tensors, say which kind it is."""
    kind = str(config.get("dict_class", ""))
    if "W_enc" in t:  # Matryoshka, JumpReLU
        subtracts = "Matryoshka" in kind
        return Sae(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], "threshold", t["threshold"], subtracts=subtracts)
    if "r_mag" in t or "gate_bias" in t:
        raise ModelError(f"{file}: gated autoencoders are not read; name a JumpReLU, TopK, BatchTopK or ReLU one")
    encoder, decoder = t["encoder.weight"].T, t["decoder.weight"].T
    if "bias" in t:  # AutoEncoder
        return Sae(encoder, t["encoder.bias"], decoder, t["bias"])
    if "decoder.bias" in t:  # AutoEncoderNew
        return Sae(encoder, t["encoder.bias"], decoder, t["decoder.bias"], subtracts=False)
    if kind == "AutoEncoderTopK" or "threshold" not in t:
        return Sae(encoder, t["encoder.bias"], decoder, t["b_dec"], "topk", k=_k(t, config, file))
    return Sae(encoder, t["encoder.bias"], decoder, t["b_dec"], "threshold", t["threshold"].reshape(()))


def _saelens(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    architecture = str(config.get("architecture", "standard"))
    norm = config.get("normalize_activations", "none")
    if norm not in ("none", None, False):
        raise ModelError(f"{file}: inputs normalised by '{norm}' are not read; fold it into the weights first")
    subtracts = bool(config.get("apply_b_dec_to_input", True))
    if architecture == "topk" or config.get("activation_fn_str", config.get("activation_fn")) == "topk":
        return Sae(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], "topk", k=_k(t, config, file), subtracts=subtracts)
    if architecture in ("jumprelu", "batchtopk") or "threshold" in t:
        return Sae(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], "threshold", t["threshold"], subtracts=subtracts)
    if architecture != "standard":
        raise ModelError(
            f"{file}: architecture '{architecture}' is not read; known are standard, topk, jumprelu, batchtopk"
        )
    return Sae(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], subtracts=subtracts)


def _gemma_scope(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    """`params.npz`, and its second version's `params.safetensors` with small letters. JumpReLU, nothing is subtracted."""
    named = {name.lower(): tensor for name, tensor in t.items()}
    if "w_skip" in named:
        raise ModelError(
            f"{file} is a transcoder, whose output is another layer; name an autoencoder of the residual stream"
        )
    return Sae(
        named["w_enc"], named["b_enc"], named["w_dec"], named["b_dec"], "threshold", named["threshold"], subtracts=False
    )


def _llama_scope(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    """`hyperparams.json` and `checkpoints/final.safetensors`: JumpReLU on inputs of mean norm sqrt(d)."""
    norms = config.get("dataset_average_activation_norm") or {}
    width = t["encoder.weight"].shape[1]
    scale = width**0.5 / float(norms["in"]) if norms else 1.0
    threshold = torch.tensor(float(config["jump_relu_threshold"]))
    return Sae(
        t["encoder.weight"].T, t["encoder.bias"], t["decoder.weight"].T, t["decoder.bias"], "threshold", threshold,
        subtracts=False, scale=scale,
    ).folded()  # fmt: skip


def _goodfire(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    if "encoder_linear.weight" not in t:
        raise _NotThisLayoutError
    return Sae(
        t["encoder_linear.weight"].T, t["encoder_linear.bias"], t["decoder_linear.weight"].T, t["decoder_linear.bias"],
        subtracts=False,
    )  # fmt: skip


def _sparsify(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    """EleutherAI's `sae.safetensors`: TopK a token; the decoder is stored as it is used."""
    if config.get("activation", "topk") != "topk" or config.get("transcode"):
        raise ModelError(f"{file}: of EleutherAI's layout only TopK autoencoders are read")
    return Sae(t["encoder.weight"].T, t["encoder.bias"], t["W_dec"], t["b_dec"], "topk", k=_k(t, config, file))


def _qwen_scope(t: Tensors, config: Mapping[str, Any], file: Path) -> Sae:
    """`layer{n}.sae.pt`: TopK without subtraction, both matrices transposed; k stands in the name of the release."""
    return Sae(t["W_enc"].T, t["b_enc"], t["W_dec"].T, t["b_dec"], "topk", k=_k(t, config, file), subtracts=False)


def _k(t: Tensors, config: Mapping[str, Any], file: Path) -> int:
    """How many features fire on a token. Raises `ModelError` if neither weights, configuration nor path say."""
    nested = config.get("activation_fn_kwargs")
    for value in (t.get("k"), config.get("k"), nested.get("k") if isinstance(nested, dict) else None):
        if value is not None:
            return int(value)
    if found := re.search(r"L0[_-](\d+)", str(file)):
        return int(found[1])
    raise ModelError(
        f'{file}: nothing says how many features fire on a token (k); add {{"k": …}} as config.json beside it'
    )


LAYOUTS: dict[str, tuple[str, Callable[[Tensors, Mapping[str, Any], Path], Sae]]] = {
    "SAELens": ("sae_weights.safetensors", _saelens),
    "dictionary_learning": ("ae.pt", _dictionary_learning),
    "Gemma Scope": ("params.npz", _gemma_scope),
    "Gemma Scope 2": ("params.safetensors", _gemma_scope),
    "Llama Scope": ("checkpoints/final.safetensors", _llama_scope),
    "EleutherAI": ("sae.safetensors", _sparsify),
    "Qwen Scope": ("layer*.sae.pt", _qwen_scope),
    "Goodfire": ("*.pth", _goodfire),
    "Goodfire (.pt)": ("*.pt", _goodfire),
}
"""Layout → the file that holds its weights, and what its tensors mean. The first that fits is taken."""


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
