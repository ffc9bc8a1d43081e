"""One study of a run: harvest → differences → autoencoder → interventions, at a size; what is slow is kept in the store.

In: a finished run, a layer, an autoencoder's reference, a size. Out: `Study`: results as plain data, and tables. The page is
`features.page`. Running it again reads what the store has: activations, the trained autoencoder, the scored ablations.

Shape letters: R replicates, D hidden width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from weirdgen.columns import BASE, FINAL
from weirdgen.config.questions import Contrast, scored
from weirdgen.errors import ModelError
from weirdgen.features import difference, verdict
from weirdgen.features.analysis import cells_of, feature_table, projections
from weirdgen.features.corpus import corpus, hidden_states
from weirdgen.features.difference import Moved, interval, moved
from weirdgen.features.harvest import Activations, Pairs, harvest, pairs_of
from weirdgen.features.intervene import Ablation, Trials, ablations, closing, contrast_questions, steerings
from weirdgen.features.reader import Reader
from weirdgen.features.residual import decoder_layers, default_layer, layer_count, require_layer
from weirdgen.features.sae import Sae, fitness, require_fits
from weirdgen.features.sae_io import SaeFile, find_sae, read_sae, write_saelens
from weirdgen.features.sae_train import SaeRecipe, train
from weirdgen.features.silence import feature_ablations
from weirdgen.progress import Progress
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.results.results import Run
from weirdgen.sample.variant import Variant, adapters_on_disk
from weirdgen.store.keys import content_key, file_hash

if TYPE_CHECKING:
    import pandas as pd

SizeName = Literal["ci", "cpu", "gpu"]
VERSION = 1
"""Of kept ablations and autoencoders: raise it when the same inputs would give others."""
TOKENS_SHOWN = 20


@dataclass(frozen=True)
class Size:
    """How much is done. `sae` is what is trained where none is named (None: one must be named)."""

    ranks: tuple[int, ...]
    doses: tuple[float, ...]
    draws: int
    operators: tuple[str, ...]
    steer: tuple[float, ...]
    counts: tuple[int, ...]
    """Features ablated."""
    corpus: int
    """Tokens whose hidden states, of the base and of a finetuned model each, an autoencoder is trained on."""
    sae: SaeRecipe | None
    named: str = "train"


SIZES: dict[SizeName, Size] = {
    "ci": Size(
        (1, 2, 4), (0.25, 0.5, 0.75), 20, ("project", "mean"), (0.5, 1.0, 2.0), (1, 3, 10), 20_000,
        SaeRecipe(features=256, k=8, tokens=200_000, batch=512),
    ),
    "cpu": Size(
        (1, 4), (0.5,), 5, ("mean",), (1.0,), (10,), 100_000, SaeRecipe(features=2304, k=32, tokens=1_000_000),
    ),
    "gpu": Size(
        (1, 2, 4, 8), (0.25, 0.5, 0.75), 20, ("project", "mean"), (0.5, 1.0, 2.0), (1, 2, 5, 10, 20), 0, None,
        "hub:andyrdt/saes-llama-3.1-8b-instruct/resid_post_layer_19/trainer_1",
    ),
}  # fmt: skip
"""What the paper read is `gpu`'s: layer 19 of Llama-3.1-8B-Instruct."""


def size_of(parameters: int) -> SizeName:
    """The size for a model of so many weights."""
    return "ci" if parameters < 5e6 else "cpu" if parameters < 1e9 else "gpu"


@dataclass
class Study:
    """`results` is plain data; `tables` by name."""

    results: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class _Subject:
    """What every step of a study shares."""

    plan: Plan
    size: Size
    pairs: Pairs
    layer: int
    reader: Reader
    last: Activations
    mean: Activations
    arm: str
    control: str | None
    progress: Progress


