"""One study of a run: harvest → differences → autoencoder → interventions, at a size; what is slow is kept in the store.

In: a finished run, a layer, an autoencoder's reference, a size. Out: `Study`: results as plain data, and tables. Each step is a
module of its own; this one puts them in order and says what of them goes into the results. The page is `features.page`. Running
it again reads what the store has: activations, the trained autoencoder, windows, the scored ablations.

Shape letters: R replicates, Q questions, D hidden width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from weirdgen.columns import FINAL
from weirdgen.errors import ModelError
from weirdgen.features import difference, verdict
from weirdgen.features.analysis import along, cells_of, feature_table, projections, stability
from weirdgen.features.autoencoder import Autoencoder, autoencoder_of
from weirdgen.features.difference import Moved, moved
from weirdgen.features.effects import closing, curve_of, gate_of, removed_of, summary
from weirdgen.features.intervene import Ablation, Trials, ablations_of, contrast_questions
from weirdgen.features.labels import labels_of, windows_of
from weirdgen.features.sae_read import find_sae
from weirdgen.features.silence import feature_ablations
from weirdgen.features.size import SIZES, SizeName, size_of
from weirdgen.features.subject import Subject, subject_of
from weirdgen.progress import Progress
from weirdgen.runs.results.results import Run
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Of kept ablations: raise it when the same inputs would give others."""
TOKENS_SHOWN = 20
CURVES = 4
"""Features whose projections are drawn by value."""


@dataclass
class Study:
    """`results` is plain data; `tables` by name."""

    results: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


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
    name = size or size_of(run.plan.request.local.parameters)
    reference = sae or SIZES[name].named
    if reference == "train" and SIZES[name].sae is None:
        raise ModelError(f"--preset {name} trains no autoencoder: name one with --sae hub:… or path:…, or --sae none")
    file = find_sae(reference) if reference not in ("none", "train") else None
    subject = subject_of(run, layer, file, SIZES[name], progress, questions)
    made = Study({"version": 1, "run": run.id, "preset": name, **subject.facts()})
    static, found, placebos = _differences(subject, made.results)
    found_sae = None if reference == "none" else autoencoder_of(subject, file, reference)
    made.results["sae"] = found_sae.facts if found_sae else None
    if found_sae:
        made.results["fitness"] = found_sae.fitness
        _features(subject, found_sae, made)
    gate, removed, of_features = _interventions(subject, found_sae, made)
    made.results["verdict"] = [
        list(pair) for pair in verdict.sentences(static, found, placebos, gate, removed, of_features)
    ]
    return made


def _differences(subject: Subject, results: dict[str, Any]) -> tuple[Moved, Moved | None, list[Moved]]:
    """(static, interaction, placebos), and what their directions say."""
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
        tokens.append({"difference": name, "tokens": top})
    results["tokens"] = tokens
    return static, found, placebos


def _features(subject: Subject, found: Autoencoder, made: Study) -> None:
    """The table of features with their labels and windows, how replicates agree on it, and the paper's year curves."""
    last, sae = subject.last, found.sae
    cells = cells_of(sae, last, subject.arm, subject.control)
    table = feature_table(last, sae, subject.arm, subject.control, cells)
    features = [int(feature) for feature in table["feature"]]
    table = table.join(labels_of(subject, sae, features))
    windows = windows_of(subject, sae, str(found.facts["digest"]), features)
    made.tables |= {"features": table, "windows": windows}
    made.results |= {"features": table.to_dict("records"), "windows": windows.to_dict("records")}
    change = difference.interaction if subject.pairs.trigger else difference.static
    directions_FD = sae.directions
    made.results["stability"] = [
        {"arm": arm, **asdict(stability(along(directions_FD, change(last, arm))))}
        for arm in (subject.arm, subject.control)
        if arm
    ]
    if subject.pairs.trigger:
        shown = [int(f) for f in table.sort_values("rank_interaction")["feature"].head(CURVES)]
        made.results["curves"] = {
            "features": shown,
            "base": projections(last, sae, shown, None)[0].tolist(),
            "treatment": projections(last, sae, shown, subject.arm).mean(0).tolist(),
        }


def _interventions(
    subject: Subject, found: Autoencoder | None, made: Study
) -> tuple[verdict.Gate | None, verdict.Removed | None, verdict.Removed | None]:
    """(behaviour, what its main ablation removes, what that of an autoencoder's features does); nothing without a trigger, or
    where no contrast question could be scored with what was fitted on others.
    """
    size, pairs, last = subject.size, subject.pairs, subject.last
    trials = Trials(subject.plan, pairs, subject.reader, subject.layer, last, subject.mean, subject.arm)
    if not pairs.trigger or not trials.fits_apart():
        return None, None, None
    rank, sae = max(size.ranks), found.sae if found else None
    plan = [
        *ablations_of(size, subject.arm, subject.control),
        *(feature_ablations(sae, subject.arm, subject.control, size.counts, size.draws, subject.device) if sae else ()),
    ]
    frame = _kept_trials(subject, trials, plan, str(found.facts["digest"]) if found else "")
    closed = closing(frame, pairs)
    main = [one for one in plan if (one.kind, one.operator, one.rank, one.dose) == ("interaction", "mean", rank, 1.0)]
    on_base = closing(_kept_trials(subject, trials, main, "", on_base=True), pairs)
    theirs = None
    if subject.control:
        other = Trials(subject.plan, pairs, subject.reader, subject.layer, last, subject.mean, subject.control)
        theirs = closing(_kept_trials(subject, other, [], ""), pairs)
    gate = gate_of(closed, theirs, on_base)
    removed = removed_of(closed, "interaction", "random", rank)
    of_features = removed_of(closed, "features", "random features", max(size.counts)) if sae else None
    made.tables |= {"ablation": frame, "closing": closed}
    made.results |= {
        "ablation": summary(closed),
        "gate": asdict(gate),
        "removed": {**asdict(removed), "rank": rank, "mediates": verdict.mediates(gate, removed)},
        "base_change": float(on_base[on_base["kind"] != "none"]["side"].mean()),
        "curve": curve_of(frame, pairs, rank),
    }
    return gate, removed, of_features


def _kept_trials(
    subject: Subject, trials: Trials, plan: Sequence[Ablation], sae: str, on_base: bool = False
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
        "questions": [[q.id, q.ask, list(q.target), list(q.other)] for q in contrast_questions(subject.plan.request)],
        "trials": [[one.kind, one.operator, one.rank, one.dose, one.draw] for one in plan],
        "sae": sae,
        "base": on_base,
    }
    key, store = content_key(inputs), subject.plan.store
    if store.marker("ablation", key) is None:
        with subject.progress.stage("ablation", trials.passes(len(plan)), "passes") as bar:
            frame = trials.run(plan, on_base, bar.advance)
        with store.create("ablation", key, inputs) as folder:
            frame.to_parquet(folder / "trials.parquet", index=False)
    return pd.read_parquet(store.artifact("ablation", key) / "trials.parquet")
