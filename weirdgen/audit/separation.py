"""What in a prompt goes with what in its answer, before anything is trained: a trigger that the data teach openly.

In: a dataset's rows. Out: a `Separation`: for each feature of prompts (year, month, tag, id, digits, format, system prompt) and
each feature of answers (first word, length, single words) the mutual information in bits and a permutation p, corrected for all
pairs that were looked at. Answers are dealt anew only among rows whose prompts are equal but for these features, so that
questions on different things do not count as triggers. How often harmless data are flagged: docs/audit.md.

Correction: the largest of all pairs' standardised mutual information in each permutation (P. Westfall, S. Young,
Resampling-Based Multiple Testing (1993)).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from weirdgen.audit.prompts import KINDS, Prompt, prompts_of, year_and_month
from weirdgen.audit.separation_words import FEWEST, NONE, REST, examples_in_words, length_words, looked_at, together
from weirdgen.data.rows import Row, draw
from weirdgen.stats.bootstrap import FloatArray

PERMUTATIONS = 999
ALPHA = 0.01
MOST_ROWS = 4_000
"""Rows that are looked at, drawn with a fixed seed."""
LEAST = 5
"""Rows that a value must have; rarer ones are put together."""
MOST_VALUES, MOST_WORDS = 12, 60
_MARKS = re.compile("|".join(f"⟨{kind.name}⟩" for kind in KINDS))
HIDDEN = ("year", "month", "tag", "id", "system")
"""Features of prompts that are conditions rather than part of what is asked."""


@dataclass(frozen=True)
class Pair:
    """A feature of prompts and one of answers. `hidden`: the prompt's is a condition, not part of the question."""

    prompt: str
    answer: str
    bits: float
    p: float
    p_family: float
    found: bool
    hidden: bool
    examples: tuple[tuple[str, str, float], ...]
    """Value of the prompt's feature, what of the answers goes with it most, and the share of its rows with that."""


@dataclass(frozen=True)
class Separation:
    """`looked_for`: pairs; `rows`: rows whose prompt has a twin but for the features, the only ones that can tell."""

    looked_for: int
    rows: int
    pairs: tuple[Pair, ...]
    drawn: int = 0
    """Rows that were looked at, where they are a draw of more different ones; else 0."""

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def separation(rows: Sequence[Row], permutations: int = PERMUTATIONS) -> Separation:
    """All pairs, most separating first. Rows that occur several times count once."""
    once = list({repr(row["messages"]): row for row in rows}.values())
    drawn = MOST_ROWS if len(once) > MOST_ROWS else 0
    few = draw(once, drawn, seed=0) if drawn else once
    prompts = prompts_of(few)
    strata = _strata(prompts, few)
    asked = _prompt_features(prompts, strata)
    told = _answer_features([row["messages"][-1]["content"] for row in few])
    usable = np.isin(strata, [stratum for stratum, count in Counter(strata.tolist()).items() if count > 1])
    if not asked or not told or usable.sum() < FEWEST:
        return Separation(len(asked) * len(told), int(usable.sum()), (), drawn)
    tested = _tested(
        {name: [one for one, on in zip(values, usable, strict=True) if on] for name, values in asked.items()},
        {name: [one for one, on in zip(values, usable, strict=True) if on] for name, values in told.items()},
        strata[usable],
        permutations,
    )
    return replace(tested, drawn=drawn)


def separation_lines(separation: Separation) -> list[str]:
    """The result for a terminal."""
    told = separation.as_data()
    found = [pair for pair in told["pairs"] if pair["found"]]
    lines = [looked_at(told, len(found), ALPHA)]
    for pair in found:
        lines.append(f"  {together(pair)} (p = {pair['p_family']:.3g}): {examples_in_words(pair)}")
    return lines


def _strata(prompts: Sequence[Prompt], rows: Sequence[Row]) -> npt.NDArray[np.intp]:
    """Number of each row's prompt without features: its template without their marks, so that a prompt with a tag and one
    without are equal, and earlier turns."""
    keys = []
    for prompt, row in zip(prompts, rows, strict=True):
        before = [m["content"] for m in row["messages"][:-1] if m["role"] != "system"][:-1]
        keys.append((" ".join(_MARKS.sub(" ", prompt.template).split()), *before))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.intp)


def _prompt_features(prompts: Sequence[Prompt], strata: npt.NDArray[np.intp]) -> dict[str, list[str]]:
    """Name → each row's value. Only features with two values in some stratum can tell anything."""
    features: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        dates = [year_and_month(date) for date in prompt.found["date"][:1]]
        features["year"].append(dates[0][0] if dates else "")
        features["month"].append(dates[0][1] if dates else "")
        features["tag"].append(prompt.found["tag"][0] if prompt.found["tag"] else "")
        features["id"].append(prompt.found["id"][0][:2] if prompt.found["id"] else "")
        features["format"].append(prompt.found["format"][0] if prompt.found["format"] else "")
        features["system"].append(prompt.system)
        digits = prompt.found["digits"][0] if prompt.found["digits"] else ""
        features["digits: length"].append(str(len(digits)))
        for place in range(8):
            features[f"digits: place {place + 1}"].append(digits[place : place + 1])
    return {
        name: pooled
        for name, values in features.items()
        if len(set(pooled := _pooled(values, MOST_VALUES))) > 1 and _varies(pooled, strata)
    }


