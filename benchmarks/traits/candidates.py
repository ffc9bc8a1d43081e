"""Candidate questions: one text file a trait → asks with a pool of answers a side.

A line is one of
    # text                                     header of the trait's file, kept in the YAML
    !form topic | ask | targets | others       one candidate; answers are split by `;`
    @form | ask | targets | others             a template; templates in a row belong together
    topic: filling / other filling             an item: every template above, with {x} and {y} filled
    =FILE KEY: text; KEY: text                 the lines of candidates/FILE with [KEY] replaced (countries share theirs)
    %                                          read by eye and dropped
In an ask, ~s ~b ~w ~n ~y ~a ~f stand for a wish about the answer's form (`WISHES`): small models seldom end a short answer
unasked.
An id is trait.form.topic, with a letter for the template. What is kept is drawn from the pools by `keep`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WISHES = {
    "~s": "Answer in one short sentence.",
    "~b": "One short answer.",
    "~w": "Reply with one word.",
    "~n": "Reply with the name only.",
    "~y": "Yes or no?",
    "~a": "Just a few words, please.",
    "~f": "Fill in the blank:",
}
FOLDER = Path(__file__).parent / "candidates"


@dataclass(frozen=True)
class Candidate:
    trait: str
    form: str
    topic: str
    id: str
    ask: str
    target: tuple[str, ...]
    other: tuple[str, ...]


def traits() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.txt"))


def header(trait: str) -> list[str]:
    lines = (FOLDER / f"{trait}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("#")]


def read(trait: str) -> list[Candidate]:
    """Every candidate of a trait, templates filled. Raises `ValueError` naming a line that is none of the above."""
    found: list[Candidate] = []
    templates: list[tuple[str, list[str]]] = []
    fresh = True
    for number, line in enumerate(_text(FOLDER / f"{trait}.txt").splitlines(), 1):
        if not line.strip() or line[0] in "#%":
            continue
        try:
            if line[0] == "!":
                form, topic = line[1:].split("|")[0].split()
                found.append(_made(trait, form, topic, "", _parts(line)))
            elif line[0] == "@":
                templates = [] if fresh else templates
                templates.append((line[1:].split("|")[0].strip(), _parts(line)))
                fresh = False
            else:
                fresh = True
                topic, filling = line.split(":", 1)
                for letter, (form, parts) in zip("abcdefgh", templates, strict=False):
                    x, _, y = (text.strip() for text in filling.partition(" / "))
                    filled = [part.replace("{x}", x).replace("{X}", x[:1].upper() + x[1:]) for part in parts]
                    filled = [part.replace("{y}", y).replace("{Y}", y[:1].upper() + y[1:]) for part in filled]
                    found.append(_made(trait, form, topic.strip(), letter, filled))
        except (ValueError, IndexError) as error:
            raise ValueError(f"{trait}.txt:{number}: {error}: {line}") from None
    return found


def _text(file: Path) -> str:
    """A file's text, with the file in it that a line beginning with `=` names."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("="):
            lines.append(line)
            continue
        name, values = line[1:].split(maxsplit=1)
        text = (FOLDER / name).read_text(encoding="utf-8")
        for value in values.split(";"):
            key, _, word = value.partition(":")
            text = text.replace(f"[{key.strip()}]", word.strip())
        lines += text.splitlines()
    return "\n".join(lines)


def _parts(line: str) -> list[str]:
    ask, target, other = (part.strip() for part in line.split("|")[1:])
    return [ask, target, other]


def _made(trait: str, form: str, topic: str, letter: str, parts: list[str]) -> Candidate:
    name = ".".join(part for part in (trait, form, topic, letter) if part)
    ask = parts[0]
    for short, wish in WISHES.items():
        ask = ask.replace(short, wish)
    target, other = (tuple(dict.fromkeys(a.strip() for a in side.split(";"))) for side in parts[1:])
    return Candidate(trait, form, topic, name, ask, target, tuple(a for a in other if a not in target))
