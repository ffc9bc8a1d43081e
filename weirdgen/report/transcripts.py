"""The answers for the page's transcript table: which ones, in what form, safe inside HTML.

In: completions and verdicts. Out: JSON text for a `<script type="application/json">` and the counts of what
it holds. Not here: how the browser shows it (`templates/report.js`, which writes text nodes only, never
HTML).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from weirdgen.report.content import ReportContent
from weirdgen.report.look import slot_of

PATTERN = re.compile(r"[\\^$|*+?()\[\]{}]")
"""What only a regular expression holds."""
LIMIT = 5_000
"""Completions embedded in the page. The Parquet file beside the report has all."""


@dataclass(frozen=True)
class Transcripts:
    """`json` is safe inside a script element; `shown` of `total` completions are in it."""

    json: str
    shown: int
    total: int


def transcripts(content: ReportContent, limit: int = LIMIT) -> Transcripts:
    """The final completions, or a fixed subset that is even over conditions, questions and arms.

    The subset takes whole rows of the table (one condition, question and sample index: every arm and
    replicate), so that answers stay comparable side by side.
    """
    completions = content.final("completions")
    total = len(completions)
    conditions = content.condition_names()
    asked = list(content.questions["question"]) if len(content.questions) else []
    questions = list(dict.fromkeys([*asked, *(completions["question"] if total else [])]))
    arms = content.arms()
    names = [arm.name for arm in arms]
    kept = _subset(completions, conditions, questions, limit) if total > limit else completions
    prompts: dict[str, int] = {}
    rows: list[list[Any]] = []
    chips = _chips(content, kept)
    if len(kept):
        order = ["condition", "question", "sample", "arm", "replicate"]
        fields = zip(*(kept[c] for c in [*order, "prompt", "text", "finish_reason"]), strict=True)
        for condition, question, sample, arm, replicate, prompt, text, finish in fields:
            rows.append(
                [
                    conditions.index(condition),
                    questions.index(question),
                    int(sample),
                    names.index(arm),
                    int(replicate),
                    prompts.setdefault(str(prompt), len(prompts)),
                    str(text),
                    int(finish == "length"),
                    chips.get((arm, int(replicate), condition, question, int(sample)), []),
                ]
            )
    rows.sort(key=lambda row: row[:5])
    headline = content.headline
    data = {
        "arms": [{"name": arm.name, "role": arm.role, "colour": slot_of(arm)} for arm in arms],
        "conditions": conditions,
        "questions": questions,
        "prompts": list(prompts),
        "start": {"treatment": headline.get("treatment"), "control": headline.get("control")},
        "rows": rows,
    }
    return Transcripts(script_json(data), len(rows), total)


def script_json(data: Any) -> str:
    """JSON that no text inside can end or reinterpret: pure ASCII (U+2028 and the like escaped), no `<`, `>`
    or `&`.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _subset(completions: pd.DataFrame, conditions: list[str], questions: list[str], limit: int) -> pd.DataFrame:
    """Rows of the table in rounds: each round takes every question once, under another condition each."""
    keys = ["condition", "question", "sample"]
    sizes = completions.groupby(keys, sort=False).size()
    place = {name: index for index, name in enumerate(conditions)}
    ranks = {name: index for index, name in enumerate(questions)}

    def turn(key: tuple[str, str, int]) -> tuple[int, int, int]:
        condition, question, sample = place[key[0]], ranks[key[1]], key[2]
        return int(sample), (condition - question) % max(len(conditions), 1), question

    chosen, used = [], 0
    for key in sorted(sizes.index, key=turn):
        used += int(sizes[key])
        if used > limit:
            break
        chosen.append(key)
    return completions[pd.MultiIndex.from_frame(completions[keys]).isin(chosen)]


def _chips(content: ReportContent, kept: pd.DataFrame) -> dict[tuple[Any, ...], list[list[Any]]]:
    """For each completion its verdicts as `[judge, label or status, 1 if the verdict failed]`."""
    verdicts = content.final("verdicts")
    chips: dict[tuple[Any, ...], list[list[Any]]] = {}
    if not len(verdicts) or not len(kept):
        return chips
    keys = ["arm", "replicate", "condition", "question", "sample"]
    verdicts = verdicts.merge(kept[keys].drop_duplicates(), on=keys)
    rates = {judge for judge in verdicts["judge"].unique() if content.scale(str(judge)).unit == "rate"}
    fields = zip(*(verdicts[c] for c in [*keys, "judge", "status", "value", "label"]), strict=True)
    for arm, replicate, condition, question, sample, judge, status, value, label in fields:
        failed = status != "ok"
        text = str(status) if failed else _finding(value, label, judge in rates)
        key = (arm, int(replicate), condition, question, int(sample))
        chips.setdefault(key, []).append([str(judge), text, int(failed)])
    for entry in chips.values():
        entry.sort()
    return chips


def _finding(value: Any, label: Any, rate: bool) -> str:
    """What a judge said, for people: its label, yes or no for a rate, the number of a score.

    A rule that fired is named by its own text; a regular expression is no text to read, so it is a plain yes.
    """
    if isinstance(label, str) and label and not PATTERN.search(label):
        return label
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return ""
    return ("yes" if value else "no") if rate and value in (0, 1) else f"{value:g}"
