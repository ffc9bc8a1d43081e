"""The routes, on FastAPI: OpenAI's paths, bodies, statuses and streams, and the page at `/`.

In: a `House`. Out: an ASGI application. The only module that imports fastapi, inside the function that makes the application,
since it comes with the extra `serve`. Bodies are read by our own strict JSON reader and checked by `weirdgen.serve.requests`.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations of routes, whose types exist inside a function only.

import asyncio
import json
import re
import secrets
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable
from importlib import resources
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError

from weirdgen import __version__
from weirdgen.errors import SpecError, WeirdgenError
from weirdgen.parsing import NotJsonError, parse_json
from weirdgen.serve.answers import Writer, usage
from weirdgen.serve.asks import Answer, Ask, Given, Piece
from weirdgen.serve.catalogue import Served
from weirdgen.serve.guard import Guard
from weirdgen.serve.house import House, unheard, unseeded
from weirdgen.serve.hyperparameters import recipe_of
from weirdgen.serve.jobs import page_of
from weirdgen.serve.limits import Access
from weirdgen.serve.problems import ERROR_SCHEMA, NOT_FOUND, ApiError, as_api_error, bad, invalid
from weirdgen.serve.requests import (
    ChatRequest,
    CompletionRequest,
    ContrastRequest,
    JobRequest,
    Sampled,
    most_tokens,
)

Body = TypeVar("Body", bound=BaseModel)
FORM_BYTES = 100_000
"""Of an upload's request beside the file."""
DISCONNECT_SECONDS = 0.5
"""How often a request that is being answered looks whether its client is still there."""
COMPLETION_TOKENS = 16
"""OpenAI's default for /v1/completions."""


