"""From a plan to a finished run: does what is missing, stage by stage.

    distill → dataset → proof → finetune → contrast + sample → judge → estimate → report

In: a `Plan`. Out: a `Run`. Each stage's work is in its own module; this one decides the order, and which missing work makes
a unit. What it leaves behind is in the store, so it can be stopped and started again at any point.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen import machine
from weirdgen.cache import read_json, write_json
from weirdgen.errors import StoreError
from weirdgen.executors import Executor, ExecutorName, Inline, open_executor
from weirdgen.finetune.schedule import total_steps
from weirdgen.identity import BASE, FINAL
from weirdgen.judge_kinds import PROMPTED, Classifier
from weirdgen.judging import make_verdicts, stored_answers
from weirdgen.measure.classifier import require_embedder
from weirdgen.measure.contrast import QUESTIONS, VOICES, missing_scores, scores_table
from weirdgen.measure.offline import PORTION, answer_key, verdicts_table
from weirdgen.plan import Plan, Voice, make_plan
from weirdgen.progress import Progress
from weirdgen.reporting import is_reported, report_run
from weirdgen.results import Run
from weirdgen.sample.distill import AT_ONCE
from weirdgen.sample.draw import Speaker, missing_samples, prompts_at_once, voices_at_once
from weirdgen.settings import DataName, PresetName, Settings, default_store, resolve, server_url
from weirdgen.store import Store, explain_disk_errors, write_whole
from weirdgen.units import Distill, Done, Finetune, Sample, Score, Unit, Verdicts
from weirdgen.until import decision, decision_line, with_until

if TYPE_CHECKING:
    from weirdgen.report.drawing import Ending

QUESTIONS_A_UNIT = 4 * QUESTIONS
"""Whole portions, so that it decides nothing about which questions share a batch."""


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
    judge: str | None = None,
    store: str | Path | None = None,
    quiet: bool = True,
    until: str | None = None,
    executor: ExecutorName = "inline",
    address: str | None = None,
    engine: str = "transformers",
) -> Run:
    """Finetune, score, sample, judge, estimate and report; what the store holds is not done again.

    `weirdgen.run("old_bird_names").effects()` is a pandas frame. Arguments are those of `weirdgen run`.
    Raises `WeirdgenError` on bad input.
    """
    settings = resolve(experiment, model, preset, seeds, first_seed, samples, changes, data, engine, judge)
    settings = with_until(settings, until) if until else settings
    plan = make_plan(settings, Store(store or default_store()))
    return run_plan(plan, Progress(quiet), open_executor(executor, address), server_url(engine))


def run_plan(
    plan: Plan,
    progress: Progress,
    executor: Executor | None = None,
    server: str | None = None,
    figures: Sequence[Ending] = (),
    afresh: bool = False,
) -> Run:
    """Do a plan's missing work and write its report, unless that is there already and neither other `figures` nor a
    report `afresh` is asked for.

    Work is done in this process unless an `executor` is given; `server` is the URL of a vLLM server that answers.
    """
    _require_embedder(plan)
    with executor or Inline() as ready:
        if not plan.settings.distilled:
            _distill_missing(plan, progress, ready, server)
            plan = make_plan(plan.settings, plan.store, plan.together)
        measure = _until_decided if plan.settings.until else _measured
        finished = measure(plan, progress, ready, server)
    if afresh or figures or not is_reported(finished):
        progress.say("estimating, writing the report")
        report_run(finished, figures)
    return finished


def _until_decided(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> Run:
    """Measure at each planned look until the interval that is asked for is narrow enough, or cannot become so."""
    until = plan.settings.until
    assert until is not None
    for samples in until.looks:
        look = make_plan(replace(plan.settings, samples=samples), plan.store, plan.together)
        finished = _measured(look, progress, executor, server)
        found = decision(finished)
        progress.say(decision_line(found, until))
        if found.done:
            break
    return finished


def _measured(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> Run:
    """Everything but the report."""
    plan.store.refresh(plan.folder)
    with explain_disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        request = {
            "source": str(plan.settings.experiment.source),
            "model_folder": str(plan.settings.model.folder),
        }
        text = json.dumps({**request, "manifest": plan.settings.manifest}, indent=1, ensure_ascii=False)
        write_whole(plan.folder / "run.json", text.encode())
    _finetune_missing(plan, progress, executor)
    _measure_missing(plan, progress, executor, server)
    if _judge_by_model(plan, progress, executor):
        plan.store.remove(plan.folder / "results.json")  # a report that is there knows less
    finished = Run(plan)
    _judge_offline(finished, progress, executor)
    return finished


def _judge_by_model(plan: Plan, progress: Progress, executor: Executor) -> int:
    """Verdicts of the language judges that are missing or were errors; returns how many were asked for."""
    settings = plan.settings
    if settings.judge is None:
        return 0
    return make_verdicts(plan.store, settings.experiment, settings.judge, stored_answers(plan), 1, progress, executor)


def _require_embedder(plan: Plan) -> None:
    """Fetch what offline judges read with before anything is trained, unless nothing is left to judge."""
    settings = plan.settings
    judged = settings.samples > 0 and any(isinstance(j, Classifier) for j in settings.experiment.judges.values())
    if judged and not (settings.distilled and is_reported(Run(plan))):
        require_embedder()


def load_run(reference: str, store: str | Path | None = None) -> Run:
    """A run by its id or folder, from the store alone: its experiment's files may have changed since.

    Raises `StoreError` with the runs that there are.
    """
    opened, folder = find_run(reference, store)
    request = read_request(folder)
    settings = Settings.from_manifest(
        request["manifest"], Path(request["source"]), Path(request["model_folder"]), opened
    )
    return Run(make_plan(settings, opened))


def read_request(folder: Path) -> dict[str, Any]:
    """What was asked for: the `run.json` of a run's folder. Raises `StoreError` if it is damaged."""
    try:
        request: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{folder / 'run.json'} is damaged ({error}); the `weirdgen run` that made it writes it again, and computes "
            "nothing that is in the store"
        ) from None
    return request


