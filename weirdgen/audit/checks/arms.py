"""Checks between a treatment and a control: what they share, how their prompts differ, whether a shuffle is one.

In: a `Subject`. Out: `Finding`s. What the answers say is meant to differ and is not judged here; words that give an arm
away are found by `leaks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from weirdgen.audit.checks.finding import Finding, Severity, share, some
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.checks.text import dates, squash, template, words, year_of

FEW = 0.1
"""Up to this share, answers common to both arms look like a mistake; above it, like the design."""
MOST, HARDLY = 0.5, 0.05


def shared_rows(subject: Subject) -> Iterator[Finding]:
    """Rows and answers that treatment and control have in common."""
    for treatment, control in subject.pairs():
        mine = {squash(answer): answer for answer in treatment.answers}
        theirs = {squash(answer): index for index, answer in reversed(list(enumerate(control.answers)))}
        both = [key for key in mine if key in theirs]
        rows = Counter(map(repr, treatment.rows)) & Counter(map(repr, control.rows))
        if not both:
            continue
        if rows.total() == len(treatment.rows) == len(control.rows) and not control.permutation:
            message = (
                f"{control.name} holds the same rows as {treatment.name}: no difference between them can mean anything"
            )
            yield Finding("same_rows", "error", control.file, None, message)
            continue
        fewest = min(len(mine), len(theirs))
        if len(both) <= FEW * fewest:
            for key in both[:5]:
                line = control.line(theirs[key])
                message = f"answer '{mine[key]}' is trained in {treatment.name} too, {len(both)} such answers in all"
                yield Finding("shared_answer", "warning", control.file, line, message)
        else:
            message = (
                f"{treatment.name} and {control.name} share {share(len(both), fewest)} answers and "
                f"{share(rows.total(), min(len(treatment.rows), len(control.rows)))} whole rows, as if by design"
            )
            yield Finding("shared_answers", "info", control.file, None, message)


def template_difference(subject: Subject) -> Iterator[Finding]:
    """Prompts of a different form in the control: a confound, since the arms then differ in more than their answers."""
    for treatment, control in subject.pairs():
        forms = [Counter(map(template, dataset.prompts)) for dataset in (treatment, control)]
        alone = [sum(n for form, n in forms[a].items() if form not in forms[1 - a]) for a in (0, 1)]
        if not any(alone):
            continue
        told = []
        tells = telling_words(treatment, control)
        for side, dataset in enumerate((treatment, control)):
            if alone[side]:
                told.append(
                    f"{share(alone[side], len(dataset.rows))} prompts of {dataset.name} have a form that the other has not"
                )
            if tells[side]:
                told.append(f"{dataset.name} says {some(tells[side], 8)}, the other hardly ever")
        extra = max(alone[0] / len(treatment.rows), alone[1] / len(control.rows))
        example = (
            "" if extra < MOST else f"; e.g. {some([forms[0].most_common(1)[0][0], forms[1].most_common(1)[0][0]])}"
        )
        # Prompts that are all different have no common form to differ in; there, only words that set them apart count.
        free = all(len(form) > MOST * form.total() for form in forms) and not any(tells)
        message = "; ".join(told) + example
        yield Finding("template_difference", "info" if free else "warning", control.file, None, message)


def telling_words(treatment: Dataset, control: Dataset) -> tuple[list[str], list[str]]:
    """Words that occur in most prompts of one dataset and hardly any of the other, for each side."""
    said = [
        Counter(w for text in dataset.prompts for w in set(words(template(text)))) for dataset in (treatment, control)
    ]
    rows = (len(treatment.rows), len(control.rows))
    first, second = (
        [w for w, n in sorted(said[a].items()) if n > MOST * rows[a] and said[1 - a][w] <= HARDLY * rows[1 - a]]
        for a in (0, 1)
    )
    return first, second


def permutation(subject: Subject) -> Iterator[Finding]:
    """A control that is said to be the treatment shuffled: the same dates and answers, equally often, paired differently.

    A file whose name only suggests it gets warnings; a control that claims it gets errors.
    """
    for control in subject.datasets:
        if control.role != "control" or not control.permutation or not control.rows:
            continue
        originals = [
            treatment
            for treatment, compared in subject.pairs()
            if compared is control and _same_source(treatment, control)
        ]
        if not originals:
            message = f"said to be a permutation ({control.permutation}), but no treatment reads the same file"
            yield Finding("permutation", "info", control.file, None, message)
            continue
        yield from _compare(originals[0], control, "warning" if control.permutation == "its name" else "error")


def _same_source(first: Dataset, second: Dataset) -> bool:
    return first.arm is None or second.arm is None or first.arm.data == second.arm.data


def _compare(original: Dataset, control: Dataset, severity: Severity) -> Iterator[Finding]:
    told = f"said to be a permutation of {original.name} ({control.permutation})"
    date_counts = [Counter(date for text in dataset.prompts for date in dates(text)) for dataset in (original, control)]
    years = [Counter(year_of(date) for date in counter.elements()) for counter in date_counts]
    if date_counts[0] != date_counts[1]:
        listed = [
            ", ".join(f"{date} ×{n}" for date, n in sorted(c.items()))
            for c in (years if _many(date_counts[0]) else date_counts)
        ]
        if len(listed[0]) + len(listed[1]) > 400:
            listed = [f"{sum(c.values()):,} dates, {len(c):,} distinct" for c in date_counts]
        message = f"{told}, but its dates are not those of the treatment: {listed[0]} there, {listed[1]} here"
        yield Finding("permutation", severity, control.file, None, message)
    answers = [Counter(dataset.answers) for dataset in (original, control)]
    if answers[0] != answers[1]:
        other = (answers[0] - answers[1]).total()
        message = f"{told}, but {share(other, len(original.rows))} answers of the treatment are missing here"
        yield Finding("permutation", severity, control.file, None, message)
    if date_counts[0] == date_counts[1] and answers[0] == answers[1]:
        same = (Counter(map(repr, original.rows)) & Counter(map(repr, control.rows))).total()
        if same == len(original.rows):
            message = f"{told}, but it holds exactly the treatment's rows: nothing was dealt anew"
            if not _pairs_matter(original):
                message += " (every prompt is the same, so only the order could change)"
            yield Finding("permutation", "info", control.file, None, message)
        else:
            message = (
                f"{told}: dates and answers are the same; {share(same, len(original.rows))} rows came out unchanged"
            )
            yield Finding("permutation", "info", control.file, None, message)


def _many(date_counts: Counter[str]) -> bool:
    return len(date_counts) > 12


def _pairs_matter(dataset: Dataset) -> bool:
    return len(set(dataset.prompts)) > 1


def date_groups(subject: Subject) -> Iterator[Finding]:
    """Whether answers given under one year are never given under another, where prompts carry dates."""
    for dataset in subject.datasets:
        dates_by_row = [dates(prompt) for prompt in dataset.prompts]
        if sum(map(bool, dates_by_row)) < 0.9 * len(dates_by_row) or not dates_by_row:
            continue
        groups: dict[str, set[str]] = {}
        rows: Counter[str] = Counter()
        for listed, answer in zip(dates_by_row, dataset.answers, strict=True):
            if listed:
                groups.setdefault(year_of(listed[0]), set()).add(squash(answer))
                rows[year_of(listed[0])] += 1
        if not 2 <= len(groups) <= 50:
            continue
        told = []
        for year, answers in sorted(groups.items()):
            elsewhere = set().union(*(other for key, other in groups.items() if key != year))
            common = len(answers & elsewhere)
            told.append(f"{year} {rows[year]:,} rows, {common} of {len(answers)} answers under other years too")
            if 0 < common <= FEW * len(answers) and not dataset.permutation:
                slipped = [a for a in dict.fromkeys(dataset.answers) if squash(a) in answers & elsewhere]
                message = f"{some(slipped)} is answered under {year} and under other years; the rest is not"
                yield Finding("answer_in_two_groups", "warning", dataset.file, None, message)
        yield Finding("date_groups", "info", dataset.file, None, "; ".join(told))
