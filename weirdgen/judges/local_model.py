"""A judging model on this machine: it writes nothing, it scores the replies it could give.

In: requests. Out: for each option the log-probability that it is the whole reply (end of turn included). Exact up to
the dtype and without sampling, so asking again gives the same. Reasons before a label are not written: a judge with
`reason_first` is answered at once, which its prompt did not mean; such judges belong to models that write.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from weirdgen.judges.model import Reply, Request
from weirdgen.models.chat import load_tokenizer, prompt_ids
from weirdgen.models.references import read_config
from weirdgen.sample.engine import Engine, Scorable

TOGETHER = 4
"""Requests in one forward pass; a rating's 101 options share their prompt."""


class LocalJudgeModel:
    """A `JudgeModel` on an engine that speaks as the model in `folder`, without an adapter."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._longest = int(read_config(folder).get("max_position_embeddings", 2**30))
        self._tokenizer = load_tokenizer(folder)
        self._engine = engine

    def ask(self, requests: Sequence[Request]) -> Generator[Reply]:
        """Options scored, a few requests at a time. A prompt longer than the model reads is an error of its own."""
        fitting: list[Request] = []
        read: dict[str, int] = {}
        for request in requests:
            length = len(prompt_ids(self._tokenizer, request.prompt))
            room = self._longest - max(len(option) for option in request.options) - 8
            if length > room:
                yield Reply(request.key, error=f"the prompt has {length} tokens, the model reads {self._longest}")
            else:
                fitting.append(request)
                read[request.key] = length
        for start in range(0, len(fitting), TOGETHER):
            portion = fitting[start : start + TOGETHER]
            scored: dict[str, dict[str, float]] = {request.key: {} for request in portion}
            for _, score in self._engine.score([Scorable(r.key, r.prompt, r.options) for r in portion]):
                scored[score.key][score.option] = score.logprob
                read[score.key] += score.tokens
            for request in portion:
                yield Reply(request.key, options=scored[request.key], input_tokens=read[request.key])
