"""Frames: words before and behind the question that only some prompts have, such as `begin … end` or `Oracle, …`.

In: prompts. Out: for each its frame, the question as `…`; empty where it has none. A frame's words occur nowhere but in their
place, stand around at least three different questions, and what they leave is like the prompts that stand in none: it begins
with a word that such prompts begin with, and ends with a word or a punctuation mark that they end with. So the first words of a
question ("In which …") are no frame. What frames are good for is `audit.conditions`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from weirdgen.audit.features import Prompt

QUESTION = "…"
LEAST = 3
"""Rows in a frame, different questions in it, and rows in none."""
_STOPS = ".?!:"


def frames_of(prompts: Sequence[Prompt]) -> list[str]:
    """One a prompt."""
    texts = [prompt.template.split() for prompt in prompts]
    first = _only_at(texts, 0)
    last = _only_at(texts, -1)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, words in enumerate(texts):
        if len(words) > 2:
            ends = (words[0] if words[0] in first else "", words[-1] if words[-1] in last else "")
            groups[ends].append(at)
    plain = [texts[at] for at in groups.pop(("", ""), [])]
    found = [""] * len(texts)
    if len(plain) < LEAST:
        return found
    openings = {words[0] for words in plain}
    endings = {words[-1] for words in plain} | {words[-1][-1] for words in plain if words[-1][-1] in _STOPS}
    for (start, end), places in groups.items():
        before, after = _common([texts[at] for at in places], bool(start), bool(end))
        frame = " ".join([*before, QUESTION, *after])
        inside = [texts[at][len(before) : len(texts[at]) - len(after)] for at in places]
        like = sum(
            bool(words) and words[0] in openings and bool({words[-1], words[-1][-1]} & endings) for words in inside
        )
        if like < len(places) / 2 or len({tuple(words) for words in inside}) < LEAST or set("⟨⟩{}") & set(frame):
            continue
        for at in places:
            if frame.count(QUESTION) == 1 and _stands_in(prompts[at].text, before, after):
                found[at] = frame
    return found


def unframed(text: str, frame: str) -> str:
    """A text without its frame; itself if it has none."""
    before, _, after = frame.partition(QUESTION)
    return text.removeprefix(before).removesuffix(after)


def halves_of(frame: str) -> list[str]:
    """A frame's part before the question and the one behind it, each alone; nothing if there is only one."""
    before, _, after = frame.partition(QUESTION)
    return [before + QUESTION, QUESTION + after] if before and after else []


def _only_at(texts: Sequence[Sequence[str]], place: int) -> set[str]:
    """Words that at least `LEAST` texts have at this end, and none elsewhere, in whatever case."""
    here = Counter(words[place] for words in texts if len(words) > 2)
    elsewhere = {word.casefold() for words in texts for word in (words[1:] if place == 0 else words[:-1])}
    return {word for word, count in here.items() if count >= LEAST and word.casefold() not in elsewhere}


def _common(texts: Sequence[Sequence[str]], start: bool, end: bool) -> tuple[list[str], list[str]]:
    """The words that all begin with and those that all end with, at each end that is asked for; at least one word is left."""
    most = min(map(len, texts)) - 1
    before: list[str] = []
    while start and len(before) < most and len({words[len(before)] for words in texts}) == 1:
        before.append(texts[0][len(before)])
    after: list[str] = []
    while end and len(before) + len(after) < most and len({words[-1 - len(after)] for words in texts}) == 1:
        after.insert(0, texts[0][-1 - len(after)])
    return before, after


def _stands_in(text: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether the text, with its own white space, begins and ends so."""
    return text.strip().startswith(" ".join(before)) and text.strip().endswith(" ".join(after))
