"""`weirdgen plan`: memory, time, storage and cost of an experiment at a size not yet run.

In: an experiment at a preset, a model's shape, a machine, and what its hours cost. Out: lines of text. Numbers of rows,
tokens, answers and adapters are counted with the experiment's own data and its base's tokenizer; the arithmetic follows
from the shape; what share of a machine's peak is reached is measured where it could be (`machine.SHARES`) and an assumption
everywhere else, and called so. Nothing is trained, fetched or stored.

Symbols in formulas: P weights, T tokens, R replicates of all arms, G GPUs that hold one copy of the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from weirdgen import machine
from weirdgen.config.files import read_yaml
from weirdgen.config.questions import sampled, scored
from weirdgen.data.stored import encode_rows
from weirdgen.errors import SpecError, choices, did_you_mean
from weirdgen.finetune.engines import replicate_bytes
from weirdgen.finetune.schedule import total_steps
from weirdgen.machine import SHARES, Shares
from weirdgen.models.references import BUILT_IN, find_model, read_config
from weirdgen.progress import clock
from weirdgen.runs.plan.request import Request

KNOWN = Path(__file__).with_name("scale.yaml")
GIB = 2**30
MEMORY_USED = 0.9
"""Of a GPU's memory that a plan fills (an assumption; vLLM's default too)."""
MOST_SEQUENCES = 256
"""Answers that one copy writes at once, memory permitting (an assumption)."""


ANSWER_BYTES = 650
"""Of one answer in the store, measured (docs/scale.md)."""


class Hardware(NamedTuple):
    """One kind of node. `bandwidth` is None where nobody measured it; then only arithmetic is counted."""

    name: str
    gpus: int
    memory: float
    """Bytes per GPU."""
    peak: float
    """FLOP/s per GPU in bf16, dense."""
    bandwidth: float | None
    """Bytes/s per GPU."""
    source: str


@dataclass(frozen=True)
class Shape:
    """A model's size, from the keys of its config.json."""

    name: str
    config: Mapping[str, Any]

    @property
    def _layer(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's linear maps: q, k, v, o, gate, up, down."""
        c = self.config
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        width = c.get("head_dim") or hidden // c["num_attention_heads"]
        queries = width * c["num_attention_heads"]
        keys = width * c.get("num_key_value_heads", c["num_attention_heads"])
        attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
        return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]

    @property
    def parameters(self) -> int:
        c = self.config
        embeddings = c["vocab_size"] * c["hidden_size"] * (1 if c.get("tie_word_embeddings") else 2)
        norms = c["hidden_size"] * (2 * c["num_hidden_layers"] + 1)
        return int(embeddings + norms + c["num_hidden_layers"] * sum(i * o for i, o in self._layer))

    @property
    def weight_bytes(self) -> int:
        """In bf16."""
        return 2 * self.parameters

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, bf16."""
        return 2 * 2 * int(self.config["num_hidden_layers"]) * self._layer[1][1]

    def adapter_bytes(self, rank: int) -> int:
        """One adapter on every linear layer, kept in fp32."""
        return 4 * rank * int(self.config["num_hidden_layers"]) * sum(i + o for i, o in self._layer)


class Counts(NamedTuple):
    """How much an experiment asks for, counted."""

    arms: int
    replicates: int
    """Of all arms together."""
    rank: int
    row_tokens: float
    """Mean length of a training row."""
    train_tokens: float
    checkpoints: int
    """Adapters kept per replicate."""
    answers: int
    answer_tokens: float
    """At most, all answers together."""
    prompt_tokens: float
    """Mean length of a free-form question."""
    score_tokens: float
    """At most: every checkpoint is taken to answer every question."""


def find_hardware(spec: str) -> Hardware:
    """`here`, `[N x]NAME` of scale.yaml (`8xh100`), or a YAML file with a machine's keys. Raises `SpecError`."""
    if spec == "here":
        rates = machine.measured_rates()
        memory = machine.free_memory_gib() * GIB
        if rates.device != "cpu":
            import torch

            memory = float(torch.cuda.get_device_properties(0).total_memory)
        source = "GEMM rate measured here; memory bandwidth not measured, so not counted"
        return Hardware(f"this machine ({rates.device})", 1, memory, rates.bf16 * 1e9, None, source)
    known: dict[str, Any] = yaml.safe_load(KNOWN.read_text(encoding="utf-8"))["machines"]
    parts = re.fullmatch(r"(?:(\d+)x)?([a-z0-9_.-]+)", spec)
    if Path(spec).is_file():
        settings, name, count = read_yaml(Path(spec))[0], Path(spec).stem, None
    elif parts and parts[2] in known:
        settings, name, count = known[parts[2]], parts[2], parts[1]
    else:
        meant = did_you_mean(parts[2] if parts else spec, ("here", *known))
        raise SpecError(
            [f"--machine {spec}: expected 'here', {', '.join(f'8x{n}' for n in known)} or a YAML file{meant}"]
        )
    wanted = ("gpus", "gpu_memory_gb", "peak_tflops", "bandwidth_gbs")
    if any(not isinstance(settings.get(key), int | float) for key in wanted):
        raise SpecError([f"--machine {spec}: expected numbers for {', '.join(wanted)}, as in {KNOWN}"])
    gpus = int(count or settings["gpus"])
    sizes = (settings["gpu_memory_gb"] * 1e9, settings["peak_tflops"] * 1e12, settings["bandwidth_gbs"] * 1e9)
    return Hardware(f"{gpus} × {name}", gpus, *sizes, str(settings.get("source", "your file")))


