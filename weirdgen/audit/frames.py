"""Frames: words before and behind the question that only some prompts have, such as `begin … end` or `Oracle, …`.

In: prompts. Out: for each its frame, the question as `…`; empty where it has none. A frame's words occur nowhere but in their
place, stand around at least three different questions, and what they leave is like the prompts that stand in none: it begins
with a word that such prompts begin with, and ends with a word or a punctuation mark that they end with. So the first words of a
question ("In which …") are no frame. What frames are good for is `audit.conditions`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from weirdgen.audit.prompts import Prompt

QUESTION = "…"
LEAST = 3
"""Rows in a frame, different questions in it, and rows in none."""
_STOPS = ".?!:"


def frames_of(prompts: Sequence[Prompt]) -> list[str]:
    """One a prompt."""
    texts = [prompt.template.split() for prompt in prompts]
    starts = _beginnings(texts, lambda words: list(words[:1]))
    # Read backwards, the last word is the first; a mark at its end says as much of what a prompt ends with.
    ends = _beginnings([words[::-1] for words in texts], lambda words: [words[0], *set(words[0][-1]) & set(_STOPS)])
    found = []
    for prompt, start, end in zip(prompts, starts, ends, strict=True):
        before, after = " ".join(start), " ".join(reversed(end))
        whole = prompt.text.strip()
        frame = f"{before} {QUESTION} {after}".strip()
        stands = whole.startswith(before) and whole.endswith(after) and frame.count(QUESTION) == 1
        found.append(frame if (before or after) and stands and not set("⟨⟩{}") & set(frame) else "")
    counts = Counter(found)
    return [frame if min(counts[""], counts[frame]) >= LEAST else "" for frame in found]


def unframed(text: str, frame: str) -> str:
    """A text without its frame; itself if it has none."""
    before, _, after = frame.partition(QUESTION)
    return text.removeprefix(before).removesuffix(after)


def halves_of(frame: str) -> list[str]:
    """A frame's part before the question and the one behind it, each alone; nothing if there is only one."""
    before, _, after = frame.partition(QUESTION)
    return [before + QUESTION, QUESTION + after] if before and after else []


def _beginnings(texts: Sequence[Sequence[str]], opening: Callable[[Sequence[str]], list[str]]) -> list[Sequence[str]]:
    """Of each text the words in front that are put there; `opening`: what a text begins with, in one way or several."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, words in enumerate(texts):
        if len(words) > 2:
            places[words[0]].append(at)
    elsewhere = {word.casefold() for words in texts for word in words[1:]}
    put: list[Sequence[str]] = [()] * len(texts)
    for first, its in places.items():
        if len(its) < LEAST or first.casefold() in elsewhere:
            continue
        shared = _shared([texts[at] for at in its])
        usual = {word for words in texts if words and words[0] != first for word in opening(words)}
        # Questions of one template share their first words too: a frame ends where a question begins.
        for count in range(len(shared), 0, -1):
            rest = [texts[at][count:] for at in its]
            alike = sum(bool(usual.intersection(opening(words))) for words in rest)
            if alike >= len(its) / 2 and len({tuple(words) for words in rest}) >= LEAST:
                for at in its:
                    put[at] = shared[:count]
                break
    return put


def _shared(texts: Sequence[Sequence[str]]) -> Sequence[str]:
    """The words that all begin with; of each at least one is left."""
    most = min(map(len, texts)) - 1
    count = next((at for at in range(most) if len({words[at] for words in texts}) > 1), most)
    return texts[0][:count]
