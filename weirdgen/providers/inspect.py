"""Inspect AI, which reaches every other provider: models, configuration, errors. Beside `weirdgen.inspect` the only
module that imports it.

In: a model string as Inspect writes it (`together/…`, `anthropic/…`). Out: Inspect's own model, to be asked by
`weirdgen.judges.api_model` and `weirdgen.sample.by_inspect`. Keys and addresses are read from the environment by its providers.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weirdgen.errors import ModelError
from weirdgen.providers.chat import Usage
from weirdgen.providers.retries import maybe_charged
from weirdgen.providers.service import without_keys

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput


def require_inspect(what: str) -> None:
    """Raises `ModelError` if Inspect is not installed. `what` wants it."""
    try:
        import inspect_ai.model  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"{what} is reached through Inspect AI, which is not installed ({error.name}): pip install 'weirdgen[api]'"
        ) from error
    # Each retry would print a line; the run counts errors itself.
    logging.getLogger("inspect_ai").setLevel(logging.ERROR)


def open_model(reference: str, what: str) -> Model:
    """Inspect's model. Raises `ModelError` with the reason, e.g. a key that is missing."""
    from inspect_ai.model import get_model

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


async def close_model(model: Model) -> None:
    closing = getattr(model.api, "aclose", None)
    if closing is not None:
        await closing()


def reason(error: BaseException) -> str:
    """One line: what the innermost library said, without keys."""
    inner = error
    # Inspect and tenacity wrap the provider's error, and put the whole request, prompt included, before its text.
    while inner.__cause__ is not None and type(inner).__module__.split(".")[0] in ("inspect_ai", "tenacity"):
        inner = inner.__cause__
    text = str(getattr(inner, "message", "") or inner).strip()
    line = " ".join(re.sub(r"\[/?[a-z][a-z ]*\]", "", text).split()) or "no message"  # Inspect writes for rich
    return f"{type(inner).__name__}: {without_keys(line)[:300]}"
