"""Training files at a service: each content is uploaded once, and waited for until a job can be made of it.

In: a file's content. Out: its id there. What is in it is `weirdgen.finetune.upload`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.finetune.asking import answered
from weirdgen.providers.service import AbsentError, Service, without_keys
from weirdgen.store.keys import content_key

SECONDS = 1800.0
"""That a service may take to look through a file."""
LOOKED_THROUGH = ("pending", "running")
"""States of a file of which no job can be made yet: Azure's."""


class Files:
    """Files at one service. `pauses`: seconds between two looks, at first and at most."""

    def __init__(self, service: Service, client: Any, tell: Callable[[str], None], *pauses: float) -> None:
        self._service, self._files, self._tell, self._pauses = service, client.files, tell, pauses
        self._known: dict[str, str] = {}

    def uploaded(self, name: str, content: Callable[[], bytes], before: str | None) -> str:
        """The id of the file with this content, which `name` names: of this process, else the one that an earlier process
        uploaded (`before`) if the service still has it, else a new one. Raises `ModelError` if the service does not take it."""
        if name not in self._known:
            made = None
            if before:
                with contextlib.suppress(AbsentError):
                    made = self._look(before)
            if made is None or getattr(made, "status", None) in ("error", "deleted"):
                file = (f"weirdgen-{content_key(name)[:16]}.jsonl", content())
                create = self._files.create
                made = answered(self._service, "uploading rows", lambda: create(file=file, purpose="fine-tune"), "id")
            self._known[name] = self._ready(made)
        return self._known[name]

    def _ready(self, made: Any) -> str:
        began, (pause, longest) = time.monotonic(), self._pauses
        while (status := getattr(made, "status", None)) in LOOKED_THROUGH and time.monotonic() - began < SECONDS:
            self._tell(f"the service looks through {made.id}")
            time.sleep(pause)
            pause, made = min(longest, pause * 1.5), self._look(made.id)
        if status == "error":
            why = without_keys(str(getattr(made, "status_details", None) or "no reason given"))[:300]
            raise ModelError(f"{self._service.shown}: the rows ({made.id}) were not taken: {why}")
        return str(made.id)

    def _look(self, file: str) -> Any:
        return answered(self._service, "looking at the rows", lambda: self._files.retrieve(file), "id")
