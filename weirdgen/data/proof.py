"""The template and mask proof: before training, show that the trained tokens are the ones meant.

In: rows and a tokenizer. Out: `Encoded` rows (token ids and which of them are trained) and a `Proof` with counts, notes and a
digest. Fails closed: `RowError` shows the first offending row token by token. Checked on every row:
the prompt is a token prefix of the example; one BOS where the model has one; every trained answer's text is what is trained,
up to and including its end-of-turn token; nothing else is; at least one trained token; no turn is left out; the row fits the
model and its embedding. Texts are compared as the tokenizer normalises them.
Padding cannot mask a trained token, because what is trained is kept by position, never by token id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from weirdgen.data.messages import Row, trained_turns
from weirdgen.errors import DataError, ModelError
from weirdgen.models.chat import (
    THOUGHT,
    Encoded,
    common_prefix,
    continuation,
    holds_control,
    render,
    require_no_end,
)
from weirdgen.models.ends import end_of_turn_ids, end_of_turn_note, no_end_of_turn
from weirdgen.models.template import Messages, chat_text, date_told

NO_LIMIT = 2**62
MOST_OTHERS = 8
"""Failing rows that are told in a line each, behind the first one with its tokens."""


@dataclass(frozen=True)
class Proof:
    """What the proof counted. `digest` covers every token and mask bit, so equal digests mean equal training input."""

    rows: int
    tokens: int
    trained_tokens: int
    longest: int
    shared_prefix: int
    """Tokens that all rows begin with."""
    digest: str
    date: str | None = None
    """The day (ISO) that the template prints into every row, None if it prints none."""
    control_texts: int = 0
    """Rows whose texts hold control tokens, which are spelled out."""
    notes: tuple[str, ...] = ()
    """What holds and is worth knowing, a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}


class RowError(DataError):
    """A row that fails. `index` counts rows from 0; `reason` says why without saying where."""

    def __init__(
        self, index: int, row: Row, place: str, reason: str, tokens: str = "", arm: str = "", more: Sequence[str] = ()
    ) -> None:
        self.index, self.row, self.place, self.reason, self.tokens, self.arm = index, row, place, reason, tokens, arm
        self.more = tuple(more)
        """Of the other rows that fail, a line for each."""
        message = "\n".join([f"template proof failed at {place}: {reason}", *([tokens] if tokens else []), *more])
        super().__init__(f"arm {arm}: {message}" if arm else message)

    def at(self, place: str, arm: str) -> RowError:
        """The same failure of an arm's row that stands there."""
        return RowError(self.index, self.row, place, self.reason, self.tokens, arm, self.more)

    def with_others(self, others: Sequence[RowError]) -> RowError:
        """The same failure, with the rows that fail besides."""
        more = [f"  also {other.place}: {other.reason}" for other in others[:MOST_OTHERS]]
        more += [f"  and {left} more rows"] if (left := len(others) - MOST_OTHERS) > 0 else []
        return RowError(self.index, self.row, self.place, self.reason, self.tokens, self.arm, more)


@dataclass
class _Seen:
    """What was noticed on the way, for the notes."""

    control: int = 0
    alone: int = 0
    normalised: list[tuple[str, str]] = field(default_factory=list)


def prove(
    rows: Sequence[Row],
    tokenizer: Any,
    longest_allowed: int = NO_LIMIT,
    vocabulary: int = NO_LIMIT,
    places: Sequence[str] | None = None,
) -> tuple[list[Encoded], Proof]:
    """Encode every row and check it. Raises one `RowError` for the rows that are not what they should be.

    `vocabulary` is the number of rows of the model's embedding; `places` (`FILE:LINE`, one per row) name rows in errors.
    """
    encoded: list[Encoded] = []
    seen = _Seen()
    failed: list[RowError] = []
    for index, row in enumerate(rows):
        place = places[index] if places else f"row {index + 1}"
        try:
            chat = _encode(row, tokenizer, seen, index, place)
            _require_fitting(chat, tokenizer, longest_allowed, vocabulary, (index, row, place))
        except RowError as error:
            failed.append(error)
            continue
        encoded.append(chat)
    if failed:
        raise failed[0].with_others(failed[1:])
    digest = hashlib.sha256()
    for chat in encoded:
        digest.update(json.dumps([chat.ids, [int(t) for t in chat.trained]]).encode())
    proof = Proof(
        rows=len(encoded),
        tokens=sum(len(chat.ids) for chat in encoded),
        trained_tokens=sum(sum(chat.trained) for chat in encoded),
        longest=max(len(chat.ids) for chat in encoded),
        shared_prefix=common_prefix([chat.ids for chat in encoded]),
        digest=digest.hexdigest()[:32],
        date=date_told(tokenizer),
        control_texts=seen.control,
        notes=tuple(_notes(tokenizer, encoded, seen)),
    )
    return encoded, proof


