"""From a plan to a finished run: does what is missing, stage by stage.

    distill → dataset → proof → finetune → contrast + sample → judge → estimate → report

In: a `Plan`. Out: a `Run`. Each stage's work is in its own module; this one only decides the order. What it leaves
behind is in the store, so it can be stopped and started again at any point.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.cache import read_json, write_json
from weirdgen.errors import StoreError
from weirdgen.finetune.engines import train_group
from weirdgen.finetune.schedule import total_steps
from weirdgen.measure.classifier import require_embedder
from weirdgen.measure.contrast import VOICES, missing_scores, score, scores_table
from weirdgen.plan import FINAL, Plan, Replicate, Voice, encode, make_plan
from weirdgen.progress import Bar, Progress
from weirdgen.results import Run
from weirdgen.sample.distill import AT_ONCE
from weirdgen.sample.draw import draw, missing_samples, voices_at_once
from weirdgen.sample.engine import Engine
from weirdgen.settings import SAMPLING_SEED, DataName, PresetName, Settings, default_store, resolve
from weirdgen.spec import Classifier
from weirdgen.store import Store, explain_disk_errors
from weirdgen.until import decision, decision_line, with_until


def run(
    experiment: str,
    *,
    model: str | None = None,
    preset: PresetName = "quick",
    seeds: int | None = None,
    first_seed: int = 0,
    samples: int | None = None,
    changes: Sequence[str] = (),
    data: DataName = "own",
    store: str | Path | None = None,
    quiet: bool = True,
    until: str | None = None,
) -> Run:
    """Finetune, score, sample, judge, estimate and report; what the store holds is not done again.

    `weirdgen.run("old_bird_names").effects()` is a pandas frame. Arguments are those of `weirdgen run`.
    Raises `WeirdgenError` on bad input.
    """
    settings = resolve(experiment, model, preset, seeds, first_seed, samples, changes, data)
    settings = with_until(settings, until) if until else settings
    return run_plan(make_plan(settings, Store(store or default_store())), Progress(quiet))


def run_plan(plan: Plan, progress: Progress) -> Run:
    """Do a plan's missing work and write its report, unless that is there already."""
    _require_embedder(plan)
    if not plan.settings.distilled:
        _distill_missing(plan, progress)
        plan = make_plan(plan.settings, plan.store)
    finished = _until_decided(plan, progress) if plan.settings.until else _measured(plan, progress)
    if not finished.is_reported():
        progress.say("estimating, writing the report")
        with explain_disk_errors(plan.folder):
            finished.write_report()
    return finished


def _until_decided(plan: Plan, progress: Progress) -> Run:
    """Measure at each planned look until the interval that is asked for is narrow enough, or cannot become so."""
    until = plan.settings.until
    assert until is not None
    for samples in until.looks:
        finished = _measured(make_plan(replace(plan.settings, samples=samples), plan.store), progress)
        found = decision(finished)
        progress.say(decision_line(found, until))
        if found.done:
            break
    return finished


def _measured(plan: Plan, progress: Progress) -> Run:
    """Everything but the report."""
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
    return Run(plan)


def _require_embedder(plan: Plan) -> None:
    """Fetch what offline judges read with before anything is trained, unless nothing is left to judge."""
    settings = plan.settings
    judged = settings.samples > 0 and any(isinstance(j, Classifier) for j in settings.experiment.judges.values())
    if judged and not (settings.distilled and Run(plan).is_reported()):
        require_embedder()


def load_run(reference: str, store: str | Path | None = None) -> Run:
    """A run by its id or folder, from the store alone: its experiment's files may have changed since.

    Raises `StoreError` with the runs that there are.
    """
    folder = run_folder(reference, store)
    opened = Store(folder.resolve().parents[1])
    request = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = Settings.from_manifest(
        request["manifest"], Path(request["source"]), Path(request["model_folder"]), opened
    )
    return Run(make_plan(settings, opened))


def run_folder(reference: str, store: str | Path | None = None) -> Path:
    """The folder of a run, by its id or by the folder itself. Raises `StoreError` with the runs that there are."""
    folder = Path(reference).expanduser()
    if not (folder / "run.json").is_file():
        runs = Store(store or default_store()).root / "runs"
        folder = runs / reference
        if not (folder / "run.json").is_file():
            known = ", ".join(sorted(p.name for p in runs.iterdir() if (p / "run.json").is_file())) or "none yet"
            raise StoreError(f"no run '{reference}' in {runs}; there are: {known}")
    return folder


