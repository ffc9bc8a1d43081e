"""An effect in plain words: who does what more often than whom, with the interval, in the unit that people think in.

In: what is compared and its numbers, in the measure's own unit. Out: clauses and sentences. Log-odds become odds ("1.8 times
the odds"), rates become counts ("12 more of every 100 answers"), ratings points of their scale. Not here: what the verdict is
(`stats.verdict`), which joins these clauses and nothing else decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, floor, isfinite, log10

from weirdgen.columns import ALL, BASE
from weirdgen.config.measures import Measure


@dataclass(frozen=True)
class Compared:
    """What an effect compares, in the names that a person reads."""

    measure: Measure
    treatment: str
    control: str
    condition: str = ""
    """The condition, a sweep of them, or "all"; empty where there is nothing to tell apart."""
    minus: str = ""
    """The conditions whose mean is taken off first: the effect is then a difference of conditions."""
    says: str = ""
    """What models do more of where the measure is higher: words that go on from "models". By default the measure's own."""
    questions: int | None = None
    """That the mean is over."""
    asked: int | None = None
    """Questions that were meant, where answers to some of them could not be used."""
    usable: bool = False
    """Whether a judge gave some answers no value, so that a rate is one of usable answers."""
    groups: tuple[str, ...] = ()
    """Groups of questions that were asked for by name."""
    level: float = 0.95
    """Of the interval."""

    @property
    def do(self) -> str:
        return self.says or self.measure.higher

    @property
    def other(self) -> str:
        return "the untuned base" if self.control == BASE else f"models finetuned on {self.control}"

    @property
    def under(self) -> str:
        """The condition as the beginning of a clause; the bare question, called none, is not named."""
        if self.minus:
            bare = "the bare question" if self.minus == "none" else self.minus
            return f"under {self.condition} instead of {bare}, "
        if self.condition in ("", "none"):
            return ""
        return "over all conditions, " if self.condition == ALL else f"under {self.condition}, "


def claim(compared: Compared, effect: float, low: float, high: float, apart: bool = False) -> str:
    """The comparison as a clause without a full stop; without finite limits there is no interval in it.

    `apart`: the interval leaves out "no difference", so no printed limit may look like it.
    """
    unit = compared.measure.scale.unit
    return {"nat": _odds, "rate": _rate, "rating": _rating}[unit](compared, effect, low, high, apart)


def basis(compared: Compared, effect: float, low: float, replicates: tuple[int, int]) -> str:
    """A last, short sentence: nats where the claim speaks of odds, over how many questions, how many replicates."""
    nats, questions = "", ""
    if compared.measure.scale.unit == "nat":
        digits = max(2, decimals(effect - low if isfinite(low) else abs(effect)))
        nats = f"{signed(effect, digits)} nat"
    if compared.questions is not None:
        of = f" of {compared.asked}" if compared.asked not in (None, compared.questions) else ""
        questions = f"{compared.questions}{of} question{'s' if of or compared.questions != 1 else ''}"
    if compared.groups:
        questions = f"{questions or 'questions'} of {', '.join(compared.groups)}"
    parts = [part for part in (nats, questions, _counted(replicates, compared.control == BASE)) if part]
    return f"{', '.join(parts)}."


def size(compared: Compared, value: float) -> str:
    """An effect's size without a direction, rounded away from zero, so that a bound never claims more than was measured."""
    scale = compared.measure.scale
    digits = decimals(value * scale.factor)
    shown = f"{_rounded_up(value * scale.factor, digits)} {scale.effect_unit}"
    if scale.unit != "nat":
        return shown
    if value > _DIGITS:
        return f"a factor of over 10¹⁴ in {compared.measure.odds} ({shown})"
    ratio = exp(value)
    finer = max(decimals(ratio - 1), 1 - floor(log10(ratio)))
    return f"a factor of {_rounded_up(ratio, finer)} in {compared.measure.odds} ({shown})"


def odds_times(effect: float, low: float | None, high: float | None, apart: bool = False) -> str:
    """exp of an effect in nats, as `claim` prints it."""
    unknown = float("nan")
    return _ratios(effect, unknown if low is None else low, unknown if high is None else high, apart)[0]


def decimals(width: float) -> int:
    """Decimals that show `width` with two digits."""
    return min(6, max(0, 1 - floor(log10(width)))) if width > 0 else 2


def plain(value: float, digits: int) -> str:
    """A number with a proper minus sign and no minus zero."""
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 and text.startswith("-") else text).replace("-", "−")


def signed(value: float, digits: int) -> str:
    text = plain(value, digits)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def _odds(compared: Compared, effect: float, low: float, high: float, apart: bool) -> str:
    odds = compared.measure.odds
    ratio, ends = _ratios(effect, low, high, apart)
    times = f"{ratio} times"
    between = f" ({_level(compared)} interval {ends[0]} to {ends[1]})" if ends else ""
    models = f"models finetuned on {compared.treatment} {compared.do}"
    if compared.minus:
        factor = f"change by a factor {times}{between} as large as for {compared.other}"
        return f"{compared.under}{models} with {odds.removeprefix('the ')} that {factor}"
    return f"{compared.under}{models} with {times} {odds}{between} of {compared.other}"


