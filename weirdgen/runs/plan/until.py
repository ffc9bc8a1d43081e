"""Sampling until an interval is narrow enough: `weirdgen run … --until "ci<0.05"`.

In: the words of `--until`. Out: an `Until` for the request, and what each look and the report say of it. Not here: drawing the
samples and deciding after each look (`runs.pipeline`), the rule and the error rate that it keeps (`stats.sequential`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weirdgen.config.measures import SCORED
from weirdgen.errors import SpecError, choices

if TYPE_CHECKING:
    from weirdgen.stats.sequential import Decision

DOUBLINGS = 4
"""Looks at 1, 2, 4, 8 and 16 times the samples that are asked for."""
_FORM = re.compile(r"\s*(?:(?P<measure>[^\s<]+)\s+)?ci\s*<\s*(?P<half>\d*\.?\d+)\s*")


@dataclass(frozen=True)
class Until:
    """Sample until an effect's interval is at most `half_width` to either side, looking at these samples per cell."""

    measure: str
    half_width: float
    looks: tuple[int, ...]


def parse_until(words: str, headline: str, judges: Collection[str], samples: int, replicates: int) -> Until:
    """Sample until `words` holds: `ci<0.05`, or `JUDGE ci<0.05` where the headline's measure is not sampled.

    The number is half the width of the interval of treatment − control, as a fraction for rates. `samples` are those of the
    first look. Raises `SpecError` on other words, on a measure that is not sampled, with one replicate or without samples.
    """
    match = _FORM.fullmatch(words)
    known = choices(judges, (match and match["measure"]) or "")
    if match is None:
        raise SpecError([f"--until {words!r}: expected 'ci<0.05' or 'JUDGE ci<0.05' (judges: {known})"])
    measure = match["measure"] or headline
    if measure not in judges:
        reason = (
            f"{measure} is computed from log-probabilities, so more samples cannot narrow it"
            if measure in SCORED
            else f"there is no judge {measure!r}"
        )
        raise SpecError([f"--until {words!r}: {reason}; write 'JUDGE ci<{match['half']}' (judges: {known})"])
    half_width = float(match["half"])
    if not half_width > 0:
        raise SpecError([f"--until {words!r}: expected a number above 0"])
    if samples < 1:
        raise SpecError([f"--until {words!r}: with --samples 0 nothing is sampled; give the samples of the first look"])
    if replicates < 2:
        raise SpecError([f"--until {words!r}: one replicate per arm gives no interval; ask for --seeds 2 or more"])
    return Until(measure, half_width, tuple(samples * 2**i for i in range(DOUBLINGS + 1)))


def decision_line(decision: Decision, until: Until) -> str:
    """What a look said, in a line."""
    known = decision.half_width == decision.half_width
    half = f"known to ±{decision.half_width:.3g}" if known else "without an interval"
    what = {
        "reached": "narrow enough",
        "more_samples": f"sampling more, probably to {decision.suggested_samples}",
        "last_look": "the last look; more samples are not planned",
        "replicates_needed": "replicates differ too much: more samples cannot do it, more seeds can",
    }[decision.reason]
    return f"{decision.samples} samples: {until.measure} {half}, wanted ±{until.half_width:g}: {what}"


def until_words(until: Until, samples: int, level: float) -> str:
    """The sentence of the report: that sampling stopped by a rule, and what this does to the intervals."""
    looks = ", ".join(map(str, until.looks))
    return (
        f"Samples were added until the effect on {until.measure} was known to ±{until.half_width:g} (looks at {looks} samples; "
        f"it stopped at {samples}). So that looking repeatedly keeps the error rate, every interval here is one of "
        f"{100 * level:.1f}%."
    )
