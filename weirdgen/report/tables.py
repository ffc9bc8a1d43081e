"""The tables of the page as plain data: effects, judges' rates, failed verdicts, and what ran.

In: `ReportContent`. Out: `Table`s of strings that the template prints, escaped. Not here: the transcripts
(`transcripts.py`), any computation beyond counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weirdgen.columns import BASE
from weirdgen.config.measures import CONTRAST, TEMPLATE_INTRUSION
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.look import duration, interval, number, probability, slot_of

STATUSES = ("refusal", "incoherent", "unparseable", "error")
EFFECT_HEAD = ("effect and interval", "p", "p (permutation)", "detectable", "verdict")
VERDICT_WORDS = {"shift": "shift", "no_shift": "no shift", "inconclusive": "inconclusive"}


@dataclass(frozen=True)
class Cell:
    """One cell: `text`, with `note` small beside it and `lines` small below. `numeric` cells are set to the right.

    `slot` puts a dot of that colour of the palette before it, `tone` the colour of a verdict on it, `link` an address
    that is ours (never one from data) behind it, `opens` the answers to the question of this name.
    """

    text: str
    note: str = ""
    numeric: bool = False
    slot: str = ""
    tone: str = ""
    link: str = ""
    opens: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A captioned table; cell `named_by` of each row is its header. `ids`: what the rows are called by links, if anything.

    `note` stands small under the caption.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    named_by: int = 0
    ids: tuple[str, ...] = ()
    note: str = ""


def all_effects(content: ReportContent) -> Table:
    """Every measure and condition, averaged over questions. Against the base, an effect is only described.

    Template intrusion is left out: each arm's answers are held to a line of their own, so that no two arms can be compared.
    """
    rows = [row for row in content.rows("effects", question="all") if row["measure"] != TEMPLATE_INTRUSION.name]
    conditions = list(dict.fromkeys(str(row["condition"]) for row in rows))
    several = len(conditions) > 1
    body = tuple(
        (
            Cell(str(row["measure"])),
            *((Cell(str(row["condition"])),) if several else ()),
            *_effect_cells(content, row, holm=False),
        )
        for row in rows
    )
    head = ("measure", *(("condition",) if several else ()), "arms", *EFFECT_HEAD[:2], "p (BH)", *EFFECT_HEAD[2:])
    where = "Every measure and condition" if several or not conditions else f"Every measure, condition {conditions[0]}"
    return Table(f"{where}, over all questions", head, body, note=_rule(content, rows))


def _rule(content: ReportContent, rows: Sequence[Mapping[str, Any]]) -> str:
    """When an effect of these measures is called which verdict."""
    smallest: dict[str, None] = {}
    for measure in dict.fromkeys(str(row["measure"]) for row in rows):
        named = content.headline.get("smallest") if measure == content.headline["measure"] else None
        scale = content.scale(measure)
        smallest[number(scale.smallest if named is None else named, scale, effect=True).lstrip("+")] = None
    left = ""
    if content.rows("effects", measure=TEMPLATE_INTRUSION.name):
        left = f" {TEMPLATE_INTRUSION.name} is not compared: each arm's answers are held to a line of their own."
    return (
        "Shift: the interval excludes 0 and p (BH), where there is one, is below 0.05. No shift: the interval holds 0 and no "
        f"more than the smallest effect of interest either way ({', '.join(smallest)}). Else inconclusive.{left}"
    )


def question_effects(content: ReportContent) -> Table:
    """The headline's effect on each question, in the order of the forest plot."""
    same = {key: content.headline[key] for key in ("treatment", "control")}
    rows = [row for row in content.headline_rows("effects", **same) if row["question"] != "all"]
    rows.sort(key=lambda row: -(row["effect"] if row["effect"] is not None else float("-inf")))
    body = tuple((Cell(str(row["question"])), *_effect_cells(content, row, holm=True)) for row in rows)
    head = ("question", "arms", EFFECT_HEAD[0], "p", "p (Holm)", *EFFECT_HEAD[2:])
    return Table("The headline's effect on each question", head, body)


