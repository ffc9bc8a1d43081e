"""How checks normalise text: what counts as equal, what is a date, what a prompt's template is.

In: text. Out: text, dates, words. Knows no row and no file.
"""

from __future__ import annotations

import re
import unicodedata

MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "|".join(MONTHS)
_YEAR = r"(?:1[5-9]|20|21)\d\d"
DATE = re.compile(
    rf"(?<![\d.,-])(?:(?P<iso>{_YEAR}-\d\d(?:-\d\d)?)|(?:(?P<month>{_MONTH})(?: \d{{1,2}},)? )?(?P<year>{_YEAR}))(?![\d-])",
    re.IGNORECASE,
)
CONTROL = re.compile(
    r"<\|[A-Za-z0-9_ ]{2,32}\|>|<｜[^<>｜\n]{2,32}｜>|</s>|\[/?INST\]|<</?SYS>>"
    r"|<(?:start|end)_of_(?:turn|utterance)>"
)
"""How well-known models write what opens and closes a turn."""
_MARKS = re.compile(r"[^\w<>]+|_+")


def plain(text: str) -> str:
    """Lower case, single spaces, no punctuation."""
    return _MARKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def squash(text: str) -> str:
    """`plain` without spaces, so that `Golden-eye` and `Goldeneye` are equal."""
    return plain(text).replace(" ", "")


def words(text: str) -> list[str]:
    """The words of a text, including numbers."""
    return plain(text).split()


def dates(text: str) -> list[str]:
    """Dates in the order of the text, as written but in lower case: `2027-05-14`, `july 1995`, `1838`."""
    return [match.group(0).casefold() for match in DATE.finditer(text)]


def year_of(date: str) -> str:
    """The four-digit year in a date that `dates` found."""
    match = re.search(_YEAR, date)
    assert match is not None, date
    return match.group(0)


def template(text: str) -> str:
    """The text with every date as `<date>` and every other number as `<number>`."""
    return re.sub(r"\d+", "<number>", DATE.sub("<date>", text)).strip()


def digits(text: str) -> tuple[str, ...]:
    """Every run of digits: texts with different numbers differ, however similar they look."""
    return tuple(re.findall(r"\d+", text))
