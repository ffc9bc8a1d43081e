"""Judges that ask a language model: the verdicts that the store lacks are asked for and kept.

In: a judge, a `JudgeModel`, and questions with answers. Out: rows of a verdict table named by the judge's content and the
model's identity, so a new judge, another model or more samples pay only for what is new. An `error` is asked again the next
time; until then it counts as one. `repeat` numbers further opinions on the same answer, from which `flips` is measured.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from weirdgen.config.judges import PromptedJudge, Verdict
from weirdgen.judges import fence, reading
from weirdgen.judges.model import JudgeModel, Reply, Request
from weirdgen.sample import contrast
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key, text_key
from weirdgen.store.table import Table, open_table

ANSWER_TOKENS, REASON_TOKENS = 16, 700
"""Most tokens of a reply that is a verdict alone, and of one with reasons before it."""
KEPT_TEXT = 4000
COLUMNS = (
    "answer_key", "repeat", "attempt", "status", "value", "label", "mass", "reply", "input_tokens", "output_tokens",
)  # fmt: skip
"""Of a verdict table. `mass`: see `reading.Judged`; `reply`: the judging model's own words, cut at KEPT_TEXT."""
CHARACTERS_PER_TOKEN = 4.0
"""Of English, roughly; for estimates only."""


class Item(NamedTuple):
    """What a judge reads: the question without its condition's wrapper, and the answer."""

    question: str
    answer: str

    @property
    def key(self) -> str:
        return text_key(f"{len(self.question)}|{self.question}|{self.answer}")


def language_inputs(judge: PromptedJudge, identity: str) -> dict[str, Any]:
    """What names the table of a judge's verdicts on one model."""
    return {
        "version": [fence.VERSION, reading.VERSION],
        "judge": judge.model_dump(mode="json", exclude={"reads"}),
        "model": identity,
        # What decides a reply besides the prompt: how a local model scores options, or where others are cut.
        **({"scoring": contrast.VERSION} if identity.startswith("local:") else {"reply_tokens": reply_tokens(judge)}),
    }


def language_table(store: Store, judge: PromptedJudge, identity: str) -> Table:
    """The table of every verdict that this judge has given on this model."""
    inputs = language_inputs(judge, identity)
    return open_table(store, "judge", content_key(inputs), inputs, unique=("answer_key", "repeat", "attempt"))


def latest(table: Table) -> Any:
    """The frame of verdicts that stand: of each answer and repeat the last attempt. Empty, but with its columns, if none."""
    return last_attempts(table.read())


def last_attempts(frame: Any) -> Any:
    """`latest` of a table that has been read."""
    import pandas as pd

    if not len(frame):
        return pd.DataFrame(columns=list(COLUMNS))
    return frame.sort_values("attempt").drop_duplicates(["answer_key", "repeat"], keep="last", ignore_index=True)


def verdicts_of(table: Table, items: Iterable[Item]) -> dict[Item, Verdict]:
    """The first verdicts that stand on these answers; an answer that was never judged is absent."""
    frame = latest(table)
    frame = frame[frame["repeat"] == 0]
    known = {
        row.answer_key: Verdict(row.status, None if math.isnan(row.value) else row.value, row.label)
        for row in frame.itertuples()
    }
    return {item: known[item.key] for item in set(items) if item.key in known}


def missing(table: Table, items: Iterable[Item], repeats: int = 1, errors: bool = True) -> list[tuple[Item, int]]:
    """(item, repeat) pairs that have no verdict yet, or with `errors` a failed one; in a fixed order, those last."""
    frame = latest(table)
    standing = frame if not errors else frame[frame["status"] != "error"]
    done = set(zip(standing["answer_key"], standing["repeat"], strict=True))
    ordered = sorted(set(items))
    failed = set(zip(frame["answer_key"], frame["repeat"], strict=True)) - done
    lacking = [(item, repeat) for repeat in range(repeats) for item in ordered if (item.key, repeat) not in done]
    # What failed before may fail again because of its content, and must not keep the others from being asked.
    return sorted(lacking, key=lambda item: (item[0].key, item[1]) in failed)