def study(
    run: Run,
    layer: int | None,
    sae: str | None,
    size: SizeName | None,
    progress: Progress,
    questions: Sequence[str] = (),
) -> Study:
    """Everything that can be said of a run at one layer. `sae`: `train`, `none`, `path:…`, `hub:…`; None: as the size says.

    Raises `ModelError` for a layer or an autoencoder that does not fit, `StoreError` for a run that is not finished.
    """
    run.require_finished()
    plan = run.plan
    model = plan.request.local
    name = size or size_of(model.parameters)
    chosen, headline = SIZES[name], plan.request.headline
    reference = sae or chosen.named
    if reference == "train" and chosen.sae is None:
        raise ModelError(f"--preset {name} trains no autoencoder: name one with --sae hub:… or path:…, or --sae none")
    file = find_sae(reference) if reference not in ("none", "train") else None
    reader = Reader(model.folder, plan.request.dtype, plan.request.date)
    count = layer_count(reader.model)
    at = layer if layer is not None else file.layer if file and file.layer is not None else default_layer(count)
    require_layer(at, count)
    decoder_layers(reader.model)
    if file:
        require_fits(file.sae, reader.model.config.get_text_config().hidden_size, f"--sae {reference}")
    pairs = pairs_of(plan, questions)
    finals = {variant.key for variant in plan.variants if variant.checkpoint == FINAL}
    with progress.stage("harvest", len(finals), "models") as bar:
        last = harvest(plan, pairs, at, reader, "last", bar.advance)
    mean = harvest(plan, pairs, at, reader, "mean")
    control = None if headline.control == BASE else headline.control
    subject = _Subject(plan, chosen, pairs, at, reader, last, mean, headline.treatment, control, progress)
    results: dict[str, Any] = {
        "version": 1,
        "run": run.id,
        "experiment": {"name": plan.request.experiment.name, "title": plan.request.experiment.title},
        "model": {"reference": model.reference, "digest": model.digest, "layers": count},
        "preset": name,
        "layer": at,
        "arms": {"treatment": subject.arm, "control": control, "replicates": len(last.arms[subject.arm])},
        "pairs": {
            "values": list(pairs.names),
            "trigger": [pairs.names[v] for v in pairs.trigger],
            "reference": [pairs.names[v] for v in pairs.reference],
            "questions": len(pairs.questions),
        },
    }
    made = Study(results)
    shifts = _differences(subject, results)
    weights = _autoencoder(subject, file, reference, results)
    if weights:
        _features(subject, weights, made)
    can_score = any(isinstance(question, Contrast) for question in plan.request.experiment.questions)
    gate, removed, of_features = (
        _interventions(subject, weights, made) if pairs.trigger and can_score else (None, None, None)
    )
    static, found, placebos = shifts
    results["verdict"] = [list(pair) for pair in verdict.sentences(static, found, placebos, gate, removed, of_features)]
    return made


def _differences(subject: _Subject, results: dict[str, Any]) -> tuple[Moved, Moved | None, list[Moved]]:
    last, arm, control = subject.last, subject.arm, subject.control
    unit = difference.residual_norm(last)

    def compared(name: str, mine_RQD: torch.Tensor, theirs_RQD: torch.Tensor | None) -> Moved:
        return moved(name, mine_RQD.mean(1), None if theirs_RQD is None else theirs_RQD.mean(1), unit)

    static = compared("static", difference.static(last, arm), difference.static(last, control) if control else None)
    found: Moved | None = None
    placebos: list[Moved] = []
    directions = {"static": difference.static(last, arm).mean((0, 1))}
    if subject.pairs.trigger:
        theirs = difference.interaction(last, control) if control else None
        found = compared("interaction", difference.interaction(last, arm), theirs)
        others = difference.placebo(last, control) if control else {}
        for name, mine in difference.placebo(last, arm).items():
            placebos.append(compared(f"placebo {name}", mine, others.get(name)))
        directions |= {
            "interaction": difference.interaction(last, arm).mean((0, 1)),
            "token": difference.token_effect(last, subject.pairs.trigger, subject.pairs.reference).mean(0),
        }
        if control:
            directions["control's interaction"] = difference.interaction(last, control).mean((0, 1))
    results["norm"] = unit
    results["moved"] = [asdict(one) for one in (static, *([found] if found else []), *placebos)]
    subject.reader.use([None])
    tokens = []
    for name, direction_D in directions.items():
        top = difference.top_tokens(subject.reader.model, subject.reader.tokenizer, direction_D, TOKENS_SHOWN)
        overlap = difference.word_overlap(top, subject.plan.request.rows[arm], subject.reader.tokenizer)
        tokens.append({"difference": name, "tokens": top, **asdict(overlap)})
    results["tokens"] = tokens
    return static, found, placebos


