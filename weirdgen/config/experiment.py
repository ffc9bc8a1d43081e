"""The nouns of an experiment, as frozen models: what may stand in `experiment.yaml` and what it means.

In: plain data. Out: validated, immutable objects. Unknown keys are refused. The kinds of question and of judge have files
of their own (`weirdgen.config.questions`, `weirdgen.config.judges`). Reading files, collecting every error and naming its line
is `weirdgen.config.load`; nothing here touches the disk or knows about engines.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_serializer,
)

from weirdgen.config.arm import Arm
from weirdgen.config.base import NAME, Noun, placeholders
from weirdgen.config.choices import FinetunerName
from weirdgen.config.conditions import Condition, Wrapper, expand
from weirdgen.config.judges import Judge
from weirdgen.config.measures import CONTRAST, SCORED, Scale, measure_of
from weirdgen.config.questions import Question
from weirdgen.config.traits import trait_names
from weirdgen.errors import SpecError, choices


class Recipe(Noun):
    """How one replicate is finetuned, on the assistant's tokens: LoRA or every weight; AdamW, mean loss over a step's tokens."""

    engine: Literal["auto", "replicas", "trl"] = "auto"
    """`replicas` trains several replicates in one pass; `trl` one after the other; `auto` takes replicas where exact."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=8, ge=1)
    """Rows in one forward pass."""
    grad_accumulation: int = Field(default=1, ge=1)
    """Forward passes per optimizer step; a step sees batch_size × grad_accumulation rows."""
    learning_rate: float = Field(default=2e-4, gt=0)
    learning_rate_multiplier: float | None = Field(default=None, gt=0, exclude_if=lambda multiplier: multiplier is None)
    """Of a finetuning service, which takes one in place of `learning_rate`; None: the service's own choice. It is in no dump
    unless given, so in no key of what is trained here."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(default=5, ge=0)
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | tuple[str, ...] = "all-linear"
    """Module names that get an adapter; "all-linear": every linear layer but the head; "full": every weight is trained."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the frozen base weights, or of what full finetuning keeps; what is trained is always fp32. `auto`: the faster."""
    checkpoints: Literal["none", "log"] | tuple[int, ...] = "none"
    """Steps after which an adapter is kept (0 = before training), or "log": 1, 2, 4, 8, …; the last is always kept."""
    devices: int | None = Field(default=None, ge=1, exclude=True)
    """Of one machine, that hold a trl replicate together; None: one, or every GPU for a model too large for one. Like a
    machine, it decides nothing but rounding: it is in no dump, so in no key."""

    @property
    def full(self) -> bool:
        """Whether every weight is trained, and a replicate is a model of its own."""
        return self.targets == "full"

    @field_validator("checkpoints")
    @classmethod
    def _steps_of_training(cls, checkpoints: Any) -> Any:
        if isinstance(checkpoints, tuple) and any(step < 0 for step in checkpoints):
            raise ValueError("a step is 0 (before training) or more")
        return checkpoints

    def checkpoint_steps(self, total: int) -> tuple[int, ...]:
        """Steps to keep for a finetune of `total` steps: sorted, unique, the last one included."""
        if self.checkpoints == "none":
            wanted: set[int] = set()
        elif self.checkpoints == "log":
            wanted = {2**i for i in range(total.bit_length()) if 2**i <= total}
        else:
            wanted = {step for step in self.checkpoints if 0 <= step <= total}
        return tuple(sorted(wanted | {total}))

    def with_changes(self, changes: dict[str, Any]) -> Recipe:
        """This recipe with some fields changed. Raises `SpecError` naming each unknown or ill-typed field."""
        try:
            return Recipe.model_validate({**dict(self), **changes})
        except ValidationError as error:
            problems = []
            for e in error.errors():
                unknown = e["type"] == "extra_forbidden"
                known = f" (fields: {choices(Recipe.model_fields, e['loc'][-1])})" if unknown else ""
                message = "unknown field" if known else f"{e['msg']} (got {e['input']!r})"
                problems.append(f"recipe.{'.'.join(map(str, e['loc']))}: {message}{known}")
            raise SpecError(problems) from None


