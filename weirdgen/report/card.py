"""The experiment's card as HTML, from a small, safe part of Markdown.

In: Markdown text. Out: safe HTML. Rendered are headings, lists, paragraphs, tables and web links, and nothing else: raw HTML is
shown as text, images become their description, and links that are not `http(s)` become plain text, since the page must
open from anywhere without its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token


def card_html(markdown: str) -> str:
    """Renders the card; headings move two levels down, below the section that holds them."""
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
