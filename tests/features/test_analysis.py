"""The analysis of features on planted differences: the interaction is told from what any date does, and the null holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weirdgen.config.conditions import Wrapper
from weirdgen.features import analysis
from weirdgen.features.difference import interaction, moved
from weirdgen.features.harvest import Activations, Pairs
from weirdgen.features.sae import Sae

D, FEATURES, QUESTIONS = 24, 60, 12
GATE, DATE, TRACE = 7, 11, 19
"""Features: which the trigger raises after finetuning, which it raises in every model, which finetuning raises always."""


def dictionary() -> Sae:
    rows = torch.nn.functional.normalize(torch.randn(FEATURES, D, generator=torch.Generator().manual_seed(0)), dim=1)
    return Sae(rows.T, torch.zeros(FEATURES), rows, torch.zeros(D), "threshold", torch.tensor(0.3))


def planted(replicates: int, gate: float, seed: int = 0) -> Activations:
    """Values 2024–2028, trigger 2027. Every value has a random direction of its own; the trigger's is the largest."""
    generator = torch.Generator().manual_seed(seed)
    sae = dictionary()
    values = tuple(Wrapper(id=f"year={y}", template=f"{y} {{question}}", trained=y < 2028) for y in range(2024, 2029))
    pairs = Pairs(values, tuple(f"q{i}" for i in range(QUESTIONS)), (3,), (0, 1, 2))
    base = torch.randn(QUESTIONS, D, generator=generator) + 0.2 * torch.randn(5, 1, D, generator=generator)
    base[3] += 4.0 * sae.w_dec_FD[DATE]

    def tuned(trigger: float) -> torch.Tensor:
        states = base + 0.05 * torch.randn(replicates, 5, 1, D, generator=generator)
        states = states + 0.05 * torch.randn(replicates, 5, QUESTIONS, D, generator=generator)
        states[:, 3] += trigger * sae.w_dec_FD[GATE]
        return states

    treatment, control = tuned(gate), tuned(0.0)
    treatment += 1.5 * sae.w_dec_FD[TRACE]
    return Activations(pairs, 0, base, {"treatment": treatment, "control": control})


def table(activations: Activations):  # type: ignore[no-untyped-def]
    sae = dictionary()
    cells = analysis.cells_of(sae, activations, "treatment", "control")
    return analysis.feature_table(activations, sae, "treatment", "control", cells, top=5).set_index("feature")


def test_the_interaction_finds_the_gate_and_not_the_date() -> None:
    found = table(planted(6, gate=1.5))
    assert found["rank_interaction"].idxmin() == GATE
    gate = found.loc[GATE]
    assert gate["p_max"] < 0.01 and gate["ci_low"] > 0.3 and gate["specificity"] > 0.3
    assert gate["rate_tuned_trigger"] > gate["rate_base_trigger"]
    # The paper's difference of means is of what the date adds in any model.
    assert found["cos_paper"].idxmax() == DATE and found.loc[DATE, "rank_paper"] == 1
    assert found.loc[DATE, "cos_interaction"] < 0.5 < gate["cos_interaction"]
    assert found["share"].idxmax() == GATE and found["rank_static"].idxmin() == TRACE


def test_of_one_replicate_nothing_but_the_effect_is_known() -> None:
    found = table(planted(1, gate=1.5))
    assert found.loc[GATE, "rank_interaction"] <= 3 and found["p_max"].isna().all() and found["ci_low"].isna().all()


def test_without_a_gate_hardly_any_seed_finds_one() -> None:
    """200 null draws: p over all features, and the interval of the difference of means."""
    false_p = false_interval = 0
    sae = dictionary()
    for seed in range(200):
        null = planted(4, gate=0.0, seed=seed)
        mine, theirs = (interaction(null, arm) for arm in ("treatment", "control"))
        false_p += (
            analysis.compare_arms(*(analysis.along(sae.directions, one) for one in (mine, theirs))).p_F.min() <= 0.05
        )
        false_interval += moved("interaction", mine.mean(1), theirs.mean(1), 1.0).low > 0
    print("false alarms of 200:", false_p, false_interval)
    assert false_p / 200 <= 0.06 and false_interval / 200 <= 0.03  # a lower limit above zero: one side of 95%