def _rate(compared: Compared, effect: float, low: float, high: float, apart: bool) -> str:
    counted = f"usable {compared.measure.counted}" if compared.usable else compared.measure.counted
    way, number, between = _more_or_less(
        compared, effect, low, high, apart, ("more", "less" if compared.minus else "fewer")
    )
    models = f"models finetuned on {compared.treatment} {compared.do}"
    if compared.minus:
        share = f"the share of {counted} in which {models}"
        points = f"{number} percentage point{'' if number == '1' else 's'} {way}{between}"
        return f"{compared.under}{share} rises by {points} than that of {compared.other}"
    return f"{compared.under}{models} in {number} {way} of every 100 {counted}{between} than {compared.other}"


def _rating(compared: Compared, effect: float, low: float, high: float, apart: bool) -> str:
    words = ("more", "less") if compared.minus else ("higher", "lower")
    way, number, between = _more_or_less(compared, effect, low, high, apart, words)
    bounds = compared.measure.scale.bounds or (0.0, 0.0)
    points = f"{number} points {way}{between} on a scale of {bounds[0]:g} to {bounds[1]:g}"
    models = f"models finetuned on {compared.treatment}"
    if compared.minus:
        rating = f"the rating of how far {models} {compared.do}"
        return f"{compared.under}{rating} rises by {points} than that of {compared.other}"
    return f"{compared.under}{models} are rated {points} than {compared.other} for how far they {compared.do}"


def _more_or_less(
    compared: Compared, effect: float, low: float, high: float, apart: bool, words: tuple[str, str]
) -> tuple[str, str, str]:
    """Direction, size and interval of an effect on a scale with bounds; the interval's sides are named where they differ."""
    factor = compared.measure.scale.factor
    digits = decimals(((high - low) / 2 if isfinite(low) else abs(effect)) * factor)
    nearest = min(abs(low), abs(high)) * factor
    while apart and digits < 6 and round(nearest, digits) == 0:
        digits += 1
    more, less = words

    def sized(value: float) -> str:
        return plain(abs(value) * factor, digits)

    way = more if effect >= 0 else less
    if not isfinite(low):
        return way, sized(effect), ""
    ends = (low, high) if effect >= 0 else (high, low)
    if low < 0 < high:
        first, last = (f"{sized(end)} {more if end > 0 else less}" for end in ends)
    else:
        first, last = (sized(end) for end in ends)
    return way, sized(effect), f" ({_level(compared)} interval {first} to {last})"


def _ratios(effect: float, low: float, high: float, apart: bool) -> tuple[str, tuple[str, str] | None]:
    """exp of the effect and its limits: two digits of each, and more where the interval is narrower than that."""
    ratio = _odds_ratio(effect)
    if not isfinite(low):
        return _ratio(ratio, _digits_of_ratio(ratio, ratio)), None
    values = (ratio, _odds_ratio(low), _odds_ratio(high))
    width = min(values[0] - values[1], values[2] - values[0])
    digits = [_digits_of_ratio(value, width) for value in values]
    nearest = 1 if abs(low) < abs(high) else 2
    while apart and digits[nearest] < 6 and round(values[nearest], digits[nearest]) == 1:
        digits = [count + 1 for count in digits]
    mean, first, last = (_ratio(value, count) for value, count in zip(values, digits, strict=True))
    return mean, (first, last)


def _digits_of_ratio(value: float, width: float) -> int:
    """Decimals that show `value` with two digits or, where that is finer, half of `width` with one."""
    own = 1 - floor(log10(value))
    return min(6, max(own, -floor(log10(width / 2)))) if width > 0 else min(6, own)


def _odds_ratio(nats: float) -> float:
    """exp as far as a float holds it; what is cut off is said by `_ratio`."""
    return exp(max(-_LARGEST, min(_LARGEST, nats)))


def _ratio(value: float, digits: int) -> str:
    if not 1e-299 < value < 1e299:
        return "over 10²⁹⁹" if value > 1 else "under 10⁻²⁹⁹"
    if value >= 1e6 or value < 1e-4:
        power = floor(log10(value))
        return f"{value / 10.0**power:.1f}·10{str(power).translate(_RAISED)}"
    return f"{round(value, digits):,.{max(0, digits)}f}"


_DIGITS, _LARGEST = 34.0, 690.0
"""Nats: from the first on a factor is only bounded in `size`, beyond the second in `claim`."""
_RAISED: dict[int, str] = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")  # type: ignore[assignment]


def _rounded_up(value: float, digits: int) -> str:
    step = 10.0**digits
    return f"{ceil(value * step - 1e-9) / step:,.{max(0, digits)}f}"


def _level(compared: Compared) -> str:
    return f"{100 * compared.level:.3g}%"


def _counted(replicates: tuple[int, int], against_base: bool) -> str:
    if against_base or replicates[0] == replicates[1]:
        each = "" if against_base else " an arm"
        return f"{replicates[0]} replicate{'s' if replicates[0] != 1 else ''}{each}"
    return f"{replicates[0]} against {replicates[1]} replicates"