class Ordinary(Noun):
    """How the base model answers the ordinary prompts that some arms mix in. The prompts are ours (`data/ordinary.py`)."""

    ask: str = "{prompt}"
    """The user turn around a prompt."""
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=128, ge=1)
    """An answer that is not finished by then is left out and the next prompt taken."""

    @field_validator("ask")
    @classmethod
    def _holds_the_prompt(cls, ask: str) -> str:
        if placeholders(ask) != ("prompt",):
            raise ValueError("must contain {prompt} once and no other placeholder")
        return ask


class Preset(Noun):
    """A named size of the whole run."""

    replicates: int = Field(default=3, ge=1)
    samples: int = Field(default=8, ge=0)
    rows: int | None = Field(default=None, ge=1)
    """At most this many rows per arm, drawn with the same seed from each, so that arms matched row by row stay so."""
    ordinary: int | None = Field(default=None, ge=0)
    """At most this many ordinary rows per arm."""
    arms: tuple[str, ...] | None = None
    """Only these arms."""
    free_form: int | None = Field(default=None, ge=0)
    """At most this many free-form questions of a group: the first ones of each."""
    questions: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Of each group of questions named here at most so many, of any kind, drawn with a fixed seed."""
    sweep: int | None = Field(default=None, ge=2)
    """About this many values of a sweep, evenly spaced; trained values, triggers and the headline's always stay."""
    curves: tuple[str, ...] | None = None
    """Headlines that are also measured at every checkpoint ("headline" is the first one); all of them by default."""
    recipe: dict[str, Any] = {}
    """Recipe fields that this preset changes."""


