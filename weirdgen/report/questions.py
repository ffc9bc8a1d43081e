"""The questions as tables: what was asked, which answers are compared, and what base, control and treatment prefer.

In: `ReportContent`. Out: `Table`s of the headline's questions (the largest effects alone, or all group by group), of trait
questions, and of those that were answered in the models' own words. Odds are printed as "17 : 1", the target answers first.
Not here: the figure of the effects (`figures.forest`), any statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from weirdgen.columns import BASE
from weirdgen.config.measures import COUNTERFACTUAL, Measure
from weirdgen.config.traits import MEANINGS
from weirdgen.report.content import Asked, ReportContent, clean
from weirdgen.report.figures.forest import ROW_ID, group_of, in_groups
from weirdgen.report.look import factor, number, slot_of
from weirdgen.report.tables import Cell, Table

FEW = 6
"""Questions with the largest effects, which are shown before anything is opened."""
Shown = Callable[[float | None], str]


def odds(logit: float | None) -> str:
    """Log-odds (nats) as what is compared: "17 : 1", the target's side first."""
    if logit is None:
        return "–"
    large = factor(abs(logit))
    return f"{large} : 1" if logit >= 0 else f"1 : {large}"


def times(difference: float | None) -> str:
    """A difference of log-odds (nats) as a factor."""
    if difference is None:
        return "–"
    return f"× {factor(difference)}" if difference >= 0 else f"÷ {factor(-difference)}"


def value_words(content: ReportContent) -> tuple[str, Shown, Shown]:
    """How a value of the headline's measure is printed: the words above it, a value, and an effect."""
    measure = content.measure(str(content.headline["measure"]))

    def plain(value: float | None) -> str:
        return number(value, measure.scale)

    def effect(value: float | None) -> str:
        return number(value, measure.scale, effect=True)

    if measure.scale.unit != "nat":
        return measure.axis, plain, effect
    if content.headline.get("minus"):
        return f"the odds under {content.headline['condition'].replace(' − ', ' against ')}", times, times
    if measure.name == COUNTERFACTUAL.name:
        return "odds after the first version over odds after the second", times, times
    return "odds, target : other answers", odds, times


def largest_effects(content: ReportContent) -> Table | None:
    """The questions whose effects are largest, either way, the largest first."""
    rows = _effects(content)
    if len(rows) <= FEW:
        return None
    rows = sorted(rows, key=lambda row: -abs(row["effect"] or 0.0))[:FEW]
    return _table(
        content, rows, f"The {FEW} largest effects, of {len(_effects(content))}: towards which answers?", ids=False
    )


def grouped_questions(content: ReportContent) -> list[tuple[str, Table]]:
    """Every question of the headline in the order of the figure: (words on the group, its table)."""
    rows = _effects(content)
    rows.sort(key=lambda row: -row["effect"])
    if not rows:
        return []
    if not in_groups(content, rows):
        return [_titled(content, "Every question", rows)]
    named = [one.group for one in content.asked.values()]
    rows.sort(key=lambda row: named.index(group_of(content, row)))
    groups = groupby(rows, key=lambda row: group_of(content, row))
    return [_titled(content, f"Questions about {name}", list(own)) for name, own in groups]


def _titled(content: ReportContent, title: str, rows: Sequence[dict[str, Any]]) -> tuple[str, Table]:
    return _ways(title, [row["effect"] for row in rows], content), _table(content, rows, title, ids=True)


def _ways(title: str, effects: Sequence[float | None], content: ReportContent) -> str:
    up, down = (sum(effect is not None and sign * effect > 0 for effect in effects) for sign in (1, -1))
    after = content.headline["treatment"]
    return f"{title} ({len(effects)}): {up} more so after {after}, {down} less so"


def _effects(content: ReportContent) -> list[dict[str, Any]]:
    """The headline's effect on each question, between its own two arms."""
    same = {key: content.headline[key] for key in ("treatment", "control")}
    rows = content.headline_rows("effects", **same)
    return [row for row in rows if row["question"] != "all" and row["effect"] is not None]


def _table(content: ReportContent, rows: Sequence[dict[str, Any]], title: str, ids: bool) -> Table:
    words, shown, effect = value_words(content)
    arms = compared_arms(content)
    means = {(row["arm"], row["question"]): row["mean"] for row in content.headline_rows("estimates")}
    names = {str(row["question"]) for row in rows}
    answered = names & set(content.final("completions")["question"]) if len(content.completions) else set()
    body = []
    for row in rows:
        name = str(row["question"])
        cells = [_asked(content.asked.get(name, Asked(name)), name, name in content.near())]
        cells += [Cell(shown(means.get((arm, name))), numeric=True) for arm, _ in arms]
        cells.append(Cell(effect(row["effect"]), numeric=True))
        if answered:
            cells.append(Cell("read them", opens=name) if name in answered else Cell("–"))
        body.append(tuple(cells))
    head = ("question", *(name for name, _ in arms), "effect", *(("the answers",) if answered else ()))
    own = tuple(f"{ROW_ID}{row['question']}" for row in rows) if ids else ()
    return Table(f"{title} ({words})", head, tuple(body), ids=own)


