"""What a study will take, before it is begun: memory, time, storage; nothing is read of weights but their shapes.

In: a request (of a run, or of an experiment that was never run), a size, a model's shape, a machine, an autoencoder's reference.
Out: lines. Tokens are counted with the request's own prompts and tokenizer; what share of a machine's peak is reached is
`machine.SHARES`, measured on a processor and assumed elsewhere. An autoencoder that is only named is not fetched.

Symbols in formulas: P weights, T tokens, L layers, R replicates of both arms, N ablations, F features, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weirdgen.columns import BASE
from weirdgen.errors import ModelError, SpecError, StoreError
from weirdgen.features.harvest import pairs_of
from weirdgen.features.intervene import ablations_of, contrast_questions
from weirdgen.features.labels import CORPUS
from weirdgen.features.reader import AT_ONCE, PASS_TOKENS
from weirdgen.features.residual import default_layer, require_layer
from weirdgen.features.sae import require_fits
from weirdgen.features.sae_read import SaeFile, find_sae
from weirdgen.features.size import SIZES, Size, SizeName, size_of
from weirdgen.machine import SHARES
from weirdgen.models.chat import answer_ids, load_tokenizer, prompt_ids
from weirdgen.progress import clock
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.plan.scale import GIB, Hardware, Shape, find_hardware, find_shape
from weirdgen.runs.results.results import load_run


class Counts(NamedTuple):
    """What a study asks for, counted."""

    prompts: int
    prompt_tokens: int
    score_tokens: int
    """Prompts and answers of every contrast question under every value, once."""
    replicates: int
    """Of both arms."""
    trials: int
    """Ablations, each of which scores everything again."""


def dry_lines(
    target: str,
    model: str | None,
    machine: str,
    layer: int | None,
    sae: str | None,
    size: SizeName | None,
    questions: Sequence[str],
    store: str | None,
) -> list[str]:
    """The plan for what a person names: a run, or an experiment. Raises `WeirdgenError` as a study would."""
    try:
        request = load_run(target, store).request
    except StoreError as no_run:
        try:
            request = resolve(target, run_options(samples=0))
        except SpecError:
            raise no_run from None
    shape = find_shape(model or request.model.reference)
    return plan_lines(request, shape, find_hardware(machine), layer, sae, size, questions)


def plan_lines(
    request: Request,
    shape: Shape,
    hardware: Hardware,
    layer: int | None,
    sae: str | None,
    size: SizeName | None,
    questions: Sequence[str] = (),
) -> list[str]:
    """The plan. Raises `ModelError` for a layer that the shape lacks, or a file of an autoencoder that does not fit it."""
    name = size or size_of(shape.parameters)
    chosen, reference = SIZES[name], sae or SIZES[name].named
    file = find_sae(reference, shapes_only=True) if _is_here(reference) else None
    count, width = int(shape.config["num_hidden_layers"]), int(shape.config["hidden_size"])
    at = layer if layer is not None else file.layer if file and file.layer is not None else default_layer(count)
    require_layer(at, count)
    features = _features(file, reference, chosen, width)
    counts = count_of(request, chosen, bool(features), questions)
    adapters = min(AT_ONCE, counts.replicates) * shape.adapter_bytes(request.recipe.rank) / 2
    inner = int(shape.config["intermediate_size"])
    reading = 2 * PASS_TOKENS * (4 * width + 2 * inner)
    autoencoder = 4 * (2 * features * width + 2 * features + width)
    depth = (at + 1) / count
    flop = 2 * shape.parameters
    speed = hardware.peak * SHARES.score
    harvest = flop * depth * counts.prompt_tokens * (counts.replicates + 1) / speed
    texts = flop * depth * (CORPUS + chosen.corpus) * 2 / speed if features else 0.0
    scored = counts.score_tokens * (counts.replicates / 2 * (counts.trials + 1) + counts.replicates + 1)
    ablation = flop * scored / speed
    needed = shape.weight_bytes + adapters + reading + autoencoder
    kept = 2 * 4 * counts.prompts * width * (counts.replicates + 1)
    return [
        f"features · {request.experiment.name} · preset {name} · {shape.name} ({shape.parameters / 1e9:.2f}B weights) · layer "
        f"{at} of {count} · {hardware.name}",
        f"  counted: {counts.prompts:,} prompts of {counts.prompt_tokens / max(1, counts.prompts):.0f} tokens; "
        f"{counts.replicates} replicates; {counts.trials} ablations, each of {counts.score_tokens:,} scored tokens a replicate "
        f"(tokenizer of {request.model.reference})",
        f"  autoencoder: {reference}" + (f", F = {features:,}, D = {width:,}" if features else ""),
        "memory",
        f"  weights = 2 bytes × P = {shape.weight_bytes / GIB:.1f} GiB; up to {AT_ONCE} adapters {adapters / GIB:.2f}; a pass of "
        f"{PASS_TOKENS:,} tokens {reading / GIB:.2f}; autoencoder = 4 bytes × 2 F D = {autoencoder / GIB:.1f}",
        f"  together {needed / GIB:.1f} GiB of {hardware.memory / GIB:.0f}"
        + ("" if needed < hardware.memory else ": does not fit")
        + f"; the processor's memory holds the autoencoder and its directions once more, {1.5 * autoencoder / GIB:.1f} GiB",
        f"time, at {SHARES.score:.2f} of the peak; loading, the choice of features and random draws are not in it",
        f"  harvest = 2 P T (layer + 1) ÷ L × (R + 1) = {clock(harvest)}"
        + (f"; texts for labels{' and training' if chosen.corpus else ''} = {clock(texts)}" if features else ""),
        f"  ablations = 2 P T (R ÷ 2 × (N + 1) + R + 1) = {clock(ablation)}",
        f"  together {clock(harvest + texts + ablation)}"
        + ("; training the autoencoder is not in it" if reference == "train" else ""),
        "storage",
        f"  activations = 2 × 4 bytes × prompts × D × (R + 1) = {kept / 1e9:.3f} GB",
    ]


def count_of(request: Request, size: Size, with_features: bool, questions: Sequence[str] = ()) -> Counts:
    """Prompts, tokens and ablations of a study. Raises `SpecError` as `pairs_of` does."""
    pairs, headline = pairs_of(request, questions), request.headline
    tokenizer = load_tokenizer(request.local.folder, request.date)
    control = None if headline.control == BASE else headline.control
    scored = 0
    for value in pairs.values:
        for question in contrast_questions(request):
            text = value.apply(question.ask)
            prompt = len(prompt_ids(tokenizer, text))
            scored += sum(prompt + len(answer_ids(tokenizer, text, option)) for option in question.options)
    of_features = 2 * (len(size.counts) + size.draws) if with_features else 0
    return Counts(
        prompts=len(pairs.asks),
        prompt_tokens=sum(len(prompt_ids(tokenizer, ask)) for ask in pairs.asks),
        score_tokens=scored,
        replicates=len(request.seeds) * (1 if control is None else 2),
        trials=len(ablations_of(size, headline.treatment, control)) + of_features if pairs.trigger and scored else 0,
    )


def _is_here(reference: str) -> bool:
    return reference not in ("train", "none") and not reference.startswith("hub:")


def _features(file: SaeFile | None, reference: str, size: Size, width: int) -> int:
    """F of the autoencoder; 0 without one. Raises `ModelError` if it does not fit, or if nobody knows its shape."""
    if file:
        require_fits(file.sae, width, f"--sae {reference}")
        return file.sae.features
    if reference == "none":
        return 0
    if reference == "train":
        if size.sae is None:
            raise ModelError("this preset trains no autoencoder: name one with --sae hub:… or path:…, or --sae none")
        return size.sae.features
    if reference != size.named or size.named_shape is None:
        raise ModelError(
            f"--sae {reference}: its shape is not known before it is fetched; name a copy with path:FOLDER"
        )
    features, wanted = size.named_shape
    if wanted != width:
        raise ModelError(f"--sae {reference} is for hidden states of width {wanted}, and the model's are {width} wide")
    return features