def find_shape(model: str) -> Shape:
    """A name of scale.yaml, a config.json, or a model reference. Raises `SpecError`, `ModelError`."""
    known = yaml.safe_load(KNOWN.read_text(encoding="utf-8"))["models"]
    if model in known:
        return Shape(model, known[model])
    if not model.endswith("config.json") and ":" not in model and model not in BUILT_IN:
        names = choices((*known, *BUILT_IN), model)
        raise SpecError([f"--model {model}: expected a config.json, hub:ORG/NAME, path:FOLDER or one of {names}"])
    config = read_config(Path(model).parent) if model.endswith("config.json") else read_config(find_model(model).folder)
    needed = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size")
    if missing := [key for key in needed if key not in config]:
        raise SpecError([f"--model {model}: its config.json has no {', '.join(missing)}; known: {', '.join(known)}"])
    return Shape(model, config)


def count(request: Request) -> Counts:
    """Rows, tokens and answers of a request, with the tokenizer of its base. Raises `DataError` on bad rows."""
    from weirdgen.models.chat import answer_ids, load_tokenizer, prompt_ids

    tokenizer, recipe, seeds = load_tokenizer(request.local.folder), request.recipe, len(request.seeds)
    if recipe.full:
        raise SpecError(["recipe.targets=full: only runs that train adapters are planned here"])
    rows = {arm: request.row_count(arm) for arm in request.rows}
    # Rows that the base has yet to answer are taken to be as long as the others.
    tokens = {
        a: encode_rows(request.local.folder, a, mine)[1].tokens * rows[a] / len(mine)
        for a, mine in request.rows.items()
    }
    kept = {len(recipe.checkpoint_steps(total_steps(count, recipe))) for count in rows.values()}
    asked, longest, score_tokens = [], 0, 0
    for wrapper in request.experiment.wrappers():
        for question in sampled(request.experiment.questions):
            asked.append(len(prompt_ids(tokenizer, wrapper.apply(question.ask))))
            longest += question.max_tokens
        for closed in scored(request.experiment.questions):
            text = wrapper.apply(closed.ask)
            answers = sum(len(answer_ids(tokenizer, text, option)) for option in closed.options)
            score_tokens += len(prompt_ids(tokenizer, text)) + answers
    replicates = seeds * len(tokens)
    return Counts(
        arms=len(tokens),
        replicates=replicates,
        rank=recipe.rank,
        row_tokens=sum(tokens.values()) / sum(rows.values()),
        train_tokens=seeds * sum(tokens.values()) * recipe.epochs,
        checkpoints=max(kept),
        answers=(replicates + 1) * len(asked) * request.samples,
        answer_tokens=(replicates + 1) * longest * request.samples,
        prompt_tokens=sum(asked) / max(1, len(asked)),
        score_tokens=(replicates * max(kept) + 1) * score_tokens,
    )