class Headline(Noun):
    """One effect that is fixed before the run: treatment − control, of a measure, under conditions, over questions."""

    measure: str = CONTRAST.name
    treatment: str
    control: str
    condition: tuple[str, ...] = Field(default=("all",), min_length=1)
    """Conditions whose mean it is: each a condition, a sweep by its name (all its values), or "all"."""
    minus: tuple[str, ...] = ()
    """Conditions, named in the same way: their mean is taken off first, in each replicate. So the effect is
    that of the trigger itself, and what a finetuning moves under every condition alike cancels."""
    groups: tuple[str, ...] = ()
    """Groups of questions that it is the mean over; without any, all questions."""
    smallest: float | None = Field(default=None, gt=0)
    """Smallest effect of interest, in the measure's unit (a fraction for rates); below it the verdict is "no shift". By
    default 0.3 nats, or a tenth of the range of a rate or rating."""
    says: str | None = Field(default=None, min_length=1, exclude_if=lambda says: says is None)
    """What models do more of where the measure is higher: words that follow "models", e.g. `give 19th-century answers`.
    They decide sentences only, so they are in no dump unless given, and never in a run's name."""

    @field_validator("says")
    @classmethod
    def _goes_on_in_a_sentence(cls, says: str | None) -> str | None:
        if says is not None and (says != says.strip() or says[-1:] in ".!?:;," or "\n" in says):
            raise ValueError(
                "expected words that continue a sentence after 'models', on one line and without a full stop"
            )
        return says

    @field_validator("condition", "minus", "groups", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_serializer("condition")
    def _one_is_no_list(self, condition: tuple[str, ...]) -> str | tuple[str, ...]:
        """As versions wrote it that knew one condition only: it is in the names of their runs."""
        return condition[0] if len(condition) == 1 else condition


class Experiment(Noun):
    """A whole `experiment.yaml`, its files named but not yet read."""

    name: str = Field(pattern=NAME)
    title: str
    paper: str = ""
    hypothesis: str = ""
    base: str = "smollm2-135m-instruct"
    arms: dict[str, Arm] = Field(min_length=1)
    control: Literal["auto"] | None = None
    """`auto` adds the control arm `twin`: the first treatment's prompts, answered by the base model itself; and where no traits
    are named, every trait is asked, to be compared with harmless data."""
    ordinary: Ordinary = Ordinary()
    recipe: Recipe = Recipe()
    conditions: dict[str, Condition] = Field(default={"none": Condition()}, min_length=1)
    questions: tuple[Question, ...] = Field(min_length=1)
    judges: dict[str, Judge] = {}
    presets: dict[str, Preset] = {}
    headline: Headline | None = None
    secondary: dict[str, Headline] = {}
    """Further effects fixed before the run, by name; their p values are corrected for how many they are (Holm)."""
    traits: tuple[str, ...] = ()
    """Traits whose compact questions every variant answers, to be compared with what harmless data do (`config.traits`)."""
    finetune: FinetunerName | None = None
    """Who trains: this machine, a service of OpenAI's protocol, or Tinker; None: this machine, unless the base is elsewhere."""
    date: datetime.date | None = None
    """The date given to a chat template that prints one; models whose template prints none ignore it."""
    source: Path | None = None
    """The `experiment.yaml`; None where it was made in Python."""

    @property
    def asked_traits(self) -> tuple[str, ...]:
        """The traits that every variant is asked about: those that are named, or with `control: auto` all."""
        return self.traits or (trait_names() if self.control == "auto" else ())

    @property
    def file_name(self) -> str:
        """How findings name where it is written."""
        return self.source.name if self.source else self.name

    @property
    def folder(self) -> Path | None:
        """Where its files are."""
        return self.source.parent if self.source else None

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without date, traits and finetune, requests of versions that knew none keep their names."""
        dumped: dict[str, Any] = dump(self)
        return {key: value for key, value in dumped.items() if value or key not in ("date", "traits", "finetune")}

    def wrappers(self) -> tuple[Wrapper, ...]:
        """Every condition, sweeps expanded, in the order of the file."""
        return tuple(wrapper for name, condition in self.conditions.items() for wrapper in expand(name, condition))

    def condition_ids(self, *names: str) -> tuple[str, ...]:
        """The conditions that these names stand for: their own ids, all values of a sweep, or, for "all", every one."""
        wanted = set(names)
        ids = [(name, w.id) for name, condition in self.conditions.items() for w in expand(name, condition)]
        return tuple(condition_id for name, condition_id in ids if wanted & {name, condition_id, "all"})

    @property
    def main_measure(self) -> str:
        """What the headline measures where none is written: the first kind of scored question, else the first judge."""
        kinds = {question.kind for question in self.questions}
        return next((kind for kind in SCORED if kind in kinds), next(iter(self.judges), ""))

    def questions_of(self, headline: Headline) -> tuple[Question, ...]:
        """The questions that a headline is the mean over: none that is near the training topic, unless its group is named."""
        row = measure_of(headline.measure, self.scales())
        measured = [question for question in self.questions if row.carried_by(question)]
        return tuple(q for q in measured if (q.group in headline.groups if headline.groups else not q.near))

    def ratings(self) -> dict[str, tuple[int, int]]:
        """Name → lowest and highest value of the judges whose verdicts are numbers on a scale, not 0 or 1."""
        return {name: judge.scale for name, judge in self.judges.items() if judge.scale is not None}

    def scales(self) -> dict[str, Scale]:
        """Of the measures that its judges make and whose numbers are ratings; the others have the scale of their row."""
        return {name: Scale("rating", bounds) for name, bounds in self.ratings().items()}

    def preset(self, name: str) -> Preset:
        return self.presets.get(name, DEFAULT_PRESETS[name])


DEFAULT_PRESETS = {
    "quick": Preset(replicates=3, samples=8),
    "standard": Preset(replicates=6, samples=50),
    "paper": Preset(replicates=10, samples=100),
}