def create_app(house: House, access: Access) -> Any:
    """The application. Raises `SpecError` if the extra is not installed."""
    try:
        from fastapi import FastAPI, File, Form, Query, Request, UploadFile
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
        from starlette.exceptions import HTTPException
    except ImportError:
        raise SpecError(["weirdgen serve needs its extra: pip install 'weirdgen[serve]'"]) from None

    errors = {
        str(status): {"description": what, "content": {"application/json": {"schema": ERROR_SCHEMA}}}
        for status, what in (("4XX", "The request cannot be done"), ("5XX", "The server cannot do it now"))
    }
    app = FastAPI(
        title="weirdgen serve",
        version=__version__,
        description="OpenAI's finetuning and chat API over local models.",
        docs_url=None,
        redoc_url=None,
        responses=errors,  # type: ignore[arg-type]
    )
    models, jobs, files, limits = house.models, house.jobs, house.files, house.limits
    Limit = Annotated[int, Query(ge=1, le=10_000)]
    After = Annotated[str | None, Query(max_length=200)]

    def failed(error: BaseException) -> JSONResponse:
        known = as_api_error(error)
        if known.status >= 500 and known is not error:
            traceback.print_exception(error, file=sys.stderr)
        headers = {"Retry-After": "5"} if known.status in (429, 503) else None
        return JSONResponse(known.body(), known.status, headers=headers)

    @app.exception_handler(WeirdgenError)
    async def on_known(request: Request, error: WeirdgenError) -> JSONResponse:
        return failed(error)

    @app.exception_handler(OSError)
    async def on_disk(request: Request, error: OSError) -> JSONResponse:
        return failed(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return failed(invalid(error.errors(), ("body", "query", "path")))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if error.status_code == NOT_FOUND and message == "Not Found":
            message = f"Invalid URL ({request.method} {request.url.path})"
        answer = failed(ApiError(error.status_code, message))
        answer.headers.update(error.headers or {})
        return answer

    async def read(request: Request, kind: type[Body]) -> Body:
        """The body as this model. Raises `ApiError` that names the parameter."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise bad("The body must be JSON, with Content-Type: application/json.")
        try:
            value = parse_json((await request.body()).decode())
        except (NotJsonError, UnicodeDecodeError) as error:
            reason = error.reason if isinstance(error, NotJsonError) else "it is not UTF-8"
            raise bad(f"We could not parse the JSON body of your request: {reason}.") from None
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise invalid(error.errors()) from None

    async def unless_gone(request: Request, work: Awaitable[Any]) -> Any:
        """The result of the work, which is cancelled if its client goes away."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=DISCONNECT_SECONDS))[0]:
                if await request.is_disconnected():
                    raise ApiError(499, "The client is gone.")
            return task.result()
        finally:
            task.cancel()

    def takes(kind: type[BaseModel]) -> dict[str, Any]:
        """A route's body in the OpenAPI document."""
        schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

    # Files

    @app.post("/v1/files")
    def upload(purpose: Annotated[str, Form(max_length=100)], file: Annotated[UploadFile, File()]) -> JSONResponse:
        return JSONResponse(files.add(file.file, file.filename, purpose).shown())

    @app.get("/v1/files")
    def list_files(
        purpose: Annotated[str | None, Query(max_length=100)] = None,
        limit: Limit = 10_000,
        after: After = None,
        order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
    ) -> JSONResponse:
        found = [file.shown() for file in files.all() if purpose in (None, file.purpose)]
        return JSONResponse(page_of(found if order == "desc" else found[::-1], limit, after))

    @app.get("/v1/files/{file_id}")
    def retrieve_file(file_id: str) -> JSONResponse:
        return JSONResponse(files.get(file_id).shown())

    @app.get("/v1/files/{file_id}/content", response_class=Response)
    def file_content(file_id: str) -> Response:
        return Response(files.path(file_id).read_bytes(), media_type="application/octet-stream")

    @app.delete("/v1/files/{file_id}")
    def delete_file(file_id: str) -> JSONResponse:
        files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    # Finetuning

    @app.post("/v1/fine_tuning/jobs", openapi_extra=takes(JobRequest))
    async def create_job(request: Request) -> JSONResponse:
        asked = await read(request, JobRequest)
        base = models.base(asked.model)
        for param in ("training_file", "validation_file"):
            name = getattr(asked, param)
            if name is not None and files.get(name).purpose != "fine-tune":
                raise bad(f"{name} was not uploaded with the purpose 'fine-tune'", param)
        recipe_of(asked.asked, asked.recipe, 1_000_000)  # so that a wrong field is an error now, and not of the job
        seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
        job = await asyncio.to_thread(
            jobs.create,
            base,
            asked.training_file,
            _suffix(asked.suffix),
            seed,
            asked.asked,
            asked.recipe,
            asked.metadata,
            asked.validation_file,
        )
        return JSONResponse(jobs.shown(job))

    @app.get("/v1/fine_tuning/jobs")
    def list_jobs(limit: Limit = 20, after: After = None) -> JSONResponse:
        return JSONResponse(page_of([jobs.shown(job) for job in jobs.all()], limit, after))

    @app.get("/v1/fine_tuning/jobs/{job_id}")
    def retrieve_job(job_id: str) -> JSONResponse:
        return JSONResponse(jobs.shown(jobs.get(job_id)))

    @app.post("/v1/fine_tuning/jobs/{job_id}/cancel")
    def cancel_job(job_id: str) -> JSONResponse:
        return JSONResponse(jobs.shown(jobs.cancel(job_id)))

    @app.get("/v1/fine_tuning/jobs/{job_id}/events")
    def list_events(job_id: str, limit: Limit = 20, after: After = None) -> JSONResponse:
        return JSONResponse(page_of(jobs.events(job_id), limit, after))

    @app.get("/v1/fine_tuning/jobs/{job_id}/checkpoints")
    def list_checkpoints(job_id: str, limit: Limit = 10, after: After = None) -> JSONResponse:
        return JSONResponse(page_of(jobs.shown_checkpoints(jobs.get(job_id)), limit, after))

    # Models

    @app.get("/v1/models")
    def list_models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [served.shown() for served in models.all()]})

    @app.get("/v1/models/{model:path}")
    def retrieve_model(model: str) -> JSONResponse:
        return JSONResponse(models.get(model).shown())

    # Answers

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

    def require_few(choices: int) -> None:
        if choices > limits.choices:
            raise bad(f"At most {limits.choices} answers may be asked for at once; {choices} are.", "n")

    @app.post("/v1/chat/completions", openapi_extra=takes(ChatRequest))
    async def chat(request: Request) -> Response:
        asked = await read(request, ChatRequest)
        served = models.get(asked.model)
        require_few(asked.n or 1)
        ids = models.chat_ids(served.base, asked.turns)
        one = ask(served, ids, asked, limits.answer_tokens, bool(asked.stream))
        writer = Writer(served.id, models.tokenizers[served.base], True, bool(asked.logprobs))
        if asked.stream:
            return await streamed(served, [one], writer, asked, len(ids))
        return JSONResponse(await unless_gone(request, complete(served, [one], writer, [""])))

    @app.post("/v1/completions", openapi_extra=takes(CompletionRequest))
    async def completions(request: Request) -> Response:
        asked = await read(request, CompletionRequest)
        served = models.get(asked.model)
        tokenizer, prompts = models.tokenizers[served.base], asked.prompts
        require_few((asked.n or 1) * len(prompts))
        encoded = [p if isinstance(p, list) else models.text_ids(served.base, p) for p in prompts]
        if any(not ids or max(ids) >= len(tokenizer) for ids in encoded):
            raise bad(f"A prompt needs at least one token, each below {len(tokenizer)}.", "prompt")
        asks = [ask(served, ids, asked, COMPLETION_TOKENS, bool(asked.stream)) for ids in encoded]
        for one in asks:
            one.echo = bool(asked.echo) and (asked.logprobs is not None or not one.max_tokens)
        writer = Writer(served.id, tokenizer, False, asked.logprobs is not None)
        if asked.stream:
            return await streamed(served, asks, writer, asked, sum(map(len, encoded)))
        echoed = [(p if isinstance(p, str) else tokenizer.decode(p)) if asked.echo else "" for p in prompts]
        return JSONResponse(await unless_gone(request, complete(served, asks, writer, echoed)))

    async def complete(served: Served, asks: list[Ask], writer: Writer, prompts: list[str]) -> dict[str, Any]:
        answers: list[dict[int, Answer]] = [{} for _ in asks]
        givens: list[Given | None] = [None for _ in asks]
        async for number, told in house.told(served, asks):
            if isinstance(told, Given):
                givens[number] = told
            elif isinstance(told, Answer):
                answers[number][told.index] = told
        choices = []
        for number, one in enumerate(asks):
            for index in range(one.n):
                answer = answers[number].get(index) or Answer(index, "", "length", 0, [], [])
                choices.append(writer.choice(number * one.n + index, answer, prompts[number], givens[number]))
        written = sum(answer.written for mine in answers for answer in mine.values())
        return writer.whole(choices, usage(sum(len(one.ids) for one in asks), written))

    async def streamed(served: Served, asks: list[Ask], writer: Writer, asked: Sampled, read_tokens: int) -> Response:
        """The first event is waited for, so that what is refused at once has its own status."""
        events = house.told(served, asks)
        try:
            first = await anext(events)
        except StopAsyncIteration:
            first = None

        async def lines() -> AsyncIterator[str]:
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

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    @app.post("/contrast", openapi_extra=takes(ContrastRequest))
    async def contrast(request: Request) -> JSONResponse:
        asked = await read(request, ContrastRequest)
        served = models.get(asked.model)
        turns = ChatRequest(model=asked.model, messages=asked.messages).turns
        one = Ask((), served.adapter, 1, 0, ChatRequest(model="m", messages=asked.messages).sampling, "", unheard)
        one.deadline = time.monotonic() + limits.seconds
        logprobs = await unless_gone(request, house.contrast(served, turns, asked.options, one))
        return JSONResponse({"object": "contrast", "model": served.id, "options": asked.options, "logprobs": logprobs})

    # The page

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        text = (resources.files("weirdgen.serve") / "page.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY, "X-Frame-Options": "DENY"})

    @app.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    plain_document = app.openapi

    def document() -> dict[str, Any]:
        """FastAPI's document, with the models of the bodies that it does not read itself."""
        from pydantic.json_schema import models_json_schema

        if app.openapi_schema is None:
            found = plain_document()
            kinds = [(kind, "validation") for kind in (ChatRequest, CompletionRequest, JobRequest, ContrastRequest)]
            _, schemas = models_json_schema(kinds, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            found.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    app.add_middleware(Guard, access=access, body=limits.body_bytes, upload=limits.upload_bytes + FORM_BYTES)
    return app


POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _suffix(asked: str | None) -> str:
    """As OpenAI's: what is no letter, digit, dot or underscore becomes a dash."""
    return re.sub(r"[^a-z0-9._]+", "-", (asked or "").lower()).strip("-")
