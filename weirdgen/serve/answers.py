"""Answers as OpenAI's API words them: completions, chunks of a stream, log-probabilities, usage.

In: what a sampler told. Out: plain data for JSON. Log-probabilities are the model's own, before temperature and top_p; one that
is minus infinity is −9999, as in OpenAI's.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from weirdgen.serve.asks import Answer, Given, Piece, Token
from weirdgen.serve.spelling import spelled

LEAST = -9999.0


class Writer:
    """Makes the objects of one request."""

    def __init__(self, model: str, tokenizer: Any, chat: bool, logprobs: bool) -> None:
        self._model, self._tokenizer, self._chat, self._logprobs = model, tokenizer, chat, logprobs
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def whole(self, choices: list[str], usage: dict[str, Any]) -> str:
        """The answer to a request that is not streamed, of choices that are JSON already."""
        head = self._head("chat.completion" if self._chat else "text_completion")
        return f'{as_json({**head, "usage": usage})[:-1]},"choices":[{",".join(choices)}]}}'

    def choice(self, index: int, answer: Answer, prompt: str = "", given: Given | None = None) -> str:
        """One finished answer, as JSON; with `echo`, behind its prompt."""
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
            logprobs = self._of_chat(answer.tokens) if self._logprobs else None
            told: dict[str, Any] = {"message": message}
        else:
            logprobs = self._of_whole_text(answer, prompt, given) if self._logprobs else None
            told = {"text": prompt + answer.text}
        return as_json({"index": index, **told, "logprobs": logprobs, "finish_reason": answer.finish_reason})

    def first(self, choices: int) -> list[dict[str, Any]]:
        """What opens a stream: a chat's answers say whose they are."""
        if not self._chat:
            return []
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(index, delta, None, None) for index in range(choices)]

    def piece(self, index: int, piece: Piece, start: int) -> dict[str, Any]:
        """More text of a streamed answer, which has `start` characters so far."""
        if self._chat:
            logprobs = self._of_chat(piece.tokens) if self._logprobs else None
            return self._chunk(index, {"content": piece.text}, logprobs, None)
        logprobs = None
        if self._logprobs:
            tokens, at = [], start
            for token in piece.tokens:
                tokens.append(((token.id, token.logprob, token.tops), at))
                at += len(spelled(self._tokenizer, token.id)[0])
            logprobs = self._of_text(tokens)
        return self._chunk(index, piece.text, logprobs, None)

    def last(self, index: int, answer: Answer) -> dict[str, Any]:
        """Why a streamed answer ended."""
        return self._chunk(index, {} if self._chat else "", None, answer.finish_reason)

    def counted(self, usage: dict[str, Any]) -> dict[str, Any]:
        """What a stream ends with if usage was asked for."""
        return {
            **self._head("chat.completion.chunk" if self._chat else "text_completion"),
            "choices": [],
            "usage": usage,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": self._created, "model": self._model}
        return {**head, "system_fingerprint": None, **({"service_tier": "default"} if self._chat else {})}

    def _chunk(self, index: int, delta: Any, logprobs: Any, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "logprobs": logprobs, "finish_reason": reason}
        choice["delta" if self._chat else "text"] = delta
        return {**self._head("chat.completion.chunk" if self._chat else "text_completion"), "choices": [choice]}

    def _of_chat(self, tokens: Sequence[Token]) -> dict[str, Any]:
        return {
            "content": [{**self._one(t.id, t.logprob), "top_logprobs": self._tops(t)} for t in tokens],
            "refusal": None,
        }

    def _tops(self, token: Token) -> list[dict[str, Any]]:
        return [self._one(other, logprob) for other, logprob in token.tops]

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        text, held = spelled(self._tokenizer, token)
        return {"token": text, "logprob": max(LEAST, logprob), "bytes": held}

    def _of_whole_text(self, answer: Answer, prompt: str, given: Given | None) -> dict[str, Any]:
        starts = [len(prompt), *(len(prompt) + end for end in answer.ends)]
        written = [(token.id, token.logprob, token.tops) for token in answer.tokens]
        return self._of_text([*self._echoed(given, prompt), *zip(written, starts, strict=False)])

    def _echoed(self, given: Given | None, prompt: str) -> list[tuple[tuple[int, float | None, Any], int]]:
        """The prompt's tokens with where each begins; they may be spelled otherwise than the prompt that they came from."""
        echoed, at = [], 0
        for token, logprob, tops in zip(given.ids, given.logprobs, given.tops, strict=True) if given else ():
            echoed.append(((token, logprob, tops), min(at, len(prompt))))
            text = spelled(self._tokenizer, token)[0]
            if at or prompt.startswith(text):  # else it is a BOS that was put before the prompt
                at += len(text)
        return echoed

    def _of_text(
        self, tokens: Sequence[tuple[tuple[int, float | None, list[tuple[int, float]]], int]]
    ) -> dict[str, Any]:
        """The older form: lists side by side."""
        texts = [spelled(self._tokenizer, token)[0] for (token, _, _), _ in tokens]
        logprobs = [None if logprob is None else max(LEAST, logprob) for (_, logprob, _), _ in tokens]
        tops = [
            None
            if logprob is None
            else {spelled(self._tokenizer, t)[0]: max(LEAST, value) for t, value in reversed(likely)}
            for (_, logprob, likely), _ in tokens
        ]
        offsets = [at for _, at in tokens]
        return {"tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def as_json(value: dict[str, Any]) -> str:
    """As it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Token counts: a prompt counts once, whatever its number of answers."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