def _distill_missing(plan: Plan, progress: Progress) -> None:
    from weirdgen.sample.transformers import TransformersEngine

    distillery, wanted = plan.distillery(), max(plan.settings.ordinary.values())
    if len(distillery.rows(wanted)) == wanted:  # another run of the same base has drawn them meanwhile
        return
    engine: Engine = TransformersEngine(plan.settings.model.folder, plan.settings.dtype)
    batches = -(-(wanted - len(distillery.rows(wanted))) // AT_ONCE)
    with (
        progress.stage("distill", batches * AT_ONCE, "answers") as bar,
        _Speed("generate", plan.settings) as speed,
    ):

        def answered(tokens: int) -> None:
            speed.tokens += tokens
            bar.advance()

        distillery.answer(engine, wanted, answered)


def _finetune_missing(plan: Plan, progress: Progress) -> None:
    groups = plan.groups()
    steps = sum(total_steps(one.rows, plan.settings.recipe) for group in groups for one in group)
    with progress.stage("finetune", steps, "steps") as bar:
        for group in groups:
            with contextlib.ExitStack() as locks:
                for one in sorted(group, key=lambda one: one.key):
                    locks.enter_context(plan.store.lock("finetune", one.key))
                if any(plan.store.marker("finetune", one.key) is None for one in group):  # else another run made them
                    _finetune(plan, group, bar)


def _finetune(plan: Plan, group: Sequence[Replicate], bar: Bar) -> None:
    settings = plan.settings
    encoded = {arm: encode(settings, arm, settings.rows[arm])[0] for arm in {one.arm for one in group}}
    started = time.monotonic()
    together = [one.key for one in group]
    advance = len(group) if plan.engine.engine == "replicas" else 1
    name = f"{group[0].arm} seed {group[0].seed}" + (f" and {len(group) - 1} more" if len(group) > 1 else "")
    with contextlib.ExitStack() as folders:
        targets = [
            folders.enter_context(plan.store.create("finetune", one.key, {**one.inputs, "together": together}))
            for one in group
        ]
        results = train_group(
            plan.engine.engine,
            settings.model.folder,
            [encoded[one.arm] for one in group],
            [one.seed for one in group],
            targets,
            settings.recipe,
            lambda step, steps, loss: bar.advance(advance, f"{name}: step {step}/{steps}, loss {loss:.2f}"),
            settings.model.parameters,
        )
        seconds = time.monotonic() - started
        facts: dict[str, Any] = {"seconds": round(seconds / len(group), 2), "trained_together": len(group)}
        facts |= {"versions": machine.versions(), "machine": machine.description()}
        for target, result in zip(targets, results, strict=True):
            (target / "result.json").write_text(json.dumps({**result, **facts}, indent=1))
    tokens = sum(plan.proofs[one.arm]["tokens"] for one in group) * settings.recipe.epochs
    machine.remember_rate("train", settings.model.parameters, settings.recipe.dtype, tokens, seconds)


def _measure_missing(plan: Plan, progress: Progress) -> None:
    """The contrast and sample stages; several models answer in one batch."""
    settings, store = plan.settings, plan.store
    prompts = [prompt for _, _, prompt in plan.prompts]
    scores = {voice: scores_table(store, voice.speaker, settings.dtype) for voice in plan.voices}
    questions = {voice: [scorable for _, _, scorable in plan.scorables_of(voice)] for voice in plan.voices}
    to_score = {v: len({key for key, _ in missing_scores(table, questions[v])}) for v, table in scores.items()}
    answers = {voice: plan.completions(voice) for voice in plan.voices if plan.samples_of(voice)}
    to_draw = {v: missing_samples(table, prompts, settings.samples) for v, table in answers.items()}
    if not any(to_score.values()) and not any(to_draw.values()):
        return
    from weirdgen.sample.transformers import TransformersEngine

    engine: Engine = TransformersEngine(settings.model.folder, settings.dtype)
    with progress.stage("contrast", sum(to_score.values()), "questions") as bar, _Speed("score", settings) as speed:

        def scored(questions: int, tokens: int) -> None:
            speed.tokens += tokens
            bar.advance(questions)

        lacking = [v for v, count in to_score.items() if count]
        for stage, end in (("contrast", True), ("contrast at checkpoints", False)):
            for voices in _company(plan, stage, [v for v in lacking if (v.checkpoint == FINAL) is end], VOICES):
                engine.use([voice.speaker.adapter for voice in voices])
                score(engine, [scores[voice] for voice in voices], questions[voices[0]], scored)
    with progress.stage("sample", sum(to_draw.values()), "answers") as bar, _Speed("generate", settings) as speed:

        def drawn(tokens: int) -> None:
            speed.tokens += tokens
            bar.advance()

        size = voices_at_once(max((p.max_tokens for p in prompts), default=1), settings.model.parameters)
        for voices in _company(plan, "sample", [v for v, lacking in to_draw.items() if lacking], size):
            speakers, tables = [voice.speaker for voice in voices], [answers[voice] for voice in voices]
            engine.use([speaker.adapter for speaker in speakers])
            draw(engine, speakers, tables, prompts, settings.samples, SAMPLING_SEED, settings.sampling, drawn)


def _company(plan: Plan, stage: str, lacking: list[Voice], size: int) -> list[list[Voice]]:
    """Which models go through a batch together: chosen when this run first tries, then kept in its folder.

    A bf16 product rounds differently in a batch of another shape. A run that was killed goes on in the same company,
    and so ends as if undisturbed; a larger run later measures only what is new.
    """
    file = plan.folder / "company.json"
    known: dict[str, list[list[str]]] = read_json(file)
    groups = known.get(stage, [])
    new = [v for v in lacking if not any(v.speaker.key in group for group in groups)]
    if new:
        # The base answers alone: it needs no adapters, and its long answers would hold up the others' short ones.
        base, tuned = [v.speaker.key for v in new if v.arm == "base"], [v.speaker.key for v in new if v.arm != "base"]
        groups = [*groups, *([base] if base else [])]
        groups += [tuned[start : start + size] for start in range(0, len(tuned), size)]
        with explain_disk_errors(plan.folder):
            write_json(file, {**known, stage: groups})
    by_key = {voice.speaker.key: voice for voice in plan.voices}
    wanted = {voice.speaker.key for voice in lacking}
    return [[by_key[key] for key in group] for group in groups if wanted & set(group)]


class _Speed:
    """Counts tokens over a stage and remembers their rate, for the estimates of later plans."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self.kind, self.settings, self.tokens = kind, settings, 0.0

    def __enter__(self) -> _Speed:
        self._started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self._started
        machine.remember_rate(self.kind, self.settings.model.parameters, self.settings.dtype, self.tokens, seconds)