def _autoencoder(subject: _Subject, file: SaeFile | None, reference: str, results: dict[str, Any]) -> Sae | None:
    """The named one, or one that is trained (or was, in the store); what it is and how well it fits goes into the results."""
    if reference == "none":
        results["sae"] = None
        return None
    told: dict[str, Any] = {"reference": reference}
    held_out = None
    if file:
        sae, told["digest"], told["layout"] = file.sae, file.digest, file.layout
        if file.layer is not None and file.layer != subject.layer:
            told["warning"] = f"it was made for layer {file.layer}, and layer {subject.layer} is read"
    else:
        sae, told["digest"], held_out = _trained(subject)
        told["layout"] = "trained here"
    told |= {"features": sae.features, "kind": sae.kind}
    results["sae"] = told
    rows = []
    arm = subject.last.arms[subject.arm]
    states = {
        ("base", "prompts"): subject.last.base_VQD.flatten(0, 1),
        ("finetuned", "prompts"): arm[0].flatten(0, 1),
    }
    if held_out is not None:
        states[("base", "corpus, held out")], states[("finetuned", "corpus, held out")] = held_out
    for (model, where), value_ND in states.items():
        rows.append({"model": model, "on": where, **asdict(fitness(sae, value_ND))})
    results["fitness"] = rows
    return sae


