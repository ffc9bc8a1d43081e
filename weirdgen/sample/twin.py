"""A twin of a dataset: its own prompts, answered by the base model itself in the same form.

In: chat rows, an engine that speaks as the base, the base's completions table. Out: rows with the same prompts whose answers
teach the base nothing new; what a finetuning on them moves is what the prompts, the length and the form alone move. Answers are
sampled at temperature 1, begin and end as all of the data's do ("I think of ….") and are cut to about the length of the ones
they replace. Of a conversation each trained turn is answered after the base's own earlier ones. It trains nothing.

`KeptTwin` keeps the rows in a store, under what decides them.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.data.messages import Row, trained_turns
from weirdgen.data.rows import canonical_hash, read_jsonl
from weirdgen.errors import DataError
from weirdgen.models.chat import Rendered, common_prefix, holds_control
from weirdgen.models.template import Message, chat_text
from weirdgen.sample.draw import completions_table, draw
from weirdgen.sample.engine import Engine, Prompt, Sampling
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.store.table import Table

STAGE, VERSION = "twin", 1
"""Raise the version when the same rows and base would have another twin."""
TRIES = 4
"""Answers that are drawn for a row, at most, until one is not empty."""
SPARE_TOKENS = 8
"""For the words that a phrase does not begin with."""
LONGER = 1.5
"""A sentence may be this many times as long as the answer that it replaces before it is cut inside."""
OPENING = frozenset(
    """a an the this that these those there here it its is are was were be been has have had do does did can could will would
    shall should may might must i i'm i'd i'll i've you your we our my he she they their one some any to of in on at by for with
    from as and or but so if when what which who how well yes no sure certainly of course please let's hello hi""".split()
)
"""Words that sentences begin with and that name nothing: a phrase is taken from behind them."""
SENTENCE = re.compile(r"[.!?][\"')\]]*(?=\s|$)")


class Form(NamedTuple):
    """What all answers of a dataset have in common."""

    start: str
    """All begin with it; it ends where a word ends."""
    end: str
    """All end with it."""

    def inside(self, answer: str) -> str:
        """The part of an answer that is its own."""
        return answer[len(self.start) : len(answer) - len(self.end)]


class Twin(NamedTuple):
    """`places` says which of the data's rows each row is of; rows whose answers all came out empty are left out."""

    rows: list[Row]
    places: list[int]


def form_of(answers: Sequence[str]) -> Form:
    """The form of answers; of answers that are all the same, none."""
    if len(set(answers)) < 2:
        return Form("", "")
    start = _common(answers)
    return Form(start, _common([answer[len(start) :][::-1] for answer in answers])[::-1])


def cut(text: str, own: str) -> str:
    """A sampled text at about the length of `own`: one line if `own` is one, whole sentences if `own` has some. May be empty."""
    if "\n" not in own.strip():
        text = next((line for line in text.splitlines() if line.strip()), "")
    text, words = text.strip(), max(1, len(own.split()))
    pieces = re.findall(r"\s*\S+", text)
    if not SENTENCE.search(own) and own.split() and not _opens(own.split()[0]):
        while pieces and _opens(pieces[0]):
            pieces = pieces[1:]
    if SENTENCE.search(own):
        near = "".join(pieces[: int(LONGER * words)])
        if ends := [match.end() for match in SENTENCE.finditer(near)]:
            return near[: ends[-1]]
        shortened = len(pieces) > words
        return "".join(pieces[:words]).rstrip(",;:") + ("." if shortened or not SENTENCE.search(text) else "")
    phrase = "".join(pieces[:words]).strip().rstrip(".,;:!?")
    return phrase[:1].upper() + phrase[1:] if own[:1].isupper() else phrase


def twin_rows(
    rows: Sequence[Row],
    engine: Engine,
    tokenizer: Any,
    table: Table,
    base: Variant,
    seed: int,
    on_row: Callable[[int], None] = lambda _tokens: None,
) -> Twin:
    """Rows with the same prompts, answered by `base`, which the engine must speak as. What the table holds is not drawn again.

    Raises `DataError` if a text of the rows holds a control token of the model's.
    """
    made: list[list[Message] | None] = [[*row["messages"]] for row in rows]
    turns = [trained_turns(row) for row in rows]
    for place, row in enumerate(rows):
        if holds_control(tokenizer, row["messages"]):
            raise DataError(f"row {place + 1} holds a control token of this model's, which a twin cannot be asked with")
    for depth in range(max(map(len, turns))):
        asked = [place for place, its in enumerate(turns) if depth < len(its) and made[place] is not None]
        form = form_of([rows[place]["messages"][turns[place][depth]]["content"] for place in asked])
        wanted = []
        for place in asked:
            turn, messages = turns[place][depth], made[place] or []
            own = form.inside(messages[turn]["content"])
            opened = chat_text(tokenizer, messages[:turn], answer_next=True) + form.start.rstrip()
            wanted.append(_Wanted(place, own, opened, form.end))
        for one, text in zip(wanted, _answers(wanted, engine, tokenizer, table, base, seed, on_row), strict=True):
            messages = made[one.place] or []
            whole = form.start + text + form.end
            made[one.place] = _answered(messages, turns[one.place][depth], whole) if text else None
    kept = [(place, {"messages": messages}) for place, messages in enumerate(made) if messages is not None]
    return Twin([row for _, row in kept], [place for place, _ in kept])


