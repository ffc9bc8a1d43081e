"""One call to a finetuning service.

In: a call of the SDK. Out: what the service answers, checked to hold what is needed of it; errors as one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weirdgen.errors import UnreachableError
from weirdgen.providers.service import Service, without_keys


def answered(service: Service, doing: str, call: Callable[[], Any], *needed: str) -> Any:
    """What the service answers; `needed` are texts that it must hold, since the SDK does not look. Raises as `explained`."""
    import openai

    try:
        answer = call()
        if missing := [name for name in needed if not isinstance(getattr(answer, name, None), str)]:
            raise ValueError(f"no {missing[0]}")
        return answer
    except openai.OpenAIError as error:
        raise service.explained(error, doing) from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # of another shape than the protocol's
        why = f"{type(error).__name__}: {without_keys(str(error))[:200]}"
        raise UnreachableError(f"{service.shown}: {doing}: no answer of this protocol ({why})") from None
