"""Engine references: `transformers`, `vllm:URL`; what each can do and how the store names it.

In: the text of `--engine`. Out: a frozen `EngineReference`, which travels with units of work to other machines and opens the
engine there. A server's address decides no result and is in no key; that it is a server of this kind does (`numerics`).
Adding an engine is adding a class and its line in `ENGINES`. What trains is `weirdgen.finetune.engines`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from weirdgen.display import without_secrets
from weirdgen.errors import ModelError, SpecError, did_you_mean
from weirdgen.providers.service import Service
from weirdgen.sample.engine import Engine

if TYPE_CHECKING:
    from weirdgen.sample.remote import RemoteEngine

Ability = Literal["generate", "score", "whole models"]
"""Write answers; give log-probabilities of given answers; answer as a model whose every weight was trained."""


class EngineReference(ABC):
    """What answers. Equal references open equal engines."""

    abilities: ClassVar[frozenset[Ability]]
    holds_weights: ClassVar[bool]
    """Whether the model is loaded into the process that opens the engine."""

    @abstractmethod
    def numerics(self, dtype: str) -> str:
        """What decides how its numbers are rounded, as written in the store's keys: a dtype, or the kind of server."""

    @abstractmethod
    def open(self, model_folder: Path, dtype: str, date: str | None) -> Engine:
        """The engine with the base of this folder, whose template is given this date (ISO). Raises `ModelError`."""


@dataclass(frozen=True)
class Transformers(EngineReference):
    """The model in this process."""

    abilities = frozenset[Ability](["generate", "score", "whole models"])
    holds_weights = True

    def numerics(self, dtype: str) -> str:
        return dtype

    def open(self, model_folder: Path, dtype: str, date: str | None) -> Engine:
        from weirdgen.sample.transformers import TransformersEngine

        return TransformersEngine(model_folder, dtype, date)


@dataclass(frozen=True)
class Vllm(EngineReference):
    """A vLLM server, which chooses its own dtype."""

    url: str

    abilities = frozenset[Ability](["generate", "score"])
    holds_weights = False

    def numerics(self, dtype: str) -> str:
        return "vllm"

    def open(self, model_folder: Path, dtype: str, date: str | None) -> Engine:
        from weirdgen.sample.vllm import VllmEngine

        return VllmEngine(self.url, model_folder, date=date)


@dataclass(frozen=True)
class Remote(EngineReference):
    """A service of OpenAI's dialect, which holds the base under this name."""

    service: Service
    base: str
    connections: int = 16
    choices: int = 1
    """Answers that one request asks for."""
    deployments: tuple[tuple[str, str], ...] = ()
    """(model, its deployment) on Azure."""
    template: Path | None = None
    """A folder with the base's tokenizer, if the service gives log-probabilities of given texts."""

    abilities = frozenset[Ability](["generate"])
    holds_weights = False

    def numerics(self, dtype: str) -> str:
        return self.service.provider

    def open(self, model_folder: Path, dtype: str, date: str | None) -> RemoteEngine:
        return self.connect()

    def connect(self) -> RemoteEngine:
        from weirdgen.sample.by_inspect import InspectEngine
        from weirdgen.sample.remote import RemoteEngine

        engine = RemoteEngine if self.service.by_sdk else InspectEngine
        return engine(self.service, self.base, self.connections, self.choices, dict(self.deployments))


@dataclass(frozen=True)
class Recorded(EngineReference):
    """What once answered, of a run that is read from the store: it names the stored numbers and answers nothing more."""

    named: str

    abilities = frozenset[Ability]()
    holds_weights = False

    def numerics(self, dtype: str) -> str:
        return self.named

    def open(self, model_folder: Path, dtype: str, date: str | None) -> Engine:
        raise ModelError(
            f"this run was answered by {self.named}, and the store does not say where that is: run its `weirdgen run` again"
        )


def _transformers(address: str) -> EngineReference:
    if address:
        raise ValueError("transformers takes no address")
    return Transformers()


def _vllm(address: str) -> EngineReference:
    if not address.startswith(("http://", "https://")):
        raise ValueError("vllm needs a URL, e.g. vllm:http://localhost:8000")
    return Vllm(address.rstrip("/"))


ENGINES: dict[str, Callable[[str], EngineReference]] = {"transformers": _transformers, "vllm": _vllm}
"""Scheme → the engine at an address."""


def parse_engine(reference: str) -> EngineReference:
    """The engine that `SCHEME` or `SCHEME:ADDRESS` names. Raises `SpecError` with what is accepted."""
    scheme, _, address = reference.partition(":")
    try:
        return ENGINES[scheme](address)
    except (KeyError, ValueError) as error:
        why = f"{error}; " if isinstance(error, ValueError) else ""
        shown = without_secrets(
            f"--engine {reference}: {why}expected transformers or vllm:URL{did_you_mean(scheme, ENGINES)}"
        )
        raise SpecError([shown]) from None


def engine_of(numerics: str) -> EngineReference:
    """The engine whose numbers are stored under this name."""
    return Transformers() if numerics in ("bf16", "fp32") else Recorded(numerics)
