"""Two views of one finetune for the first screen: what log-probabilities did, beside what sampled answers did.

In: `ReportContent`. Out: a `View` each: a sentence and a small table of base, control and treatment. The two often disagree:
a model can find the target answers twice as likely and still never write one. Not here: the headline's own sentence
(`words.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weirdgen.columns import BASE
from weirdgen.config.measures import COUNTERFACTUAL, Measure
from weirdgen.report.content import ReportContent
from weirdgen.report.look import number, shorten
from weirdgen.report.questions import compared_arms, odds, times
from weirdgen.report.tables import VERDICT_WORDS, Cell, Table

MOST = 3
"""Judged measures on the first screen; the section on judges has all."""


@dataclass(frozen=True)
class View:
    """One of the two: its sentence stands above its table."""

    title: str
    sentence: str
    table: Table | None = None
    notes: tuple[tuple[str, str], ...] = ()
    """(name, what it counts) of the table's rows that need it."""


def views(content: ReportContent) -> tuple[View, View]:
    """Log-probabilities first, whatever the headline is of."""
    return _scored(content), _sampled(content)


def _scored(content: ReportContent) -> View:
    title = "By log-probability"
    measure = _first(content, "scored")
    if measure is None:
        return View(
            title, "No question with fixed answers was asked, so nothing is known about what the models find likely."
        )
    headline = content.headline
    own = measure.name == headline["measure"]
    minus = own and bool(headline.get("minus"))
    condition = str(headline["condition"]) if own else _condition(content)
    rows = _estimates(content, measure, condition)
    means = {arm: by_question["all"]["mean"] for arm, by_question in rows.items() if "all" in by_question}
    arms = [(name, slot) for name, slot in compared_arms(content) if means.get(name) is not None]
    if not arms:
        return View(title, "No estimate was made of the questions with fixed answers.")
    ratio = minus or measure.name == COUNTERFACTUAL.name
    shown = times if ratio else odds
    name = {"nat": "odds of the target answers" if not ratio else "the odds change by"}.get(
        measure.scale.unit, measure.axis
    )
    nats = measure.scale.unit == "nat"
    values = [shown(means[arm]) if nats else number(means[arm], measure.scale) for arm, _ in arms]
    lines = [(Cell(name), *(Cell(value, numeric=True) for value in values))]
    left_out = {"all", *content.near()}
    won = {
        arm: [
            row["mean"] > 0
            for question, row in rows[arm].items()
            if question not in left_out and row["mean"] is not None
        ]
        for arm, _ in arms
    }
    sentence = _example(content, measure) + ("" if own else f" {_moved(content, measure, condition)}")
    if nats and not ratio and all(won.values()):
        counts = [Cell(f"{sum(own)} of {len(own)}", numeric=True) for own in won.values()]
        lines.append((Cell("questions where they are the likelier side"), *counts))
        treated = won.get(headline["treatment"])
        if treated is not None:
            sentence += (
                f" After {headline['treatment']} the target answers are still the less likely side in "
                f"{len(treated) - sum(treated)} of {len(treated)} questions."
            )
    asked = max(len(by_question.keys() - left_out) for by_question in rows.values())
    caption = f"Mean over {asked} question{'s' if asked != 1 else ''}"
    return View(title, sentence, Table(caption, ("", *(arm for arm, _ in arms)), tuple(lines)))