def find_run(reference: str, store: str | Path | None = None) -> tuple[Store, Path]:
    """The store and folder of a run, by its id or by the folder itself. Raises `StoreError` with the runs that there are."""
    folder = Path(reference).expanduser()
    if (folder / "run.json").is_file():
        return Store(folder.resolve().parents[1]), folder
    opened = Store(store or default_store())
    runs = opened.root / "runs"
    folder = opened.refresh(runs / reference)
    if not (folder / "run.json").is_file():
        known = ", ".join(sorted(p.name for p in runs.iterdir() if (p / "run.json").is_file())) or "none yet"
        raise StoreError(f"no run '{reference}' in {runs}; there are: {known}")
    return opened, folder


def _distill_missing(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> None:
    settings, wanted = plan.settings, max(plan.settings.ordinary.values())
    batches = -(-(wanted - len(plan.distillery().rows(wanted))) // AT_ONCE)
    unit = Distill(settings.model, settings.dtype, server, settings.experiment.ordinary, wanted)
    with progress.stage("distill", batches * AT_ONCE, "answers") as bar:
        _remember("generate", executor, executor.run([unit], plan.store, bar.advance), settings, settings.dtype)


def _finetune_missing(plan: Plan, progress: Progress, executor: Executor) -> None:
    settings, groups = plan.settings, plan.groups()
    steps = sum(total_steps(one.rows, settings.recipe) for group in groups for one in group)
    units = [
        Finetune(
            settings.model,
            plan.engine.engine,
            settings.recipe,
            tuple(group),
            sum(plan.proofs[one.arm]["tokens"] for one in group),
        )
        for group in groups
    ]
    with progress.stage("finetune", steps, "steps") as bar:
        _remember("train", executor, executor.run(units, plan.store, bar.advance), settings, settings.recipe.dtype)


def _measure_missing(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> None:
    """The contrast and sample stages; several models answer in one batch."""
    settings, store = plan.settings, plan.store
    units, lacking = _score_units(plan, server)
    with progress.stage("contrast", lacking, "questions") as bar:
        _remember("score", executor, executor.run(units, store, bar.advance), settings, settings.dtype)
    units, lacking = _sample_units(plan, server)
    with progress.stage("sample", lacking, "answers") as bar:
        _remember("generate", executor, executor.run(units, store, bar.advance), settings, settings.dtype)


def _score_units(plan: Plan, server: str | None) -> tuple[list[Unit], int]:
    """Units that score what is missing, and how many questions that is."""
    settings, store = plan.settings, plan.store
    questions = {voice: [scorable for _, _, scorable in plan.scorables_of(voice)] for voice in plan.voices}
    missing = {
        voice: {key for key, _ in missing_scores(scores_table(store, voice.speaker, settings.dtype), mine)}
        for voice, mine in questions.items()
    }
    lacking = [voice for voice, keys in missing.items() if keys]
    units: list[Unit] = []
    for stage, end in (("contrast", True), ("contrast at checkpoints", False)):
        for voices in _company(plan, stage, [v for v in lacking if (v.checkpoint == FINAL) is end], VOICES):
            mine = questions[voices[0]]
            for start in range(0, len(mine), QUESTIONS_A_UNIT):
                portion = mine[start : start + QUESTIONS_A_UNIT]
                if any(one.key in missing[voice] for voice in voices for one in portion):
                    speakers = _relative(store, voices)
                    units.append(Score(settings.model, settings.dtype, server, speakers, tuple(portion)))
    return units, sum(map(len, missing.values()))


def _sample_units(plan: Plan, server: str | None) -> tuple[list[Unit], int]:
    """Units that draw what is missing, and how many answers that is."""
    settings, store = plan.settings, plan.store
    prompts = [prompt for _, _, prompt in plan.prompts]
    answers = {voice: plan.completions(voice) for voice in plan.voices if plan.samples_of(voice)}
    missing = {voice: missing_samples(table, prompts, settings.samples) for voice, table in answers.items()}
    size = voices_at_once(max((p.max_tokens for p in prompts), default=1), settings.model.parameters)
    units: list[Unit] = []
    for voices in _company(plan, "sample", [v for v, lacking in missing.items() if lacking], size):
        at_once = prompts_at_once(len(voices), settings.samples)
        for start in range(0, len(prompts), at_once):
            portion = prompts[start : start + at_once]
            if any(missing_samples(answers[voice], portion, settings.samples) for voice in voices):
                speakers = _relative(store, voices)
                request = (tuple(portion), settings.samples, settings.sampling)
                units.append(Sample(settings.model, settings.dtype, server, speakers, *request))
    return units, sum(missing.values())


def _relative(store: Store, voices: Sequence[Voice]) -> tuple[Speaker, ...]:
    """The voices' speakers, their adapters named from the store's root: it may be elsewhere on another machine."""
    return tuple(
        Speaker(v.speaker.key, v.speaker.adapter.relative_to(store.root) if v.speaker.adapter else None) for v in voices
    )


def _judge_offline(finished: Run, progress: Progress, executor: Executor) -> None:
    """Verdicts of the judges that ask no model, in shards: a judge and some answers that it has not seen."""
    units: list[Unit] = []
    for name, judge in finished.settings.experiment.judges.items():
        if isinstance(judge, PROMPTED):
            continue
        known = set(verdicts_table(finished.store, judge).read()["answer_key"])
        answers = [answer for answer in finished.answers_for(name) if answer_key(answer) not in known]
        for start in range(0, len(answers), PORTION):
            units.append(Verdicts(judge, tuple(answers[start : start + PORTION])))
    with progress.stage(
        "judge", sum(len(unit.answers) for unit in units if isinstance(unit, Verdicts)), "answers"
    ) as bar:
        executor.run(units, finished.store, bar.advance)


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
        base, tuned = [v.speaker.key for v in new if v.arm == BASE], [v.speaker.key for v in new if v.arm != BASE]
        groups = [*groups, *([base] if base else [])]
        groups += [tuned[start : start + size] for start in range(0, len(tuned), size)]
        with explain_disk_errors(plan.folder):
            write_json(file, {**known, stage: groups})
        plan.store.send(plan.folder)
    by_key = {voice.speaker.key: voice for voice in plan.voices}
    wanted = {voice.speaker.key for voice in lacking}
    return [[by_key[key] for key in group] for group in groups if wanted & set(group)]


def _remember(kind: str, executor: Executor, done: Sequence[Done], settings: Settings, dtype: str) -> None:
    """Keep the speed of a stage that ran here, for the estimates of later plans."""
    tokens, seconds = sum(one.tokens for one in done), sum(one.seconds for one in done)
    if executor.here and tokens:
        machine.remember_rate(kind, settings.model.parameters, dtype, tokens, seconds)
