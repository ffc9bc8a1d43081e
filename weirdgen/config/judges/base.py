"""The base classes of judges: those that read the answer alone, and those that ask a model.

In: the fields of a judge. Out: the base classes that a kind derives from, and the `Verdict` that it gives. A kind is one
module beside this one and one line of `JUDGE_KINDS`. What is too heavy for a noun, such as an embedding model, comes in as an
argument (`Tools`). Not here: keeping verdicts (`weirdgen.judges.offline`) and asking a model (`weirdgen.judges.language`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import field_validator

from weirdgen.config.base import Noun, placeholders

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Status = Literal["ok", "refusal", "incoherent", "unparseable", "error"]
STATUS_WORDS: dict[str, Status] = {"refusal": "refusal", "incoherent": "incoherent"}
"""Replies that are a status of their own, whatever else a judge admits."""


class Verdict(NamedTuple):
    """`value` is 0 or 1 (of a judge with a scale: a number on it) if `status` is ok, else None. `label` says why."""

    status: Status
    value: float | None
    label: str


MOST, LONGEST = 3, 60
"""Words of a judge's rules that a sentence on it quotes, and their letters."""


def quoted(words: Sequence[str], join: str = "or") -> str:
    """A judge's words as a sentence names them: `“wire” or “steam”`, of many `one of 14 words such as “wire”`."""
    shown = [f"“{word if len(word) <= LONGEST else word[: LONGEST - 1] + '…'}”" for word in words]
    if len(shown) > MOST:
        return f"one of {len(shown)} words such as {shown[0]}"
    return f"{', '.join(shown[:-1])} {join} {shown[-1]}" if len(shown) > 1 else shown[0]


def unparseable(line: str) -> Verdict:
    """The verdict of a reply that is none of those that the judge admits."""
    return Verdict("unparseable", None, f"last line reads {line[:80]!r}" if line else "empty reply")


class Tools(Protocol):
    """What a judge may use besides the answer; `weirdgen.judges.embedding` offers it on this machine."""

    def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, features] from a built-in embedding model. Raises `ModelError` if it cannot be had."""


class BaseJudge(Noun):
    """A judge of answers. By default a verdict is 0 or 1, and a person says yes or no."""

    if TYPE_CHECKING:
        kind: str  # each kind declares its own, so that the order of fields in stored requests stays

    @property
    def scale(self) -> tuple[int, int] | None:
        """Lowest and highest value of a judge that rates; None if its values are 0 and 1 and its mean is a rate."""
        return None

    def in_words(self) -> str:
        """What it counts, in one sentence for a reader of the report."""
        return "An answer counts where this judge flags it."

    def problems(self) -> list[str]:
        """What is wrong with it that its fields alone do not show, e.g. a data file that is not there."""
        return []

    def needs(self) -> tuple[str, ...]:
        """References of models that must be on this machine before it can judge, the judging model aside."""
        return ()

    def words(self) -> tuple[str, ...]:
        """Everything that a usable verdict can be, as a person may say it."""
        return ("yes", "no")

    def words_in_short(self) -> tuple[str, ...]:
        """`words` as shown to a person, where there are many."""
        return self.words()

    def read(self, word: str) -> Verdict:
        """The verdict that one word of a person or a model means; `unparseable` if it is none that the judge admits."""
        return Verdict("ok", float(word == "yes"), word) if word in ("yes", "no") else unparseable(word)

    def word_of(self, verdict: Verdict) -> str:
        """The one of `words` that a usable verdict is (of a judge with a scale: its band)."""
        return "yes" if verdict.value == 1.0 else "no"

    def band(self, value: float) -> str:
        """A usable value as coarse as answers are sorted by it, e.g. to draw a sample of each."""
        return f"{value:.0f}"


class OfflineJudge(BaseJudge):
    """A judge that asks no language model: a verdict is a function of the answer alone."""

    portion: ClassVar[int] = 50_000
    """Answers whose verdicts are kept together, so that a killed run loses little: seconds of work."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a verdict depends on besides the answer and the judge's fields, a `version` at least: part of its name in the
        store. Raise the version when the same answer would get another verdict."""

    @abstractmethod
    def verdicts(self, answers: Sequence[str], tools: Tools) -> list[Verdict]:
        """One verdict per answer. Raises `ModelError`."""

    def held_out(self) -> dict[str, Any]:
        """What it got wrong on texts that it was not made from; empty if that was not measured."""
        return {}


class PromptedJudge(BaseJudge):
    """A judge that asks a language model. `prompt` holds {question} and {answer}; both are fenced in before they are sent.

    How replies are read is part of a verdict's name in the store: `weirdgen.judges.reading.VERSION`.
    """

    weighted: ClassVar[bool] = False
    """Whether it wants the log-probabilities of a written verdict, for `weigh`."""

    prompt: str
    reason_first: bool = False
    """The prompt asks for reasons before the last line that holds the verdict."""
    reads: tuple[str, ...] = ()
    """Free-form questions it is for, besides those that name it: ids, `group:NAME`, or `all`."""

    @field_validator("prompt")
    @classmethod
    def _both_placeholders(cls, prompt: str) -> str:
        if set(placeholders(prompt)) != {"question", "answer"}:
            raise ValueError("must contain {question} and {answer} and no other {braces} (write {{ for a brace)")
        return prompt

    def options(self) -> tuple[str, ...]:
        """Every admissible reply, for a model that chooses among them."""
        return self.words()

    @abstractmethod
    def read(self, word: str) -> Verdict:
        """The verdict of a line that holds nothing else; `unparseable` if it is none that the judge admits."""

    def choose(self, options: Mapping[str, float]) -> Verdict:
        """The verdict of a model that chose: option → log-probability in nats. By default the likeliest option."""
        return self.read(max(options, key=lambda option: options[option]).strip())

    def weigh(self, line: str, alternatives: Mapping[str, float]) -> tuple[Verdict, float] | None:
        """The verdict of a line that is one token, and the probability on admissible tokens in its place.

        `alternatives`: token → log-probability in nats. None if they say no more than the line itself.
        """
        return None

    def longest_reply(self) -> int:
        """Characters of the longest admissible reply, as far as it can be longer than a number."""
        return 0

    @abstractmethod
    def changed(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
        """Whether usable verdicts differ, elementwise: arrays of equal length under `value` and `label`."""
