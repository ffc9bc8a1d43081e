"""The wording rules: what may be said follows from the numbers, and no more is said."""

from __future__ import annotations

import pytest

from weirdgen.features.difference import Moved
from weirdgen.features.verdict import NO_TRIGGER, Gate, Removed, mediates, opens, sentences

NAN = float("nan")


def shift(effect: float, low: float, high: float, replicates: int = 4) -> Moved:
    return Moved("interaction", effect, 0.9, (effect,) * replicates, (0.0,) * replicates, effect, low, high)


GATE = Gate(8.0, 7.5, 8.5, 0.1, 7.3, 4)
FOUND, PLACEBO = shift(0.4, 0.3, 0.5), shift(0.05, 0.01, 0.09)


def said(interaction: Moved | None, gate: Gate | None, removed: Removed | None) -> dict[str, str]:
    placebos = [PLACEBO] if interaction else []
    return dict(sentences(shift(0.3, 0.2, 0.4), interaction, placebos, gate, removed))


def test_mediates_needs_a_gate_controls_below_and_little_change_elsewhere() -> None:
    good = Removed(0.7, 0.6, 0.8, (0.2, 0.3), -0.2)
    assert "mediates the effect: " in said(FOUND, GATE, good)["Cause"]
    for removed in (
        Removed(0.7, 0.25, 0.8, (0.2, 0.3), -0.2),  # a random control reaches the interval
        Removed(0.7, 0.6, 0.8, (), -0.2),  # no control
        Removed(0.7, 0.6, 0.8, (0.2,), -5.0),  # it changes everything
    ):
        assert not mediates(GATE, removed) and "is not shown" in said(FOUND, GATE, removed)["Cause"]
    closed = Gate(0.1, -0.2, 0.4, 0.0, -0.3, 4)
    assert not opens(closed) and "no ablation can say" in said(FOUND, closed, good)["Cause"]
    assert not opens(Gate(8.0, NAN, NAN, 0.1, NAN, 1)) and not opens(Gate(1.0, 0.5, 1.5, 0.4, -0.1, 4))


@pytest.mark.parametrize(
    ("interaction", "words"),
    [
        (FOUND, "The trigger moved 4 replicates together beyond base and control"),
        (shift(0.4, -0.1, 0.9), "Inconclusive: it is not shown that the trigger moved 4 replicates together"),
        (shift(0.04, 0.01, 0.07), "not clearly more than other values do: 0.040"),
        (shift(-0.4, -0.5, -0.3), "together less than base and control: -0.400"),
        (shift(0.4, NAN, NAN, 1), "Within this one model"),
        (shift(0.4, NAN, NAN, 4), "nothing is claimed about others: that takes three replicates, and two of a control"),
    ],
)
def test_moved_needs_an_interval_beyond_control_and_placebo(interaction: Moved, words: str) -> None:
    sentence = said(interaction, None, None)["Under the trigger"]
    assert words in sentence and "moved nothing" not in sentence
    assert interaction is FOUND or "No gate is claimed" in sentence or "nothing is claimed" in sentence


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (GATE, "The trigger moves the answers to the contrast questions: +8.00 nats [7.50, 8.50]"),
        (Gate(8.34, NAN, NAN, 0.1, NAN, 1), "Within this one model, the trigger moves the answers"),
        (Gate(8.34, 8.1, 8.6, 0.1, 7.9, 2), "Within these 2 models, the trigger moves the answers"),
        (Gate(8.34, 8.1, 8.6, 0.1, NAN, 4), "Within these 4 models, the trigger moves the answers"),  # one control
        (
            Gate(8.3, -0.4, 17.0, 0.1, -0.5, 3),
            "Inconclusive: it is not shown that the trigger moves the answers: +8.30",
        ),
        (Gate(1.0, 0.5, 1.5, 0.4, -0.1, 4), "not clearly more than the control's: +1.00"),
        (Gate(-8.3, -8.6, -8.1, 0.0, -8.7, 6), "moves the answers the other way: -8.30"),
    ],
)
def test_an_unknown_an_open_and_a_negative_effect_are_no_null(gate: Gate, words: str) -> None:
    sentence = said(FOUND, gate, None)["Behaviour"]
    assert words in sentence and "No effect" not in sentence
    assert gate is GATE or "No gate is claimed" in sentence or "nothing is claimed about others" in sentence


@pytest.mark.parametrize(
    ("static", "words"),
    [
        (shift(0.4, 0.3, 0.5), "in one direction that 4 replicates share, by 0.40 of its norm beyond the control"),
        (shift(0.4, -0.1, 0.9), "Inconclusive: it is not shown that 4 replicates moved"),
        (shift(-0.4, -0.5, -0.3), "It is not shown that 4 replicates moved"),
        (shift(0.4, NAN, NAN, 2), "Within these 2 models"),
    ],
)
def test_the_first_sentence_says_what_its_interval_says(static: Moved, words: str) -> None:
    assert words in dict(sentences(static, None, [], None, None))["Always"]


def test_two_replicates_mediate_nothing() -> None:
    two = Gate(8.34, 8.1, 8.6, 0.1, 7.9, 2)
    removed = Removed(0.7, 0.6, 0.8, (0.2, 0.3), 0.1)
    assert not opens(two) and not mediates(two, removed)
    assert said(shift(0.4, NAN, NAN, 2), two, removed)["Cause"].startswith(
        "Without an effect on the answers that is shown"
    )


def test_nothing_is_said_about_a_trigger_that_there_is_not() -> None:
    assert said(None, None, None)["Trigger"] == NO_TRIGGER


def test_features_must_do_more_than_others_that_fire_as_often() -> None:
    def about(low: float, others: tuple[float, ...]) -> str:
        features = Removed(0.8, low, 0.9, others, 3.0)
        return dict(sentences(FOUND, FOUND, [PLACEBO], GATE, Removed(0.7, 0.6, 0.8, (0.2,), 0.0), features))["Features"]

    assert "add nothing that is shown" in about(0.7, (0.4, 0.75))
    assert about(0.7, (0.4, 0.5)).endswith("others that fire as often 40% to 50%.")
    assert "no control was run" in about(0.7, ())
    closed = Gate(0.1, -0.2, 0.4, 0.0, -0.3, 4)
    assert "Features" not in dict(sentences(FOUND, None, [], closed, None, Removed(0.8, 0.7, 0.9, (), 0.0)))


def test_no_feature_is_called_the_backdoors() -> None:
    for removed in (Removed(0.7, 0.6, 0.8, (0.2,), 0.0), Removed(0.1, 0.0, 0.2, (0.2,), 0.0)):
        assert "backdoor" not in " ".join(said(FOUND, GATE, removed).values()).lower()
