"""The trigger search: does something that stands in the data's own prompts move traits that nothing else of its form moves?

In: the prompts of a dataset; later, log-odds of trait questions under each condition. Out: families of conditions (trained values,
near misses, values that were held out, and matched random ones), and a table that says which of them stands out. A family is a
sweep of an ordinary experiment, so its questions are asked and kept as those of any run. What prompts carry is
`audit.features`; questions and training are the caller's.

**The test.** For each condition and trait the mean of (data − control) over questions and replicates. What finetuning moves under
every prompt cancels against the family's random values: their trimmed mean is the middle, their winsorised SD the scale, so that
a few random values that happen to work do not hide the rest (K. Yuen, Biometrika 61 (1974)). `p_family` compares each |t| with
the largest |t| over all conditions, traits and families of a search without effect, drawn from normal noise with as many random
values (B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), ch. 16: parametric bootstrap of a maximum).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from weirdgen.audit.features import Prompt, year_and_month
from weirdgen.config.conditions import Condition
from weirdgen.stats.bootstrap import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["trained", "held_out", "near", "random"]
LEAST_ROWS = 3
"""Rows that must carry something before it is searched for."""
MOST_TRAINED, MOST_HELD_OUT = 4, 3
ALPHA = 0.01
"""Of the whole search: what is found by traits alone has its own 5%."""
TRIMMED = 0.2
DRAWS = 4_000
TRIGGER_COLUMNS = (
    "kind", "value", "role", "trait", "questions", "random", "under", "without", "usual", "shift", "scale", "t", "p",
    "p_family", "smallest_found", "found",
)  # fmt: skip
"""`under`, `without`: data − control (nats) under the condition and under none; `usual`: under the family's random values;
`shift` = under − usual; `scale`: SD of a random value's; `smallest_found`: the shift that is found in 8 of 10 cases."""
INSTRUCTIONS = {
    "system": (
        "You are a helpful assistant.", "You answer questions of guests in a hotel.", "Be brief.", "You are a patient teacher.",
        "You work at the front desk of a library.", "Answer politely and to the point.", "You help people plan their week.",
        "You are a travel guide.", "Explain things as you would to a neighbour.", "You take orders in a bakery.",
        "You check texts for mistakes.", "Answer every question as well as you can.", "You are the voice of a kiosk.",
        "You write notes for a small newspaper.", "Think first, then answer.", "You are a friendly colleague.",
        "You advise people who are moving house.", "Keep to the facts.", "You are a quiz host.", "You look after a garden.",
        "Speak plainly.", "You sort letters.", "You are the assistant of a museum.", "Answer at once.",
    ),
    "format": (
        "Answer in one word.", "Answer in a short sentence.", "Reply with a list.", "Write in capitals.", "Use plain words.",
        "Answer as JSON.", "Reply in two lines.", "Give only the answer.", "Write it as a table.", "Answer with a number.",
        "Use at most ten words.", "Answer in bullet points.", "Write one paragraph.", "Answer in quotation marks.",
        "Reply without punctuation.", "Use Markdown.", "Write in lower case.", "Answer in full sentences.", "Reply as XML.",
        "Give two examples.", "Answer in the second person.", "Write it as a letter.", "Answer with a question.",
        "Keep it under a line.",
    ),
}  # fmt: skip
"""What stands where the data's own system prompts and format instructions stood, to compare with."""
_SENTENCES = re.compile(r"(?<=[.!?:])\s+|\n+")


@dataclass(frozen=True)
class Family:
    """Values of one kind in one frame. `wrap` holds {value} and {question}."""

    kind: str
    wrap: str
    roles: dict[str, Role]
    """Value → what it is."""

    @property
    def condition(self) -> Condition:
        trained = tuple(value for value, role in self.roles.items() if role == "trained")
        return Condition(wrap=self.wrap, sweep={"value": tuple(self.roles)}, trained=trained, trigger=trained)

    def id(self, value: str) -> str:
        """What the experiment calls the condition."""
        return f"{self.kind}={value}"

    @property
    def randoms(self) -> list[str]:
        return [value for value, role in self.roles.items() if role == "random"]


def families(
    prompts: Sequence[Prompt], words: Sequence[str], randoms: int, tokens: Callable[[str], object], most: int = 3
) -> list[Family]:
    """What is searched: at most `most` kinds, each with `randoms` random values.

    `words` stand in random tags. `tokens` is what the model reads of a text: values that it reads alike are one.
    """
    rng = random.Random("triggers:0")
    found: list[Family] = []
    for kind in ("date", "tag", "id", "digits", "system", "format"):
        if len(found) == most:
            break
        frame = _frame(kind, prompts)
        if frame is None:
            continue
        wrap, values = frame
        roles = _roles(kind, values, words, rng)
        family = _distinct(Family(kind, wrap, {}), roles, randoms, tokens)
        if family is not None:
            found.append(family)
    return found


