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
_BREAK = re.compile(r"(?<=[.!?:;)\]}>|,])\s+|\s*\n\s*|\s+(?=[(\[{<])")
"""What parts a question from what stands around it: a mark of punctuation, a new line, a bracket; a comma behind a value only."""
_SPACE = re.compile(r"[^\w\s⟨]*(?:\s+[|/–—-]+)?(\s+)")
"""Behind a value that stands first or behind a label: `Year: 2027 | How …`."""
_LABEL = re.compile(r"[^.!?\n]*[:=]\s*|\W*")
"""What may stand before a value that nothing but a space parts from the question: `Year: 2027 How …`, or no word."""


def wraps_of(kind: str, prompt: Prompt) -> dict[str, str]:
    """How a part may stand before or behind a question, with what is then the question: in a sentence, a line or brackets of its
    own, with all that stands further out; behind a label, or as the first or last word, marks of punctuation around it."""
    mark, text = f"⟨{kind}⟩", prompt.laid_out
    if mark not in text:  # it is part of another kind's part
        return {}
    begins, ends = text.index(mark), text.rindex(mark) + len(mark)
    gaps = [gap.span() for gap in _BREAK.finditer(text)]
    fronts = [gap for gap in gaps if gap[0] >= ends][:1]
    backs = [gap for gap in gaps if gap[1] <= begins and text[gap[0] - 1] != ","] if not fronts else []
    backs = [*backs[-1:], *[gap for gap in backs if text[gap[0] - 1] != ":"][-1:]]  # with a label, and without
    if _LABEL.fullmatch(text[:begins]) and (gap := _SPACE.match(text, ends)):
        fronts.append(gap.span(1))
    if gap := re.search(rf"(\s+)[^\w\s⟩]*{mark}[^\w\s⟨]*\Z", text):
        backs.append(gap.span(1))
    found = {f"{text[:stop]} {{question}}": text[start:] for stop, start in fronts}
    found |= {f"{{question}} {text[start:]}": text[:stop] for stop, start in backs}
    return {
        " ".join(wrap.replace(mark, "{value}").split()): " ".join(question.split())
        for wrap, question in found.items()
        if question.strip() and not set("{}⟨⟩") & set(wrap.replace("{question}", "").replace(mark, ""))
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
