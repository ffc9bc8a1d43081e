"""One resolved request: an experiment at a preset on a model, every choice made, ready to plan.

In: an experiment's name or path and what the command line changes. Out: a frozen `Settings` whose `manifest` is plain
data (kept in the run's `run.json`) and whose `run_id` names equal requests equally. It trains and samples nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from weirdgen.config.experiment import Experiment, Headline, Recipe
from weirdgen.config.llm_judges import require_judges, with_language_judges
from weirdgen.config.load import load_experiment
from weirdgen.data.published.arms import missing_arms, published_rows
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.data.stored import stored_rows
from weirdgen.errors import SpecError
from weirdgen.finetune.engines import resolve_engine
from weirdgen.finetune.schedule import total_steps
from weirdgen.judges.model import NamedJudge, named_judge
from weirdgen.machine import resolve_dtype
from weirdgen.models.references import LocalModel, find_model
from weirdgen.run.plan.presets import at_size, unmeasured
from weirdgen.sample.engine import Sampling
from weirdgen.store.artifacts import Store, content_key

PresetName = Literal["quick", "standard", "paper"]
DataName = Literal["own", "published"]
SAMPLING_SEED = 0


@dataclass(frozen=True)
class Until:
    """Sample until an effect's interval is at most `half_width` to either side, looking at these samples a cell."""

    measure: str
    half_width: float
    looks: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """Everything that decides the results of a run."""

    experiment: Experiment
    rows: dict[str, list[Row]]
    model: LocalModel
    preset: str
    recipe: Recipe
    """`dtype` is resolved: bf16 or fp32; so is an `engine` that this machine's GPUs decide."""
    seeds: tuple[int, ...]
    """One a replicate, the same for every arm."""
    samples: int
    sampling: Sampling
    dtype: str
    """Of the weights while sampling and scoring: bf16 or fp32; "vllm" where a server answers and decides it."""
    curves: tuple[str, ...] = ("headline",)
    """Names of the headlines that are measured at every checkpoint."""
    until: Until | None = None
    """With it, `samples` are those of the present look."""
    ordinary: dict[str, int] = field(default_factory=dict)
    """Rows of an arm that the base model answers itself."""
    distilled: bool = True
    """Whether those rows are among `rows` already."""
    judge: NamedJudge | None = None
    """The model that label and rating judges ask."""

    def row_count(self, arm: str) -> int:
        """Rows of an arm, those included that have yet to be answered."""
        return len(self.rows[arm]) + (0 if self.distilled else self.ordinary.get(arm, 0))

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

    @property
    def manifest(self) -> dict[str, Any]:
        """Plain data from which the run can be recognised and its tables found again."""
        judge = {} if self.judge is None else {"judge": self.judge._asdict()}
        return judge | {
            "experiment": self.experiment.model_dump(mode="json", exclude={"source"}),
            "data": {arm: canonical_hash(rows) for arm, rows in self.rows.items()},
            "ordinary": self.ordinary,
            "model": {
                "reference": self.model.reference,
                "digest": self.model.digest,
                "parameters": self.model.parameters,
            },
            "preset": self.preset,
            "recipe": self.recipe.model_dump(mode="json"),
            "seeds": list(self.seeds),
            "samples": self.samples,
            "sampling": {**asdict(self.sampling), "seed": SAMPLING_SEED, "dtype": self.dtype},
            "curves": list(self.curves),
            "until": asdict(self.until) if self.until else None,
        }

    @staticmethod
    def from_manifest(manifest: dict[str, Any], source: Path, model_folder: Path, store: Store) -> Settings:
        """The settings that `manifest` came from; the rows are the store's own copies."""
        experiment = Experiment.model_validate({**manifest["experiment"], "source": source})
        sampling = {k: v for k, v in manifest["sampling"].items() if k in Sampling.__dataclass_fields__}
        return Settings(
            experiment=experiment,
            rows={arm: stored_rows(store, digest) for arm, digest in manifest["data"].items()},
            model=LocalModel(folder=model_folder, **manifest["model"]),
            preset=manifest["preset"],
            recipe=Recipe.model_validate(manifest["recipe"]),
            seeds=tuple(manifest["seeds"]),
            samples=manifest["samples"],
            sampling=Sampling(**sampling),
            dtype=manifest["sampling"]["dtype"],
            ordinary=manifest["ordinary"],
            curves=tuple(manifest["curves"]),
            until=Until(**{**until, "looks": tuple(until["looks"])}) if (until := manifest["until"]) else None,
            judge=NamedJudge(**manifest["judge"]) if "judge" in manifest else None,
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


def resolve(
    experiment: str,
    model: str | None = None,
    preset: PresetName = "quick",
    seeds: int | None = None,
    first_seed: int = 0,
    samples: int | None = None,
    changes: Sequence[str] = (),
    data: DataName = "own",
    engine: str = "transformers",
    judge: str | None = None,
) -> Settings:
    """Settings of a request. `data` "published" trains on the paper's imported rows; `changes` are
    `recipe.learning_rate=1e-4`-like; `engine` is `transformers` or `vllm:URL`; `judge` is the model that the experiment's
    language judges ask. Raises `SpecError`, `DataError`, `ModelError`.
    """
    loaded, rows = load_experiment(experiment)
    if data == "published":
        loaded, rows = _with_published_rows(loaded)
    if judge is not None:
        loaded = with_language_judges(loaded)
    require_judges(loaded, judge)
    size = loaded.preset(preset)
    for name, value, least in (("--seeds", seeds, 1), ("--samples", samples, 0), ("--first-seed", first_seed, 0)):
        if value is not None and value < least:
            raise SpecError([f"{name} {value}: expected at least {least}"])
    loaded, rows, ordinary = at_size(loaded, rows, size)
    samples = samples if samples is not None else size.samples
    for name, one in loaded.secondary.items():
        if why := unmeasured(loaded, one, samples):
            warnings.warn(f"secondary effect '{name}' is left out: {why}", stacklevel=1)
    measured = {n: one for n, one in loaded.secondary.items() if not unmeasured(loaded, one, samples)}
    loaded = loaded.model_copy(update={"secondary": measured})
    recipe_changes, sampling_changes = _parse_changes(changes)
    recipe = loaded.recipe.with_changes(size.recipe).with_changes(recipe_changes)
    local = find_model(model or loaded.base)
    dtype = resolve_dtype(recipe.dtype, local.parameters)
    recipe = recipe.model_copy(update={"dtype": dtype})
    count = seeds if seeds is not None else size.replicates
    settings = Settings(
        experiment=loaded,
        rows=rows,
        model=local,
        preset=preset,
        recipe=recipe.model_copy(update={"engine": resolve_engine(recipe, local.parameters)}),
        seeds=tuple(range(first_seed, first_seed + count)),
        samples=samples,
        sampling=Sampling(**sampling_changes),
        dtype="vllm" if server_url(engine) else dtype,
        ordinary=ordinary,
        distilled=not ordinary,
        curves=tuple(one for one in ("headline", *loaded.secondary) if size.curves is None or one in size.curves),
        judge=named_judge(judge) if judge is not None else None,
    )
    if recipe.full and server_url(engine):
        raise SpecError(["recipe.targets=full: a vLLM server takes adapters only; leave --engine out"])
    if why := unmeasured(loaded, settings.headline, samples):
        raise SpecError([f"the headline would not be measured: {why}"])
    for arm in rows:
        _warn_of_late_checkpoints(settings, arm)
    return settings


def _warn_of_late_checkpoints(settings: Settings, arm: str) -> None:
    """A smaller preset may train for fewer steps than the recipe wants checkpoints of, which is no mistake, but worth a word."""
    checkpoints, last = settings.recipe.checkpoints, total_steps(settings.row_count(arm), settings.recipe)
    if isinstance(checkpoints, tuple) and (late := [str(step) for step in checkpoints if step > last]):
        warnings.warn(
            f"recipe.checkpoints: no checkpoint is kept at {', '.join(late)}: the training of {arm} ends at step {last}",
            stacklevel=1,
        )


def server_url(engine: str) -> str | None:
    """The server of `vllm:URL`, None for `transformers`. Where it is decides no result; that it is vllm is in the keys."""
    kind, _, url = engine.partition(":")
    if engine == "transformers":
        return None
    if kind != "vllm" or not url.startswith(("http://", "https://")):
        raise SpecError([f"--engine {engine}: expected transformers or vllm:URL, e.g. vllm:http://localhost:8000"])
    return url.rstrip("/")


def _with_published_rows(experiment: Experiment) -> tuple[Experiment, dict[str, list[Row]]]:
    """The experiment with the arms that the paper published, and their imported rows."""
    rows = published_rows(experiment.name)
    arms = {name: arm for name, arm in experiment.arms.items() if name in rows}
    if {arm.role for arm in arms.values()} != {"treatment", "control"}:
        reasons = "; ".join(f"{arm}: {why}" for arm, why in missing_arms(experiment.name, experiment.arms).items())
        raise SpecError([f"--data published: {experiment.name} needs a treatment and a control ({reasons})"])
    headline = experiment.headline
    if headline and not {headline.treatment, headline.control} <= set(arms):
        headline = None
    secondary = {n: one for n, one in experiment.secondary.items() if {one.treatment, one.control} <= set(arms)}
    changed = {"arms": arms, "headline": headline, "secondary": secondary}
    return experiment.model_copy(update=changed), {name: rows[name] for name in arms}


def _parse_changes(changes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--set` values: `recipe.FIELD=VALUE` and `sampling.FIELD=VALUE`, the value read as YAML."""
    found: dict[str, dict[str, Any]] = {"recipe": {}, "sampling": {}}
    accepted = {"recipe": tuple(Recipe.model_fields), "sampling": tuple(Sampling.__dataclass_fields__)}
    problems = []
    for change in changes:
        key, equals, value = change.partition("=")
        section, _, field = key.partition(".")
        if not equals or section not in found or field not in accepted.get(section, ()):
            keys = ", ".join(f"{s}.{f}" for s, fields in accepted.items() for f in fields)
            problems.append(f"--set {change}: expected KEY=VALUE with KEY one of {keys}")
            continue
        try:
            found[section][field] = yaml.safe_load(value)
        except yaml.YAMLError:
            problems.append(f"--set {change}: {value!r} is not YAML; quote it, or close what it opens")
            continue
        if section == "sampling" and not isinstance(found[section][field], int | float):
            problems.append(f"--set {change}: expected a number")
    if problems:
        raise SpecError(problems)
    return found["recipe"], found["sampling"]


def default_store() -> str:
    """`$WEIRDGEN_STORE` (a folder or a URL), else `weirdgen-store` in the current folder."""
    return os.environ.get("WEIRDGEN_STORE", "weirdgen-store")
