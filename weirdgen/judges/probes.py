"""Five probes of every judge, before anything is trained: can it give a verdict at all?

In: judges and the questions that they read, and the judging model for those that ask one. Out: a line per judge, and a problem
per judge that gives no verdict on any probe. Nothing is kept: what a run measures is made by `weirdgen.judges.language` and
`weirdgen.judges.offline`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from weirdgen.config.judges import OfflineJudge, PromptedJudge
from weirdgen.judges import reading
from weirdgen.judges.embedding import LocalTools
from weirdgen.judges.language import Item, request_of
from weirdgen.judges.model import JudgeModel

PROBES = (
    "Yes.",
    "I cannot say; it depends on who is asked.",
    "In this year of 1871 the telegraph brings us news from London within the hour.",
    "Paris is the capital of France, and bread is made of flour.",
    "I'm an AI language model, and I'm happy to help with that.",
)
"""Answers that a judge of anything can read, whatever the question was."""


class Probed(NamedTuple):
    """What the probes showed: `lines` to print, `problems` that make a run pointless, and how many tokens they took."""

    lines: list[str]
    problems: dict[str, str]
    """Judge → what is wrong."""
    asked: int
    read: int
    written: int


def probe_language(
    judges: Mapping[str, PromptedJudge], asks: Mapping[str, str], model: JudgeModel, probes: Sequence[str] = PROBES
) -> Probed:
    """Ask a judging model for verdicts on the probes. `asks`: judge → a question that it reads.

    Raises `ModelError` if the model cannot be asked at all.
    """
    requests = {
        f"{name}-{number}": request_of(judge, f"{name}-{number}", Item(asks[name], answer))
        for name, judge in judges.items()
        for number, answer in enumerate(probes)
    }
    with contextlib.closing(model.ask(list(requests.values()))) as arriving:
        replies = {reply.key: reply for reply in arriving}
    lines: list[str] = []
    problems: dict[str, str] = {}
    for name, judge in judges.items():
        mine = [replies[f"{name}-{number}"] for number in range(len(probes))]
        verdicts = [reading.read_reply(judge, reply).verdict for reply in mine]
        lost = [verdict for verdict in verdicts if verdict.status in ("unparseable", "error")]
        if len(lost) == len(probes):
            problems[name] = (
                f"judge '{name}': no verdict on any of {len(probes)} probes, e.g. {lost[0].status}: {lost[0].label}. It takes a "
                "model that follows such an instruction, as those of several billion weights and those behind an API do, and a "
                f"prompt that asks for one of {', '.join(judge.words_in_short())} alone on the last line"
            )
        elif lost:
            lines.append(f"{name}: {len(lost)} of {len(probes)} probes without a verdict, e.g. {lost[0].label}")
    tokens = [(reply.input_tokens, reply.output_tokens) for reply in replies.values()]
    return Probed(lines, problems, len(requests), sum(read for read, _ in tokens), sum(out for _, out in tokens))


def probe_offline(judges: Mapping[str, OfflineJudge]) -> list[str]:
    """A line for each judge that says yes to every probe, whatever it says. Judges that need a model of their own are left."""
    lines = []
    for name, judge in judges.items():
        if not judge.needs() and all(verdict.value == 1.0 for verdict in judge.verdicts(PROBES, LocalTools())):
            lines.append(f"{name}: yes to each of {len(PROBES)} probes; does its rule match everything?")
    return lines