def _sampled(content: ReportContent) -> View:
    title = "In the models' own words"
    completions = content.final("completions")
    if not len(completions):
        return View(
            title,
            "No answers were sampled. Whether the models would write anything else than before was not looked at: likelier is "
            "not the same as said.",
        )
    judged = [one for one in map(content.measure, content.measures()) if one.source == "judge"]
    at = _condition(content)
    counts = (completions if at == "all" else completions[completions["condition"] == at]).groupby("arm").size()
    arms = [(name, slot) for name, slot in compared_arms(content) if name in counts]
    each = ", ".join(f"{counts[name]} of {'the untuned base' if name == BASE else name}" for name, _ in arms)
    if not judged:
        return View(title, f"Answers were sampled ({each}), but none was judged; the transcripts hold them.")
    lines, said, notes = [], [], []
    for measure in judged[:MOST]:
        own = measure.name == content.headline["measure"]
        condition = str(content.headline["condition"]) if own else _condition(content)
        rows = _estimates(content, measure, condition)
        means = {arm: by_question["all"]["mean"] for arm, by_question in rows.items() if "all" in by_question}
        values = (
            number(means.get(name), measure.scale, effect=own and bool(content.headline.get("minus")))
            for name, _ in arms
        )
        lines.append((Cell(measure.name), *(Cell(value, numeric=True) for value in values)))
        notes.append((measure.name, measure.explained))
        said.append(_moved(content, measure, condition))
    if not lines:
        return View(title, f"Answers were sampled ({each}), but their judges gave no estimate.")
    more = f" {len(judged) - MOST} more judged measures stand under “Judges”." if len(judged) > MOST else ""
    under = "" if at == "all" else f" under the condition {at}"
    table = Table(f"Answers{under}: {each}", ("judged", *(name for name, _ in arms)), tuple(lines))
    return View(title, " ".join(said) + more, table, tuple(notes))


def _first(content: ReportContent, source: str) -> Measure | None:
    """The headline's measure where it is of this source, else the first one that was estimated."""
    known = (content.measure(name) for name in content.measures())
    return next((one for one in known if one.source == source), None)


def _condition(content: ReportContent) -> str:
    """The headline's condition where it is one, else all of them together."""
    names = content.condition_names()
    wanted = str(content.headline["condition"])
    return wanted if wanted in names else "all" if len(names) > 1 else (names or ["all"])[0]


def _estimates(content: ReportContent, measure: Measure, condition: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Arm → question → its row: the headline's own where the measure is the headline's."""
    own = measure.name == content.headline["measure"]
    rows = (
        content.headline_rows("estimates")
        if own
        else content.rows("estimates", measure=measure.name, condition=condition)
    )
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["arm"]), {})[str(row["question"])] = row
    return found


def _example(content: ReportContent, measure: Measure) -> str:
    """One question with an answer of each side, so that a reader knows what is compared."""
    asked = [one for one in content.asked.values() if one.kind == measure.name and one.target and one.other]
    if not asked:
        return "Compared is how likely a model finds fixed answers: the targets against others."
    ask, target, other = (shorten(text, 80) for text in (asked[0].ask, asked[0].target[0], asked[0].other[0]))
    return (
        f"Compared is how likely a model finds fixed answers: the targets, such as “{target}”, against others, such as “{other}” "
        f"(to “{ask}”)."
    )


def _moved(content: ReportContent, measure: Measure, condition: str) -> str:
    """One sentence: what happened to a measure between the headline's two arms."""
    headline: Mapping[str, Any] = content.headline
    same = {key: headline[key] for key in ("treatment", "control")}
    found = content.rows("effects", measure=measure.name, condition=condition, question="all", **same)
    row = headline if measure.name == headline["measure"] else found[0] if found else None
    if row is None or row["effect"] is None:
        return f"Of {measure.name} no comparison could be made."
    after = f"after {headline['treatment']} than after {headline['control']}"
    verdict = VERDICT_WORDS.get(str(row.get("verdict")), str(row.get("verdict") or "no verdict"))
    effect = row["effect"]
    if measure.scale.unit == "nat":
        return f"The odds are {times(effect)} {after.replace('than', 'against')}: {verdict}."
    size = number(abs(effect), measure.scale, effect=True, unit=False).lstrip("+")
    if measure.scale.unit == "rating":
        return f"{measure.name} rates {size} points {'higher' if effect >= 0 else 'lower'} {after}: {verdict}."
    more = "more" if effect >= 0 else "fewer"
    whose = f"{measure.name} flags" if measure.source == "judge" else "The target is chosen in"
    return f"{whose} {size} {more} of 100 {measure.counted} {after}: {verdict}."