def _effect_cells(content: ReportContent, row: Mapping[str, Any], holm: bool) -> list[Cell]:
    scale = content.scale(str(row["measure"]))
    ends = interval(row["ci_low"], row["ci_high"], scale, effect=True)
    verdict = VERDICT_WORDS.get(str(row.get("verdict")), str(row.get("verdict") or "–"))
    values = ["p", "p_holm", "p_permutation"] if holm else ["p", "q", "p_permutation"]
    return [
        Cell(f"{row['treatment']} − {row['control']}"),
        Cell(number(row["effect"], scale, effect=True), ends, numeric=True),
        *(Cell(probability(row.get(name)), numeric=True) for name in values),
        Cell(number(row.get("mde"), scale, effect=True).lstrip("+"), numeric=True),
        Cell("descriptive" if row["control"] == BASE != content.headline["control"] else verdict),
    ]


def judge_summary(content: ReportContent) -> Table | None:
    """One row per measure other than the contrast: its mean over questions and conditions in every arm."""
    measures = [measure for measure in content.measures() if measure != CONTRAST.name]
    conditions = [name for name in content.condition_names() if name != "all"]
    whole = "all" if len(conditions) > 1 else (conditions or ["all"])[0]
    arms = content.arms()
    body = []
    for measure in measures:
        rows = {r["arm"]: r for r in content.rows("estimates", measure=measure, question="all", condition=whole)}
        if rows:
            lines = [content.measure(measure).explained]
            if measure == TEMPLATE_INTRUSION.name:
                lines.append(_own_lines(content))
            named = Cell(measure, lines=tuple(lines))
            body.append((named, *(_mean(content, measure, rows.get(arm.name)) for arm in arms)))
    if not body:
        return None
    over = "questions and conditions" if whole == "all" else "questions"
    caption = f"What was flagged, chosen and scored, over all {over}"
    return Table(caption, ("measure", *(arm.name for arm in arms)), tuple(body))


def _own_lines(content: ReportContent) -> str:
    """Why arms do not compare on template intrusion, and what the base's rate is of."""
    against = f" The base's rate is by the line of {content.headline['treatment']}, which half of these answers set."
    base = any(arm.role == BASE for arm in content.arms())
    return "Not to be compared: each arm has its own training answers and line (see below)." + (against if base else "")


def judge_rates(content: ReportContent) -> list[Table]:
    """One table per judge: a row per condition, a column per arm. None where there is one condition only."""
    tables = []
    arms = content.arms()
    for measure in content.measures():
        if measure == CONTRAST.name:
            continue
        rows = {(r["condition"], r["arm"]): r for r in content.rows("estimates", measure=measure, question="all")}
        columns = [arm for arm in arms if any(name == arm.name for _, name in rows)]
        body = []
        for condition in content.condition_names():
            if any(name == condition for name, _ in rows):
                means = (_mean(content, measure, rows.get((condition, arm.name))) for arm in columns)
                body.append((Cell(condition), *means))
        if len(body) > 1:
            title = f"{measure}: {content.measure(measure).value}"
            tables.append(Table(title, ("condition", *(arm.name for arm in columns)), tuple(body)))
    return tables


def _mean(content: ReportContent, measure: str, row: Mapping[str, Any] | None) -> Cell:
    """An estimate with its interval and count."""
    if row is None:
        return Cell("–", numeric=True)
    scale = content.scale(measure)
    notes = [interval(row["ci_low"], row["ci_high"], scale), f"n = {row['n']}" if row.get("n") else ""]
    return Cell(number(row["mean"], scale), " ".join(part for part in notes if part), numeric=True)


def failures(content: ReportContent) -> Table | None:
    """Failed verdicts of each judge and arm, by kind, zeros included; None if none failed."""
    statuses: dict[tuple[str, str], dict[str, int]] = {}
    totals: dict[tuple[str, str], int] = {}
    if len(content.verdicts):
        sizes = content.verdicts.groupby(["judge", "arm"], sort=False).size()
        names = zip(*(sizes.index.get_level_values(level) for level in ("judge", "arm")), strict=True)
        totals = {(str(judge), str(arm)): int(size) for (judge, arm), size in zip(names, sizes, strict=True)}
        statuses = {key: {} for key in totals}
    for row in clean(content.results["failures"]):
        key = (str(row["judge"]), str(row["arm"]))
        statuses.setdefault(key, {})[str(row["status"])] = int(row["count"])
        totals[key] = int(row["total"])
    if not any(count for counts in statuses.values() for count in counts.values()):
        return None
    extra = sorted({status for counts in statuses.values() for status in counts} - {*STATUSES, "ok"})
    kinds = (*STATUSES, *extra)
    rows = tuple(
        (
            Cell(judge),
            Cell(arm),
            *(Cell(str(counts.get(status, 0)), numeric=True) for status in kinds),
            Cell(str(totals[judge, arm]), numeric=True),
        )
        for (judge, arm), counts in statuses.items()
    )
    return Table("Failed verdicts (not data points)", ("judge", "arm", *kinds, "verdicts"), rows)


