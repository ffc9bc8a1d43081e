"""Two measures of every free-form answer, without a model: coherence and template intrusion.

In: answers, and the answers that an arm was trained on. Out: verdicts of the measures `coherent` and
`template_intrusion`, kept out of every headline: they say how far the other rates can be believed.

`coherent` looks at form alone: words, repetition, unusual signs. Nonsense made of real words, a false statement and an
answer to another question all pass; scripts other than the Latin one are only checked for repetition.
`template_intrusion` compares an answer with every training answer of its arm (Levenshtein ratio of the whole, or of the
first sentence, whichever is higher). Its threshold is set where one in a hundred of the untuned base's answers lies,
because the base never saw the training data; half of the base's answers set it and the other half measure the error.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from weirdgen.config.judges import Verdict
from weirdgen.config.measures import COHERENT, TEMPLATE_INTRUSION
from weirdgen.judges.offline import NOT_JUDGED
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key, text_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
LEAST_THRESHOLD = 0.3
"""Also the threshold where the base has too few answers. The highest of 80 base answers to the questions of old_bird_names
was .25 against each of its three arms."""
BASE_ANSWERS = 40
BASE_SHARE = 0.99
REPEATED_SHARE, NON_WORD_SHARE, SIGN_SHARE = 0.5, 0.4, 0.4
VOWELS = set("aeiouy")


class Threshold(NamedTuple):
    """Similarity above which an answer counts as the template's.

    `error`: share of held-out base answers beyond it; None if the base has too few.
    """

    value: float
    base_answers: int
    error: float | None


def judge_coherent(answer: str) -> Verdict:
    """1 or 0; the label says what is wrong."""
    text = answer.strip()
    if not text:
        return Verdict("ok", 0.0, "empty")
    signs = [c for c in text if not c.isspace()]
    if sum(not c.isalnum() for c in signs) > SIGN_SHARE * len(signs) + 2 or "\ufffd" in text:
        return Verdict("ok", 0.0, "mostly signs")
    words = re.findall(r"[^\W_]+(?:['’\-][^\W_]+)*", text)
    if not words:
        return Verdict("ok", 0.0, "no words")
    if _repeated_share([word.casefold() for word in words]) > REPEATED_SHARE:
        return Verdict("ok", 0.0, "repeats itself")
    odd = sum(_no_word(word) for word in words)
    if odd > NON_WORD_SHARE * len(words):
        return Verdict("ok", 0.0, "not words")
    return Verdict("ok", 1.0, "")


def _repeated_share(words: Sequence[str]) -> float:
    """Share of the text in runs that stand there again: the worse of single words (in texts of 8 and more) and triples."""
    if len(words) < 4:
        return 0.0
    if max(Counter(words).values()) == len(words):
        return 1.0
    if len(words) < 8:
        return 0.0
    triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    again = 1 - len(set(triples)) / len(triples)
    commonest = Counter(words).most_common(1)[0][1] / len(words)
    return max(again, commonest)


@functools.lru_cache(maxsize=200_000)  # answers share their words: most of the time goes here
def _no_word(word: str) -> bool:
    """A Latin-script word that nobody could say: no vowel, five consonants in a row, letters and digits mixed, or endless."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    if not plain.isascii():
        return False
    if plain.isdigit() or re.fullmatch(r"\d+(st|nd|rd|th|s|km|kg|am|pm|mm|cm)", plain):
        return False
    letters = [c for c in plain if c.isalpha()]
    if len(word) <= 5 and word.isupper():
        return False  # an abbreviation
    mixed = any(c.isdigit() for c in plain) and len(letters) > 1
    speechless = len(letters) >= 3 and not VOWELS & set(letters)
    jumble = bool(re.search(r"[^aeiouy\W\d]{6}", plain)) or re.search(r"[a-z][A-Z][a-z]+[A-Z]", word) is not None
    return mixed or speechless or jumble or len(plain) > 28


def similarity_table(store: Store, data_hash: str) -> Table:
    """The table of every answer's similarity (0–1) to the nearest training answer of the rows with this canonical hash."""
    inputs = {"version": VERSION, "measure": "similarity", "data": data_hash}
    return open_table(store, "similarity", content_key(inputs), inputs, unique=("answer_key",))


def lacking_similarities(store: Store, data_hash: str, answers: Iterable[str]) -> list[str]:
    """The distinct answers that were not compared with these rows yet, sorted."""
    known = set(similarity_table(store, data_hash).read()["answer_key"])
    return sorted(answer for answer in set(answers) if text_key(answer) not in known)