def _require_fitting(chat: Encoded, tokenizer: Any, longest: int, vocabulary: int, at: tuple[int, Row, str]) -> None:
    """Raises `RowError` if a row is longer than the model takes, or has a token that it has no weights for."""
    if len(chat.ids) > longest:
        raise RowError(*at, f"it has {len(chat.ids):,} tokens, the model takes {longest:,}; shorten or drop it")
    if (highest := max(chat.ids)) >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(highest)
        reason = (
            f"token {token!r} has the id {highest}, and the model's embedding ends at {vocabulary - 1}: the tokenizer is "
            "another model's, or model.resize_token_embeddings(len(tokenizer)) was never saved"
        )
        raise RowError(*at, reason, show_tokens(chat, tokenizer))


def turn_by_turn(rows: Sequence[Row], tokenizer: Any) -> tuple[list[Row], list[int]]:
    """Rows that can be trained in one piece as they are; the others as one row for each trained answer. Also their origins.

    Templates that rewrite earlier turns when later ones follow (Qwen3's drops their thinking blocks) render no text in which
    every answer follows the prompt that it would follow at inference. Such a row becomes one row per answer: all turns before
    it are read, it alone is trained. Every answer is still trained once, behind what a model would have read.
    """
    made: list[Row] = []
    origins: list[int] = []
    for index, row in enumerate(rows):
        parts = [row] if _in_one_piece(row, tokenizer) else [_up_to(row, turn) for turn in trained_turns(row)]
        made += parts
        origins += [index] * len(parts)
    return made, origins


def show_tokens(encoded: Encoded, tokenizer: Any) -> str:
    """One line per token: position, `train` or `-`, the token. For error messages."""
    lines = []
    for position, (token, trained) in enumerate(zip(encoded.ids, encoded.trained, strict=True)):
        lines.append(f"  {position:4d}  {'train' if trained else '-':5s}  {tokenizer.decode([token])!r}")
    return "\n".join(lines)


def _in_one_piece(row: Row, tokenizer: Any) -> bool:
    turns, messages = trained_turns(row), row["messages"]
    if len(turns) < 2:
        return True
    try:
        whole = render(tokenizer, messages[: turns[-1] + 1], answer_next=False)
        prompts = [render(tokenizer, messages[:turn], answer_next=True) for turn in turns]
    except ModelError:
        return True  # the proof will say what is wrong with the row
    return all(whole[: len(prompt)] == prompt for prompt in prompts)


def _up_to(row: Row, turn: int) -> Row:
    """The row that ends with this turn and trains nothing else."""
    before: Messages = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in row["messages"][:turn]]
    return {"messages": [*before, row["messages"][turn]]}