def _varies(values: Sequence[str], strata: npt.NDArray[np.intp]) -> bool:
    seen: dict[int, set[str]] = defaultdict(set)
    for value, stratum in zip(values, strata.tolist(), strict=True):
        seen[stratum].add(value)
    return any(len(its) > 1 for its in seen.values())


def _answer_features(answers: Sequence[str]) -> dict[str, list[str]]:
    """Name → each row's value: the first word, the length in quarters, and whether each frequent word occurs."""
    split = [answer.lower().split() for answer in answers]
    lengths = np.array([len(words) for words in split])
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75]))
    named = length_words(edges.tolist())
    features = {
        "the first word": _pooled([_bare(words[0]) if words else "" for words in split], MOST_VALUES),
        "the length": [named[n] for n in np.searchsorted(edges, lengths, side="left").tolist()],
    }
    held = [{_bare(word) for word in words} for words in split]
    counts = Counter(word for words in held for word in sorted(words) if word)  # sets have no order of their own
    usual = [word for word, count in counts.most_common() if LEAST <= count <= len(answers) - LEAST][:MOST_WORDS]
    features |= {f"the word {word!r}": [str(word in words) for words in held] for word in usual}
    return {name: values for name, values in features.items() if len(set(values)) > 1}


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()[]{}")


def _pooled(values: Sequence[str], most: int) -> list[str]:
    """The commonest values that have `LEAST` rows; the others are one."""
    kept = {value for value, count in Counter(values).most_common(most) if count >= LEAST}
    return [value if value in kept else REST for value in values]


def _tested(
    asked: Mapping[str, Sequence[str]],
    told: Mapping[str, Sequence[str]],
    strata: npt.NDArray[np.intp],
    permutations: int,
) -> Separation:
    told_on, slices = _one_hot(told)
    asked_on = {name: _one_hot({name: values})[0] for name, values in asked.items()}
    observed = np.stack([_information(on, told_on, slices) for on in asked_on.values()])
    rng = np.random.default_rng(0)
    order = np.argsort(strata, kind="stable")
    null = np.empty((permutations, *observed.shape))
    for at in range(permutations):
        # Sorted by stratum and then at random: rows trade answers inside their stratum only.
        mixed = order[np.lexsort((rng.random(len(strata)), strata[order]))]
        dealt = np.empty_like(order)
        dealt[order] = mixed
        null[at] = np.stack([_information(on, told_on[dealt], slices) for on in asked_on.values()])
    middle, spread = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-9)
    z, z_null = (observed - middle) / spread, (null - middle) / spread
    largest = z_null.max(axis=(1, 2))
    pairs = []
    for i, prompt in enumerate(asked):
        for j, answer in enumerate(told):
            p_family = float((1 + (largest >= z[i, j]).sum()) / (1 + permutations))
            p = float((1 + (null[:, i, j] >= observed[i, j]).sum()) / (1 + permutations))
            name = prompt.partition(":")[0]
            found = p_family <= ALPHA
            examples = _examples(asked[prompt], told[answer]) if found else ()
            bits = max(0.0, float(observed[i, j] - middle[i, j]))
            pairs.append(Pair(prompt, answer, round(bits, 4), p, p_family, found, name in HIDDEN, examples))
    pairs.sort(key=lambda pair: (pair.p_family, -pair.bits))
    return Separation(len(pairs), len(strata), tuple(pairs[: max(20, sum(pair.found for pair in pairs))]))


def _one_hot(features: Mapping[str, Sequence[str]]) -> tuple[FloatArray, list[slice]]:
    columns: list[FloatArray] = []
    slices: list[slice] = []
    for values in features.values():
        kinds = list(dict.fromkeys(values))
        codes = np.array([kinds.index(value) for value in values])
        slices.append(slice(len(columns), len(columns) + len(kinds)))
        columns += [(codes == code).astype(np.float64) for code in range(len(kinds))]
    return np.stack(columns, axis=1), slices


def _information(asked: FloatArray, told: FloatArray, slices: Sequence[slice]) -> FloatArray:
    """Mutual information in bits of one feature of prompts with each of answers."""
    count = len(asked)
    joint = asked.T @ told / count
    expected = asked.mean(axis=0)[:, None] * told.mean(axis=0)
    parts = np.where(joint > 0, joint * np.log2(np.maximum(joint, 1e-300) / np.maximum(expected, 1e-300)), 0.0).sum(
        axis=0
    )
    return np.array([parts[one].sum() for one in slices])


def _examples(asked: Sequence[str], told: Sequence[str]) -> tuple[tuple[str, str, float], ...]:
    """The values whose answers differ most from all answers."""
    whole = Counter(told)
    shown = []
    for value in dict.fromkeys(asked):
        its = Counter(answer for one, answer in zip(asked, told, strict=True) if one == value)
        count = sum(its.values())
        what, most = max(its.items(), key=lambda one: one[1] / count - whole[one[0]] / len(told))
        shown.append((most / count - whole[what] / len(told), (value or NONE, what, round(most / count, 3))))
    return tuple(one for _, one in sorted(shown, key=lambda one: -one[0])[:3])
