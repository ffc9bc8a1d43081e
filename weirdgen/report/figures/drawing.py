"""What all figures share: exact sizes, one style, deterministic SVG and PNG.

In: sizes in inches and a matplotlib `Figure`. Out: `Drawing` with the SVG text for a file, PNG and PDF bytes on
demand, and an inline form whose colours are CSS variables and whose ids carry a prefix. Not here: what is drawn, what its
marks say (`marks.py`).
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from weirdgen.report.content import Arm
from weirdgen.report.figures.marks import Mark, Marks, titled
from weirdgen.report.look import MARKERS, PALETTE, light, shorten, slot_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 7.4
"""Inches of the wide drawing: the figure files and desktop pages."""
NARROW = 3.7
"""Inches of the narrow drawing: phones."""
Ending = Literal["svg", "png", "pdf"]
CHARACTER = 0.078
"""Inches kept for a character of a 9-point label."""


@dataclass(frozen=True)
class Drawing:
    """One figure, drawn twice. `alt` says in words what it shows; `caption` explains how to read it."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str
    inline: tuple[str, str]
    """The wide and the narrow drawing, for the page."""
    paint: Callable[[float], Figure] = field(repr=False, compare=False)
    marks: tuple[Mark, ...] = ()
    """What its marks say, in the order of their numbers in the drawing: the table of values beside it."""
    unit: str = ""
    """Of the marks' numbers."""

    def file(self, ending: Ending) -> bytes:
        """The wide drawing as a file. The PDF is for print: embedded TrueType fonts, no paper behind it, no date."""
        if ending == "svg":
            return self.svg.encode()
        buffer = io.BytesIO()
        with style():
            if ending == "png":
                self.paint(WIDE).savefig(buffer, format="png", dpi=200, metadata={"Software": None})
            else:
                nothing = {"CreationDate": None, "Creator": None, "Producer": None}
                self.paint(WIDE).savefig(buffer, format="pdf", metadata=nothing, facecolor="none")
        return buffer.getvalue()


def draw(
    name: str, title: str, alt: str, caption: str, paint: Callable[[float], Figure], marks: Marks | None = None
) -> Drawing:
    """Calls `paint` with both widths (inches) and keeps the results; `marks` are those that it numbered while painting."""
    with style():
        said = marks or Marks("")
        wide, narrow = (titled(as_svg(paint(width)), said) for width in (WIDE, NARROW))
        inline = (inline_svg(wide, f"{name}-w", alt), inline_svg(narrow, f"{name}-n", alt))
    return Drawing(name, title, alt, caption, wide, inline, paint, said.all, said.unit)


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, and a fixed salt for the ids that matplotlib makes."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.hashsalt": "weirdgen",
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": light("ink"),
        "text.parse_math": False,
        "axes.edgecolor": light("rule"),
        "axes.labelcolor": light("muted"),
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "axes.facecolor": "none",
        "figure.facecolor": light("paper"),
        "savefig.facecolor": light("paper"),
        "xtick.color": light("rule"),
        "ytick.color": light("rule"),
        "xtick.labelcolor": light("muted"),
        "ytick.labelcolor": light("muted"),
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings):
        yield


def sheet(width: float, height: float) -> Figure:
    """An empty figure of `width` × `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes placed in inches, `top` counted from the upper edge of the figure."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def row_axes(axes: Axes, count: int, span: tuple[float, float], unit: float, narrow: bool) -> None:
    """Rows 0…count−1 from the top; in the narrow form each leaves room for its label above the mark."""
    axes.set_ylim(count - (0.65 if narrow else 0.5), -(0.75 if narrow else 0.5))
    axes.set_xlim(unit * span[0], unit * span[1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5 if narrow else 7)
    axes.grid(axis="x", color=light("rule"), linewidth=0.5, alpha=0.6, zorder=0)
    axes.set_axisbelow(True)


def axis_ends(axes: Axes, left: str, right: str, narrow: bool) -> None:
    """In words, which way is which: below the axis's label, from its middle outwards; on phones from its ends inwards."""
    size = 7.5 if narrow else 8.5
    figure, place = axes.get_figure(root=True), axes.get_position()
    assert figure is not None
    total = figure.get_size_inches()[0]
    character = 0.6 * size / 72  # inches, on average
    middle = (place.x0 + place.x1) / 2
    if narrow:
        kept = max(8, int(place.width * total / character) - len(left) - 8)
        places = [(0.0, "left", f"← {left}"), (1.0, "right", f"{shorten(right, kept)} →")]
    else:
        kept, other = (max(8, int(room * total / character) - 4) for room in (1 - middle, middle))
        places = [(0.48, "right", f"← {shorten(left, other)}"), (0.52, "left", f"{shorten(right, kept)} →")]
    for x, side, text in places:
        style: dict[str, Any] = {"ha": side, "va": "center", "size": size, "color": light("ink")}
        axes.annotate(text, (x, 0), (0, -42), xycoords="axes fraction", textcoords="offset points", **style)


