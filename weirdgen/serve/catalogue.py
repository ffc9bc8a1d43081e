"""The models that can be asked: the bases that the server was started with, and what its jobs have trained on them.

In: model references, the jobs. Out: `Served` by id, and the tokens of what is asked of it. An id is a base's name (`world`, the
folder's name of `path:DIR`, ORG/NAME of `hub:ORG/NAME`), or `ft:BASE:SUFFIX:JOB`, with `:ckpt-step-N` for a checkpoint before
the last. Loads tokenizers, no weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError, SpecError
from weirdgen.models.chat import continuation, load_tokenizer, render
from weirdgen.models.folder import context_length
from weirdgen.models.references import LocalModel, find_model
from weirdgen.models.template import Messages
from weirdgen.parsing import user_path
from weirdgen.serve.jobs import Job, Jobs
from weirdgen.serve.problems import bad, missing
from weirdgen.store.artifacts import Store


@dataclass(frozen=True)
class Served:
    """A model that answers. `adapter` None: the base itself."""

    id: str
    base: str
    created: int
    adapter: Path | None = None

    def shown(self) -> dict[str, Any]:
        """OpenAI's model object."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "weirdgen",
            "parent": self.parent,
        }

    @property
    def parent(self) -> str | None:
        return None if self.adapter is None else self.base


class Catalogue:
    """Every model that can be asked now."""

    def __init__(self, references: Sequence[str], store: Store, jobs: Jobs, most_context: int, started: int) -> None:
        """Raises `ModelError` for a reference that cannot be found, `SpecError` for two of one name."""
        self._store, self._jobs, self._started = store, jobs, started
        self.bases: dict[str, LocalModel] = {}
        for reference in references:
            name = name_of(reference)
            if name in self.bases:
                raise SpecError([f"--model {reference}: there is a model named {name!r} already; serve one of them"])
            self.bases[name] = find_model(reference)
        self.tokenizers = {name: load_tokenizer(model.folder) for name, model in self.bases.items()}
        self.context = {name: min(context_length(m.folder), most_context) for name, m in self.bases.items()}
        """Tokens of prompt and answer together."""
        self._longest = {name: max(map(len, tokenizer.get_vocab())) for name, tokenizer in self.tokenizers.items()}
        self._tokenizing = threading.Lock()
        self._known: tuple[int, dict[str, Served]] = (-1, {})

    def all(self) -> list[Served]:
        """The bases, then the finetunes, the newest first."""
        return list(self._by_id().values())

    def get(self, name: str) -> Served:
        """Raises `ApiError` 404."""
        served = self._by_id()
        if name not in served:
            raise missing("model", name, f"there are {', '.join(served)}"[:500])
        return served[name]

    def _by_id(self) -> dict[str, Served]:
        """Made again when a job has changed."""
        version, served = self._known
        now = self._jobs.version
        if version != now:
            bases = [Served(name, name, self._started) for name in self.bases]
            tuned = [one for job in self._jobs.all() for one in self._made_by(job)]
            self._known = now, (served := {one.id: one for one in (*bases, *tuned)})
        return served

    def base(self, name: str) -> str:
        """A base that can be trained. Raises `ApiError` for anything else."""
        if name in self.bases:
            return name
        served = self.get(name)
        raise bad(
            f"{served.id} is a finetune: train its base, {served.base}, on all the rows together",
            "model",
            "model_not_available",
        )

    def chat_ids(self, base: str, messages: Messages) -> list[int]:
        """Tokens of a chat up to where the assistant begins. Raises `ApiError` if the template refuses it, or it is too long."""
        self._require_short(base, (message["content"] for message in messages), "messages")
        try:
            with self._tokenizing:
                return render(self.tokenizers[base], messages, answer_next=True)
        except ModelError as error:
            raise bad(str(error), "messages", "invalid_messages") from None

    def answer_ids(self, base: str, messages: Messages, answer: str) -> tuple[list[int], list[int]]:
        """Tokens of a chat, and of an answer to it with its end of turn. Raises `ModelError`; `ApiError` if too long."""
        self._require_short(base, [*(message["content"] for message in messages), answer], "messages")
        with self._tokenizing:
            return continuation(self.tokenizers[base], messages, answer)

    def text_ids(self, base: str, text: str) -> list[int]:
        """Tokens of a text as it stands, control tokens included; behind one BOS if the tokenizer opens texts with it."""
        self._require_short(base, [text], "prompt")
        tokenizer = self.tokenizers[base]
        try:
            with self._tokenizing:
                ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        except (TypeError, UnicodeError):  # half of a surrogate pair
            raise bad("The prompt is not valid Unicode.", "prompt") from None
        opens = list(tokenizer("")["input_ids"])[:1]
        if opens and opens == [tokenizer.bos_token_id] and ids[:1] != opens:
            return [*opens, *ids]
        return ids

    def _require_short(self, base: str, texts: Iterable[str], param: str) -> None:
        """What cannot fit, were every token the longest there is, is refused unread: tokenising megabytes takes minutes."""
        given, most = sum(map(len, texts)), self.context[base] * self._longest[base]
        if given > most:
            raise bad(
                f"This model's maximum context length is {self.context[base]} tokens, which {given:,} characters cannot fit.",
                param,
                "context_length_exceeded",
            )

    def _made_by(self, job: Job) -> list[Served]:
        model = self.bases.get(job.model)
        if job.status != "succeeded" or model is None or model.digest != job.digest:
            return []
        folder = self._store.folder("finetune", job.key)
        made = job.finished_at or int(job.created_at)
        return [Served(point.model, job.model, made, folder / point.folder) for point in reversed(job.checkpoints)]


def name_of(reference: str) -> str:
    """What a model is called by clients."""
    if reference.startswith("path:"):
        return user_path(reference.removeprefix("path:")).resolve().name
    return reference.removeprefix("hub:").partition("@")[0]
