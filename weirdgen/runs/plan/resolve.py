"""From an experiment and options to a `Request`: every choice made, and what cannot be done refused before anything is planned.

In: a shipped name, a path or an `Experiment`, and `RunOptions`. Out: `runs.plan.request.Request`. Raises what is wrong in words;
it trains and writes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Experiment, Recipe
from weirdgen.config.files import parse_yaml
from weirdgen.config.llm_judges import read_language_judges, with_language_judges, without_language_judges
from weirdgen.config.load import read_experiment
from weirdgen.data.arms import Rows, load_arms
from weirdgen.data.published.arms import missing_arms, published_rows
from weirdgen.data.rows import Row
from weirdgen.errors import SpecError, all_at_once, choices
from weirdgen.finetune.engines import resolve_engine
from weirdgen.finetune.schedule import total_steps
from weirdgen.finetune.tinker import recipe_problems
from weirdgen.judges.model import is_local, named_judge
from weirdgen.judges.tasks import require_judging_model
from weirdgen.machine import resolve_dtype
from weirdgen.models.references import LocalModel, find_model, require_reference
from weirdgen.models.remote import RemoteModel, is_remote
from weirdgen.providers.purse import parse_budget
from weirdgen.providers.service import service_of
from weirdgen.runs.plan.options import RunOptions, run_options
from weirdgen.runs.plan.presets import at_size, unmeasured, without_scored
from weirdgen.runs.plan.remote import at_service, require_possible
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.until import parse_until
from weirdgen.sample.engine import Sampling
from weirdgen.sample.engines import Remote, parse_engine


def resolve(experiment: str | Path | Experiment, options: RunOptions | None = None) -> Request:
    """What these options mean for this experiment: a shipped name, a path, or the experiment itself.

    Raises `SpecError`, `DataError`, `ModelError`.
    """
    options = options or run_options()
    (loaded, rows), engine, (recipe_changes, sampling_changes), _ = all_at_once([
        lambda: load_arms(experiment),
        lambda: parse_engine(options.engine),
        lambda: parse_changes(options.changes),
        lambda: _require_names(experiment, options),
    ])  # fmt: skip
    finetune = options.finetune or loaded.finetune
    loaded = loaded.model_copy(update={"finetune": None if finetune == "local" else finetune})
    reference, remote, service = options.model or loaded.base, None, None
    if loaded.finetune == "tinker":
        if is_remote(reference):
            raise SpecError(
                [f"finetune: tinker needs the base on this machine, where it answers: --model hub:{reference}"]
            )
        service = service_of("tinker", options.base_url)
        parse_budget(options.budget)
    elif loaded.finetune or is_remote(reference):
        remote, engine = at_service(reference, loaded.finetune, options)
    elif options.base_url:
        raise SpecError(
            [
                f"--base-url goes with --finetune openai, azure or tinker, or a model of a provider, and {reference} is none"
            ]
        )
    if options.data == "published":
        loaded, rows = _with_published_rows(loaded)
    unjudged = None
    if options.judge is not None:
        loaded = with_language_judges(loaded)
        require_judging_model(loaded, options.judge)
    else:
        if judge := judge_of_headline(loaded):
            raise SpecError(
                [
                    f"the headline of {loaded.name} rests on '{judge}', which asks a language model: name one with --judge MODEL"
                ]
            )
        left = without_language_judges(loaded)
        loaded, unjudged = left.experiment, left.named
    if isinstance(engine, Remote) and engine.template is None:
        loaded = without_scored(loaded, f"{engine.service.shown} gives no log-probabilities of given answers")
    size = loaded.preset(options.preset)
    loaded, rows, ordinary = at_size(loaded, rows, size)
    samples = options.samples if options.samples is not None else size.samples
    for name, comparison in loaded.secondary.items():
        if why := unmeasured(loaded, comparison, samples):
            warnings.warn(f"secondary effect '{name}' is left out: {why}", stacklevel=1)
    measured = {
        n: comparison for n, comparison in loaded.secondary.items() if not unmeasured(loaded, comparison, samples)
    }
    loaded = loaded.model_copy(update={"secondary": measured})
    recipe = loaded.recipe.with_changes(size.recipe).with_changes(recipe_changes)
    base: LocalModel | RemoteModel
    if remote:
        base, dtype = remote, "fp32"
    else:
        if recipe.learning_rate_multiplier is not None:
            raise SpecError(
                ["recipe.learning_rate_multiplier is a finetuning service's; here it is recipe.learning_rate"]
            )
        if service and (problems := recipe_problems(recipe)):
            raise SpecError(problems)
        base = find_model(reference)
        dtype = resolve_dtype(recipe.dtype, base.parameters)
        recipe = recipe.model_copy(update={"dtype": dtype})
        recipe = recipe.model_copy(update={"engine": resolve_engine(recipe, base.parameters)})
    count = options.seeds if options.seeds is not None else size.replicates
    if problems := list(_shared_draws(loaded, rows, count)):
        raise SpecError(problems)
    request = Request(
        experiment=loaded,
        rows=rows,
        model=base,
        preset=options.preset,
        recipe=recipe,
        seeds=tuple(range(options.first_seed, options.first_seed + count)),
        samples=samples,
        sampling=Sampling(**sampling_changes),
        dtype=dtype,
        engine=engine,
        ordinary=ordinary,
        distilled=not ordinary and not any(arm.twin for arm in loaded.arms.values()),
        curves=tuple(curve for curve in ("headline", *loaded.secondary) if size.curves is None or curve in size.curves),
        judge=named_judge(options.judge) if options.judge is not None else None,
        unjudged=unjudged,
        options=options,
        tinker=service,
    )
    if remote:
        require_possible(loaded, recipe, request.sampling, ordinary, request.twins)
    elif recipe.full and "whole models" not in engine.abilities:
        raise SpecError([f"recipe.targets=full: {options.engine} takes adapters only; leave --engine out"])
    if why := unmeasured(loaded, request.headline, samples):
        raise SpecError([f"the headline would not be measured: {why}"])
    for arm in rows:
        _warn_of_late_checkpoints(request, arm)
    if not options.until:
        return request
    until = parse_until(options.until, request.headline.measure, loaded.judges, samples, count)
    return replace(request, until=until)


def _require_names(experiment: str | Path | Experiment, options: RunOptions) -> None:
    """Raises `WeirdgenError` if what was named beside the experiment cannot be: its models, and the judges of a judging model."""
    if isinstance(experiment, Experiment):
        written, complete, own = experiment, True, True
    else:
        read = read_experiment(experiment)
        written, complete, own = read.experiment, "questions" not in read.missing.parts, False

    def require_judges() -> None:
        if options.judge is None:
            return
        if is_local(options.judge):
            require_reference(options.judge.removeprefix("local:"))
        if problems := read_language_judges(written, complete=complete, own=own).problems:
            raise SpecError(problems)

    all_at_once([lambda: require_base_name(written, options), require_judges])


def require_base_name(written: Experiment, options: RunOptions) -> None:
    """Raises `ModelError` if the base is no model's name. A service's own names are not known here."""
    reference, finetune = options.model or written.base, options.finetune or written.finetune
    if finetune in (None, "local", "tinker") and not options.base_url and not is_remote(reference):
        require_reference(reference)


def _shared_draws(experiment: Experiment, rows: Rows, replicates: int) -> Iterator[str]:
    """What is wrong with arms whose rows are dealt into parts."""
    for name, arm in experiment.arms.items():
        if not isinstance(arm.draws, int):
            continue
        if replicates > arm.draws:
            yield (
                f"arms.{name}.draws: {arm.draws} parts are too few for {replicates} replicates: two would share their rows; "
                f"take draws: {replicates}, draws: bootstrap, or --seeds {arm.draws}"
            )
        if len(rows[name]) < arm.draws:
            yield f"arms.{name}.draws: {len(rows[name])} rows cannot be dealt into {arm.draws} parts"


def judge_of_headline(experiment: Experiment) -> str | None:
    """The language judge that its headline cannot do without; None if it needs none."""
    measure = experiment.headline.measure if experiment.headline else experiment.main_measure
    return measure if measure in without_language_judges(experiment).judges else None


def _warn_of_late_checkpoints(request: Request, arm: str) -> None:
    """A smaller preset may train for fewer steps than the recipe keeps checkpoints of: not a mistake, but worth a mention."""
    checkpoints, last = request.recipe.checkpoints, total_steps(request.row_count(arm), request.recipe)
    if isinstance(checkpoints, tuple) and (late := [str(step) for step in checkpoints if step > last]):
        warnings.warn(
            f"recipe.checkpoints: no checkpoint is kept at {', '.join(late)}: the training of {arm} ends at step {last}",
            stacklevel=1,
        )


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
    secondary = {
        n: comparison
        for n, comparison in experiment.secondary.items()
        if {comparison.treatment, comparison.control} <= set(arms)
    }
    changed = {"arms": arms, "headline": headline, "secondary": secondary}
    return experiment.model_copy(update=changed), {name: rows[name] for name in arms}


def parse_changes(changes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--set` values: `recipe.FIELD=VALUE` and `sampling.FIELD=VALUE`, the value read as YAML."""
    parsed: dict[str, dict[str, Any]] = {"recipe": {}, "sampling": {}}
    accepted = {"recipe": tuple(Recipe.model_fields), "sampling": tuple(Sampling.__dataclass_fields__)}
    problems = []
    for change in changes:
        key, equals, value = change.partition("=")
        section, _, field = key.partition(".")
        if not equals or section not in parsed or field not in accepted.get(section, ()):
            keys = [f"{s}.{f}" for s, fields in accepted.items() for f in fields]
            problems.append(f"--set {change}: expected KEY=VALUE with KEY one of {choices(keys, key)}")
            continue
        try:
            parsed[section][field], _ = parse_yaml(value, f"--set {key}")
        except SpecError:
            problems.append(f"--set {change}: {value!r} is not YAML; quote it, or close what it opens")
            continue
        if section == "sampling" and not isinstance(parsed[section][field], int | float):
            problems.append(f"--set {change}: expected a number")
    if problems:
        raise SpecError(problems)
    return parsed["recipe"], parsed["sampling"]