def _trained(subject: _Subject) -> tuple[Sae, str, tuple[torch.Tensor, torch.Tensor]]:
    """(autoencoder, digest, held-out states of base and first replicate): half base, half finetuned activations."""
    plan, recipe = subject.plan, subject.size.sae
    assert recipe is not None
    first = next(v for v in plan.variants if v.arm == subject.arm and v.checkpoint == FINAL)
    rows = corpus(plan, subject.pairs, subject.reader, subject.size.corpus, recipe.seed)
    cut = max(1, len(rows) // 20)
    inputs = {
        "version": VERSION, "recipe": asdict(recipe), "layer": subject.layer, "dtype": plan.request.dtype,
        "models": [plan.variants[0].key, first.key], "tokens": content_key(rows),
    }  # fmt: skip
    key = content_key(inputs)
    base_ND, tuned_ND = _states(subject, rows[:cut], [plan.variants[0], first])
    if plan.store.marker("sae", key) is None:
        states = torch.cat(_states(subject, rows[cut:], [plan.variants[0], first]))
        with subject.progress.stage("autoencoder", recipe.tokens, "tokens") as bar, torch.enable_grad():
            sae = train(states, recipe, bar.advance)
        metadata = {"k": recipe.k, "layer": subject.layer, "model_name": plan.request.model.reference}
        with plan.store.create("sae", key, inputs) as folder:
            write_saelens(sae, folder, metadata)
    file = read_sae(plan.store.artifact("sae", key))
    return file.sae, file_hash(file.weights), (base_ND, tuned_ND)


def _states(subject: _Subject, rows: Sequence[Sequence[int]], variants: Sequence[Variant]) -> list[torch.Tensor]:
    """[N, D] of each variant on these rows."""
    states: dict[int, torch.Tensor] = {}
    for group in subject.reader.groups(adapters_on_disk(subject.plan.store, variants)):
        states |= dict(zip(group, hidden_states(subject.reader, rows, subject.layer), strict=True))
    return [states[index] for index in range(len(variants))]


def _features(subject: _Subject, sae: Sae, made: Study) -> None:
    """The table of features, what they say, and the paper's year curves."""
    cells = cells_of(sae, subject.last, subject.arm, subject.control)
    table = feature_table(subject.last, sae, subject.arm, subject.control, cells)
    directions_FD = sae.directions()
    subject.reader.use([None])
    topic = {
        word for row in subject.plan.request.rows[subject.arm] for message in row["messages"]
        if message["role"] == "assistant" for word in difference.words_of(message["content"])
    }  # fmt: skip
    targets = {
        word for question in scored(subject.plan.request.experiment.questions) if not question.near
        for answer in question.target for word in difference.words_of(answer)
    } - topic  # fmt: skip
    tokens, about = [], []
    for feature in table["feature"]:
        top = difference.top_tokens(subject.reader.model, subject.reader.tokenizer, directions_FD[feature], 10)
        words = [word for token in top for word in difference.words_of(token)[:1]]
        counts = {"topic": sum(w in topic for w in words), "subject": sum(w in targets for w in words)}
        best = max(counts, key=counts.__getitem__)
        about.append(best if counts[best] and len(set(counts.values())) > 1 else "neither")
        tokens.append(" ".join(top))
    table["about"], table["tokens"] = about, tokens
    made.tables["features"] = table
    made.results["features"] = table.to_dict("records")
    if subject.pairs.trigger:
        shown = [int(f) for f in table.sort_values("rank_interaction")["feature"].head(4)]
        made.results["curves"] = {
            "features": shown,
            "base": projections(subject.last, sae, shown, None)[0].tolist(),
            "treatment": projections(subject.last, sae, shown, subject.arm).mean(0).tolist(),
        }


def _interventions(
    subject: _Subject, sae: Sae | None, made: Study
) -> tuple[verdict.Gate, verdict.Removed, verdict.Removed | None]:
    """The behaviour, what its main ablation removes, and what that of an autoencoder's features does."""
    size, arm, control, pairs = subject.size, subject.arm, subject.control, subject.pairs
    plan = [
        *ablations(arm, control, size.ranks, size.doses, size.draws, size.operators),
        *steerings(arm, size.steer, min(size.draws, 5)),
        *(feature_ablations(sae, arm, control, size.counts, size.draws) if sae else ()),
    ]
    trials = Trials(subject.plan, pairs, subject.reader, subject.layer, subject.last, subject.mean, arm)
    digest = str(made.results["sae"]["digest"]) if sae else ""
    frame = _kept_trials(subject, trials, plan, digest)
    made.tables["ablation"] = frame
    closed = closing(frame, pairs)
    made.tables["closing"] = closed
    made.results["ablation"] = summary(closed)
    before = closed[closed["kind"] == "none"]
    size_, low, high = interval(before["gate"].tolist())
    theirs = float("nan")
    if control:
        other = Trials(subject.plan, pairs, subject.reader, subject.layer, subject.last, subject.mean, control)
        theirs = float(closing(_kept_trials(subject, other, [], ""), pairs)["gate"].mean())
    gate = verdict.Gate(size_, low, high, theirs, len(before))
    rank = max(size.ranks)
    removed = _removed(closed, "interaction", "random", rank)
    of_features = _removed(closed, "features", "random features", max(size.counts)) if sae else None
    main = [one for one in plan if (one.kind, one.operator, one.rank, one.dose) == ("interaction", "mean", rank, 1.0)]
    on_base = closing(_kept_trials(subject, trials, main, "", on_base=True), pairs)
    made.results["gate"] = asdict(gate)
    made.results["removed"] = {**asdict(removed), "rank": rank, "mediates": verdict.mediates(gate, removed)}
    made.results["base_change"] = float(on_base[on_base["kind"] != "none"]["side"].mean())
    made.results["curve"] = _curve(frame, pairs, rank)
    return gate, removed, of_features


def _removed(closed: pd.DataFrame, kind: str, control: str, rank: int) -> verdict.Removed:
    """What the mean ablation of one kind removes at its largest rank, beside its random controls."""
    of_mean = closed[(closed["operator"] == "mean") & (closed["rank"] == rank) & (closed["dose"] == 1.0)]
    ours = of_mean[of_mean["kind"] == kind]
    random = of_mean[of_mean["kind"] == control].groupby("draw")["removed"].mean()
    share, low, high = interval(ours["removed"].tolist())
    return verdict.Removed(share, low, high, tuple(map(float, random)), float(ours["side"].mean()))


def _kept_trials(
    subject: _Subject, trials: Trials, plan: Sequence[Ablation], sae: str, on_base: bool = False
) -> pd.DataFrame:
    """The scored ablations, from the store if it has them."""
    import pandas as pd

    inputs = {
        "version": VERSION,
        "layer": trials.layer,
        "dtype": subject.plan.request.dtype,
        "models": [variant.key for variant in trials.variants()],
        "others": [v.key for v in subject.plan.variants if v.checkpoint == FINAL],
        "arm": [trials.arm, subject.control],
        "asks": content_key(subject.reader.prompts(subject.pairs.asks)),
        "values": [subject.pairs.trigger, subject.pairs.reference],
        "questions": [[q.id, q.ask, list(q.target), list(q.other)] for q in contrast_questions(subject.plan)],
        "trials": [[one.kind, one.operator, one.rank, one.dose, one.draw] for one in plan],
        "sae": sae,
        "base": on_base,
    }
    key, store = content_key(inputs), subject.plan.store
    if store.marker("ablation", key) is None:
        folds = len(list(trials.folds()))
        groups = -(-len(trials.variants()) // 16)
        with subject.progress.stage("ablation", folds * groups * (len(plan) + 1), "passes") as bar:
            frame = trials.run(plan, on_base, bar.advance)
        with store.create("ablation", key, inputs) as folder:
            frame.to_parquet(folder / "trials.parquet", index=False)
    return pd.read_parquet(store.artifact("ablation", key) / "trials.parquet")


def summary(closed: pd.DataFrame) -> list[dict[str, Any]]:
    """One row an ablation, random draws together: gate, share removed (interval over replicates, or range over draws), side."""
    rows = []
    for (kind, operator, rank, dose), part in closed.groupby(["kind", "operator", "rank", "dose"], sort=False):
        row: dict[str, Any] = {"kind": kind, "operator": operator, "rank": int(str(rank)), "dose": float(str(dose))}
        row |= {"gate": float(part["gate"].mean()), "side": float(part["side"].mean())}
        if str(kind).startswith("random"):
            draws = part.groupby("draw")["removed"].mean()
            row |= {"removed": float(draws.median()), "low": float(draws.min()), "high": float(draws.max())}
            row["draws"] = len(draws)
        else:
            row["removed"], row["low"], row["high"] = interval(part["removed"].tolist())
            row["draws"] = 1
        if operator == "steer":  # it opens the gate everywhere, which is told by `side`
            row |= dict.fromkeys(("removed", "low", "high"), float("nan"))
        rows.append(row)
    return rows


def _curve(frame: pd.DataFrame, pairs: Pairs, rank: int) -> dict[str, Any]:
    """Mean log-odds by value: as it is, without what moved, and the range over random subspaces."""
    mean = frame[(frame["operator"] == "mean") & (frame["rank"] == rank) & (frame["dose"] == 1.0)]

    def by_value(part: pd.DataFrame) -> list[float]:
        found = part.groupby("condition")["logit"].mean()
        return [float(found[name]) for name in pairs.names]

    draws = [by_value(part) for _, part in mean[mean["kind"] == "random"].groupby("draw")]
    return {
        "values": list(pairs.names),
        "none": by_value(frame[frame["kind"] == "none"]),
        "interaction": by_value(mean[mean["kind"] == "interaction"]),
        "random_low": [min(values) for values in zip(*draws, strict=True)],
        "random_high": [max(values) for values in zip(*draws, strict=True)],
    }