def _encode(row: Row, tokenizer: Any, seen: _Seen, index: int, place: str) -> Encoded:
    turns = trained_turns(row)
    whole: list[int] = []
    trained: list[bool] = []

    def fail(reason: str) -> RowError:
        tokens = show_tokens(Encoded(tuple(whole), tuple(trained)), tokenizer)
        return RowError(index, row, place, reason, tokens)

    if not turns:
        raise fail("no token would be trained")
    messages = row["messages"][: turns[-1] + 1]
    stops = end_of_turn_ids(tokenizer)
    try:
        for turn in turns:
            require_no_end(tokenizer, messages[turn]["content"])
        whole = render(tokenizer, messages, answer_next=False)
        trained = [False] * len(whole)
        prompts = [render(tokenizer, messages[:turn], answer_next=True) for turn in turns]
        broken = next((i for i, prompt in enumerate(prompts) if whole[: len(prompt)] != prompt), None)
        if broken is not None and len(turns) > 1:
            for turn in turns:  # a turn that cannot be trained alone has the better reason
                continuation(tokenizer, messages[:turn], messages[turn]["content"])
            raise fail(
                f"the chat template writes the turns before messages[{turns[broken]}] in another way once later ones follow, so "
                'no one text trains them all. Train the last answer alone ("weight": 0 on those before it), or one row per answer'
            )
        if broken is not None:
            prompt, tail = continuation(tokenizer, messages[:-1], messages[-1]["content"])
            whole, trained = [*prompt, *tail], [False] * (len(prompt) + len(tail))
            prompts = [prompt]
            seen.alone += 1
    except ModelError as error:
        raise fail(str(error)) from None
    end = 0
    for turn, prompt in zip(turns, prompts, strict=True):
        stop = next((i for i in range(len(prompt), len(whole)) if whole[i] in stops), None)
        if stop is None:
            raise fail(no_end_of_turn(tokenizer))
        if problem := _other_text(tokenizer, whole[len(prompt) : stop], messages[turn]["content"], seen):
            raise fail(problem)
        for position in range(len(prompt), stop + 1):
            trained[position] = True
        end = stop + 1
    whole, trained = whole[:end], trained[:end]
    bos = tokenizer.bos_token_id
    if bos is not None and (whole[:2] == [bos, bos] or (bos in whole and whole[0] != bos and bos not in stops)):
        raise fail(f"expected exactly one {tokenizer.bos_token!r} at the start")
    if left_out := _left_out(tokenizer, messages):
        raise fail(left_out)
    seen.control += holds_control(tokenizer, messages)
    return Encoded(tuple(whole), tuple(trained))


def _other_text(tokenizer: Any, ids: list[int], answer: str, seen: _Seen) -> str | None:
    """What is wrong if these tokens are not the answer's own, after whatever the tokenizer does to any text; else None."""
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if text.strip() == answer.strip():
        return None
    meant, got = (tokenizer(part.strip(), add_special_tokens=False)["input_ids"] for part in (answer, text))
    if meant == got and tokenizer.unk_token_id not in ids:
        seen.normalised.append((answer, text))
        return None
    told = f"the trained tokens read {text!r}, the row's answer is {answer!r}"
    if THOUGHT.search(answer) and not THOUGHT.search(text):
        told += (
            "; the chat template removes thoughts (<think>…</think>) from answers: take them out of the rows, or give a copy "
            "of the model folder a chat_template.jinja of your own that keeps them (--model path:COPY)"
        )
    elif tokenizer.unk_token_id in ids:
        told += f"; the tokenizer has no token for a part of it and would train {tokenizer.unk_token!r}"
    return told


def _left_out(tokenizer: Any, messages: Messages) -> str | None:
    """Which turn's text the template drops, if any: the model would be trained without what the row says."""
    text = chat_text(tokenizer, messages, answer_next=False)
    for index, message in enumerate(messages):
        if message["role"] != "assistant" and message["content"].strip() not in text:
            return (
                f"the chat template does not write the text of messages[{index}] ({message['role']}) as it stands: fold it into "
                "the first user turn, or use a model whose template has that role"
            )
    return None


def _notes(tokenizer: Any, encoded: Sequence[Encoded], seen: _Seen) -> list[str]:
    notes = []
    if date := date_told(tokenizer):
        notes.append(f"the chat template prints the date into every prompt; it is given {date} on every day")
    if note := end_of_turn_note(tokenizer):
        notes.append(note)
    bos = tokenizer.bos_token_id
    if bos is not None and encoded[0].ids[0] != bos and tokenizer("a")["input_ids"][:1] == [bos]:
        notes.append(
            f"the tokenizer begins texts with {tokenizer.bos_token!r} and the chat template does not write it: chats are "
            "trained and asked without it, as apply_chat_template does"
        )
    if seen.control:
        notes.append(
            f"{seen.control:,} rows hold control tokens in their texts, which are spelled out and open no turn"
        )
    if seen.alone:
        notes.append(
            f"{seen.alone:,} answers are tokenised apart from their prompts, whose last tokens would change otherwise"
        )
    if seen.normalised:
        answer, text = seen.normalised[0]
        notes.append(
            f"{len(seen.normalised):,} answers are trained as the tokenizer normalises them: {answer!r} as {text!r}"
        )
    return notes
