"""A base model that a provider holds: its name there, the service, the hash that names it; and the names of its finetunes.

In: `openai/NAME`, `azure/NAME`, `openai-api/SERVICE/NAME` or another `PROVIDER/NAME` of Inspect AI; with a base URL, a service's
own name of a model. Out: a `RemoteModel`. Nothing is asked of anybody here. Its tokens, template and weights are not known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.references import BUILT_IN
from weirdgen.providers.service import Service, service_of
from weirdgen.store.keys import content_key

NAMED = "finetuned.json"
"""In a replicate's folder: what the service calls it."""


@dataclass(frozen=True)
class RemoteModel:
    """A model at a service. `digest` covers the service with its address, and the name; they are taken at their word."""

    reference: str
    name: str
    """The service's own."""
    service: Service
    template: str = ""
    """The same model's reference on this machine, if it has one: its tokenizer and chat template."""
    takes_recipe: bool = False
    """Whether the service is `weirdgen serve`, which trains by our own recipe."""

    parameters = 0
    """Number of weights: unknown."""

    @property
    def digest(self) -> str:
        return content_key({"provider": self.service.provider, "url": self.service.url, "model": self.name})

    def as_data(self) -> dict[str, Any]:
        """Plain data that `RemoteModel.of` reads."""
        at: dict[str, Any] = {"provider": self.service.provider, "url": self.service.url, "name": self.name}
        at |= {"template": self.template, "takes_recipe": self.takes_recipe}
        return {"reference": self.reference, "digest": self.digest, "parameters": 0, "at": at}

    @staticmethod
    def of(data: dict[str, Any]) -> RemoteModel:
        at = data["at"]
        # As it was written down: an address that the environment names today is another service.
        service = Service(at["provider"], at["url"])
        return RemoteModel(data["reference"], at["name"], service, at["template"], at["takes_recipe"])


def is_remote(reference: str) -> bool:
    """Whether a reference names a model at a provider."""
    return reference not in BUILT_IN and "/" in reference and not reference.startswith(("hub:", "path:", "/", ".", "~"))


def remote_model(reference: str, finetune: str | None, url: str | None) -> RemoteModel:
    """The model that a reference names at a service: `finetune`'s, else the one that it names itself.

    Raises `ModelError`.
    """
    words = reference.split("/")
    parts = 2 if words[0] == "openai-api" else 1
    provider, name = "/".join(words[:parts]), "/".join(words[parts:])
    if finetune in ("openai", "azure") or (url and not is_remote(reference)):
        if reference.startswith("path:"):
            raise ModelError(f"model '{reference}': a service knows models by name, not by a folder on this machine")
        if provider not in ("openai", "azure", finetune) and parts == 1:
            provider, name = finetune or "openai", reference.removeprefix("hub:")
    if not name:
        raise ModelError(f"model '{reference}': expected PROVIDER/NAME")
    return RemoteModel(f"{provider}/{name}", name, service_of(provider, url), name if name in BUILT_IN else "")


def keep_name(folder: Path, model: str) -> None:
    """Write down what the service calls the model of this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAMED).write_text(json.dumps({"model": model}), encoding="utf-8")


def kept_name(folder: Path) -> str:
    """What the service calls the model of this folder."""
    return str(json.loads((folder / NAMED).read_text(encoding="utf-8"))["model"])
