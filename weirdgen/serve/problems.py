"""Errors as OpenAI's API words them: a status, and a body that its SDKs read.

In: what went wrong. Out: `ApiError`, whose `body` is the JSON of the answer. Which status a client sees for an error of
another part of weirdgen is decided here, in `as_api_error`. Knows nothing of HTTP libraries.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Any

from weirdgen.errors import StoreError, WeirdgenError

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, TOO_LARGE, TOO_MANY = 400, 401, 403, 404, 409, 413, 429
INTERNAL, UNAVAILABLE, TIMED_OUT, DISK = 500, 503, 504, 507


class ApiError(WeirdgenError):
    """An answer that is an error. `code` and `param` are OpenAI's words for what, and for which parameter."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict[str, Any]:
        """OpenAI's error body."""
        kind = {FORBIDDEN: "permission_error", TOO_MANY: "rate_limit_error"}.get(self.status)
        kind = kind or ("server_error" if self.status >= INTERNAL else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be done as it says."""
    return ApiError(BAD_REQUEST, message, code, param)


def unknown(name: str, param: str | None = None) -> ApiError:
    """A parameter that is not read here, which to ignore would be to lie. `param`: where it stands."""
    return bad(
        f"Unrecognized request argument supplied: {name[:200]!r}",
        param or name.partition("[")[0][:200],
        "unknown_parameter",
    )


def missing(what: str, name: str, hint: str = "") -> ApiError:
    """Something named that is not there."""
    code = "model_not_found" if what == "model" else "not_found"
    return ApiError(NOT_FOUND, f"No such {what}: {name[:200]!r}" + (f" ({hint})" if hint else ""), code, what)


def as_api_error(error: BaseException) -> ApiError:
    """What a client is told of an error that is not one of this module's; defects are told as such, without their text."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoreError):
        return ApiError(DISK, str(error), "storage_error")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return ApiError(DISK, f"cannot write: {error.strerror}", "storage_error")
    if isinstance(error, WeirdgenError):
        return bad(str(error))
    return ApiError(INTERNAL, "The server had an error of its own; its log says which.", "internal_error")


def invalid(found: Sequence[Any], roots: tuple[str, ...] = ()) -> ApiError:
    """The first of pydantic's problems, as OpenAI words such: which parameter, and what would be right."""
    first = found[0]
    place = [part for part in first["loc"] if part not in roots]
    kept = [str(part) for part in place if isinstance(part, int) or re.fullmatch(r"[a-z_0-9]+", str(part))]
    param = ".".join(kept)[:200] or None
    if first["type"] == "extra_forbidden":
        return unknown(str(place[-1]), param)
    if first["type"] == "missing":
        return bad(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    message = str(first["msg"]).removeprefix("Value error, ")
    return bad(f"Invalid {param!r}: {message}." if param else f"{message}.", param, "invalid_value")


ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
"""Of an error's body, for the OpenAPI document."""