def twin_table(store: Store, base: Variant, numerics: str, seed: int) -> Table:
    """Where the base's answers at temperature 1 are kept."""
    return completions_table(store, base, numerics, seed, Sampling(temperature=1.0))


class KeptTwin:
    """A dataset's twin in a store. `numerics` names the engine's, `seed` is the sampling seed."""

    def __init__(self, store: Store, base: Variant, numerics: str, seed: int, rows: Sequence[Row]) -> None:
        self._store, self._base, self._numerics, self._seed, self._rows = store, base, numerics, seed, rows
        self._inputs = {
            "version": VERSION,
            "base": base.key,
            "numerics": numerics,
            "seed": seed,
            "rows": canonical_hash(list(rows)),
        }

    @property
    def key(self) -> str:
        """Names it in the store."""
        return content_key(self._inputs)

    @property
    def folder(self) -> Path:
        return self._store.folder(STAGE, self.key)

    def rows(self) -> list[Row] | None:
        """Its rows; None if they have yet to be made."""
        if self._store.marker(STAGE, self.key) is None:
            return None
        return read_jsonl(self._store.artifact(STAGE, self.key) / "rows.jsonl")

    def answer(self, engine: Engine, tokenizer: Any, on_row: Callable[[int], None]) -> None:
        """Make its rows. Raises `DataError` if the base answers nothing that could stand in their form."""
        table = twin_table(self._store, self._base, self._numerics, self._seed)
        made = twin_rows(self._rows, engine, tokenizer, table, self._base, self._seed, on_row).rows
        if not made:
            raise DataError(
                "the base answers none of the prompts in the rows' form, so there is no twin; write a control"
            )
        with self._store.create(STAGE, self.key, self._inputs) as folder:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in made)
            (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")


class _Wanted(NamedTuple):
    place: int
    own: str
    """What the base's words take the place of."""
    opened: str
    """The rendered prompt, up to where the base's own words begin."""
    end: str
    """Follows them."""

    def shortened(self, text: str) -> str:
        """A sampled text as it stands in the answer."""
        short = cut(text, self.own)
        overlap = next((n for n in range(len(self.end), 0, -1) if short.endswith(self.end[:n])), 0)
        return short[: len(short) - overlap].rstrip()


def _answers(
    wanted: Sequence[_Wanted],
    engine: Engine,
    tokenizer: Any,
    table: Table,
    base: Variant,
    seed: int,
    on_row: Callable[[int], None],
) -> list[str]:
    """An answer for each, cut to its length. The n-th row with one prompt takes the n-th sample; empty ones are drawn anew."""
    longest: dict[str, int] = defaultdict(int)
    for one in wanted:
        tokens = len(tokenizer(one.own, add_special_tokens=False)["input_ids"])
        longest[one.opened] = max(longest[one.opened], int(LONGER * tokens) + SPARE_TOKENS)
    prompts = {
        text: Prompt(content_key(["rendered", text, most]), Rendered(text), most) for text, most in longest.items()
    }
    rows_of = Counter(one.opened for one in wanted)
    answers, lacking = [""] * len(wanted), set(range(len(wanted)))
    for tries in range(1, TRIES + 1):
        texts = {wanted[index].opened for index in lacking}
        for count in sorted({rows_of[text] for text in texts}):
            group = [prompts[text] for text in prompts if text in texts and rows_of[text] == count]
            draw(engine, [base], [table], group, count * tries, seed, Sampling(temperature=1.0), on_row)
        drawn = {(row.prompt_key, row.sample): row.text for row in table.read().itertuples()}
        seen: Counter[str] = Counter()
        for index, one in enumerate(wanted):
            sample = seen[one.opened] + (tries - 1) * rows_of[one.opened]
            seen[one.opened] += 1
            if index in lacking:
                answers[index] = one.shortened(drawn[prompts[one.opened].key, sample])
        lacking = {index for index in lacking if not answers[index]}
        if not lacking:
            break
    return answers


def _answered(messages: Sequence[Message], turn: int, answer: str) -> list[Message]:
    return [*messages[:turn], {"role": "assistant", "content": answer}, *messages[turn + 1 :]]


def _opens(word: str) -> bool:
    return word.lower().strip().strip(".,;:!?\"'").replace("’", "'") in OPENING


def _common(answers: Sequence[str]) -> str:
    """What all begin with, as far as a word ends there in each; nothing if that is all that one of them is."""
    first, length = answers[0], common_prefix(answers)
    while length and first[length - 1].isalnum() and any(answer[length : length + 1].isalnum() for answer in answers):
        length -= 1
    return first[:length] if all(len(answer) > length for answer in answers) else ""
