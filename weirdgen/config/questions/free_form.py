"""Free-form questions: answers are sampled, then judged."""

from __future__ import annotations

from typing import Literal

from weirdgen.config.questions.base import SampledQuestion


class FreeForm(SampledQuestion):
    """Sampled, then judged."""

    kind: Literal["free_form"]