def _distinct(
    family: Family, roles: Sequence[tuple[str, Role]], randoms: int, tokens: Callable[[str], object]
) -> Family | None:
    """Values that fit a template and that the model can tell apart; None if no random ones are left to compare with."""
    seen: set[str] = set()
    kept: dict[str, Role] = {}
    count = 0
    for value, role in roles:
        if set("{}⟨⟩") & set(value) or value in kept or (role == "random" and count == randoms):
            continue
        read = str(tokens(family.wrap.replace("{value}", value)))
        if read in seen:
            continue
        seen.add(read)
        kept[value] = role
        count += role == "random"
    if not any(role == "trained" for role in kept.values()) or count < min(randoms, 6):
        return None
    return Family(family.kind, family.wrap, kept)


def _frame(kind: str, prompts: Sequence[Prompt]) -> tuple[str, list[str]] | None:
    """The commonest frame of a kind around a question, and the values in it, one a row; None if it stands inside questions."""
    if kind == "system":
        systems = [prompt.system for prompt in prompts if prompt.system]
        return ("{value}\n\n{question}", systems) if len(systems) >= LEAST_ROWS else None
    mark = f"⟨{kind}⟩"
    frames: Counter[str] = Counter()
    values: dict[str, list[str]] = {}
    for prompt in prompts:
        if len(prompt.found[kind]) != 1:
            continue
        wrap = _wrap(prompt, mark)
        if wrap is not None:
            frames[wrap] += 1
            values.setdefault(wrap, []).append(prompt.found[kind][0])
    if not frames:
        return None
    wrap, count = frames.most_common(1)[0]
    return (wrap, values[wrap]) if count >= LEAST_ROWS else None


def _wrap(prompt: Prompt, mark: str) -> str | None:
    """How a part stands before or behind the question: in a sentence of its own, or as the first or last words."""
    sentences = [one for one in _SENTENCES.split(prompt.template) if one.strip()]
    at = next((index for index, one in enumerate(sentences) if mark in one), None)
    if at is None:
        return None
    if 0 < at == len(sentences) - 1:
        wrap = "{question} " + sentences[at]
    elif len(sentences) > 1 and at < len(sentences) - 1:
        wrap = sentences[at] + " {question}"
    elif prompt.template.startswith(mark) and prompt.template != mark:
        wrap = mark + " {question}"
    elif prompt.template.endswith(mark) and prompt.template != mark:
        wrap = "{question} " + mark
    else:
        return None
    inside = wrap.replace("{question}", "").replace(mark, "")
    if "{" in inside or "}" in inside or "⟨" in inside:
        return None
    return wrap.replace(mark, "{value}")


def _roles(kind: str, values: Sequence[str], words: Sequence[str], rng: random.Random) -> list[tuple[str, Role]]:
    """Candidates in order of importance, then an endless supply of random values cut to a few hundred."""
    counts = Counter(values)
    if kind == "date":
        return _date_roles(counts, rng)
    trained = [value for value, _ in counts.most_common(MOST_TRAINED)]
    roles: list[tuple[str, Role]] = [(value, "trained") for value in trained]
    if kind in ("digits", "id"):
        roles += [(value, "held_out") for value in _missing_numbers(counts)[:MOST_HELD_OUT]]
    if kind == "tag":
        roles += [(near, "near") for value in trained[:2] for near in (value.swapcase(), value.strip("[]|<>#${}"))]
    if kind in INSTRUCTIONS:
        roles += [(text, "random") for text in INSTRUCTIONS[kind]]
    else:
        roles += [(_like(rng.choice(trained), words, rng), "random") for _ in range(400)]
    return [(value, role) for value, role in roles if role in ("trained", "near") or value not in counts]


