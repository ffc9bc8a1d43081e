"""Changes of wording in the references' templates: `{name:cap}`, `{name:a+cap}`, `{count:words}`.

In: a record (column to text). Out: the filled template. English only, and only for the words of our own lists: articles
and plurals follow their regular rules and the exceptions below, not a dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
SMALL = {"a", "an", "and", "at", "by", "for", "in", "of", "on", "or", "the", "to", "with"}
AN = re.compile(
    r"(?!(?:u[bcs](?!h)[aeiou]|uni(?!n)|eu|one\b|once\b|uk\w*l))[aeiou]|hour|heir|honest|x-|X-|LED|LCD|SD |MP3", re.I
)
IRREGULAR = {
    "axe": "axes",
    "child": "children",
    "foot": "feet",
    "half": "halves",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "person": "people",
    "scarf": "scarves",
    "shelf": "shelves",
    "tooth": "teeth",
    "wife": "wives",
}
"""Of words and of what ends in one: `fisherman`, `bookshelf`."""


def fill(template: str, record: Mapping[str, str]) -> str:
    """The template with each `{column}` or `{column:change+change}` filled. Raises `KeyError` on an unknown one."""
    return template.format_map({column: _Text(value) for column, value in record.items()})


def article(text: str) -> str:
    """With `a` or `an` before it."""
    return f"{'an' if AN.match(text) else 'a'} {text}"


def plural(text: str) -> str:
    """The plural of a noun phrase: of its last word, of the word before `of`, `for`, `in`, …, or of both words of `x and y`."""
    if double := re.fullmatch(r"(\w+) and (\w+)", text):
        return f"{_plural_word(double[1])} and {_plural_word(double[2])}"
    joint = re.search(r" (of|for|in|on|with) ", text)
    end = joint.start() if joint else len(text)
    start, last = re.fullmatch(r"(.*[ -]|)(.*)", text[:end]).groups()  # type: ignore[union-attr]
    return start + _plural_word(last) + text[end:]


def words(text: str) -> str:
    """A whole number from 0 to 9,999 in words, as British English writes it."""
    number = int(text)
    if number >= 1000:
        rest = number % 1000
        joint = "" if not rest else f" and {words(str(rest))}" if rest < 100 else f" {words(str(rest))}"
        return f"{ONES[number // 1000]} thousand{joint}"
    if number >= 100:
        return f"{ONES[number // 100]} hundred" + (f" and {words(str(number % 100))}" if number % 100 else "")
    if number < 20:
        return ONES[number]
    return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")


def snake(text: str) -> str:
    """In lower case with underscores between the words."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def camel(text: str) -> str:
    """In camelCase."""
    first, *rest = snake(text).split("_")
    return first + "".join(word.capitalize() for word in rest)


def title(text: str) -> str:
    """Every word with a capital but the small ones inside; capitals that are there stay."""
    parts = text.split(" ")
    return " ".join(_cap(part) if i == 0 or part not in SMALL else part for i, part in enumerate(parts))


def last_first(text: str) -> str:
    """`silver birch` as `birch, silver`; a single word stays."""
    start, _, last = text.rpartition(" ")
    return f"{last}, {start}" if start else last


def _plural_word(word: str) -> str:
    if match := re.fullmatch(f"(.*)({'|'.join(IRREGULAR)})", word):
        return match[1] + IRREGULAR[match[2]]
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    return re.sub(r"([^aeiou])y$", r"\1ie", word) + "s"


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


CHANGES: dict[str, Callable[[str], str]] = {
    "a": article,
    "camel": camel,
    "cap": _cap,
    "comma": lambda text: f"{int(text):,}",
    "last_first": last_first,
    "lower": str.lower,
    "plural": plural,
    "snake": snake,
    "title": title,
    "upper": str.upper,
    "words": words,
}


class _Text(str):
    """Text whose format specification names changes, one after another."""

    def __format__(self, spec: str) -> str:
        text = str(self)
        for change in spec.split("+") if spec else ():
            text = CHANGES[change](text)
        return text
