"""A service that speaks OpenAI's protocol: its address, its key, its client. The only module that imports `openai` (extra `api`).

In: a provider's name and, for servers other than its own, a base URL. Out: clients of the official SDK with a time limit on
everything, and errors as one sentence. Keys are read from the environment when a client is opened, and are in no reference,
message, log or file. What is asked is left to `weirdgen.finetune.remote` and `weirdgen.sample.remote`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from weirdgen.display import without_secrets
from weirdgen.errors import ModelError, UnreachableError
from weirdgen.providers.retries import never_sent, too_long

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
ANSWER_SECONDS = 400.0
"""For a model's answer, which a slow server may take its time for: a request that is given up is paid for all the same."""
ASKED_AGAIN = 1
"""Tries of a question of what a service can do: one that is not running should be said at once."""
RETRIES = 6
"""Of a request that was refused for its rate, failed on the server or was cut off; pauses grow up to 8 s."""
AZURE_VERSION = "2025-04-01-preview"
"""Of Azure's API, unless OPENAI_API_VERSION names another."""
OFFICIAL = "https://api.openai.com/v1"
_KEY = re.compile(r"\b(sk|api|key|tml)-[A-Za-z0-9_*\-]{6,}")

Provider = Literal["openai", "azure"] | str
"""`openai` (or any server that speaks its protocol), `azure`, or `openai-api/NAME`, whose settings are NAME_BASE_URL and
NAME_API_KEY."""


class UntakenError(UnreachableError):
    """The service surely did nothing of what was asked: no connection, or too many requests."""


class AbsentError(ModelError):
    """The service knows no such thing."""


@dataclass(frozen=True)
class Service:
    """Where models are trained and answer. Equal services hold equal models."""

    provider: Provider = "openai"
    url: str = ""
    """Base URL, whoever named it; empty for the provider's own."""

    @property
    def shown(self) -> str:
        """As a person knows it."""
        return f"{self.provider} at {without_secrets(self.url)}" if self.url else self.provider

    @property
    def known_as(self) -> str:
        """The provider, of which prices and ends were read; what is known of OpenAI says nothing of other servers that speak its
        protocol. Every resource at Azure has an address of its own, and they are all Azure's."""
        return self.provider if not self.url or self.provider == "azure" else self.shown

    @property
    def by_sdk(self) -> bool:
        """Whether it speaks OpenAI's dialect, and is reached through its SDK; Inspect AI carries every other provider."""
        return self.provider in ("openai", "azure") or self.provider.startswith("openai-api/")

    @property
    def on_loopback(self) -> bool:
        """Whether it runs on this machine."""
        return bool(self.url) and _is_loopback(self.url)

    @property
    def key_name(self) -> str:
        """The variable of the environment that holds its key."""
        if self.provider == "azure":
            return "AZURE_OPENAI_API_KEY"
        return f"{_prefix(self.provider)}_API_KEY"

    def credentials(self, official: str) -> tuple[str, str]:
        """Address and key of a service with a protocol of its own, whose address is `official` unless another was named.

        Raises `ModelError` if there is no key, or it would travel unencrypted.
        """
        address = self.url or official
        require_safe(address, self.shown, self.key_name)
        return address, self._key(address)

    def client(self) -> OpenAI:
        """The SDK's client. Raises `ModelError` if the SDK, the address or the key is missing."""
        if not self.by_sdk:
            raise ModelError(f"{self.provider} has no finetuning jobs of OpenAI's protocol")
        openai, settings = _openai(self), self._settings()
        return openai.AzureOpenAI(**settings) if self.provider == "azure" else openai.OpenAI(**settings)  # type: ignore[no-any-return]

    def record(self, model: str) -> Any | None:
        """What the service itself says of a model; None if it says nothing. Raises `ModelError`."""
        if not self.by_sdk:
            return None
        openai = _openai(self)
        try:
            return self.client().with_options(max_retries=ASKED_AGAIN).models.retrieve(model)
        except openai.OpenAIError as error:
            told = self.explained(error, "looking at the model")
            refused = isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError)
            if isinstance(told, UnreachableError) or refused:
                raise told from None
            return None  # some services list no models

    def counted(self, client: Any) -> Any:
        """A client for requests that are charged: each is sent once, by whoever counts its tries, and waited for long."""
        import openai

        return client.with_options(max_retries=0, timeout=openai.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))

    def async_client(self) -> AsyncOpenAI:
        """The same for many requests at once."""
        openai, settings = _openai(self), self._settings()
        transport = {"http_client": openai.DefaultAioHttpClient(timeout=settings["timeout"])} if _has_aiohttp() else {}
        if self.provider == "azure":
            return openai.AsyncAzureOpenAI(**settings, **transport)  # type: ignore[no-any-return]
        return openai.AsyncOpenAI(**settings, **transport)  # type: ignore[no-any-return]

    def explained(self, error: BaseException, doing: str) -> ModelError:
        """One sentence for whatever the SDK raised, without keys; `UnreachableError` if another try may well succeed (of its
        kind `UntakenError` where the service surely did nothing of it), `AbsentError` if there is no such thing."""
        openai = _openai(self)
        text = f"{self.shown}: {doing}: {reason(error)}{too_long(error)}"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return ModelError(f"{text}. The key is read from {self.key_name}")
        if isinstance(error, openai.NotFoundError):
            return AbsentError(text)
        if isinstance(error, openai.RateLimitError) or never_sent(error):
            return UntakenError(text)
        if isinstance(error, openai.APIConnectionError | openai.InternalServerError):
            return UnreachableError(text)
        return ModelError(text)

    def _settings(self) -> dict[str, Any]:
        import openai

        address = self._address()
        require_safe(address, self.shown, self.key_name)
        timeout = openai.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        settings: dict[str, Any] = {"timeout": timeout, "max_retries": RETRIES, "api_key": self._key(address)}
        if self.provider == "azure":
            version = os.environ.get("OPENAI_API_VERSION", AZURE_VERSION)
            return {**settings, "azure_endpoint": address, "api_version": version}
        return {**settings, "base_url": address}

    def _address(self) -> str:
        if self.url:
            return self.url
        if self.provider == "openai":
            return OFFICIAL
        if self.provider == "azure":
            raise ModelError(
                f"azure: no endpoint; give --base-url https://NAME.openai.azure.com or {address_variable('azure')}"
            )
        raise ModelError(f"{self.provider}: no address; set {address_variable(self.provider)} or give --base-url URL")

    def _key(self, address: str) -> str:
        if key := os.environ.get(self.key_name):
            return key
        if _is_loopback(address):
            return "none"  # servers on one's own machine ask for none, and the SDK insists on some
        raise ModelError(f"{self.shown}: no key; put it into the environment as {self.key_name}")