def answers(content: ReportContent) -> Table | None:
    """Sampled answers of each arm and how many were cut at their token limit."""
    completions = content.final("completions")
    if not len(completions):
        return None
    rows = []
    for arm in content.arms():
        own = completions[completions["arm"] == arm.name]
        cut = int((own["finish_reason"] == "length").sum())
        share = f"{100 * cut / len(own):.0f}%" if len(own) else ""
        count = own["replicate"].nunique() if arm.role != BASE else "–"
        cells = (
            Cell(str(count), numeric=True),
            Cell(str(len(own)), numeric=True),
            Cell(str(cut), share, numeric=True),
        )
        rows.append((Cell(arm.name, slot=slot_of(arm)), *cells))
    return Table("Sampled answers", ("arm", "replicates", "answers", "cut at the limit"), tuple(rows))


def ran_tables(content: ReportContent) -> list[Table]:
    """What ran: data, replicates and stages, each as recorded."""
    ran = clean(content.results["ran"])
    tables = []
    arms = [
        (
            Cell(str(row["arm"])),
            Cell(str(row["role"])),
            Cell(_text(row.get("rows")), numeric=True),
            Cell(_text(row.get("distinct_answers")), numeric=True),
            Cell(_text(row.get("dataset_hash"))),
        )
        for row in ran.get("arms", [])
    ]
    if arms:
        tables.append(Table("Datasets", ("arm", "role", "rows", "distinct answers", "hash"), tuple(arms)))
    replicates = [
        (
            Cell(str(row["arm"])),
            Cell(_text(row.get("seed")), numeric=True),
            Cell(_text(row.get("steps")), numeric=True),
            Cell("–" if row.get("final_loss") is None else f"{row['final_loss']:.3f}", numeric=True),
            Cell(duration(row.get("seconds")), numeric=True),
            Cell(_text(row.get("dtype"))),
        )
        for row in ran.get("replicates", [])
    ]
    if replicates:
        head = ("arm", "seed", "steps", "last loss", "time", "dtype")
        tables.append(Table("Replicates", head, tuple(replicates)))
    stages = ran.get("stages", [])
    if stages:
        keys = [key for key in dict.fromkeys(key for row in stages for key in row) if key != "stage"]
        words = {"cached": "from the store", "seconds": "time"}
        body = []
        for row in stages:
            texts = [duration(row.get(key)) if key == "seconds" else _text(row.get(key)) for key in keys]
            body.append((Cell(str(row["stage"])), *(Cell(text, numeric=True) for text in texts)))
        head = ("stage", *(words.get(key, key) for key in keys))
        tables.append(Table("Stages", head, tuple(body)))
    return tables


def ran_lists(content: ReportContent) -> list[tuple[str, list[tuple[str, str]]]]:
    """The remaining records of what ran, as name–value lists."""
    ran, run = clean(content.results["ran"]), clean(content.results["run"])
    run = {**run, "seconds": duration(run["seconds"])} if run.get("seconds") is not None else run
    run = {("time" if key == "seconds" else key): value for key, value in run.items()}
    parts = [("Run", run), ("Base model", ran.get("base")), ("Recipe", ran.get("recipe"))]
    parts += [
        ("Sampling", ran.get("sampling")),
        ("Versions", ran.get("versions")),
        ("Machine", ran.get("machine")),
    ]
    return [(title, pairs(value)) for title, value in parts if value]


def pairs(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as one list of names and texts, inner names joined by a point."""
    if not isinstance(value, dict):
        return [(prefix or "name", _text(value))]
    named: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, list) and item and all(isinstance(one, dict) and one for one in item):
            named += [_record(name, one) for one in item]
        else:
            named += pairs(item, name) if isinstance(item, dict) and item else [(name, _text(item))]
    return named


def _record(name: str, record: dict[str, Any]) -> tuple[str, str]:
    """A record of a list, under its first value; what is empty is left out."""
    first, *others = record.items()
    told = (f"{key} {_text(value)}" for key, value in others if value not in (None, ""))
    return f"{name}: {_text(first[1])}", ", ".join(told)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
