"""One resolved request: an experiment at a preset on a model, every choice made, ready to plan.

In: what `runs.plan.resolve` chose, or a manifest. Out: a frozen `Request` whose `manifest` is plain data (kept in `run.json`)
and whose `run_id` names equal requests equally. It trains and samples nothing, and writes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Experiment, Headline, Recipe
from weirdgen.data.draws import draw_size
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.data.stored import stored_rows
from weirdgen.errors import ModelError
from weirdgen.finetune.tinker import trained_by as trained_at_tinker
from weirdgen.judges.model import NamedJudge
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.service import Service
from weirdgen.runs.plan.options import RunOptions, run_options
from weirdgen.runs.plan.remote import trained_by
from weirdgen.runs.plan.until import Until
from weirdgen.sample.engine import Sampling
from weirdgen.sample.engines import EngineReference, Transformers, engine_of
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

SAMPLING_SEED = 0
UNJUDGED = "unjudged"
"""Key of `run.json` under which a request's own `unjudged` is kept, which its manifest does not hold."""


@dataclass(frozen=True)
class Request:
    """Everything that decides the results of a run."""

    experiment: Experiment
    rows: dict[str, list[Row]]
    model: LocalModel | RemoteModel
    preset: str
    recipe: Recipe
    """`dtype` is resolved: bf16 or fp32; so is an `engine` that this machine's GPUs decide."""
    seeds: tuple[int, ...]
    """One per replicate, the same for every arm."""
    samples: int
    sampling: Sampling
    dtype: str
    """Of the weights while sampling and scoring: bf16 or fp32."""
    engine: EngineReference = field(default_factory=Transformers)
    """What answers."""
    curves: tuple[str, ...] = ("headline",)
    """Names of the headlines that are measured at every checkpoint."""
    until: Until | None = None
    """With it, `samples` are those of the present look."""
    ordinary: dict[str, int] = field(default_factory=dict)
    """Rows of an arm that the base model answers itself."""
    distilled: bool = True
    """Whether those rows, and those of twins, are among `rows` already."""
    judge: NamedJudge | None = None
    """The model that label and rating judges ask."""
    unjudged: str | None = None
    """The judges and questions that were left out because no judging model was named. It decides no result."""
    options: RunOptions = field(default_factory=run_options)
    """What was asked, before it was resolved."""
    tinker: Service | None = None
    """The Tinker service that trains its adapters; None: another does (`experiment.finetune`)."""
    read_back: bool = False
    """Whether it was read from the store: such a file may be anybody's, so what it names is sent no key."""

    @property
    def local(self) -> LocalModel:
        """The base on this machine. Raises `ModelError` if a provider holds it."""
        if isinstance(self.model, RemoteModel):
            raise ModelError(f"model '{self.model.reference}' is at a provider, and this needs it on this machine")
        return self.model

    @property
    def numerics(self) -> str:
        """How the numbers of this engine at this dtype are named in the store."""
        return self.engine.numerics(self.dtype)

    @property
    def trained_by(self) -> dict[str, Any]:
        """The recipe as far as it decides a finetune."""
        if isinstance(self.model, RemoteModel):
            return trained_by(self.model, self.recipe)
        if self.tinker:
            return trained_at_tinker(self.tinker, self.recipe)
        return self.recipe.model_dump(mode="json")

    @property
    def twins(self) -> dict[str, str]:
        """Arm → the arm whose prompts the base answers for it."""
        return {name: arm.twin for name, arm in self.experiment.arms.items() if arm.twin is not None}

    def row_count(self, arm: str) -> int:
        """Rows that a replicate of an arm is trained on, those included that have yet to be answered."""
        draws = self.experiment.arms[arm].draws
        if self.distilled:
            return draw_size(draws, len(self.rows[arm]))
        return draw_size(draws, len(self.rows[self.twins.get(arm, arm)])) + self.ordinary.get(arm, 0)

    @property
    def headline(self) -> Headline:
        """The experiment's headline, or the first treatment against the first control on contrast questions."""
        experiment = self.experiment
        if experiment.headline:
            return experiment.headline
        first = {
            role: next(n for n, a in experiment.arms.items() if a.role == role) for role in ("treatment", "control")
        }
        measure = experiment.main_measure
        return Headline(measure=measure, treatment=first["treatment"], control=first["control"])

    @property
    def headlines(self) -> dict[str, Headline]:
        """Every effect that was fixed before the run: the headline under that name, then the secondary ones."""
        return {"headline": self.headline, **self.experiment.secondary}

    @cached_property
    def date(self) -> str | None:
        """The date (ISO) given to the model's template; None if it prints none."""
        asked = self.experiment.date
        if isinstance(self.model, RemoteModel):  # its template is the provider's
            return None
        return told_date(self.model.folder, asked.isoformat() if asked else None)

    @property
    def manifest(self) -> dict[str, Any]:
        """Plain data from which the run can be recognised and its tables found again."""
        judge = {} if self.judge is None else {"judge": self.judge._asdict()}
        service = {} if self.tinker is None else {"tinker": self.tinker.url}
        return {
            **judge,
            **service,
            "experiment": self.experiment.model_dump(mode="json", exclude={"source"}),
            "data": {arm: canonical_hash(rows) for arm, rows in self.rows.items()},
            "ordinary": self.ordinary,
            "model": self.model.as_data(),
            "preset": self.preset,
            "recipe": self.recipe.model_dump(mode="json"),
            "seeds": list(self.seeds),
            "samples": self.samples,
            "sampling": {**asdict(self.sampling), "seed": SAMPLING_SEED, "dtype": self.numerics},
            "curves": list(self.curves),
            "until": asdict(self.until) if self.until else None,
        }

    @staticmethod
    def from_manifest(manifest: dict[str, Any], source: Path | None, model_folder: Path, store: Store) -> Request:
        """The request that `manifest` came from; the rows are the store's own copies."""
        experiment = Experiment.model_validate({**manifest["experiment"], "source": source})
        sampling = {k: v for k, v in manifest["sampling"].items() if k in Sampling.__dataclass_fields__}
        return Request(
            experiment=experiment,
            rows={arm: stored_rows(store, digest) for arm, digest in manifest["data"].items()},
            model=_model_of(manifest["model"], model_folder),
            preset=manifest["preset"],
            recipe=Recipe.model_validate(manifest["recipe"]),
            seeds=tuple(manifest["seeds"]),
            samples=manifest["samples"],
            sampling=Sampling(**sampling),
            dtype=manifest["recipe"]["dtype"],
            engine=engine_of(manifest["sampling"]["dtype"]),
            ordinary=manifest["ordinary"],
            curves=tuple(manifest["curves"]),
            until=Until(**{**until, "looks": tuple(until["looks"])}) if (until := manifest["until"]) else None,
            judge=NamedJudge(**manifest["judge"]) if "judge" in manifest else None,
            tinker=Service("tinker", manifest["tinker"]) if "tinker" in manifest else None,
            read_back=True,
        )

    @property
    def run_id(self) -> str:
        return run_name(self.manifest)


def run_name(manifest: dict[str, Any]) -> str:
    """The id of the run that a manifest describes. With `until` it is one run, at whichever look it stops.

    What its headlines say in words decides no result, so it names no run.
    """
    until, experiment = manifest["until"], manifest["experiment"]
    secondary = {name: _wordless(effect) for name, effect in experiment["secondary"].items()}
    wordless = {**experiment, "headline": _wordless(experiment["headline"]), "secondary": secondary}
    named = {**manifest, "experiment": wordless}
    if until:
        named["samples"] = until["looks"]
    return f"{manifest['experiment']['name']}-{manifest['preset']}-{content_key(named)[:8]}"


def _wordless(effect: dict[str, Any] | None) -> dict[str, Any] | None:
    return effect and {key: value for key, value in effect.items() if key != "says"}


def _model_of(data: dict[str, Any], folder: Path) -> LocalModel | RemoteModel:
    return RemoteModel.of(data) if "at" in data else LocalModel(folder=folder, **data)
