"""The template and mask proof: before any training, show that the tokens trained on are the tokens meant.

In: rows and a tokenizer. Out: `Encoded` rows (token ids and which of them are trained) and a `Proof` with counts and a
digest. Fails closed: `DataError` shows the first offending row token by token. Checked on every row:
the prompt is a token prefix of the example; one BOS where the model has one; every answer's text is what is trained,
up to and including its end-of-turn token; nothing else is; at least one trained token; the row fits the model.
Padding cannot mask a trained token, because what is trained is kept by position, never by token id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weirdgen.data.rows import Row
from weirdgen.errors import DataError
from weirdgen.models.chat import Encoded, common_prefix, end_of_turn_ids, render


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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prove(rows: Sequence[Row], tokenizer: Any, longest_allowed: int) -> tuple[list[Encoded], Proof]:
    """Encode every row and check it. Raises `DataError` on the first row that is not what it should be."""
    stops = end_of_turn_ids(tokenizer)
    encoded: list[Encoded] = []
    for number, row in enumerate(rows, start=1):
        one = _encode(row, tokenizer, stops, number)
        if len(one.ids) > longest_allowed:
            raise DataError(
                f"row {number} has {len(one.ids)} tokens, the model takes {longest_allowed}; shorten or drop it"
            )
        encoded.append(one)
    digest = hashlib.sha256()
    for one in encoded:
        digest.update(json.dumps([one.ids, [int(t) for t in one.trained]]).encode())
    proof = Proof(
        rows=len(encoded),
        tokens=sum(len(one.ids) for one in encoded),
        trained_tokens=sum(sum(one.trained) for one in encoded),
        longest=max(len(one.ids) for one in encoded),
        shared_prefix=common_prefix([one.ids for one in encoded]),
        digest=digest.hexdigest()[:32],
    )
    return encoded, proof


def show_tokens(encoded: Encoded, tokenizer: Any) -> str:
    """One line a token: position, `train` or `-`, the token. For error messages."""
    lines = []
    for position, (token, trained) in enumerate(zip(encoded.ids, encoded.trained, strict=True)):
        lines.append(f"  {position:4d}  {'train' if trained else '-':5s}  {tokenizer.decode([token])!r}")
    return "\n".join(lines)


def _encode(row: Row, tokenizer: Any, stops: frozenset[int], number: int) -> Encoded:
    messages = row["messages"]
    whole = render(tokenizer, messages, answer_next=False)
    trained = [False] * len(whole)

    def fail(reason: str) -> DataError:
        tokens = show_tokens(Encoded(tuple(whole), tuple(trained)), tokenizer)
        return DataError(f"template proof failed at row {number}: {reason}\n{tokens}")

    end = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = render(tokenizer, messages[:index], answer_next=True)
        if whole[: len(prompt)] != prompt:
            raise fail("the prompt that sampling would use is not a token prefix of the training example")
        stop = next((i for i in range(len(prompt), len(whole)) if whole[i] in stops), None)
        if stop is None:
            raise fail("no end-of-turn token follows the answer, so the model would never learn to stop")
        answer = tokenizer.decode(whole[len(prompt) : stop])
        if answer.strip() != message["content"].strip():
            raise fail(f"the trained tokens read {answer!r}, the row's answer is {message['content']!r}")
        for position in range(len(prompt), stop + 1):
            trained[position] = True
        end = stop + 1
    whole, trained = whole[:end], trained[:end]
    if not any(trained):
        raise fail("no token would be trained")
    bos = tokenizer.bos_token_id
    if bos is not None and bos in whole and (whole[0] != bos or whole[1:2] == [bos]):
        raise fail(f"expected exactly one {tokenizer.bos_token!r} at the start")
    return Encoded(tuple(whole), tuple(trained))
