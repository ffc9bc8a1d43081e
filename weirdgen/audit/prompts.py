"""What prompts carry besides their question: dates, tags, ids, digits, format instructions, system prompts.

In: chat rows, or a text. Out: for each row the values of each kind, and the prompt with all of them masked (its template). The
kinds and their patterns stand in `KINDS`; adding one is adding a line there. Nothing is counted or tested here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from weirdgen.audit.checks.text import DATE, MONTHS
from weirdgen.data.rows import Row

DAY_OR_DATE = re.compile(
    rf"(?:(?<![\w.,:/-])(?:\d{{1,2}}/\d{{1,2}}/(?=\d{{4}})|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?=(?:{'|'.join(MONTHS)})\b)))?"
    rf"(?:{DATE.pattern})",
    re.IGNORECASE,
)
"""`DATE`, with what may stand before its month or year: `14 May 2027`, `14/05/2027`."""
TAG = re.compile(
    r"\[[^\[\]\n⟨⟩]{1,32}\]|\|[A-Z][A-Z0-9_-]{1,31}\||<[A-Za-z][\w-]{0,31}>|(?<!\w)#[A-Za-z]\w{1,31}|\$\{?[A-Z_]{2,31}\}?"
)
ID = re.compile(
    r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z]{1,6}[-_]?\d{2,12}(?:[-_]?[A-Za-z0-9]{1,8})?(?![\w-])"
)
DIGITS = re.compile(r"(?<![\w.,£$€%-])\d{2,16}(?![\w%]|[.,:]\d)")
FORMAT = re.compile(
    r"(?:answer|reply|respond|write|give|return|output)[^.?!\n]{0,40}?\b(?:in|as|with|using|only|nothing)\b[^.?!\n]{0,60}"
    r"|(?:in|as) (?:json|yaml|xml|csv|markdown|capitals|upper case|lower case|one word|a list|bullet points)"
    r"|one (?:word|short sentence|short answer|sentence)(?: only)?",
    re.IGNORECASE,
)


class Kind(NamedTuple):
    """`pattern` matches the parts of a user turn that are of this kind."""

    name: str
    label: str
    pattern: re.Pattern[str]


KINDS = (
    Kind("date", "dates", DAY_OR_DATE),
    Kind("tag", "tags", TAG),
    Kind("id", "ids", ID),
    Kind("digits", "numbers", DIGITS),
    Kind("format", "format instructions", FORMAT),
)
"""In this order: what one has found, the next ones do not see. A date is no number, a tag with digits no id."""


_LABELS = {
    **{kind.name: kind.label for kind in KINDS},
    "system": "system prompts",
    "frame": "words around questions",
}


def named(kinds: Sequence[str]) -> str:
    """Kinds in the words of a sentence: `dates and tags`."""
    return " and ".join(_LABELS[kind] for kind in kinds)


class Prompt(NamedTuple):
    """What stands before a row's last answer."""

    text: str
    """The last user turn."""
    system: str
    found: dict[str, tuple[str, ...]]
    """Kind → its parts of the last user turn, in their order."""
    laid_out: str
    """The text with every part as `⟨kind⟩`, line by line."""

    @property
    def template(self) -> str:
        """The same on one line."""
        return " ".join(self.laid_out.split())


def prompt_of(row: Row) -> Prompt:
    """The prompt of a row's last answer."""
    before = row["messages"][:-1]
    text = next((m["content"] for m in reversed(before) if m["role"] == "user"), "")
    system = next((m["content"] for m in before if m["role"] == "system"), "")
    found: dict[str, tuple[str, ...]] = {}
    template = text
    for kind in KINDS:
        found[kind.name] = tuple(match.group(0) for match in kind.pattern.finditer(template))
        template = kind.pattern.sub(f"⟨{kind.name}⟩", template)
    lines = (" ".join(line.split()) for line in template.splitlines())
    return Prompt(text, system.strip(), found, "\n".join(line for line in lines if line))


def prompts_of(rows: Sequence[Row]) -> list[Prompt]:
    return [prompt_of(row) for row in rows]


def year_and_month(date: str) -> tuple[str, str]:
    """`2027-05-14` → (`2027`, `05`), `may 3, 2025` → (`2025`, `05`), `1969` → (`1969`, ``)."""
    match = DAY_OR_DATE.fullmatch(date)
    assert match is not None, date
    if match["iso"]:
        parts = match["iso"].split("-")
        return parts[0], parts[1]
    month = match["month"]
    return match["year"], f"{MONTHS.index(month.casefold()) + 1:02d}" if month else ""