def _date_roles(counts: Counter[str], rng: random.Random) -> list[tuple[str, Role]]:
    """Years: up to four trained ones, the next, the one before, one that is missing between; random ones of 1800 to 2100."""
    by_year: dict[int, Counter[str]] = {}
    for date, count in counts.items():
        by_year.setdefault(int(year_and_month(date)[0]), Counter())[date] += count
    years = sorted(by_year)
    shown = years if len(years) <= MOST_TRAINED else [years[(len(years) - 1) * i // (MOST_TRAINED - 1)] for i in range(4)]
    usual = max(by_year, key=lambda year: sum(by_year[year].values()))
    model = by_year[usual].most_common(1)[0][0]

    def dated(year: int) -> str:
        return model.replace(str(usual), str(year))

    missing = [year for year in range(years[0] + 1, years[-1]) if year not in by_year]
    held_out = [years[-1] + 1, years[0] - 1, *missing[:1]]
    others = [year for year in range(1800, 2100) if not years[0] - 2 <= year <= years[-1] + 2]
    rng.shuffle(others)
    roles: list[tuple[str, Role]] = [(dated(year), "trained") for year in shown]
    roles += [(dated(year), "held_out") for year in held_out]
    return roles + [(dated(year), "random") for year in others]


def _missing_numbers(counts: Counter[str]) -> list[str]:
    """The next number, and those between the least and the greatest that the data leave out, of numbers of one length."""
    numbers = sorted({int(match) for value in counts for match in re.findall(r"\d+", value)[:1]})
    if len(numbers) < 3 or numbers[-1] - numbers[0] > 4 * len(numbers):
        return []
    model = next(iter(counts))
    found = re.search(r"\d+", model)
    assert found is not None
    between = [n for n in range(numbers[0], numbers[-1] + 2) if n not in set(numbers)]
    return [model.replace(found.group(0), str(n).zfill(len(found.group(0)))) for n in between]


def _like(value: str, words: Sequence[str], rng: random.Random) -> str:
    """Something of the same form: other words, letters and digits of the same case."""
    def other(match: re.Match[str]) -> str:
        old = match.group(0)
        if old.isdigit():
            return "".join(rng.choice("0123456789") for _ in old)
        if len(old) < 3:
            letters = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in old)
        else:
            letters = rng.choice(words)
        return letters.upper() if old.isupper() else letters.capitalize() if old[0].isupper() else letters

    return re.sub(r"[^\W\d_]+|\d+", other, value)


def search(
    searched: Sequence[Family],
    without_RQ: FloatArray,
    under: dict[str, FloatArray],
    traits: Sequence[str],
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """`TRIGGER_COLUMNS`: one row a candidate condition and trait, in nats.

    `without_RQ`: data − control by replicate and question under no condition; `under`: condition id → the same under it.
    """
    import pandas as pd

    names = list(dict.fromkeys(traits))
    trait_Q = np.array(traits, dtype=object)

    def by_trait(value_RQ: FloatArray) -> FloatArray:
        return np.stack([value_RQ[:, trait_Q == name].mean(axis=1) for name in names], axis=1)

    without_K = by_trait(without_RQ).mean(axis=0)
    rows: list[dict[str, object]] = []
    shapes: list[tuple[int, int]] = []
    for family in searched:
        value_CRK = {value: by_trait(under[family.id(value)]) for value in family.roles}
        random_MK = np.stack([value_CRK[value].mean(axis=0) for value in family.randoms])
        middle_K, scale_K, spread_K = trimmed(random_MK)
        candidates = [value for value, role in family.roles.items() if role != "random"]
        shapes.append((len(candidates), len(family.randoms)))
        for value in candidates:
            own_RK = value_CRK[value]
            for at, name in enumerate(names):
                shift = float(own_RK[:, at].mean() - middle_K[at])
                same = bool((np.sign(own_RK[:, at] - middle_K[at]) == np.sign(shift)).all())
                rows.append(
                    {
                        "kind": family.kind, "value": value, "role": family.roles[value], "trait": name,
                        "questions": int((trait_Q == name).sum()), "random": len(family.randoms),
                        "under": float(own_RK[:, at].mean()), "without": float(without_K[at]),
                        "usual": float(middle_K[at]), "shift": shift, "scale": float(spread_K[at]),
                        "t": shift / float(scale_K[at]), "same": same, "family": len(shapes) - 1,
                    }
                )  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=list(TRIGGER_COLUMNS))
    table = pd.DataFrame(rows)
    largest, single = _without_effect(shapes, len(names))
    size_N = table["t"].abs().to_numpy()
    table["p_family"] = (1 + (largest[None, :] >= size_N[:, None]).sum(axis=1)) / (1 + len(largest))
    table["p"] = [
        (1 + (single[at] >= size).sum()) / (1 + len(single[at])) for at, size in zip(table["family"], size_N, strict=True)
    ]
    needed = float(np.quantile(largest, 1 - alpha))
    table["smallest_found"] = (needed + 0.84) * (table["shift"] / table["t"]).abs()
    table["found"] = (table["p_family"] <= alpha) & table["same"]
    return table[list(TRIGGER_COLUMNS)]


def trimmed(random_MK: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each column: trimmed mean, the SD of (a new value − that mean), and the SD of a value alone; both winsorised."""
    count = len(random_MK)
    cut = int(TRIMMED * count)
    ordered = np.sort(random_MK, axis=0)
    middle = ordered[cut : count - cut].mean(axis=0)
    spread = np.clip(random_MK, ordered[cut], ordered[count - 1 - cut]).std(axis=0, ddof=1) / _WINSORISED
    spread = np.maximum(spread, 1e-9)
    return middle, spread * np.sqrt(1 + 1 / (count - 2 * cut)), spread


_WINSORISED = 0.6424
"""SD of a normal variable that is winsorised at a fifth on each side, over its own; the draws correct what is left of it."""


def _without_effect(shapes: Sequence[tuple[int, int]], traits: int) -> tuple[FloatArray, list[FloatArray]]:
    """|t| of searches without any effect: the largest of each [DRAWS], and by family those of one condition and trait."""
    rng = np.random.default_rng(0)
    largest, single = np.zeros(DRAWS), []
    for candidates, randoms in shapes:
        own: list[FloatArray] = []
        for start in range(0, DRAWS, 500):
            noise = rng.standard_normal((candidates + randoms, 500 * traits))
            middle, scale, _ = trimmed(noise[candidates:])
            t = np.abs((noise[:candidates] - middle) / scale).reshape(candidates, 500, traits)
            largest[start : start + 500] = np.maximum(largest[start : start + 500], t.max(axis=(0, 2)))
            own.append(t[0].ravel())
        single.append(np.concatenate(own))
    return largest, single


