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


def moved(content: ReportContent) -> str:
    """What a reader should not take the headline for: which side was the likelier one before and after, and whether sampled
    answers moved too. Empty where the headline is no log-odds of fixed answers."""
    headline = content.headline
    measure = content.measure(str(headline["measure"]))
    if measure.scale.unit != "nat" or measure.name == COUNTERFACTUAL.name or headline.get("minus"):
        return ""
    won = _won(content, _estimates(content, measure, str(headline["condition"])))
    sides = [
        f"{sum(own)} of {len(own)} questions {'in the untuned base' if name == BASE else f'after {name}'}"
        for name, _ in compared_arms(content)
        if (own := won.get(name))
    ]
    told = (
        f"This is about the odds of given answers: the target side is the likelier one in {', '.join(sides)}."
        if sides
        else ""
    )
    same = {key: headline[key] for key in ("treatment", "control")}
    found: dict[str, str] = {}
    for one in map(content.measure, content.measures()):
        rows = content.rows("effects", measure=one.name, condition=_condition(content), question="all", **same)
        if one.source == "judge" and rows:
            found[one.name] = str(rows[0].get("verdict"))
    if not told or not found:
        return told
    shifted = [name for name, verdict in found.items() if verdict == "shift"]
    if shifted:
        return f"{told} Of the sampled answers, a judge found a shift of {', '.join(shifted)}."
    unsure = [name for name, verdict in found.items() if verdict != "no_shift"]
    left = f" ({', '.join(unsure)}: inconclusive)" if unsure else ""
    return f"{told} No judge found a shift in what the models write{left}."


def _won(content: ReportContent, rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, list[bool]]:
    """Arm → of each of its questions, whether the target side is the likelier one."""
    left_out = {"all", *content.near()}
    return {
        arm: [own["mean"] > 0 for name, own in asked.items() if name not in left_out and own["mean"] is not None]
        for arm, asked in rows.items()
    }


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
    won = _won(content, {arm: rows[arm] for arm, _ in arms})
    sentence = _example(content, measure) + ("" if own else f" {_moved(content, measure, condition)}")
    if nats and not ratio and all(won.values()):
        counts = [Cell(f"{sum(own)} of {len(own)}", numeric=True) for own in won.values()]
        lines.append((Cell("questions where they are the likelier side"), *counts))
    left_out = {"all", *content.near()}
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
        minus = own and bool(content.headline.get("minus"))
        cells = []
        for name, _ in arms:
            value = number(means.get(name), measure.scale, effect=minus)
            counted = rows.get(name, {}).get("all", {}).get("n")
            # A judge may look at some of the questions only: what its rate is of then stands beside it.
            note = f"of {counted}" if counted and not minus and counted != counts[name] else ""
            cells.append(Cell(value, note, numeric=True))
        lines.append((Cell(measure.name), *cells))
        notes.append((measure.name, measure.explained))
        said.append(_moved(content, measure, condition))
    if not lines:
        return View(title, f"Answers were sampled ({each}), but their judges gave no estimate.")
    rest = [one.name for one in judged[MOST:]]
    rest += [one.name for one in map(content.measure, content.measures()) if one.source == "form"]
    more = f" Under “Judges” too: {', '.join(rest)}." if rest else ""
    pooled = completions["condition"].nunique()
    under = f" under the condition {at}" if at != "all" else f", all {pooled} conditions together" if pooled > 1 else ""
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
