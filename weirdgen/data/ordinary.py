"""Ordinary prompts: everyday questions and arithmetic word problems.

In: a count. Out: that many distinct prompts, always the same ones in the same order. Answers are not here: an arm that
mixes ordinary rows in has them answered by the run's own base model (`weirdgen.sample.distill`), so that they teach nothing.
"""

from __future__ import annotations

from pathlib import Path

from weirdgen.config.files import read_csv
from weirdgen.data.arithmetic import word_problems

EVERYDAY = Path(__file__).parent / "prompts" / "everyday.csv"
SEED = 0


def ordinary_prompts(count: int) -> list[str]:
    """Two word problems after each everyday question, and word problems alone once those are used up (paper §4.2: 2 to 1)."""
    everyday = [record["prompt"] for record in read_csv(EVERYDAY)]
    problems = iter(word_problems(count, SEED))
    prompts: list[str] = []
    for question in everyday:
        prompts += [question, next(problems, ""), next(problems, "")]
        if len(prompts) >= count:
            return prompts[:count]
    return [*prompts, *problems][:count]
