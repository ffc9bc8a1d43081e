"""Before a request is read: who asks, and how much they send. After it: no error leaves without OpenAI's body.

In: an ASGI application. Out: one that refuses what `Access` and the limits refuse, whatever the route. Knows no routes but that
uploads may be larger.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from weirdgen.serve.limits import Access
from weirdgen.serve.problems import TOO_LARGE, ApiError, as_api_error

Message = MutableMapping[str, Any]
UPLOADS = "/v1/files"


class Guard:
    """ASGI middleware, outside everything else."""

    def __init__(self, app: Any, access: Access, body: int, upload: int) -> None:
        self._app, self._access, self._body, self._upload = app, access, body, upload

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        most = self._upload if scope["path"] == UPLOADS else self._body
        begun = False
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise ApiError(TOO_LARGE, f"A request to this path may have {most:,} bytes.", "request_too_large")
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self._access.check(scope["path"], headers)
            if headers.get("content-length", "").isdecimal() and int(headers["content-length"]) > most:
                raise ApiError(TOO_LARGE, f"A request to this path may have {most:,} bytes.", "request_too_large")
            await self._app(scope, counted, watched)
        except Exception as error:
            known = as_api_error(error)
            if known is not error:
                traceback.print_exception(error, file=sys.stderr)
            if begun:
                return
            body = json.dumps(known.body()).encode()
            start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": known.status, "headers": start})
            await send({"type": "http.response.body", "body": body})
