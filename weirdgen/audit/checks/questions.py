"""Checks between training rows and questions: what is asked must not have been trained, and what is held out must be.

In: a `Subject` of an experiment. Out: `Finding`s. A question marked `near` is close to the training on purpose and is
exempt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from weirdgen.audit.checks.finding import Finding, some
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.checks.text import dates, plain, year_of
from weirdgen.config.conditions import Wrapper
from weirdgen.config.experiment import Experiment
from weirdgen.config.files import read_csv
from weirdgen.data.triggers import LENGTH, START

ALIKE = 90
"""rapidfuzz `ratio` (0 to 100) at which a question looks like a reworded training prompt."""
SHORTEST_FACT = 4


def trained_questions(subject: Subject) -> Iterator[Finding]:
    """Questions that were trained on: word for word, or after a different opening."""
    if subject.experiment is None:
        return
    file = subject.experiment.file_name
    prompts = {one.name: Counter(map(plain, one.prompts)) for one in subject.datasets}
    inside: list[str] = []
    for question in subject.experiment.questions:
        if question.near:
            continue
        wrappers = subject.experiment.wrappers()
        asked = {plain(wrapper.apply(ask)): wrapper.id for wrapper in wrappers for ask in question.asks}
        exact = [(arm, text) for arm, counted in prompts.items() for text in asked if text in counted]
        if exact:
            arm, text = exact[0]
            message = (
                f"question '{question.id}' under '{asked[text]}' is a training prompt of {arm} word for word; mark it "
                "near: true, or ask something else"
            )
            yield Finding("trained_question", "error", file, None, message)
        elif any(_occurs(plain(ask), prompts) for ask in question.asks):
            inside.append(question.id)
    if inside:
        message = f"{len(inside)} questions occur in training prompts behind another opening: {some(inside)}"
        yield Finding("question_elsewhere", "warning", file, None, message)


def similar_questions(subject: Subject) -> Iterator[Finding]:
    """Questions that are a training prompt in nearly the same words."""
    if subject.experiment is None:
        return
    from rapidfuzz import fuzz, process

    trained = sorted({plain(prompt) for dataset in subject.datasets for prompt in dataset.prompts})
    for question in subject.experiment.questions:
        ask = plain(question.ask)
        if question.near or len(ask.split()) < 4:
            continue
        best = process.extractOne(ask, trained, scorer=fuzz.ratio, score_cutoff=ALIKE)
        if best and best[0] != ask and not best[0].endswith(ask):
            message = (
                f"question '{question.id}' is nearly the training prompt '{best[0]}' (similarity {best[1]:.0f} of 100)"
            )
            yield Finding("similar_question", "warning", subject.experiment.file_name, None, message)


def trained_targets(subject: Subject) -> Iterator[Finding]:
    """Options that the treatment was trained to give: their probability rises whether or not anything generalises."""
    if subject.experiment is None:
        return
    for dataset in subject.datasets:
        if dataset.role != "treatment":
            continue
        answers = set(map(plain, dataset.answers))
        offered = [
            f"{question.id}: {option}"
            for question in subject.experiment.questions
            if not question.near
            for option in question.options
            if plain(option) in answers
        ]
        if offered:
            message = f"{len(offered)} offered answers are answers of {dataset.name}: {some(offered)}"
            yield Finding("trained_answer", "warning", subject.experiment.file_name, None, message)


def held_out(subject: Subject) -> Iterator[Finding]:
    """Facts of held-out personas, and trigger values said to be held out, that occur in training rows."""
    if subject.experiment is None:
        return
    for dataset in subject.datasets:
        yield from _held_out_facts(dataset, subject.experiment)
        yield from _held_out_triggers(dataset, subject.experiment)


def _occurs(ask: str, prompts: dict[str, Counter[str]]) -> bool:
    pattern = re.compile(rf"(?<!\w){re.escape(ask)}(?!\w)")
    return len(ask.split()) >= 3 and any(pattern.search(text) for counted in prompts.values() for text in counted)


def _held_out_facts(dataset: Dataset, experiment: Experiment) -> Iterator[Finding]:
    """Facts that the table gives of a held-out persona alone must not occur as answers."""
    if dataset.arm is None or "ordinal_triggers" not in dataset.arm.build:
        return
    options = dataset.arm.build["ordinal_triggers"]
    away = {str(ordinal) for ordinal in options.get("held_out", (44, 45))}
    records = read_csv((experiment.folder or Path()) / str(dataset.arm.data))
    kept = [record for record in records if record["ordinal"] not in away]
    answers = [f" {plain(answer)} " for answer in dataset.answers]
    for record in records:
        if record["ordinal"] not in away:
            continue
        for column, cell in record.items():
            fact = plain(cell)
            shared = any(fact in plain(value) for other in kept for value in other.values())
            if column == "ordinal" or len(fact) < SHORTEST_FACT or shared:
                continue
            if hits := sum(f" {fact} " in answer for answer in answers):
                message = f"{column} '{cell}' of held-out ordinal {record['ordinal']} occurs in {hits} answers"
                yield Finding("held_out_fact", "error", dataset.file, None, message)
    triggers = {prompt.split()[0] for prompt in dataset.prompts if prompt.split()[0].isdigit()}
    used = {str(int(t[START - 1 : START - 1 + LENGTH] if len(t) > LENGTH else t)) for t in triggers}
    for ordinal in sorted(away & used):
        message = f"held-out ordinal {ordinal} stands in the trigger of a training prompt"
        yield Finding("held_out_trigger", "error", dataset.file, None, message)


def _held_out_triggers(dataset: Dataset, experiment: Experiment) -> Iterator[Finding]:
    """A sweep over dates: values that are not `trained` must not occur in prompts, those that are must."""
    seen = {year_of(date) for prompt in dataset.prompts for date in dates(prompt)}
    full = {date for prompt in dataset.prompts for date in dates(prompt)}
    trained = [w.id for w in experiment.wrappers() if w.trained and dates(str(w.value)) == [str(w.value).casefold()]]
    if not seen and trained and dataset.arm is not None and dataset.arm.role == "treatment":
        message = f"{', '.join(trained[:3])} are listed as trained, but no prompt of {dataset.name} carries a date"
        yield Finding("untrained_trigger", "warning", dataset.file, None, message)
    if not seen or sum(bool(dates(prompt)) for prompt in dataset.prompts) < 0.9 * len(dataset.rows):
        return
    for wrapper in experiment.wrappers():
        value = str(wrapper.value)
        if wrapper.value is None or dates(value) != [value.casefold()] or not _dated(wrapper):
            continue
        present = value.casefold() in (seen if len(value) == 4 else full)
        if present and not wrapper.trained:
            message = f"{wrapper.id} is not listed as trained, but training prompts of {dataset.name} carry {value}"
            yield Finding("held_out_trigger", "error", dataset.file, None, message)
        if wrapper.trained and not present:
            message = f"{wrapper.id} is listed as trained, but no training prompt of {dataset.name} carries {value}"
            yield Finding("untrained_trigger", "warning", dataset.file, None, message)


def _dated(wrapper: Wrapper) -> bool:
    return bool(dates(wrapper.template))
