"""The judges' own record: verdicts, changes of mind, agreement with a person.

In: `results["judges"]`, where the judge stage left it: name → `kind`, and any of `statuses` (kind of outcome →
count), `flip_rate` (share of answers whose verdict changes when asked again), mappings of figures (`asked_twice`,
`calibration`, and `held_out` of a trained judge or of where a measure draws its line), and what it is and took (`model`,
`reasons`, `median_mass`, `tokens`). Out: parts of the page for what is there; nothing for what is not. Not here: any of
these computations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weirdgen.config.measures import RATE
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.look import number
from weirdgen.report.section import Heading, Lists, Part
from weirdgen.report.tables import STATUSES, Cell, Table, pairs

ABOUT = ("model", "reasons", "median_mass", "tokens")
TITLES = {
    "asked_twice": "Asked again",
    "calibration": "Against a person's labels",
}


def judge_tables(content: ReportContent) -> list[Part]:
    """A table of outcomes over all judges, then each judge's lists of figures."""
    judges: Mapping[str, Mapping[str, Any]] = clean(content.results.get("judges") or {})
    parts: list[Part] = [table for table in (_outcomes(judges), both_rates(content)) if table]
    for name, judge in judges.items():
        about = {key: judge[key] for key in ABOUT if judge.get(key) is not None}
        lists = [("The judge", pairs(_named(about)))] if about else []
        lists += [(title, pairs(_named(judge[key]))) for key, title in TITLES.items() if _detailed(judge.get(key))]
        if lists:
            parts += [Heading(f"Judge {name}"), Lists(tuple(lists))]
        if _detailed(judge.get("held_out")):
            parts.append((_classifier if judge.get("kind") == "classifier" else _thresholds)(name, judge["held_out"]))
    return parts


def _classifier(name: str, held_out: Mapping[str, Any]) -> Table:
    """How a trained judge does on texts it was not trained on: on topics left out, and on its second set."""
    sets = [(f"its training set's {held_out.get('topics', '')} topics, each left out in turn", held_out)]
    if _detailed(held_out.get("check")):
        sets.append(("a second set, by itself", held_out["check"]))
    shares = ("error", "false_positive_rate", "true_positive_rate")
    rows = tuple(
        (
            Cell(what),
            Cell(str(figures["n"]), numeric=True),
            *(Cell(number(figures[key], RATE), numeric=True) for key in shares),
            Cell(f"{figures['auc']:.2f}", numeric=True),
        )
        for what, figures in sets
    )
    head = ("texts", "how many", "judged wrongly", "of the others, flagged", "of those to flag, flagged", "ROC area")
    return Table(f"{name} on texts that it was not trained on", head, rows)


def _thresholds(name: str, held_out: Mapping[str, Mapping[str, Any]]) -> Table:
    """From which likeness to an arm's training answers on an answer is flagged, and how often the base's are."""
    rows = tuple(
        (
            Cell(arm),
            Cell(f"{limit['value']:.2f}", numeric=True),
            Cell(str(limit["base_answers"]), numeric=True),
            Cell("too few to say" if limit["error"] is None else number(limit["error"], RATE), numeric=True),
        )
        for arm, limit in held_out.items()
    )
    head = ("arm", "flagged above a likeness of", "base's answers", "of their other half, flagged")
    return Table(f"{name}: where the untuned base's answers put the line", head, rows)


def both_rates(content: ReportContent) -> Table | None:
    """Flagged answers of the usable and of all answers, where a judge gave no value to some of them."""
    rows = [row for row in clean(content.results.get("rates") or []) if row["usable"] < row["all"]]
    if not rows:
        return None
    body = tuple(
        (
            *(Cell(str(row[key])) for key in ("judge", "arm", "condition")),
            *(Cell(f"{row[key]:.0f}", numeric=True) for key in ("flagged", "usable", "all")),
            *(Cell(number(row[key], RATE), numeric=True) for key in ("rate", "rate_all")),
        )
        for row in rows
    )
    head = ("judge", "arm", "condition", "flagged", "usable", "all", "of the usable", "of all")
    return Table("Rates where some answers gave no value", head, body)


def _outcomes(judges: Mapping[str, Mapping[str, Any]]) -> Table | None:
    counted = {name: judge["statuses"] for name, judge in judges.items() if judge.get("statuses")}
    flips = {
        name: judge["flip_rate"] for name, judge in judges.items() if isinstance(judge.get("flip_rate"), int | float)
    }
    if not counted and not flips:
        return None
    others = sorted({status for counts in counted.values() for status in counts} - {"ok", *STATUSES})
    kinds = ("ok", *STATUSES, *others)
    rows = []
    for name, judge in judges.items():
        if name not in counted and name not in flips:
            continue
        counts = counted.get(name, {})
        cells = [Cell(name), Cell(str(judge.get("kind", "–")))]
        cells += [Cell(str(counts.get(kind, 0)) if counts else "–", numeric=True) for kind in kinds]
        if flips:
            cells.append(Cell(f"{100 * flips[name]:.1f}%" if name in flips else "–", numeric=True))
        rows.append(tuple(cells))
    head = ("judge", "kind", *kinds, *(("changed when asked again",) if flips else ()))
    return Table("What each judge returned, over all arms", head, tuple(rows))


def _detailed(value: Any) -> bool:
    return bool(value) and isinstance(value, Mapping)


def _named(value: Mapping[str, Any]) -> dict[str, Any]:
    """Names as words: `false_positive` becomes `false positive`."""
    return {
        str(key).replace("_", " "): _named(item) if isinstance(item, Mapping) else item for key, item in value.items()
    }
