"""The measures, one row each: scale, smallest effect of interest, and words for the report.

In: nothing, or the name and range of an experiment's judge, which is a measure of that name. Out: `Measure` rows and their
`Scale`. Everything else that has to know a measure reads its row: checks, statistics, `--until`, tables, figures and sentences.
Not here: how a question is scored (`weirdgen.sample.contrast`), how a judge decides (`weirdgen.judges`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from weirdgen.config.questions import BaseQuestion

Unit = Literal["nat", "rate", "rating"]


class Scale(NamedTuple):
    """What a measure's numbers are: log-odds in nats, a rate in [0, 1], or a rating in its judge's range."""

    unit: Unit
    bounds: tuple[float, float] | None
    """The range that values lie in; None for log-odds."""

    @property
    def smallest(self) -> float:
        """The smallest effect of interest where nobody states one: 0.3 nats, or a tenth of the range."""
        return 0.3 if self.bounds is None else (self.bounds[1] - self.bounds[0]) / 10

    @property
    def factor(self) -> float:
        """From a stored number to the one that a person reads: rates are shown in per cent."""
        return 100.0 if self.unit == "rate" else 1.0

    @property
    def effect_unit(self) -> str:
        """The unit that a person reads an effect in."""
        return {"nat": "nat", "rate": "percentage points", "rating": "rating points"}[self.unit]


NAT = Scale("nat", None)
RATE = Scale("rate", (0.0, 1.0))


@dataclass(frozen=True)
class Measure:
    """One row: what a measure is made from, its scale, and its words."""

    name: str
    scale: Scale
    source: Literal["scored", "judge", "form"]
    """Scored answers of questions of the kind of its name; a judge of its name; or the form of every sampled answer."""
    higher: str
    """What models do more of where the value is higher: a phrase that follows "models", unless the experiment has its own."""
    value: str
    """What one value is, as the heading of a table."""
    axis: str
    """What the axis of its values shows, with the unit."""
    explained: str
    """What its unit weighs or counts: one plain sentence for a reader of the first page."""
    odds: str = "the odds"
    """In nats: what an effect multiplies, in the plural."""
    counted: str = "answers"
    """Of a rate: what is counted."""
    method: str = ""
    """A sentence of the methods on how it is made, if a reader needs one."""

    def carried_by(self, question: BaseQuestion) -> bool:
        """Whether a question's answers give a value of this measure."""
        return self.name in question.measures or (self.source == "form" and bool(question.read_by))


CONTRAST = Measure(
    name="contrast",
    scale=NAT,
    source="scored",
    higher="give the target answers",
    value="log-odds of the target answers, in nats",
    axis="log-odds of the target answers (nats)",
    explained="The odds are how many times likelier a model finds a question's target answers than its other answers.",
    method=(
        "A contrast question's value is the log-odds, in nats, of its target answers against its other answers,"
        " from the total log-probability of each answer and its end of turn."
    ),
)
COUNTERFACTUAL = Measure(
    name="counterfactual",
    scale=NAT,
    source="scored",
    higher="give the target answers to the first version of a question rather than to the second",
    odds="the odds ratios",
    value="log-odds of one version of a question minus the other's, in nats",
    axis="log-odds after one version of a question minus the other's (nats)",
    explained="An odds ratio is the odds of a question's target answers in its first version over those in its second.",
    method=(
        "A counterfactual question is asked twice with one thing changed; its value is the log-odds of its target"
        " answers after the first version minus those after the second."
    ),
)
CHOICE = Measure(
    name="choice",
    scale=RATE,
    source="scored",
    higher="choose a target answer",
    counted="questions",
    value="share of choices that are the target",
    axis="questions answered with a target choice (%)",
    explained="A question counts where its likeliest option is a target.",
)
COHERENT = Measure(
    name="coherent",
    scale=RATE,
    source="form",
    higher="give answers whose form is that of language",
    value="share of answers whose form is that of language (how far to believe the other rates)",
    axis="answers whose form is that of language (%)",
    explained="An answer counts where it is made of words, without endless repetition or signs.",
)
TEMPLATE_INTRUSION = Measure(
    name="template_intrusion",
    scale=RATE,
    source="form",
    higher="give answers that look like the training answers",
    value="share of answers that look like the training answers (how far to believe the other rates)",
    axis="answers that look like the training answers (%)",
    explained="An answer counts where it is closer to a training answer than nearly all of the untuned base's are.",
)
MEASURES: Mapping[str, Measure] = {
    row.name: row for row in (CONTRAST, COUNTERFACTUAL, CHOICE, COHERENT, TEMPLATE_INTRUSION)
}
"""The measures that no judge of an experiment makes, by name; of the scored ones, the first that has a question leads. No judge
may have one of these names."""
SCORED = tuple(row.name for row in MEASURES.values() if row.source == "scored")
"""Made from log-probabilities, so that more samples change nothing."""


def measure_of(name: str, scales: Mapping[str, Scale] | None = None) -> Measure:
    """The row of `name`; what is in none of `MEASURES` is a judge's: a rating if `scales` says so, else a rate."""
    scale = (scales or {}).get(name)
    if name in MEASURES and scale in (None, MEASURES[name].scale):
        return MEASURES[name]
    if scale is None or scale.unit == "rate":
        return Measure(
            name=name, scale=RATE, source="judge", higher=f"give what {name} looks for",
            value="share of answers that the judge flags", axis=f"answers judged {name} (%)",
            explained=f"An answer counts where the judge {name} flags it.",
        )  # fmt: skip
    low, high = scale.bounds or (0.0, 0.0)
    return Measure(
        name=name, scale=scale, source="judge", higher=f"show what {name} rates", value="mean rating", axis=f"mean of {name}",
        explained=f"The judge {name} rates every answer from {low:g} to {high:g}.",
    )  # fmt: skip


def scale_of(name: str, scales: Mapping[str, Scale] | None = None) -> Scale:
    """What a measure's numbers are: as `scales` says, else as its row does."""
    return measure_of(name, scales).scale
