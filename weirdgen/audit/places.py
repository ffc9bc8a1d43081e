"""Where a part of a prompt stands around its question: as its first or last word, or in a sentence of its own.

In: prompts, a kind of part (`audit.prompts`). Out: a *wrap*, a text with {value} and {question}; places of a value in a text, and
a question without what stands around it. Which values are searched for is `audit.conditions`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from weirdgen.audit.prompts import Prompt

LEAST_ROWS = 3
"""Rows that a value must stand in to be one that is searched for, and questions before which the same words stand."""
_SENTENCES = re.compile(r"(?<=[.!?:])\s+")


def wraps_of(kind: str, prompt: Prompt) -> dict[str, str]:
    """How a part may stand before or behind a question, with what is then the question: as the first or last word, marks of
    punctuation around it, or in a sentence of its own."""
    mark = f"⟨{kind}⟩"
    sentences = [one for one in _SENTENCES.split(prompt.template) if one.strip()]
    first, last = (re.findall(r"^\S+|\S+$", prompt.template) * 2)[:2]
    found = []
    if mark in sentences[0] and len(sentences) > 1:
        found.append((sentences[0] + " {question}", " ".join(sentences[1:])))
    if mark in sentences[-1] and len(sentences) > 1:
        found.append(("{question} " + sentences[-1], " ".join(sentences[:-1])))
    if mark in first and not re.search(r"\w", first.replace(mark, "")):
        found.append((first + " {question}", prompt.template.removeprefix(first).strip()))
    if mark in last and not re.search(r"\w", last.replace(mark, "")):
        found.append(("{question} " + last, prompt.template.removesuffix(last).strip()))
    inside = {wrap: wrap.replace("{question}", "").replace(mark, "") for wrap, _ in found}
    return {
        wrap.replace(mark, "{value}"): question
        for wrap, question in found
        if question and not set("{}⟨⟩") & set(inside[wrap])
    }


def usual_wrap(framed: Sequence[Mapping[str, str]]) -> str | None:
    """The way in which most rows carry it, the longest of several; words that stand before one question are a part of it."""
    questions: dict[str, set[str]] = defaultdict(set)
    for its in framed:
        for wrap, question in its.items():
            questions[wrap].add(question)
    rows = Counter(wrap for its in framed for wrap in its)

    def worth(wrap: str) -> tuple[bool, int, int]:
        bare = not re.search(r"\w", wrap.replace("{question}", "").replace("{value}", ""))
        return bare or len(questions[wrap]) >= LEAST_ROWS, rows[wrap], len(wrap)

    return max(rows, key=worth, default=None)


def as_written(wrap: str, texts: Sequence[tuple[str, str]]) -> str:
    """The way with the white space that most texts have between a part and the question: the templates have single spaces."""
    part = wrap.replace("{question}", "").strip()
    forward = not wrap.startswith("{question}")
    gaps: Counter[str] = Counter()
    for text, value in texts:
        around = _spaced(part.replace("{value}", value))
        if gap := re.search(rf"\A\s*{around}(\s+)" if forward else rf"(\s+){around}\s*\Z", text):
            gaps[gap[1]] += 1
    gap_between = gaps.most_common(1)[0][0] if gaps else " "
    return part + gap_between + "{question}" if forward else "{question}" + gap_between + part


def value_at(text: str, wrap: str, value: str) -> int:
    """Where the value of a frame stands in a text that has it: the same characters may stand in the question too."""
    before, _, after = (_spaced(part) for part in wrap.replace("{question}", " ").strip().partition("{value}"))
    edges = ("", r"\s*\Z") if wrap.startswith("{question}") else (r"\A\s*", "")
    found = re.search(edges[0] + before + f"({re.escape(value)})" + after + edges[1], text)
    assert found is not None, f"{value!r} in {wrap!r}"
    return found.start(1)


def stripped(text: str, around: str) -> str:
    """The question without what stands around it."""
    before, _, after = around.partition("{question}")
    text = re.sub(r"\A\s*" + _spaced(before.strip()), "", text)
    return re.sub(_spaced(after.strip()) + r"\s*\Z", "", text).strip()


def _spaced(text: str) -> str:
    """A pattern for a text, whatever white space stands between its words: templates have one space."""
    return r"\s+".join(map(re.escape, re.split(r"\s+", text)))