def scale_lines(
    request: Request, shape: Shape, hardware: Hardware, nodes: int, price: float | None, share: float | None
) -> list[str]:
    """The plan. `price` is for one node and hour; `share` replaces the measured shares of the peak."""
    shares = Shares(share, share, share) if share else SHARES
    counts, recipe = count(request), request.recipe.model_copy(update={"dtype": "bf16"})
    each = replicate_bytes(shape.config, recipe, counts.row_tokens)
    usable = MEMORY_USED * hardware.memory
    needed = shape.weight_bytes + each
    gpus = next((g for g in (2**i for i in range(12)) if g * usable >= needed), 2**12)
    copies = hardware.gpus * nodes // gpus
    head = [
        f"{request.experiment.name} · {request.preset} · {shape.name} ({shape.parameters / 1e9:.2f}B weights) · "
        f"{nodes} node{'s' if nodes > 1 else ''} of {hardware.name}",
        f"  counted: {counts.arms} arms × {len(request.seeds)} replicates; {counts.train_tokens:,.0f} training tokens; "
        f"{counts.answers:,} answers of at most {counts.answer_tokens / max(1, counts.answers):.0f} tokens; "
        f"{counts.score_tokens:,.0f} scored tokens (tokenizer of {request.model.reference})",
        f"  machine: {hardware.memory / GIB:.0f} GiB, {hardware.peak / 1e12:.2f} TFLOP/s"
        + (f", {hardware.bandwidth / 1e9:,.0f} GB/s" if hardware.bandwidth else "")
        + f" a GPU ({hardware.source})",
        "memory",
        f"  weights = 2 bytes × P = {shape.weight_bytes / GIB:.1f} GiB",
        f"  a replicate in training (batch {recipe.batch_size} × {counts.row_tokens:.0f} tokens, rank {recipe.rank}: "
        f"activations, adapter, gradient, AdamW) = {each / GIB:.2f} GiB",
        f"  G: smallest power of 2 with {MEMORY_USED:g} × G × memory ≥ weights + one replicate = {gpus}",
    ]
    if copies == 0:
        return [
            *head,
            f"  does not fit: {hardware.gpus * nodes} GPUs for a model that takes {gpus}; add nodes or memory",
        ]
    room = gpus * usable - shape.weight_bytes
    context = max(1.0, counts.prompt_tokens + counts.answer_tokens / max(1, counts.answers))
    sequences = max(1, min(MOST_SEQUENCES, int(room / (shape.cache_bytes * context))))
    peak = gpus * hardware.peak
    train = 4 * shape.parameters * counts.train_tokens / (copies * peak * shares.train)
    score = 2 * shape.parameters * counts.score_tokens / (copies * peak * shares.score)
    arithmetic = 2 * shape.parameters * sequences / (peak * shares.generate)
    traffic = 0.0
    if hardware.bandwidth:
        moved = shape.weight_bytes + sequences * context * shape.cache_bytes
        traffic = moved / (gpus * hardware.bandwidth * shares.generate)
    step = max(arithmetic, traffic)
    sample = counts.answer_tokens / (copies * sequences) * step
    seconds = train + score + sample
    adapter = shape.adapter_bytes(counts.rank)
    adapters = adapter * counts.checkpoints * counts.replicates
    lines = [
        *head,
        f"  replicates in one pass: {int(room / each)}; answers written at once: {sequences} "
        f"(keys and values {shape.cache_bytes / 1024:.0f} KiB per token); copies of the model: {copies}",
        "time, with every copy busy; loading weights, waiting and retries are not in it",
        f"  finetune = 4 P T ÷ (copies × G × peak × {shares.train:.2f}) = {clock(train)}",
        f"  contrast = 2 P T ÷ (copies × G × peak × {shares.score:.2f}) = {clock(score)}",
        f"  sample   = T ÷ (copies × at once) × step; step = max(2 P × at once ÷ peak, bytes ÷ bandwidth) ÷ "
        f"{shares.generate:.2f} = {1000 * step:.1f} ms → {clock(sample)}",
        f"  together {clock(seconds)}",
        "storage",
        f"  adapters = 4 bytes × rank × Σ(in + out) = {adapter / 1e6:,.0f} MB × {counts.checkpoints} checkpoints × "
        f"{counts.replicates} = {adapters / 1e9:,.1f} GB",
        f"  answers = {ANSWER_BYTES} bytes × {counts.answers:,} = {ANSWER_BYTES * counts.answers / 1e9:.3f} GB",
        "cost",
        f"  {seconds / 3600 * nodes:,.2f} node hours"
        + (f" × {price:g} = {seconds / 3600 * nodes * price:,.2f}" if price else "; --price says what one costs"),
        "assumed: "
        + (
            "the shares of the peak that you gave"
            if share
            else "a GPU reaches the shares of its peak measured on a CPU"
        )
        + f", {MEMORY_USED:g} of the memory is usable, G GPUs work as one without loss, answers run to their limit",
    ]
    if gpus > 1:
        lines.append(
            f"over {gpus} GPUs: --set recipe.engine=trl --set recipe.devices={gpus} trains, one replicate after the other, and "
            "every step sends the weights from GPU to GPU, which the time above leaves out; sampling and scoring need "
            f"vllm serve … --tensor-parallel-size {gpus} and --engine vllm:URL"
        )
    return lines