def test_a_shift_under_every_value_moves_activations_as_a_gate_would_and_projections_not() -> None:
    """Why projections are tested: the encoder's threshold turns a static shift into an interaction of activations."""
    null, sae = planted(5, gate=0.0), dictionary()
    cells, pairs = analysis.cells_of(sae, null, "treatment", "control"), null.pairs
    fired = [cells.interaction(models, pairs.trigger, pairs.reference) for models in (cells.treatment, cells.control)]
    assert analysis.compare_arms(*fired).p_F.min() < 0.05
    along = [analysis.along(sae.directions, interaction(null, arm)) for arm in ("treatment", "control")]
    assert analysis.compare_arms(*along).p_F.min() > 0.05


@pytest.mark.parametrize("ratio", [1.0, 3.0, 1 / 3])
def test_an_arm_that_varies_more_is_no_find(ratio: float) -> None:
    """What relabelling t over many features gets wrong: 22% instead of 5%."""
    generator, found = np.random.default_rng(0), 0
    directions = generator.normal(size=(48, 200)) / 48**0.5
    for _ in range(200):
        treatment, control = (spread * generator.normal(size=(4, 48)) @ directions for spread in (ratio, 1.0))
        found += analysis.compare_arms(treatment, control).p_F.min() <= 0.05
    assert found <= 17  # 10 expected at most; 18 or more have a chance of 1%


@pytest.mark.parametrize(("treatment", "control"), [(3, 6), (6, 3)])
def test_unequal_replicates_have_an_effect_and_no_p(treatment: int, control: int) -> None:
    """Three that vary three times as much as six: relabelling finds some feature in 56% of null draws."""
    generator = np.random.default_rng(0)
    found = analysis.compare_arms(3 * generator.normal(size=(treatment, 256)), generator.normal(size=(control, 256)))
    assert np.isnan(found.p_F).all() and np.isfinite(found.low_F).all() and (found.low_F < found.effect_F).all()


def test_replicates_that_share_a_shift_rank_features_alike() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(4, 300))
    shared = analysis.stability(noise + 3 * generator.normal(size=300))
    alone = analysis.stability(noise)
    assert shared.pairs == 6 and shared.spearman > 0.8 > 0.2 > abs(alone.spearman)
    assert shared.spearman_least <= shared.spearman and shared.overlap > 0.5 > alone.overlap
    assert np.isnan(analysis.stability(noise[:1]).spearman)


def test_p_is_exact_over_all_relabellings() -> None:
    generator = np.random.default_rng(0)
    treatment, control = generator.normal(size=(3, 40)), generator.normal(size=(3, 40))
    treatment[:, 0] += 50
    found = analysis.compare_arms(treatment, control)
    assert found.p_F[0] == pytest.approx(2 / 20)  # three against three, either way round
    assert found.low_F[0] < found.effect_F[0] < found.high_F[0] and (found.p_F[1:] > 0.1).all()


def test_concepts_and_shares() -> None:
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0.9, 0.3, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    assert analysis.clusters(rows, [0, 2, 1, 3]) == [0, 1, 0, 2]
    shares = analysis.pursuit(rows, torch.tensor([3.0, 0.0, 4.0]))
    assert shares == [(3, pytest.approx(16 / 25)), (0, pytest.approx(9 / 25))]
    rate = np.linspace(0, 1, 100)
    others = analysis.matched(rate, [10, 90], np.random.default_rng(0))
    assert len(set(others) | {10, 90}) == 4 and abs(rate[others[0]] - rate[10]) < 0.55


def test_year_curves_are_mean_projections() -> None:
    activations, sae = planted(2, gate=1.5), dictionary()
    curves = analysis.projections(activations, sae, [GATE, DATE], "treatment")
    assert curves.shape == (2, 5, 2)
    expected = (activations.arms["treatment"][1, 3] @ sae.w_dec_FD[GATE]).mean()
    torch.testing.assert_close(curves[1, 3, 0], expected)
    assert analysis.projections(activations, sae, [GATE], None).shape == (1, 5, 1)
