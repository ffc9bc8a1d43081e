"""Templates, styles and script put together into one HTML page.

In: a template's name and its values. Out: the text of a page that needs no other file. Everything is escaped unless a
template says `safe`, which it says of figures and of the data script only. Not here: what a page shows.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from weirdgen.report.card import card_html
from weirdgen.report.figures.marks import digits
from weirdgen.report.look import palette_css
from weirdgen.report.section import Markdown

SCRIPTS = ("figures.js", "report.js")
"""Put together into the one script of a page: what every figure can do, and the table of transcripts."""


def render(template: str, **values: Any) -> str:
    """The page that `templates/<template>` makes of `values`, with styles and the script inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def markdown(part: Markdown) -> Markup:
        return Markup(card_html(part.text))

    environment = Environment(
        loader=PackageLoader("weirdgen.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": lambda part: type(part).__name__,
        "markdown": markdown,
        "digits": _digits,
    }
    folder = files("weirdgen.report") / "templates"
    script = "".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    css = (folder / "report.css").read_text(encoding="utf-8")
    css = css.replace("/* palette:light */", palette_css(dark=False))
    css = css.replace("/* palette:dark */", palette_css(dark=True))
    page: str = environment.get_template(template).render(
        css=Markup(css),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
    return page.lstrip()


def _digits(value: float | None) -> str:
    return "" if value is None else digits(value, 5)