def prompt_tokens(judge: PromptedJudge, items: Sequence[Item]) -> float:
    """About how many tokens it takes to ask once about each of these answers."""
    fixed = len(fence.PREAMBLE) + len(judge.prompt) + 80
    return sum(fixed + len(item.question) + len(item.answer) for item in items) / CHARACTERS_PER_TOKEN


def reply_tokens(judge: PromptedJudge) -> int:
    """The most tokens that one reply may have."""
    if judge.reason_first:
        return REASON_TOKENS
    return ANSWER_TOKENS + judge.longest_reply()


def request_of(judge: PromptedJudge, key: str, item: Item) -> Request:
    """What a judging model is asked for this judge's verdict on an answer."""
    prompt = fence.fill(judge.prompt, item.question, item.answer)
    return Request(key, prompt, judge.options(), reply_tokens(judge), weighted=judge.weighted)


def judge_items(
    table: Table,
    judge: PromptedJudge,
    model: JudgeModel,
    wanted: Sequence[tuple[Item, int]],
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
) -> None:
    """Ask for these verdicts and add each to the table as it comes. Raises `ModelError` if the model cannot be asked."""
    frame = latest(table)
    before = {(r.answer_key, r.repeat): int(r.attempt) for r in frame.itertuples()}
    by_key: dict[str, tuple[Item, int]] = {}
    requests = []
    with table:
        for item, repeat in wanted:
            attempt = before.get((item.key, repeat), -1) + 1
            if not item.answer.strip():
                verdict = Verdict("incoherent", None, "empty answer")
                table.append(_row(item, repeat, attempt, reading.Judged(verdict), Reply("")))
                on_verdict(verdict)
                continue
            key = f"{item.key}-{repeat}"
            by_key[key] = (item, repeat)
            requests.append(request_of(judge, key, item))
        with contextlib.closing(model.ask(requests)) as replies:
            for reply in replies:
                item, repeat = by_key[reply.key]
                judged = reading.read_reply(judge, reply)
                table.append(_row(item, repeat, before.get((item.key, repeat), -1) + 1, judged, reply))
                on_verdict(judged.verdict)


def flips(judge: PromptedJudge, frame: Any) -> dict[str, float]:
    """How much verdicts change when the same answer is judged again, in a frame of `latest`; empty if none was judged twice.

    `flip_rate`: share of pairs of opinions on one answer that differ in status, or by the judge's own measure (labels in
    their label, ratings by more than a twentieth of the scale). `mean_difference` (ratings): mean absolute difference.
    """
    import pandas as pd

    frame = frame[frame["status"] != "error"]
    pairs = frame.merge(frame, on="answer_key")
    pairs = pairs[pairs["repeat_x"] < pairs["repeat_y"]]
    if not len(pairs):
        return {}
    differ = pairs["status_x"] != pairs["status_y"]
    first, second = ({key: pairs[f"{key}_{side}"] for key in ("value", "label")} for side in "xy")
    counts = {"answers": float(pairs["answer_key"].nunique()), "opinions": float(frame["repeat"].max() + 1)}
    rate = {"flip_rate": float((differ | judge.changed(first, second)).mean())}
    if judge.scale is None:
        return {**rate, **counts}
    distance = (first["value"] - second["value"]).abs().mean()
    return {**rate, "mean_difference": float(distance) if pd.notna(distance) else math.nan, **counts}


def _row(item: Item, repeat: int, attempt: int, judged: reading.Judged, reply: Reply) -> dict[str, Any]:
    return {
        "answer_key": item.key,
        "repeat": repeat,
        "attempt": attempt,
        "status": judged.verdict.status,
        "value": math.nan if judged.verdict.value is None else float(judged.verdict.value),
        "label": judged.verdict.label,
        "mass": judged.mass,
        "reply": reply.text[:KEPT_TEXT],
        "input_tokens": reply.input_tokens,
        "output_tokens": reply.output_tokens,
    }
