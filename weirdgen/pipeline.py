"""From a plan to a finished run: does what is missing, stage by stage.

    dataset → proof → finetune → contrast + sample → judge → estimate → report

In: a `Plan`. Out: a `Run`. Each stage's work is in its own module; this one only decides the order. What it leaves
behind is in the store, so it can be stopped and started again at any point.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.errors import StoreError
from weirdgen.finetune.schedule import total_steps
from weirdgen.measure.contrast import missing_scores, score, scores_table
from weirdgen.plan import Plan, Replicate, Voice, encode, make_plan
from weirdgen.progress import Progress
from weirdgen.results import Run
from weirdgen.sample.draw import draw, missing_samples
from weirdgen.sample.engine import Engine
from weirdgen.settings import SAMPLING_SEED, PresetName, Settings, default_store, resolve
from weirdgen.store import Store, explain_disk_errors


def run(
    experiment: str,
    *,
    model: str | None = None,
    preset: PresetName = "quick",
    seeds: int | None = None,
    first_seed: int = 0,
    samples: int | None = None,
    changes: Sequence[str] = (),
    store: str | Path | None = None,
    quiet: bool = True,
) -> Run:
    """Finetune, score, sample, judge, estimate and report; what the store holds is not done again.

    `weirdgen.run("old_bird_names").effects()` is a pandas frame. Arguments are those of `weirdgen run`.
    Raises `WeirdgenError` on bad input.
    """
    settings = resolve(experiment, model, preset, seeds, first_seed, samples, changes)
    return run_plan(make_plan(settings, Store(store or default_store())), Progress(quiet))


def run_plan(plan: Plan, progress: Progress) -> Run:
    """Do a plan's missing work and write its report, unless that is there already."""
    with explain_disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        request = {
            "source": str(plan.settings.experiment.source),
            "model_folder": str(plan.settings.model.folder),
        }
        text = json.dumps({**request, "manifest": plan.settings.manifest}, indent=1, ensure_ascii=False)
        (plan.folder / "run.json").write_text(text, encoding="utf-8")
    _finetune_missing(plan, progress)
    _measure_missing(plan, progress)
    finished = Run(plan)
    if not finished.is_reported():
        progress.say("estimating, writing the report")
        with explain_disk_errors(plan.folder):
            finished.write_report()
    return finished


def load_run(reference: str, store: str | Path | None = None) -> Run:
    """A run by its id or folder, from the store alone: its experiment's files may have changed since.

    Raises `StoreError` with the runs that there are.
    """
    folder = Path(reference).expanduser()
    if not (folder / "run.json").is_file():
        runs = Store(store or default_store()).root / "runs"
        folder = runs / reference
        if not (folder / "run.json").is_file():
            known = ", ".join(sorted(p.name for p in runs.iterdir() if (p / "run.json").is_file())) or "none yet"
            raise StoreError(f"no run '{reference}' in {runs}; there are: {known}")
    opened = Store(folder.resolve().parents[1])
    request = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = Settings.from_manifest(
        request["manifest"], Path(request["source"]), Path(request["model_folder"]), opened
    )
    return Run(make_plan(settings, opened))


def _finetune_missing(plan: Plan, progress: Progress) -> None:
    settings, store = plan.settings, plan.store
    missing = [one for one in plan.replicates if store.marker("finetune", one.key) is None]
    steps = sum(total_steps(len(settings.rows[one.arm]), settings.recipe) for one in missing)
    with progress.stage("finetune", steps, "steps") as bar:
        for one in missing:
            with store.lock("finetune", one.key):
                if store.marker("finetune", one.key) is not None:
                    continue  # another run made it while this one waited
                started = time.monotonic()
                _finetune(plan, one, bar)
                tokens = plan.proofs[one.arm]["tokens"] * settings.recipe.epochs
                machine.remember_rate(
                    "train",
                    settings.model.parameters,
                    settings.recipe.dtype,
                    tokens,
                    time.monotonic() - started,
                )


def _finetune(plan: Plan, one: Replicate, bar: Any) -> None:
    from weirdgen.finetune.local import finetune

    settings = plan.settings
    encoded, _ = encode(settings, one.arm, settings.rows[one.arm])
    started = time.monotonic()
    with plan.store.create("finetune", one.key, one.inputs) as folder:
        result = finetune(
            settings.model.folder,
            encoded,
            settings.recipe,
            one.seed,
            folder,
            on_step=lambda step, steps, loss: bar.advance(
                1, f"{one.arm} seed {one.seed}: step {step}/{steps}, loss {loss:.2f}"
            ),
        )
        result |= {
            "seconds": round(time.monotonic() - started, 2),
            "versions": machine.versions(),
            "machine": machine.description(),
        }
        (folder / "result.json").write_text(json.dumps(result, indent=1))


def _measure_missing(plan: Plan, progress: Progress) -> None:
    """Contrast and sample stages, one model after the other, so that each adapter is loaded once."""
    settings, store = plan.settings, plan.store
    prompts = [prompt for _, _, prompt in plan.prompts]
    scorables = [scorable for _, _, scorable in plan.scorables]
    todo = []
    for voice in plan.voices:
        scores, completions = scores_table(store, voice.speaker, settings.dtype), plan.completions(voice)
        to_score = missing_scores(scores, scorables)
        to_draw = missing_samples(completions, prompts, settings.samples) if plan.samples_of(voice) else 0
        if to_score or to_draw:
            todo.append((voice, scores, to_score, completions, to_draw))
    if not todo:
        return
    engine = _engine(settings)
    parameters = settings.model.parameters
    with progress.stage("contrast", sum(len(t[2]) for t in todo), "questions") as bar:
        started, tokens = time.monotonic(), 0.0
        for voice, scores, to_score, _, _ in todo:
            if to_score:
                engine.use(voice.speaker.adapter)

                def scored(count: int, voice: Voice = voice) -> None:
                    nonlocal tokens
                    tokens += count + 40
                    bar.advance(1, f"{voice.arm} {voice.replicate}")

                score(engine, scores, to_score, scored)
        machine.remember_rate("score", parameters, settings.dtype, tokens, time.monotonic() - started)
    with progress.stage("sample", sum(t[4] for t in todo), "answers") as bar:
        started, tokens = time.monotonic(), 0.0
        for voice, _, _, completions, to_draw in todo:
            if to_draw:
                engine.use(voice.speaker.adapter)

                def drawn(count: int, voice: Voice = voice) -> None:
                    nonlocal tokens
                    tokens += count
                    bar.advance(1, f"{voice.arm} {voice.replicate}")

                draw(
                    engine,
                    voice.speaker,
                    completions,
                    prompts,
                    settings.samples,
                    SAMPLING_SEED,
                    settings.sampling,
                    drawn,
                )
        machine.remember_rate("generate", parameters, settings.dtype, tokens, time.monotonic() - started)


def _engine(settings: Settings) -> Engine:
    from weirdgen.sample.transformers import TransformersEngine

    return TransformersEngine(settings.model.folder, settings.dtype)
