"""The routes of what is asked: models, chats, completions, and how likely given answers are.

In: a `Backend`. Out: a router with OpenAI's paths, and /contrast, which is ours. An answer is sent whole or as server-sent
events; its objects are `weirdgen.serve.answers`'.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations of routes, whose types exist inside a function only.

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from weirdgen.serve.answers import Writer, as_json, usage
from weirdgen.serve.asks import Answer, Ask, Given, Piece, Told
from weirdgen.serve.backend import Backend, unheard, unseeded
from weirdgen.serve.bodies import only_known, read_body, takes, unless_gone
from weirdgen.serve.catalogue import Served
from weirdgen.serve.problems import as_api_error, bad
from weirdgen.serve.requests import ChatRequest, CompletionRequest, ContrastRequest, Sampled, most_tokens

if TYPE_CHECKING:
    from fastapi import APIRouter

COMPLETION_TOKENS = 16
"""OpenAI's default for /v1/completions."""


def answer_routes(backend: Backend) -> "APIRouter":
    """Routes of models and of their answers."""
    from fastapi import APIRouter, Request
    from fastapi.responses import JSONResponse, Response, StreamingResponse

    routes = APIRouter(dependencies=[only_known()])
    models, limits = backend.models, backend.limits

    @routes.get("/v1/models")
    def list_models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [served.shown() for served in models.all()]})

    @routes.get("/v1/models/{model:path}")
    def retrieve_model(model: str) -> JSONResponse:
        return JSONResponse(models.get(model).shown())

    def ask(served: Served, ids: list[int], asked: Sampled, default: int, stream: bool = False) -> Ask:
        wanted = asked.max_completion_tokens if isinstance(asked, ChatRequest) else None
        wanted = asked.max_tokens if wanted is None else wanted
        limit = most_tokens(wanted, len(ids), models.context[served.base], default, limits)
        top = asked.top if isinstance(asked, ChatRequest) else getattr(asked, "logprobs", None)
        return Ask(
            tuple(ids), served.adapter, asked.n or 1, limit, asked.sampling,
            unseeded() if asked.seed is None else str(asked.seed), unheard, asked.stops, top, stream,
            deadline=time.monotonic() + limits.seconds,
        )  # fmt: skip

    def json_response(text: str) -> Response:
        return Response(text, media_type="application/json")

    def require_few(choices: int) -> None:
        if choices > limits.choices:
            raise bad(f"At most {limits.choices} answers may be asked for at once; {choices} are.", "n")

    async def streamed(served: Served, asks: list[Ask], writer: Writer, asked: Sampled, read_tokens: int) -> Response:
        """The first event is waited for, so that what is refused at once has its own status."""
        events = backend.told(served, asks)
        lines = _lines(await anext(events, None), events, asks, writer, asked, read_tokens)
        return StreamingResponse(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    @routes.post("/v1/chat/completions", openapi_extra=takes(ChatRequest))
    async def chat(request: Request) -> Response:
        asked = await read_body(request, ChatRequest)
        served = models.get(asked.model)
        require_few(asked.n or 1)
        ids = await asyncio.to_thread(models.chat_ids, served.base, asked.turns)
        one = ask(served, ids, asked, limits.answer_tokens, bool(asked.stream))
        writer = Writer(served.id, models.tokenizers[served.base], True, bool(asked.logprobs))
        if asked.stream:
            return await streamed(served, [one], writer, asked, len(ids))
        return json_response(await unless_gone(request, _whole(backend, served, [one], writer, [""])))

    @routes.post("/v1/completions", openapi_extra=takes(CompletionRequest))
    async def completions(request: Request) -> Response:
        asked = await read_body(request, CompletionRequest)
        served = models.get(asked.model)
        tokenizer, prompts = models.tokenizers[served.base], asked.prompts
        require_few((asked.n or 1) * len(prompts))
        encoded = [
            p if isinstance(p, list) else await asyncio.to_thread(models.text_ids, served.base, p) for p in prompts
        ]
        if any(not ids or max(ids) >= len(tokenizer) for ids in encoded):
            raise bad(f"A prompt needs at least one token, each below {len(tokenizer)}.", "prompt")
        asks = [ask(served, ids, asked, COMPLETION_TOKENS, bool(asked.stream)) for ids in encoded]
        for one in asks:
            one.echo = bool(asked.echo) and (asked.logprobs is not None or not one.max_tokens)
        writer = Writer(served.id, tokenizer, False, asked.logprobs is not None)
        if asked.stream:
            return await streamed(served, asks, writer, asked, sum(map(len, encoded)))
        echoed = [(p if isinstance(p, str) else tokenizer.decode(p)) if asked.echo else "" for p in prompts]
        return json_response(await unless_gone(request, _whole(backend, served, asks, writer, echoed)))

    @routes.post("/contrast", openapi_extra=takes(ContrastRequest))
    async def contrast(request: Request) -> JSONResponse:
        asked = await read_body(request, ContrastRequest)
        served = models.get(asked.model)
        turns = ChatRequest(model=asked.model, messages=asked.messages).turns
        one = Ask((), served.adapter, 1, 0, ChatRequest(model="m", messages=asked.messages).sampling, "", unheard)
        one.deadline = time.monotonic() + limits.seconds
        logprobs = await unless_gone(request, backend.contrast(served, turns, asked.options, one))
        return JSONResponse({"object": "contrast", "model": served.id, "options": asked.options, "logprobs": logprobs})

    return routes


async def _whole(backend: Backend, served: Served, asks: list[Ask], writer: Writer, prompts: list[str]) -> str:
    """The answer to a request that is not streamed, as JSON."""
    answers: list[dict[int, Answer]] = [{} for _ in asks]
    givens: list[Given | None] = [None for _ in asks]
    async for number, told in backend.told(served, asks):
        if isinstance(told, Given):
            givens[number] = told
        elif isinstance(told, Answer):
            answers[number][told.index] = told
    choices = list[str]()
    for number, one in enumerate(asks):
        for index in range(one.n):
            answer = answers[number].get(index) or Answer(index, "", "length", 0, [], [])
            # Not on the event loop, where everybody waits; and each on its own, since json keeps all threads waiting.
            of = number * one.n + index
            choices.append(await asyncio.to_thread(writer.choice, of, answer, prompts[number], givens[number]))
    written = sum(answer.written for mine in answers for answer in mine.values())
    return await asyncio.to_thread(writer.whole, choices, usage(sum(len(one.ids) for one in asks), written))


async def _lines(
    first: tuple[int, Told] | None,
    events: AsyncIterator[tuple[int, Told]],
    asks: list[Ask],
    writer: Writer,
    asked: Sampled,
    read_tokens: int,
) -> AsyncIterator[str]:
    """Server-sent events of a streamed answer. An error after the first of them is the last."""
    each, written = asks[0].n, 0
    starts = [0] * each * len(asks)
    told = first
    try:
        for chunk in writer.first(each * len(asks)):
            yield _event(chunk)
        while told is not None:
            number, event = told
            if isinstance(event, Piece):
                index = number * each + event.index
                yield _event(writer.piece(index, event, starts[index]))
                starts[index] += len(event.text)
            elif isinstance(event, Answer):
                written += event.written
                yield _event(writer.last(number * each + event.index, event))
            told = await anext(events, None)
        if asked.stream_options and asked.stream_options.include_usage:
            yield _event(writer.counted(usage(read_tokens, written)))
        yield "data: [DONE]\n\n"
    except Exception as error:
        yield _event(as_api_error(error).body())
    finally:
        await events.aclose()  # type: ignore[attr-defined]


def _event(value: dict[str, Any]) -> str:
    return f"data: {as_json(value)}\n\n"
