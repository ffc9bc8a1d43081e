"""What the server refuses, so that one client cannot take it down; and who may reach it.

In: a host, the name of an environment variable. Out: `Limits` and the key that clients must send. A key is read from the
environment only, compared in constant time, and never written anywhere.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from weirdgen.errors import SpecError
from weirdgen.serve.problems import FORBIDDEN, UNAUTHORIZED, ApiError

KEY_VARIABLE = "WEIRDGEN_SERVE_KEY"
"""Where the key is looked for if `--key-env` names no other."""


@dataclass(frozen=True)
class Limits:
    """Each is an answer 400, 413, 429 or 504 beyond it."""

    upload_bytes: int = 200_000_000
    body_bytes: int = 8_000_000
    """Of a request that is not an upload."""
    files: int = 10_000
    context: int = 16_384
    """Tokens of prompt and answer together; a model's own limit counts too."""
    answer_tokens: int = 1024
    """Of an answer whose request names no limit."""
    choices: int = 128
    """`n` of one request, times its prompts."""
    waiting: int = 8192
    """Answers that wait or are being written, of all requests together."""
    seconds: float = 600.0
    """From a request's arrival to the end of its answer."""
    jobs_waiting: int = 200
    training_seconds: float = 86_400.0
    """Of one group of jobs that train together."""


@dataclass(frozen=True)
class Access:
    """Who may ask. `key` None: everybody who reaches the loopback address."""

    key: str | None

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises `ApiError` if a request may not be answered. `headers` have lower-case names.

        A page of another site in a browser on this machine could reach the loopback too: it is told by its Origin, and one
        that renamed its own host to 127.0.0.1 by the Host that it asks for.
        """
        host = headers.get("host", "")
        if self.key is None and not is_loopback(_hostname(host)):
            raise ApiError(
                FORBIDDEN, "This server answers on the loopback address only; start it with a key for others."
            )
        if (origin := headers.get("origin")) and urlsplit(origin).netloc != host:
            raise ApiError(FORBIDDEN, "Requests from other sites' pages are refused.")
        if self.key is None or path == "/":  # the page itself holds nothing; what it shows it has to ask for
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key.encode()):
            raise ApiError(UNAUTHORIZED, "Incorrect API key provided.", "invalid_api_key")


def access(host: str, variable: str | None) -> Access:
    """The access of a server on this host. Raises `SpecError` if others could reach it and no key is set."""
    key = os.environ.get(variable or KEY_VARIABLE) or None
    if variable and not key:
        raise SpecError([f"--key-env {variable}: this environment variable is not set, or empty"])
    if not key and not is_loopback(host):
        raise SpecError(
            [
                f"--host {host}: other machines could reach the server, so it needs a key: set one in an environment variable "
                f"(export {KEY_VARIABLE}=…) that clients send as their API key, or leave --host out"
            ]
        )
    return Access(key)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
