"""Sampling until an interval is narrow enough: `weirdgen run … --until "ci<0.05"`.

In: the words of `--until` and a measured `Run`. Out: an `Until` for the settings, and after each look whether to stop. Not
here: drawing the samples (`pipeline`), the rule and the error rate that it keeps (`stats.sequential`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from weirdgen.config.measures import SCORED
from weirdgen.errors import SpecError
from weirdgen.run.plan.request import Settings, Until

if TYPE_CHECKING:
    from weirdgen.run.results.results import Run
    from weirdgen.stats.sequential import Decision

DOUBLINGS = 4
"""Looks at 1, 2, 4, 8 and 16 times the samples that are asked for."""
_FORM = re.compile(r"\s*(?:(?P<measure>[^\s<]+)\s+)?ci\s*<\s*(?P<half>\d*\.?\d+)\s*")


def with_until(settings: Settings, words: str) -> Settings:
    """Settings that sample until `words` holds: `ci<0.05`, or `JUDGE ci<0.05` where the headline is not sampled.

    The number is half the width of the interval of treatment − control, as a fraction for rates. Raises `SpecError` on
    other words, on a measure that is not sampled, with one replicate or without samples to begin with.
    """
    found = _FORM.fullmatch(words)
    judges = ", ".join(settings.experiment.judges) or "none"
    if found is None:
        raise SpecError([f"--until {words!r}: expected 'ci<0.05' or 'JUDGE ci<0.05' (judges: {judges})"])
    measure = found["measure"] or settings.headline.measure
    if measure not in settings.experiment.judges:
        reason = (
            f"{measure} is computed from log-probabilities, so more samples cannot narrow it"
            if measure in SCORED
            else f"there is no judge {measure!r}"
        )
        raise SpecError([f"--until {words!r}: {reason}; write 'JUDGE ci<{found['half']}' (judges: {judges})"])
    half = float(found["half"])
    if not half > 0:
        raise SpecError([f"--until {words!r}: expected a number above 0"])
    if settings.samples < 1:
        raise SpecError([f"--until {words!r}: with --samples 0 nothing is sampled; give the samples of the first look"])
    if len(settings.seeds) < 2:
        raise SpecError([f"--until {words!r}: one replicate an arm gives no interval; ask for --seeds 2 or more"])
    looks = tuple(settings.samples * 2**i for i in range(DOUBLINGS + 1))
    return replace(settings, until=Until(measure, half, looks))


def decision(run: Run) -> Decision:
    """Whether this run has samples enough. It must be at one of the looks."""
    from weirdgen.stats.sequential import decide

    settings, experiment = run.settings, run.settings.experiment
    until, headline = settings.until, settings.headline
    assert until is not None
    meant = headline if headline.measure == until.measure else headline.model_copy(
        update={"measure": until.measure, "groups": ()}
    )  # fmt: skip
    minus = experiment.condition_ids(*headline.minus)
    conditions = {*experiment.condition_ids(headline.condition), *minus}
    cells = run.cells()
    questions = [question.id for question in experiment.questions_of(meant)]
    return decide(
        cells[cells["condition"].isin(conditions) & cells["question"].isin(questions)],
        until.looks, until.half_width, measure=until.measure, treatment=headline.treatment, control=headline.control,
        minus=minus, scales=run.estimated.scales,
    )  # fmt: skip


def decision_line(found: Decision, until: Until) -> str:
    """What a look said, in a line."""
    half = f"known to ±{found.half_width:.3g}" if found.half_width == found.half_width else "without an interval"
    what = {
        "reached": "narrow enough",
        "more_samples": f"sampling more, probably to {found.suggested_samples}",
        "last_look": "the last look; more samples are not planned",
        "replicates_needed": "replicates differ too much: more samples cannot do it, more seeds can",
    }[found.reason]
    return f"{found.samples} samples: {until.measure} {half}, wanted ±{until.half_width:g}: {what}"


def until_words(until: Until, samples: int, level: float) -> str:
    """The sentence of the report: that sampling stopped by a rule, and what this does to the intervals."""
    looks = ", ".join(map(str, until.looks))
    return (
        f"Samples were added until the effect on {until.measure} was known to ±{until.half_width:g} (looks at {looks} samples; "
        f"it stopped at {samples}). So that looking repeatedly keeps the error rate, every interval here is one of "
        f"{100 * level:.1f}%."
    )
