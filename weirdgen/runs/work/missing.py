"""A plan's missing work as units: which models and questions go through a batch together, decided before any is done.

In: a plan (for verdicts: a run whose answers are there). Out: units for an executor, and how much there is to do in the unit
of the progress bar. The make-up of a unit follows from the request alone, so that a run which was killed goes on in the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from weirdgen.columns import BASE, FINAL
from weirdgen.config.judges import offline
from weirdgen.finetune.schedule import total_steps
from weirdgen.judges.offline import PORTION, answer_key, verdicts_table
from weirdgen.runs.plan.plan import Plan, Voice
from weirdgen.runs.results.results import Run
from weirdgen.runs.work.asking import Distill, Sample, Score
from weirdgen.runs.work.judging import Verdicts
from weirdgen.runs.work.training import Finetune
from weirdgen.sample.contrast import QUESTIONS, VOICES, missing_scores, scores_table
from weirdgen.sample.distill import AT_ONCE
from weirdgen.sample.draw import Speaker, missing_samples, prompts_at_once, voices_at_once
from weirdgen.store.artifacts import Store, explain_disk_errors
from weirdgen.store.cache import read_json, write_json

QUESTIONS_A_UNIT = 4 * QUESTIONS
"""Whole portions, so that it decides nothing about which questions share a batch."""


def distill_unit(plan: Plan, server: str | None) -> tuple[Distill, int]:
    """The unit that has the base answer ordinary prompts, and how many answers it tries at first."""
    settings, wanted = plan.settings, max(plan.settings.ordinary.values())
    batches = -(-(wanted - len(plan.distillery().rows(wanted))) // AT_ONCE)
    return Distill(settings.model, settings.dtype, server, settings.experiment.ordinary, wanted), batches * AT_ONCE


def finetune_units(plan: Plan) -> tuple[list[Finetune], int]:
    """Units that train what is missing, and the steps of all replicates."""
    settings, groups = plan.settings, plan.groups()
    units = [
        Finetune(
            settings.model,
            plan.engine.engine,
            settings.recipe,
            tuple(group),
            sum(plan.proofs[one.arm]["tokens"] for one in group),
            plan.engine.devices,
        )
        for group in groups
    ]
    return units, sum(total_steps(one.rows, settings.recipe) for group in groups for one in group)


def score_units(plan: Plan, server: str | None) -> tuple[list[Score], int]:
    """Units that score what is missing, and how many questions that is."""
    settings, store = plan.settings, plan.store
    questions = {voice: [scorable for _, _, scorable in plan.scorables_of(voice)] for voice in plan.voices}
    missing = {
        voice: {key for key, _ in missing_scores(scores_table(store, voice.speaker, settings.dtype), mine)}
        for voice, mine in questions.items()
    }
    lacking = [voice for voice, keys in missing.items() if keys]
    most = 1 if settings.recipe.full else VOICES
    units: list[Score] = []
    for stage, end in (("contrast", True), ("contrast at checkpoints", False)):
        for voices in _company(plan, stage, [v for v in lacking if (v.checkpoint == FINAL) is end], most):
            mine = questions[voices[0]]
            for start in range(0, len(mine), QUESTIONS_A_UNIT):
                portion = mine[start : start + QUESTIONS_A_UNIT]
                if any(one.key in missing[voice] for voice in voices for one in portion):
                    speakers = _relative(store, voices)
                    units.append(Score(settings.model, settings.dtype, server, speakers, tuple(portion)))
    return units, sum(map(len, missing.values()))


def sample_units(plan: Plan, server: str | None) -> tuple[list[Sample], int]:
    """Units that draw what is missing, and how many answers that is."""
    settings, store = plan.settings, plan.store
    prompts = [prompt for _, _, prompt in plan.prompts]
    answers = {voice: plan.completions(voice) for voice in plan.voices if plan.samples_of(voice)}
    missing = {voice: missing_samples(table, prompts, settings.samples) for voice, table in answers.items()}
    size = voices_at_once(max((p.max_tokens for p in prompts), default=1), settings.model.parameters)
    size = 1 if settings.recipe.full else size
    units: list[Sample] = []
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


def verdict_units(finished: Run) -> tuple[list[Verdicts], int]:
    """Verdicts of the judges that ask no model, in shards: a judge and some answers that it has not seen."""
    units: list[Verdicts] = []
    for name, judge in offline(finished.settings.experiment.judges).items():
        known = set(verdicts_table(finished.store, judge).read()["answer_key"])
        answers = [answer for answer in finished.answers_for(name) if answer_key(answer) not in known]
        for start in range(0, len(answers), PORTION):
            units.append(Verdicts(judge, tuple(answers[start : start + PORTION])))
    return units, sum(len(unit.answers) for unit in units)


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