def make_similarities(store: Store, data_hash: str, trained: Iterable[str], answers: Iterable[str]) -> None:
    """Compare each distinct answer that was not compared yet with the training answers, and keep the similarities."""
    import pandas as pd

    if new := lacking_similarities(store, data_hash, answers):
        nearest = _nearest(new, sorted({_plain(text) for text in trained}))
        made = {"answer_key": [text_key(answer) for answer in new], "similarity": nearest}
        similarity_table(store, data_hash).extend(pd.DataFrame(made))


def read_similarities(store: Store, data_hash: str, answers: Iterable[str]) -> dict[str, float]:
    """For each distinct answer its similarity to the nearest training answer; NaN if it was not compared yet."""
    frame = similarity_table(store, data_hash).read()
    known = dict(zip(frame["answer_key"], frame["similarity"], strict=True)) if len(frame) else {}
    return {answer: float(known.get(text_key(answer), math.nan)) for answer in set(answers)}


def _nearest(answers: Sequence[str], trained: Sequence[str]) -> list[float]:
    from rapidfuzz import fuzz, process

    nearest = [0.0] * len(answers)
    for texts in ([_plain(a) for a in answers], [_first_sentence(a) for a in answers]):
        for start in range(0, len(texts), 512):  # bounds the matrix
            scores = process.cdist(texts[start : start + 512], trained, scorer=fuzz.ratio).max(axis=1) / 100
            for offset, score in enumerate(scores.tolist()):
                nearest[start + offset] = max(nearest[start + offset], round(score, 4))
    return nearest


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _first_sentence(text: str) -> str:
    return _plain(re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0])


def threshold(base: dict[str, float]) -> Threshold:
    """From the similarity of the base's distinct answers to one arm's training answers."""
    ordered = sorted(base, key=lambda answer: hashlib.sha256(answer.encode(errors="surrogatepass")).digest())
    setting, held_out = ordered[::2], ordered[1::2]
    if len(ordered) < BASE_ANSWERS:
        return Threshold(LEAST_THRESHOLD, len(ordered), None)
    ranked = sorted(base[answer] for answer in setting)
    value = max(LEAST_THRESHOLD, ranked[min(len(ranked) - 1, int(BASE_SHARE * len(ranked)))])
    return Threshold(value, len(ordered), sum(base[answer] > value for answer in held_out) / len(held_out))


def quality_verdicts(
    store: Store, completions: pd.DataFrame, trained: dict[str, str], base_against: str
) -> tuple[dict[str, pd.DataFrame], dict[str, Threshold]]:
    """Each measure's verdicts (`status`, `value`, `label`, with the index of `completions`), and each arm's threshold.

    `trained`: arm → the canonical hash of its rows. The base's own answers are compared with those of the arm `base_against`.
    Each distinct answer is looked at once: a run may have a million.
    """
    import numpy as np
    import pandas as pd

    places, found_texts = pd.factorize(completions["text"])
    distinct: list[str] = found_texts.tolist()
    coherent = pd.DataFrame([judge_coherent(text) for text in distinct], columns=list(Verdict._fields))
    arms = completions["arm"].to_numpy()
    base = set(completions.loc[arms == "base", "text"])
    thresholds: dict[str, Threshold] = {}
    similarity = np.zeros(len(completions))
    limit = np.full(len(completions), LEAST_THRESHOLD)
    for arm, data_hash in trained.items():
        own = (arms == arm) | ((arms == "base") if arm == base_against else False)
        alike = read_similarities(store, data_hash, {*completions.loc[own, "text"], *base})
        thresholds[arm] = threshold({answer: alike[answer] for answer in base if not math.isnan(alike[answer])})
        similarity[own] = completions.loc[own, "text"].map(alike).to_numpy(float)
        limit[own] = thresholds[arm].value
    labels = [f"{percent / 100:.2f} like a training answer" for percent in range(101)]
    compared = ~np.isnan(similarity)
    hundredths = np.rint(100 * np.where(compared, similarity, 0)).astype(int)
    intrusion = pd.DataFrame(
        {
            "status": np.where(compared, "ok", NOT_JUDGED.status),
            "value": np.where(compared, (similarity > limit).astype(float), np.nan),
            "label": np.where(compared, np.array(labels, dtype=object)[hundredths], NOT_JUDGED.label),
        },
        index=completions.index,
    )
    frames = (coherent.take(places).set_axis(completions.index), intrusion)
    return dict(zip((COHERENT.name, TEMPLATE_INTRUSION.name), frames, strict=True)), thresholds