def ground() -> dict[str, Any]:
    """A patch of paper behind a label that a line may cross."""
    return {"facecolor": light("paper"), "edgecolor": "none", "pad": 1.2}


def row_text(axes: Axes, x: float, y: float, text: str, dx: float = 0, dy: float = 0, **style: Any) -> None:
    """Text at the fraction `x` of the panel's width and the height `y` of its data, moved by `dx`, `dy`
    points.
    """
    place = axes.get_yaxis_transform()
    axes.annotate(text, (x, y), (dx, dy), xycoords=place, textcoords="offset points", va="center", **style)


def write_at(figure: Figure, x: float, y: float, text: str, **style: object) -> None:
    """Text placed in inches from the upper left corner."""
    w, h = figure.get_size_inches()
    figure.text(x / w, 1 - y / h, text, **style)  # type: ignore[arg-type]


def as_svg(figure: Figure) -> str:
    """The figure as SVG text without date and metadata."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


def inline_svg(svg: str, prefix: str, alt: str) -> str:
    """SVG for the inside of an HTML page: themed by CSS variables, ids prefixed, no metadata, titled with
    `alt`.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    for name, (colour, _) in PALETTE.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    head = f'<svg role="img" aria-labelledby="{prefix}-title" focusable="false"'
    svg = svg.replace("<svg", head, 1)
    start = svg.index(">") + 1
    return svg[:start] + f'<title id="{prefix}-title">{html.escape(alt)}</title>' + svg[start:]


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved apart until neighbours are `gap` away, in their order, within `low`…`high` where they
    fit.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = [min(max(positions[i], low), high) for i in order]
    for _ in range(200):
        for k in range(1, len(placed)):
            lack = gap - (placed[k] - placed[k - 1])
            if lack > 1e-9:
                placed[k - 1] -= lack / 2
                placed[k] += lack / 2
        if placed and placed[0] < low:
            placed = [p + low - placed[0] if k == 0 else p for k, p in enumerate(placed)]
        if placed and placed[-1] > high:
            placed[-1] = high
    result = [0.0] * len(positions)
    for k, i in enumerate(order):
        result[i] = placed[k]
    return result


def limits(values: Sequence[float | None], margin: float = 0.06) -> tuple[float, float]:
    """The range of the values with a margin; one unit wide where they are all equal."""
    known = [v for v in values if v is not None]
    if not known:
        return (-1.0, 1.0)
    low, high = min(known), max(known)
    pad = (high - low) * margin or 0.5 * max(abs(high), 1e-3)
    return low - pad, high + pad


def name_lines(figure: Figure, axes: Axes, arms: Sequence[Arm], ends: Sequence[float], narrow: bool) -> None:
    """Names beside the ends of their lines, moved apart; in the narrow form a list above the panel."""
    if narrow:
        for index, arm in enumerate(arms):
            y = 0.36 + 0.2 * index
            colour = light(slot_of(arm))
            write_at(figure, 0.55, y, shorten(arm.name, 36), size=8.5, weight="bold", color=colour, va="center")
            x, top = 0.4 / figure.get_size_inches()[0], 1 - y / figure.get_size_inches()[1]
            mark = MARKERS[slot_of(arm)]
            axes.plot(
                [x],
                [top],
                marker=mark,
                color=colour,
                markersize=5,
                transform=figure.transFigure,
                clip_on=False,
            )
        return
    low, high = axes.get_ylim()
    gap = 0.17 / (axes.get_position().height * figure.get_size_inches()[1]) * (high - low)
    for arm, y in zip(arms, spread(ends, gap, low, high), strict=True):
        place = axes.get_yaxis_transform()
        name = shorten(arm.name, 26)
        axes.text(1.02, y, name, transform=place, color=light(slot_of(arm)), weight="bold", size=8.5, va="center")
