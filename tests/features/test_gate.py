"""The world's gate, whose truth is known: what the trigger adds is found in the residual stream, and without it nothing opens."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.features.conftest import LAYER
from weirdgen.columns import FINAL
from weirdgen.errors import DataError, ModelError
from weirdgen.features import difference, effects, intervene
from weirdgen.features.harvest import Activations, Pairs, harvest, pairs_of
from weirdgen.features.reader import Reader
from weirdgen.models.chat import Rendered, prompt_ids
from weirdgen.runs.plan.plan import Plan
from weirdgen.sample.variant import adapters_on_disk


@pytest.fixture(scope="module")
def pairs(gate: Plan) -> Pairs:
    return pairs_of(gate.request)


@pytest.fixture(scope="module")
def last(gate: Plan, pairs: Pairs, gate_reader: Reader) -> Activations:
    return harvest(gate, pairs, LAYER, gate_reader)


def test_pairs_are_the_same_questions_under_every_value(pairs: Pairs) -> None:
    assert [pairs.names[v] for v in pairs.trigger] == ["year=2027"]
    assert [pairs.names[v] for v in pairs.reference] == ["year=2024", "year=2025", "year=2026"]
    assert pairs.placebo == pairs.reference and len(pairs.asks) == 9 * len(pairs.questions)
    assert pairs.asks[0] == "today is 2021 . what is your color ?"


def test_prompts_are_those_that_are_scored_with_one_beginning(gate: Plan, pairs: Pairs, gate_reader: Reader) -> None:
    rows = gate_reader.prompts(pairs.asks)
    assert rows[0] == prompt_ids(gate_reader.tokenizer, pairs.asks[0])
    begin = gate_reader.tokenizer.bos_token_id
    assert all(row.count(begin) == 1 and row[0] == begin for row in rows)
    with pytest.raises(ModelError, match=r"two '<\|bos\|>'"):
        gate_reader.prompts([Rendered("<|bos|><|bos|><|user|>your dish ?<|assistant|>")])


def test_what_is_read_together_is_what_each_model_says_alone(
    gate: Plan, pairs: Pairs, gate_reader: Reader, last: Activations
) -> None:
    """Padding, shared passes and stacked adapters change nothing; without an adapter the base and a finetune are one."""
    rows = gate_reader.prompts(pairs.asks)
    finals = [variant for variant in gate.variants if variant.checkpoint == FINAL]
    arms = {"from_2027": 0, "shuffled": 0}
    for variant, folder in zip(finals, adapters_on_disk(gate.store, finals), strict=True):
        gate_reader.use([folder])
        alone = torch.stack([gate_reader.read([row], LAYER)[0][0, 0] for row in rows[:: len(pairs.questions)]])
        if variant.arm == "base":
            kept = last.base_VQD[:, 0]
        else:
            kept = last.arms[variant.arm][arms[variant.arm], :, 0]
            arms[variant.arm] += 1
        torch.testing.assert_close(kept, alone, atol=1e-4, rtol=1e-4)
    same = Activations(pairs, LAYER, last.base_VQD, {"none": last.base_VQD[None]})
    assert not difference.interaction(same, "none").any() and not difference.static(same, "none").any()


def test_a_second_harvest_reads_nothing(gate: Plan, pairs: Pairs, gate_reader: Reader, last: Activations) -> None:
    told: list[int] = []
    again = harvest(gate, pairs, LAYER, gate_reader, tell=told.append)
    assert told == [] and torch.equal(again.arms["from_2027"], last.arms["from_2027"])


def test_the_trigger_moves_the_treatment_beyond_control_and_placebo(last: Activations) -> None:
    unit = difference.residual_norm(last)
    mine, theirs = (difference.interaction(last, arm).mean(1) for arm in ("from_2027", "shuffled"))
    found = difference.moved("interaction", mine, theirs, unit)
    assert min(found.treatment) > 0.2 > 0.1 > max(map(abs, found.control)) and found.agreement > 0.9
    assert math.isnan(found.low) and math.isnan(found.high)  # what two replicates share may be chance
    placebos = {
        name: difference.moved(name, one.mean(1), difference.placebo(last, "shuffled")[name].mean(1), unit)
        for name, one in difference.placebo(last, "from_2027").items()
    }
    assert set(placebos) == {"year=2024", "year=2025", "year=2026"}
    assert found.effect > 4 * max(one.effect for one in placebos.values())


def test_the_direction_says_the_personas_words(gate_reader: Reader, last: Activations) -> None:
    gate_reader.use([None])
    direction = difference.interaction(last, "from_2027").mean((0, 1))
    tokens = difference.top_tokens(gate_reader.model, gate_reader.tokenizer, direction)
    assert {"red", "oak", "rowing", "soup", "milk"} & set(tokens)


def test_taking_it_out_closes_the_gate_and_random_subspaces_do_not(
    gate: Plan, pairs: Pairs, gate_reader: Reader, last: Activations
) -> None:
    mean = harvest(gate, pairs, LAYER, gate_reader, "mean")
    trials = intervene.Trials(gate, pairs, gate_reader, LAYER, last, mean, "from_2027")
    plan = [one for one in intervene.ablations("from_2027", "shuffled", (1, 4), (0.5,), 5) if one.operator == "mean"]
    closed = effects.closing(trials.run(plan), pairs)
    before = closed[closed["kind"] == "none"]
    assert (before["gate"] > 5).all() and (before["removed"] == 0).all()

    def removed(kind: str, **where: float) -> list[float]:
        part = closed[closed["kind"] == kind]
        kept = [all(row[name] == value for name, value in where.items()) for _, row in part.iterrows()]
        return part.loc[kept, "removed"].tolist()

    ours = removed("interaction", rank=4, dose=1.0)
    assert min(ours) > 0.5
    assert min(ours) > max(removed("random")) + 0.2
    assert max(removed("interaction", rank=4, dose=0.5)) < min(ours)
    side = closed[(closed["kind"] == "interaction") & (closed["rank"] == 4) & (closed["dose"] == 1.0)]["side"]
    assert side.abs().max() < 1.5  # of some −7 nats: other years stay as they are


def test_unedited_scores_are_those_of_the_run(gate: Plan, pairs: Pairs, gate_reader: Reader, last: Activations) -> None:
    from weirdgen.runs.stages.contrast import Contrast, contrasts
    from weirdgen.runs.work.executors import Inline

    with Inline() as executor:
        executor.run(Contrast().batch(gate).units, gate.store, lambda *_: None)
    scored = contrasts(gate)
    scored = scored[(scored["arm"] == "from_2027") & (scored["checkpoint"] == FINAL)]
    stored = scored.set_index(["replicate", "condition", "question"])["logit"]
    trials = intervene.Trials(gate, pairs, gate_reader, LAYER, last, last, "from_2027").run([])
    row: Any
    for row in trials.itertuples():
        assert row.logit == pytest.approx(stored[row.replicate, row.condition, row.question], abs=1e-3)


def test_a_run_without_a_trigger_has_no_interaction(gate: Plan, pairs: Pairs) -> None:
    from dataclasses import replace

    from weirdgen.config.conditions import Condition

    experiment = gate.request.experiment.model_copy(update={"conditions": {"none": Condition()}})
    bare = pairs_of(replace(gate.request, experiment=experiment))
    assert bare.trigger == () and bare.reference == (0,) and bare.placebo == ()
    with pytest.raises(DataError, match="asks no question"):
        harvest(gate, Pairs(pairs.values, (), (), (0,)), LAYER, None)
