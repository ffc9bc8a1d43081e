"""The application, on FastAPI: its routes, how errors leave it, its OpenAPI document, and the page at `/`.

In: a `Backend`. Out: an ASGI application. What is asked of models is in `weirdgen.serve.answer_routes`, what is trained in
`weirdgen.serve.training_routes`. These three import fastapi inside functions, since it comes with the extra `serve`.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations of routes, whose types exist inside a function only.

import sys
import traceback
from importlib import resources
from typing import TYPE_CHECKING, Any

from weirdgen import __version__
from weirdgen.errors import SpecError, WeirdgenError
from weirdgen.serve.answer_routes import answer_routes
from weirdgen.serve.backend import Backend
from weirdgen.serve.guard import Guard
from weirdgen.serve.limits import Access
from weirdgen.serve.problems import ERROR_SCHEMA, NOT_FOUND, ApiError, as_api_error, invalid
from weirdgen.serve.requests import ChatRequest, CompletionRequest, ContrastRequest, JobRequest
from weirdgen.serve.training_routes import training_routes

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

FORM_BYTES = 100_000
"""Of an upload's request beside the file."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def create_app(backend: Backend, access: Access) -> "FastAPI":
    """The application. Raises `SpecError` if the extra is not installed."""
    try:
        from fastapi import FastAPI
    except ImportError:
        raise SpecError(["weirdgen serve needs its extra: pip install 'weirdgen[serve]'"]) from None

    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": what, "content": {"application/json": {"schema": ERROR_SCHEMA}}}
        for status, what in (("4XX", "The request cannot be done"), ("5XX", "The server cannot do it now"))
    }
    app = FastAPI(
        title="weirdgen serve",
        version=__version__,
        description="OpenAI's finetuning and chat API over local models.",
        docs_url=None,
        redoc_url=None,
        responses=errors,
    )
    _answer_errors(app)
    for routes in (training_routes(backend), answer_routes(backend), _page_routes()):
        app.include_router(routes)
    _document_bodies(app)
    upload = backend.limits.upload_bytes + FORM_BYTES
    app.add_middleware(Guard, access=access, body=backend.limits.body_bytes, upload=upload)
    return app


def _answer_errors(app: "FastAPI") -> None:
    """Every error leaves with OpenAI's body."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

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


def _page_routes() -> "APIRouter":
    """The page, and whether the server is up."""
    from fastapi import APIRouter
    from fastapi.responses import HTMLResponse, JSONResponse

    routes = APIRouter()

    @routes.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        text = (resources.files("weirdgen.serve") / "page.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY, "X-Frame-Options": "DENY"})

    @routes.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return routes


def _document_bodies(app: "FastAPI") -> None:
    """FastAPI's document, with the models of the bodies that it does not read itself."""
    plain_document = app.openapi

    def document() -> dict[str, Any]:
        from pydantic.json_schema import models_json_schema

        if app.openapi_schema is None:
            found = plain_document()
            kinds = [(kind, "validation") for kind in (ChatRequest, CompletionRequest, JobRequest, ContrastRequest)]
            _, schemas = models_json_schema(kinds, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            found.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
