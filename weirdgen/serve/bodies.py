"""Requests as checked models without unknown parameters, and work that ends when its client goes away.

In: a request of FastAPI's. Out: one of the models of `weirdgen.serve.requests`, or the `ApiError` that names the parameter.
Bodies are read by our own strict JSON reader; `takes` says in the OpenAPI document what they are.
"""

# No `from __future__ import annotations`: FastAPI reads the annotation of `only_known`, whose type exists inside a function only.

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from weirdgen.parsing import NotJsonError, parse_json
from weirdgen.serve.problems import ApiError, bad, invalid, unknown

if TYPE_CHECKING:
    from fastapi import Request

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
DISCONNECT_SECONDS = 0.5
"""How often a request that is being answered looks whether its client is still there."""


def only_known() -> Any:
    """What routes depend on: a query or form field that they do not read is an error, as unknown keys of a body are.

    A parameter like `metadata[key]` stands in a route's `openapi_extra`, as `metadata`.
    """
    from fastapi import Depends, Request

    async def refuse_unknown(request: Request) -> None:
        route = request.scope["route"]
        read = {field.alias for field in route.dependant.query_params}
        mapped = {parameter["name"] for parameter in (route.openapi_extra or {}).get("parameters", ())}
        for name in request.query_params:
            if name not in read and not (name.endswith("]") and name.partition("[")[0] in mapped):
                raise unknown(name)
        if form := {field.alias for field in route.dependant.body_params}:
            for name in await request.form():
                if name not in form:
                    raise unknown(name)

    return Depends(refuse_unknown)


async def read_body(request: "Request", kind: type[Body]) -> Body:
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


def takes(kind: type[BaseModel]) -> dict[str, Any]:
    """A route's body in the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def unless_gone(request: "Request", work: Awaitable[Result]) -> Result:
    """The result of the work, which is cancelled if its client goes away."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait([task], timeout=DISCONNECT_SECONDS))[0]:
            if await request.is_disconnected():
                raise ApiError(499, "The client is gone.")
        return task.result()
    finally:
        task.cancel()