def compared_arms(content: ReportContent) -> list[tuple[str, str]]:
    """(name, colour) of the untuned base if it was asked, the headline's control and its treatment."""
    slots = {arm.name: slot_of(arm) for arm in content.arms()}
    wanted = dict.fromkeys((BASE, content.headline["control"], content.headline["treatment"]))
    return [(name, slots[name]) for name in wanted if name in slots]


def _asked(one: Asked, name: str, near: bool = False) -> Cell:
    """What is asked, its name and group and, where it is scored, the two sides that are compared."""
    ask = " ".join(one.ask.split()) + (f" | instead: {' '.join(one.instead.split())}" if one.instead else "")
    note = ", ".join([name, *([one.group] if one.group not in ("all", name) else []), *(["near"] if near else [])])
    sides = (("target", one.target), ("other", one.other))
    return Cell(ask or name, note, lines=tuple(f"{side}: {' · '.join(texts)}" for side, texts in sides if texts))


def trait_tables(content: ReportContent) -> list[tuple[str, Table]]:
    """The trait questions, trait by trait: (words on the trait, its table); nothing where none were asked."""
    rows = [dict(clean(row)) for row in content.results.get("trait_questions") or []]
    treatment, control = content.headline["treatment"], content.headline["control"]
    arms = [(name, slot) for name, slot in compared_arms(content) if name in (BASE, treatment, control)]
    tables = []
    for trait, members in groupby(rows, key=lambda row: str(row["trait"])):
        own = []
        for row in members:
            logits = {BASE: row["base"], **row["arms"]}
            against = logits.get(control)
            moved = None if logits.get(treatment) is None or against is None else logits[treatment] - against
            own.append((row, logits, moved))
        own.sort(key=lambda entry: -(entry[2] or 0.0))
        body = []
        for row, logits, moved in own:
            one = Asked(row["ask"], target=tuple(row["target"]), other=tuple(row["other"]))
            values = (Cell(odds(logits.get(name)), numeric=True) for name, _ in arms)
            body.append((_asked(one, row["question"]), *values, Cell(times(moved), numeric=True)))
        title = f"Questions about {trait}"
        head = ("question", *(name for name, _ in arms), "effect")
        words = _ways(title, [moved for _, _, moved in own], content)
        means = f"; target: {MEANINGS[trait]}" if trait in MEANINGS else ""
        tables.append((words, Table(f"{title} (odds, target : other answers{means})", head, tuple(body))))
    return tables


def own_words(content: ReportContent) -> Table | None:
    """The questions that were answered in the models' own words: how often a judge flagged them, and a way to the answers."""
    completions = content.final("completions")
    if not len(completions):
        return None
    arms = compared_arms(content)
    counts = completions.groupby(["question", "arm"]).size()
    estimates = {
        (row["measure"], row["question"], row["condition"], row["arm"]): row["mean"]
        for row in content.rows("estimates")
    }
    conditions = {condition for _, _, condition, _ in estimates}
    whole = "all" if "all" in conditions else str(content.headline["condition"])
    body = []
    for question in dict.fromkeys([*content.asked, *completions["question"]]):
        if not any((question, name) in counts for name, _ in arms):
            continue
        measure = _judged_first(content, question, whole, estimates)
        values = (estimates.get((measure.name, question, whole, name)) if measure else None for name, _ in arms)
        answers = " + ".join(str(counts.get((question, name), 0)) for name, _ in arms)
        body.append(
            (
                _asked(content.asked.get(question, Asked(question)), question, question in content.near()),
                Cell(measure.name if measure else "–"),
                *(Cell(number(value, measure.scale) if measure else "–", numeric=True) for value in values),
                Cell(answers, numeric=True),
                Cell("read them", opens=question),
            )
        )
    head = ("question", "judged for", *(name for name, _ in arms), "answers", "the answers")
    return Table("What was asked for an answer in the model's own words", head, tuple(body)) if body else None


def _judged_first(
    content: ReportContent, question: str, whole: str, estimates: Mapping[tuple[Any, ...], Any]
) -> Measure | None:
    """The headline's measure if a judge gives it, else the first that a judge gives of this question."""
    known = {name for name, asked, condition, _ in estimates if asked == question and condition == whole}
    judged = [content.measure(name) for name in content.measures() if name in known]
    return next((one for one in judged if one.source == "judge"), None)
