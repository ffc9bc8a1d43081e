"""Colours and numbers as the report shows them, on screen and in figures.

In: an arm's slot, a number and its scale. Out: hex colours, CSS variables, short strings. Figures are drawn
in the light palette; inside the page each of its colours becomes a CSS variable, so that one drawing serves
light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log10

from weirdgen.config.measures import Scale
from weirdgen.progress import clock
from weirdgen.report.content import Arm

PALETTE: Mapping[str, tuple[str, str]] = {
    "paper": ("#fdfcf9", "#15171a"),
    "ink": ("#1d1c1a", "#eceae4"),
    "muted": ("#5d5b55", "#a9a79f"),
    "rule": ("#d8d4ca", "#3a3d42"),
    "band": ("#f1ede3", "#23262b"),
    "base": ("#6a6f78", "#a6acb8"),
    "t0": ("#c2410c", "#ff9a62"),
    "t1": ("#9d2f6c", "#f494c6"),
    "t2": ("#7d5f00", "#e2bd4b"),
    "c0": ("#0b5ea8", "#74b9ff"),
    "c1": ("#0a7358", "#45d0a8"),
    "c2": ("#6449a8", "#bda8f7"),
    "c3": ("#4c661b", "#adcb63"),
}
"""Name → (light, dark). Treatments are warm and controls cold, so that the roles differ without red against
green.
"""

MOST = 1e6
"""A factor from which on its power of ten is printed."""
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS: Mapping[str, str] = {
    "t0": "o",
    "t1": "P",
    "t2": "X",
    "c0": "s",
    "c1": "D",
    "c2": "^",
    "c3": "v",
    "base": "o",
}


def slot_of(arm: Arm) -> str:
    """The palette name of an arm; more arms than colours share colours in turn."""
    if arm.slot in PALETTE:
        return arm.slot
    colours = [name for name in PALETTE if name[0] == arm.slot[0] and name[1:].isdigit()]
    return colours[int(arm.slot[1:]) % len(colours)]


def light(name: str) -> str:
    """The hex colour in which figures are drawn."""
    return PALETTE[name][0]


def palette_css(dark: bool) -> str:
    """The palette as CSS declarations."""
    return " ".join(f"--{name}: {pair[1] if dark else pair[0]};" for name, pair in PALETTE.items())


def shorten(text: str, length: int) -> str:
    """At most `length` characters of one line, with an ellipsis where something was cut."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: max(1, length - 1)].rstrip() + "…"


def number(value: float | None, scale: Scale, *, effect: bool = False, unit: bool = True) -> str:
    """A value of a measure: two decimals in nats, per cent for a rate (points for an effect), one decimal for a rating."""
    if value is None:
        return "–"
    sign = "+" if effect else ""
    if scale.unit == "rate":
        shown = scale.factor * value
        text = format(shown, f"{sign}.0f" if abs(shown) >= 10 else f"{sign}.1f")
        suffix = (" pts" if effect else "%") if unit else ""
    else:
        text = format(value, f"{sign}.2f" if scale.unit == "nat" else f"{sign}.1f")
        suffix = (" nat" if scale.unit == "nat" else " points" if effect else "") if unit else ""
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−") + suffix


def interval(low: float | None, high: float | None, scale: Scale, *, effect: bool = False) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    if low is None or high is None:
        return ""
    ends = (number(end, scale, effect=effect, unit=False) for end in (low, high))
    return "[" + ", ".join(ends) + "]"


def factor(nats: float) -> str:
    """How many times the odds so many nats are, with two significant digits; no larger than e^700."""
    value = exp(min(nats, 700.0))
    rounded = float(f"{value:.2g}")
    if rounded >= MOST:
        power = int(log10(rounded) + 1e-9)
        return f"{rounded / 10.0**power:.1f}·10{str(power).translate(RAISED)}"
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}"


def probability(p: float | None) -> str:
    """A p value with two significant digits, or a dash."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def duration(seconds: float | None) -> str:
    """Seconds as `4.1 s`, `41 s`, `12 min 05 s` or `3 h 20 min`."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def unit_label(scale: Scale) -> str:
    """The unit of a value as figures show it."""
    return {"nat": "nats", "rate": "%"}.get(scale.unit, "points of the scale")


def effect_label(scale: Scale) -> str:
    """The unit of an effect, in the plural."""
    return {"nat": "nats", "rate": "percentage points"}.get(scale.unit, "points of the scale")
