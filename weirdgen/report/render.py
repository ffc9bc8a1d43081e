"""Templates, styles and script put together into one HTML page.

In: a template's name and its values. Out: the text of a page that needs no other file. Everything is escaped unless a template
says `safe`, which it says of figures and of the data script only; of Markdown, headings, lists, paragraphs, tables and web
links are rendered, and nothing else. Not here: what a page shows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from weirdgen.report.figures.marks import digits
from weirdgen.report.look import palette_css
from weirdgen.report.section import Markdown

if TYPE_CHECKING:
    from markdown_it.token import Token

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


def card_html(markdown: str) -> str:
    """An experiment's card as safe HTML. Headings move two levels down, below the section that holds them.

    Raw HTML is shown as text, images become their description, and links that are not `http(s)` become plain text, since the page
    must open from anywhere without its neighbours.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        token.children = _tame(token.children) if token.children else token.children
    page = str(parser.renderer.render(tokens, parser.options, {}))
    frame = '<div class="scroll" role="region" aria-label="Table of the card" tabindex="0"><table>'
    return page.replace("<table>", frame).replace("</table>", "</table></div>")


def _tame(children: Sequence[Token]) -> list[Token]:
    tame, plain = [], []
    for token in children:
        if token.type == "image":
            token.type, token.tag, token.nesting, token.attrs, token.children = "text", "", 0, {}, None
        elif token.type == "link_open":
            href = str(token.attrs.get("href", ""))
            plain.append(not href.startswith(("http://", "https://")))
            token.attrs = {} if plain[-1] else {"href": href, "rel": "noopener noreferrer"}
            token.tag = "span" if plain[-1] else "a"
        elif token.type == "link_close" and plain.pop():
            token.tag = "span"
        tame.append(token)
    return tame
