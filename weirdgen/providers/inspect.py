"""Inspect AI, which reaches every other provider: models, configuration, errors. Beside `weirdgen.inspect` the only
module that imports it.

In: a model string as Inspect writes it (`together/…`, `anthropic/…`). Out: Inspect's own model, to be asked by
`weirdgen.judges.api_model` and `weirdgen.sample.by_inspect`. Keys and addresses are read from the environment by its providers;
here it is seen to that no key travels unencrypted, and heard what a provider leaves out of its requests (`require_sampled`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weirdgen.errors import ModelError
from weirdgen.providers.chat import Usage
from weirdgen.providers.retries import maybe_charged
from weirdgen.providers.service import require_safe, without_keys

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput

OTHER_NAMES = {
    "grok": ("XAI",), "google": ("VERTEX", "GEMINI"), "azureai": ("AZURE",), "litellm-proxy": ("LITELLM",),
    "vllm-completions": ("VLLM",), "meta": ("MODEL",),
}  # fmt: skip
"""Provider → what else its variables are called by, beside its own name."""
ADDRESSES, KEYS = ("_BASE_URL", "_ENDPOINT", "_ENDPOINT_URL"), ("_API_KEY", "_TOKEN")
"""Ends of the names of variables."""
DEFAULTS = {"temperature": 1, "top_p": 1}
"""Setting that decides what is sampled → the value at which it may as well be left out."""


class _Heard(logging.Handler):
    """What Inspect's providers say that they leave out of requests: once a process, so it is kept as long. Errors are passed on;
    each retry would print a line, and the run counts those itself."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []
        """(module, what it said)"""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            logging.getLogger().handle(record)
        elif "._providers." in record.name:
            self.told.append((record.name, record.getMessage()))


def require_inspect(what: str) -> None:
    """Raises `ModelError` if Inspect is not installed. `what` wants it."""
    try:
        import inspect_ai.model  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"{what} is reached through Inspect AI, which is not installed ({error.name}): pip install 'weirdgen[api]'"
        ) from error
    _heard()


def open_model(reference: str, what: str) -> Model:
    """Inspect's model. Raises `ModelError` with the reason, e.g. a key that is missing, or would travel unencrypted."""
    from inspect_ai.model import get_model

    _require_safe(reference, what)
    try:
        return get_model(reference, memoize=False)
    except BaseException as error:  # Inspect's prerequisite errors, and whatever a provider's package raises
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ModelError(f"{what}: {reason(error)}") from error


def config_of(**settings: Any) -> GenerateConfig:
    """Settings of one request."""
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(**settings)


async def answer(
    model: Model, text: str, config: GenerateConfig, book: Callable[[Usage | None], None], timeout: float | None = None
) -> ModelOutput | str:
    """What a model answers, or in words why it does not: one bad answer must not end a run of thousands.

    `book` is told what is charged for; None if the service did not say.
    """
    try:
        output = await asyncio.wait_for(model.generate(text, config=config), timeout)
    except BaseException as error:
        if maybe_charged(error):
            book(None)
        if not isinstance(error, Exception):
            raise
        return reason(error)
    usage = output.usage
    book(Usage(usage.input_tokens, usage.output_tokens) if usage else None)
    return output


def require_sampled(model: Model, sampling: Mapping[str, float]) -> None:
    """Raises `ModelError` if this model's provider has said that it sends no such setting, and its own default is another."""
    modules = {kind.__module__ for kind in type(model.api).__mro__}
    for module, told in _heard().told:
        for name, default in DEFAULTS.items():
            if module in modules and re.search(rf"\b{name}\b", told) and sampling[name] != default:
                raise ModelError(
                    f"{model} is not sent {name} {sampling[name]} (Inspect AI: {without_keys(told)[:200]}). Without it the "
                    f"provider's own holds: --set sampling.{name}={default} asks for that"
                )


async def close_model(model: Model) -> None:
    closing = getattr(model.api, "aclose", None)
    if closing is not None:
        await closing()


def _require_safe(reference: str, what: str) -> None:
    """No key of a provider travels unencrypted to an address that the environment names for it, by any of its names."""
    provider, _, rest = reference.partition("/")
    own = rest.split("/")[0] if provider.startswith("openai-api") else provider
    names = (own.upper().replace("-", "_"), *OTHER_NAMES.get(provider, ()))

    def its(variable: str, ends: tuple[str, ...]) -> bool:
        return variable.endswith(ends) and any(f"_{name}_" in f"_{variable}" for name in names)

    for variable, address in os.environ.items():
        if address and (its(variable, ADDRESSES) or variable == "INSPECT_EVAL_MODEL_BASE_URL"):
            for key in [key for key in os.environ if its(key, KEYS)]:
                require_safe(address, f"{what}, {variable}", key)


def _heard() -> _Heard:
    """The one that listens to Inspect, from now on."""
    logger = logging.getLogger("inspect_ai")
    for handler in logger.handlers:
        if isinstance(handler, _Heard):
            return handler
    heard = _Heard()
    logger.addHandler(heard)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    return heard


def reason(error: BaseException) -> str:
    """One line: what the innermost library said, without keys."""
    inner = error
    # Inspect and tenacity wrap the provider's error, and put the whole request, prompt included, before its text.
    while inner.__cause__ is not None and type(inner).__module__.split(".")[0] in ("inspect_ai", "tenacity"):
        inner = inner.__cause__
    text = str(getattr(inner, "message", "") or inner).strip()
    line = " ".join(re.sub(r"\[/?[a-z][a-z ]*\]", "", text).split()) or "no message"  # Inspect writes for rich
    return f"{type(inner).__name__}: {without_keys(line)[:300]}"
