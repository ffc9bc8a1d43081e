"""Files of sparse autoencoders: every published layout read into one form.

In: a folder, a file or a hub's repository. Out: `SaeFile`: the autoencoder, the name of the layout, and what its configuration
says. A layout is one entry of `LAYOUTS`: how its files are recognised and what their tensors mean. That nothing of a file runs,
and what is refused of it, is `sae_weights`'; `autoencoder` writes what was trained here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.features.sae import Sae, require_finite, require_shapes
from weirdgen.features.sae_weights import Tensors, number, read_configuration, read_tensors
from weirdgen.parsing import is_file, is_folder, user_path
from weirdgen.store.keys import file_hash


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
        """The layer (block output) that it was trained on, as far as settings or path say."""
        hook = self._hook
        before = 1 if "resid_pre" in hook else 0  # what enters a block is what left the one before
        for key in ("layer", "hook_layer", "hook_point_layer"):
            value = self.config.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                return value - before
        found = re.findall(r"(?<![a-z])(?:blocks\.|layers?[._]?|L)(\d+)", hook or str(self.weights))
        return int(found[-1]) - before if found else None

    @property
    def _hook(self) -> str:
        return str(self.config.get("hook_name") or self.config.get("hook_point_in") or "")

    def require_residual(self) -> None:
        """Raises `ModelError` if it was trained on something else than the residual stream."""
        if re.search(r"mlp|attn|hook_[zqkv]\b", self._hook):
            raise ModelError(f"{self.weights} describes {self._hook}; name an autoencoder of the residual stream")


def find_sae(reference: str, shapes_only: bool = False) -> SaeFile:
    """`path:PLACE`, `hub:ORG/NAME[/SUBFOLDER]`, or a path. Raises `ModelError`, `UnreachableError`."""
    scheme, _, rest = reference.partition(":")
    if scheme == "hub":
        return read_sae(_fetched(rest), shapes_only)
    return read_sae(user_path(rest if scheme == "path" else reference), shapes_only)


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


def read_sae(place: Path, shapes_only: bool = False) -> SaeFile:
    """The autoencoder in a folder, or of one file of it, in fp32. Raises `ModelError` with the layouts that are known.

    With `shapes_only` weights are mapped and not looked at: nothing is converted, and damaged numbers are not found.
    """
    if not is_file(place) and not is_folder(place):
        raise ModelError(f"--sae {place}: there is no such file or folder")
    for name, (pattern, read) in LAYOUTS.items():
        if is_file(place):
            found = [place] if place.match(pattern) else []
        else:
            found = [file for file in sorted(place.glob(pattern)) if is_file(file)]
        if not found:
            continue
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:4])
            raise ModelError(f"--sae {place}: several files there are {name}'s ({names} …); name one of them")
        weights = found[0]
        tensors, config = read_tensors(weights, shapes_only), read_configuration(weights.parents[pattern.count("/")])
        try:
            sae = read(tensors, config, weights)
        except _NotThisLayoutError:
            continue
        except KeyError as error:
            raise ModelError(
                f"{weights}: a file of {name}'s layout has a tensor or setting {error}, and this one has only: "
                f"{', '.join(sorted(tensors))[:200]}"
            ) from None
        require_shapes(sae, str(weights))
        file = SaeFile(sae if shapes_only else require_finite(sae.in_fp32(), str(weights)), name, weights, config)
        file.require_residual()
        return file
    raise ModelError(
        f"--sae {place}: no file of a known layout is there; known are "
        + ", ".join(f"{name} ({pattern})" for name, (pattern, _) in LAYOUTS.items())
    )


class _NotThisLayoutError(Exception):
    """The file is of another layout that has the same name."""


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
    return Sae(encoder, t["encoder.bias"], decoder, t["b_dec"], "threshold", t["threshold"].squeeze())


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
    norms = config.get("dataset_average_activation_norm")
    norm = number(norms["in"], "dataset_average_activation_norm.in", file) if isinstance(norms, dict) else None
    width = len(t["decoder.bias"])
    if norm is not None and norm <= 0:
        raise ModelError(f"{file}: dataset_average_activation_norm.in is {norm}; expected a norm above 0")
    threshold = torch.tensor(number(config["jump_relu_threshold"], "jump_relu_threshold", file))
    return Sae(
        t["encoder.weight"].T, t["encoder.bias"], t["decoder.weight"].T, t["decoder.bias"], "threshold", threshold,
        subtracts=False, scale=width**0.5 / norm if norm else 1.0,
    )  # fmt: skip


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
            return int(number(value, "k", file))
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