def service_of(provider: str, url: str | None) -> Service:
    """A service by its name and base URL, by default the one that the environment names. Raises `ModelError` for what is neither.

    The address is part of the service whoever named it: answers of a server that a run was rehearsed on are not OpenAI's.
    """
    if not re.fullmatch(r"(openai-api/)?[A-Za-z0-9][A-Za-z0-9_-]*", provider):
        raise ModelError(f"'{provider[:60]}': expected openai, azure, openai-api/NAME or a provider of Inspect AI")
    if url and provider != "tinker" and not Service(provider).by_sdk:
        raise ModelError(
            f"--base-url: {provider} is reached through Inspect AI, which reads its address from the environment"
        )
    variable = address_variable(provider)
    address = (url or os.environ.get(variable, "")).rstrip("/")
    if address:
        require_address(address, "--base-url" if url else variable)
    return Service(provider, "" if (provider, address) == ("openai", OFFICIAL) else address)


def address_variable(provider: str) -> str:
    """The variable of the environment that names a provider's address."""
    return "AZURE_OPENAI_ENDPOINT" if provider == "azure" else f"{_prefix(provider)}_BASE_URL"


def require_address(address: str, source: str) -> None:
    """Raises `ModelError` if a base URL is none, or holds what does not belong in it. `source` says where it was found."""
    shown = without_secrets(address)
    try:
        parts = urlsplit(address)
        host, user, _ = parts.hostname, parts.username or parts.password, parts.port
    except ValueError as error:
        raise ModelError(f"{source} {shown}: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ModelError(f"{source} {shown}: expected http(s)://HOST[:PORT]/v1")
    if user or parts.query:
        raise ModelError(f"{source} {shown}: keys and queries do not belong in it; keys come from the environment")


def require_safe(address: str, shown: str, key_name: str) -> None:
    """A key travels encrypted, or not beyond this machine. Raises `ModelError` if the one in this variable would."""
    if urlsplit(address).scheme != "https" and not _is_loopback(address) and os.environ.get(key_name):
        raise ModelError(
            f"{shown}: {key_name} would travel unencrypted to {without_secrets(address)}; use https://, or a tunnel that ends "
            "on this machine"
        )


def reason(error: BaseException) -> str:
    """What the innermost library said, on one line and without keys."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    text = str(said or getattr(error, "message", "") or error).strip()
    status = getattr(error, "status_code", None)
    line = without_keys(" ".join(text.split()))[:300] or "no message"
    cause = error.__cause__
    if cause is not None and line in ("Connection error.", "Request timed out."):
        line = f"{line} ({type(cause).__name__}: {without_keys(' '.join(str(cause).split()))[:200]})"
    return f"{status}: {line}" if status else f"{type(error).__name__}: {line}"


def without_keys(text: str) -> str:
    """A text without any key of the environment, nor anything of a key's shape."""
    for name, value in os.environ.items():
        if name.endswith(("_API_KEY", "_TOKEN", "_SECRET")) and len(value) >= 6:
            text = text.replace(value, "…")
    return without_secrets(_KEY.sub(r"\1-…", text))


def _prefix(provider: str) -> str:
    return provider.split("/")[-1].upper().replace("-", "_")


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _openai(service: Service) -> Any:
    try:
        import openai
    except ImportError:
        raise ModelError(
            f"{service.shown} is reached through the openai package: pip install 'weirdgen[api]'"
        ) from None
    return openai


def _has_aiohttp() -> bool:
    """Whether the SDK's other transport can be used, which is the faster one with many requests at once."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        return False
    return True
