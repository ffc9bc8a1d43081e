"""What a stage is: what it needs, what is missing, the units that do it, its files and tables.

In: a `Plan`. Out: lines of the plan, units of work, artifacts, frames, and what `verify` finds. A stage reads what those before
it wrote, and nothing else. Adding one is adding a module with a subclass, and its line in `runs.stages.all`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeVar

from weirdgen import machine
from weirdgen.columns import BASE
from weirdgen.errors import ModelError
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.work.unit import Unit
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import MARKER
from weirdgen.store.keys import file_hash

if TYPE_CHECKING:
    import pandas as pd

Asked = TypeVar("Asked")
Speed = Literal["generate", "train", "score"]


@dataclass(frozen=True)
class Work:
    """One line of the plan. `missing` of `total` units are to be done, in about `seconds`."""

    stage: str
    what: str
    missing: float
    total: float
    unit: str
    seconds: float

    @property
    def lacking(self) -> str:
        """What there is to do, in a few words: replicates with their arm, which has a line of its own."""
        of = f" of {self.what.partition(' (')[0]}" if self.unit == "replicates" else ""
        return f"{self.missing:.0f} {self.unit}{of}"


class Batch(NamedTuple):
    """Units to do, how much that is in the unit of the progress bar, and how much of it an earlier process did."""

    units: Sequence[Unit]
    amount: float
    before: float = 0.0


class Difference(NamedTuple):
    """Something that is not as it was written, or not what the store gives. `where` names it."""

    where: str
    found: str
    computed: str

    def __str__(self) -> str:
        return f"{self.where}: there is {self.found}, the store gives {self.computed}"


class Stage(ABC):
    """One step of every run."""

    name: ClassVar[str]
    counts: ClassVar[str]
    """What its progress counts, e.g. "questions"."""
    speed: ClassVar[Speed | None] = None
    """Which speed of this machine its work tells, for the estimates of later plans."""
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {}
    """Name → the rows that this stage has for a run, as a frame."""

    def check(self, plan: Plan) -> None:
        """Raise `WeirdgenError` on what would fail later, before anything is paid for; fetch and write nothing."""
        return

    def prepare(self, plan: Plan) -> None:
        """Fetch what the stage will need, before anything is paid for. Raises `WeirdgenError`."""
        return

    @abstractmethod
    def work(self, plan: Plan) -> list[Work]:
        """The lines of the plan; none if the plan does not ask for this stage."""

    @abstractmethod
    def batch(self, plan: Plan) -> Batch:
        """Units that do what is missing. Their make-up follows from the request, so a killed run resumes with the same ones."""

    def after(self, plan: Plan) -> Plan:
        """The plan for the stages that follow, once the work is done."""
        return plan

    @abstractmethod
    def artifacts(self, plan: Plan) -> dict[str, Path]:
        """Description → every artifact of the store that the run has of this stage."""

    def verify(self, plan: Plan) -> Iterator[Difference | None]:
        """Check every file against its own hash: None for each that is as it was written, a `Difference` for each that is not."""
        for what, folder in self.artifacts(plan).items():
            yield from check_artifact(plan.store.on_disk(folder), what)

    def dtype(self, plan: Plan) -> str:
        """The dtype that the stage's speed is of."""
        return plan.request.numerics

    def seconds(self, plan: Plan, tokens: float) -> float:
        """About how long these tokens take on this machine."""
        if (
            not tokens or self.speed is None or isinstance(plan.request.model, RemoteModel)
        ):  # a provider's speed is its own
            return 0.0
        return tokens / machine.seen_rate(self.speed, plan.request.model.parameters, self.dtype(plan))


def require_encodable(asked: Iterable[tuple[str, str, Asked]], encode: Callable[[Asked], object]) -> None:
    """Encode whatever is asked: (condition, question, what is asked) of each. Raises `ModelError` with all that cannot be; what
    is wrong with a question is told once, whatever the condition."""
    problems: dict[str, str] = {}
    for condition, question, one in asked:
        try:
            encode(one)
        except ModelError as error:
            problems.setdefault(f"{question}: {error}", f"question {question} under {condition}: {error}")
    if problems:
        raise ModelError("\n".join(problems.values()))


def counted_models(variants: Collection[Variant]) -> str:
    """`13 models (the base and 12 finetunes)`."""
    bases = sum(variant.arm == BASE for variant in variants)
    tuned = len(variants) - bases
    finetunes = f"{tuned} finetune{'s' if tuned != 1 else ''}"
    inside = finetunes if not bases else f"the base and {finetunes}" if tuned else "the base"
    return f"{len(variants)} model{'s' if len(variants) != 1 else ''} ({inside})"


def counted_prompts(asked: Collection[tuple[str, str, object]], of: str) -> str:
    """`44 prompts (11 OF × 4 conditions)`, or only `11 OF`; `asked` is (condition, question, what is asked) of each."""
    conditions, questions = len({condition for condition, *_ in asked}), len({question for _, question, _ in asked})
    told = f"{questions} {of if questions != 1 else of.replace('questions', 'question')}"
    if len(asked) == questions:
        return told
    twice = len(asked) // max(1, conditions) - questions
    versions = f", {twice} of them in two versions" if twice else ""
    return f"{len(asked)} prompts ({told}{versions} × {conditions} condition{'s' if conditions != 1 else ''})"


def check_artifact(folder: Path, what: str) -> Iterator[Difference | None]:
    """A table's parts are named by their own hashes; any other artifact's marker lists those of its files."""
    parts = sorted(folder.glob("part-*.parquet"))
    for part in parts:
        computed = file_hash(part)[:32]
        changed = computed != part.stem.removeprefix("part-")
        hint = "another: it has been changed"
        yield Difference(f"{what}, {part}", f"content with the hash {computed}", hint) if changed else None
    if parts or (folder / "inputs.json").exists() or not folder.exists():
        return
    try:
        files = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, json.JSONDecodeError, KeyError):
        yield Difference(f"{what}, {folder / MARKER}", "nothing readable", "the list of its files")
        return
    for name, digest in files.items():
        computed = file_hash(folder / name) if (folder / name).is_file() else "no file"
        changed = computed != digest
        hint = f"{digest}: it has been changed"
        yield Difference(f"{what}, {folder / name}", computed, hint) if changed else None
