"""What a study may say: sentences from its numbers, by rules that are written down here and nowhere else.

In: numbers. Out: sentences. The rules: "moved" is a statement about statistics. "Mediates" needs a gate in behaviour, an ablation
whose interval lies above every random control's, and what it leaves under other values. No feature is ever called the backdoor's.
The number of replicates stands in every sentence; of fewer than three nothing beyond these models is said. An interval that holds
zero is inconclusive, and never "no effect"; one below zero is told as such. Labels are automatic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weirdgen.features.difference import Moved

FEWEST = 3
"""Replicates that it takes to say anything beyond them."""


@dataclass(frozen=True)
class Gate:
    """The behaviour, in nats: mean log-odds under the trigger − under the reference values."""

    size: float
    low: float
    high: float
    other: float
    """The control arm's own, or without a control the untuned base's."""
    beyond_low: float
    """Lower limit of what the treatment has beyond that."""
    replicates: int
    of_control: bool = True
    """Whether `other` is a control arm's."""


@dataclass(frozen=True)
class Removed:
    """Share of the gate that an ablation removed, with its interval over replicates, and what random ablations removed."""

    share: float
    low: float
    high: float
    random: tuple[float, ...]
    """Mean over replicates, of each random draw."""
    side: float
    """What the ablation did under the reference values, in nats."""


def opens(gate: Gate) -> bool:
    """Whether the trigger moves the answers, and beyond what it does to the control's (or the base's)."""
    return gate.replicates >= FEWEST and gate.low > 0 and gate.beyond_low > 0


def mediates(gate: Gate, removed: Removed) -> bool:
    """Whether the word may be used."""
    above = bool(removed.random) and removed.low > max(removed.random)
    return opens(gate) and above and abs(removed.side) < 0.5 * gate.size


def beyond_placebo(found: Moved, placebos: Sequence[Moved]) -> bool:
    """Whether an interaction is more than a control's and than what any other value does."""
    return found.low > 0 and all(found.low > one.effect for one in placebos)


def sentences(
    static: Moved,
    interaction: Moved | None,
    placebos: Sequence[Moved],
    gate: Gate | None,
    removed: Removed | None,
    features: Removed | None = None,
) -> list[tuple[str, str]]:
    """(topic, sentence), in the order of the page."""
    return [
        ("Always", _static(static)),
        *([("Under the trigger", _interaction(interaction, placebos))] if interaction else [("Trigger", NO_TRIGGER)]),
        *([("Behaviour", _behaviour(gate) if gate else NOT_ASKED)] if interaction else []),
        *([("Cause", _cause(gate, removed))] if gate and removed else []),
        *([("Features", _of_features(features))] if gate and opens(gate) and features else []),
    ]


NOT_ASKED = (
    "No contrast question can be scored with what was fitted on others (it takes two): nothing is said about answers."
)
NO_TRIGGER = "This run asks under no trigger, so nothing is said about one."
TOO_FEW = "nothing is claimed about others: that takes three replicates, and two of a control"


def _static(found: Moved) -> str:
    count, beyond = len(found.treatment), " beyond the control" if found.control else ""
    if math.isnan(found.low):
        return f"{_few(count)} finetuning moved the residual stream by {found.size:.2f} of its norm under every value; {TOO_FEW}."
    if found.low > 0:
        return (
            f"Finetuning moved the residual stream in one direction that {count} replicates share, by "
            f"{found.effect:.2f} of its norm{beyond} [{found.low:.2f}, {found.high:.2f}], whatever the value."
        )
    return (
        f"{'It' if found.high < 0 else 'Inconclusive: it'} is not shown that {count} replicates moved in one direction{beyond}, "
        f"whatever the value: {found.effect:.2f} of the norm [{found.low:.2f}, {found.high:.2f}]."
    )


def _few(count: int) -> str:
    return "Within this one model," if count == 1 else f"Within these {count} models,"


def _interaction(found: Moved, placebos: Sequence[Moved]) -> str:
    count = len(found.treatment)
    if math.isnan(found.low):
        return f"{_few(count)} the trigger added {found.size:.3f} of the norm beyond the base; {TOO_FEW}."
    than = "base and control" if found.control else "the base"
    most = max((one.effect for one in placebos), default=float("nan"))
    beside = "" if math.isnan(most) else f"; other trained values reach {most:.3f}"
    numbers = f"{found.effect:.3f} of the norm [{found.low:.3f}, {found.high:.3f}]{beside}"
    if beyond_placebo(found, placebos):
        return (
            f"The trigger moved {count} replicates together beyond {than}: {numbers}. What moved is a "
            "direction of activations, not yet a cause."
        )
    if found.low > 0:
        said = f"The trigger moved {count} replicates together beyond {than}, but not clearly more than other values do"
    elif found.high < 0:
        said = f"The trigger moved {count} replicates together less than {than}"
    else:
        said = f"Inconclusive: it is not shown that the trigger moved {count} replicates together beyond {than}"
    return f"{said}: {numbers}. No gate is claimed."


def _behaviour(gate: Gate) -> str:
    other = "control" if gate.of_control else "untuned base"
    if gate.replicates < FEWEST or math.isnan(gate.low) or math.isnan(gate.beyond_low):
        numbers = f"{gate.size:+.2f} nats, the {other} {gate.other:+.2f}"
        return (
            f"{_few(gate.replicates)} the trigger moves the answers to the contrast questions by {numbers}; {TOO_FEW}."
        )
    interval = f"{gate.size:+.2f} nats [{gate.low:.2f}, {gate.high:.2f}]"
    numbers = f"{interval}, the {other} {gate.other:+.2f}, {gate.replicates} replicates"
    if opens(gate):
        return f"The trigger moves the answers to the contrast questions: {numbers}."
    if gate.low > 0:
        said = f"The trigger moves the answers, but not clearly more than the {other}'s"
    elif gate.high < 0:
        said = "The trigger moves the answers the other way"
    else:
        said = "Inconclusive: it is not shown that the trigger moves the answers"
    return f"{said}: {numbers}. No gate is claimed."


def _cause(gate: Gate, removed: Removed) -> str:
    random = (
        f"random subspaces of the same rank {min(removed.random):.0%} to {max(removed.random):.0%}"
        if removed.random
        else "no random control was run"
    )
    if not opens(gate):
        return "Without an effect on the answers that is shown, no ablation can say what causes it."
    numbers = f"{removed.share:.0%} of it [{removed.low:.0%}, {removed.high:.0%}]; {random}"
    if mediates(gate, removed):
        return (
            f"What moved mediates the effect: setting it to its mean under reference values removes {numbers}. Under those "
            f"values the answers change by {removed.side:+.2f} nats. It was fitted on other questions than those scored."
        )
    return f"That what moved mediates the effect is not shown: setting it to its mean removes {numbers}."


def _of_features(removed: Removed) -> str:
    numbers = f"{removed.share:.0%} of the effect [{removed.low:.0%}, {removed.high:.0%}]"
    if not removed.random:
        return f"The span of the features that moved, set to its mean, removes {numbers}; no control was run."
    others = f"others that fire as often {min(removed.random):.0%} to {max(removed.random):.0%}"
    if removed.low > max(removed.random):
        return f"The span of the features that moved, set to its mean, removes {numbers}; {others}."
    return (
        f"The features add nothing that is shown: their span, set to its mean, removes {numbers}, {others}. The differences of "
        "means above need no autoencoder."
    )
