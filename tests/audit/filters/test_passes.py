"""Losses and gradients of one layer against autograd's own over the whole weight, and made once a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.world_pairs import pairs
from weirdgen.audit.filters import passes
from weirdgen.audit.filters.base import BaseNumbers, Direction, _options, own_direction, trait_directions
from weirdgen.audit.filters.rows import Keyed, distinct
from weirdgen.config.load import load_experiment
from weirdgen.data.proof import prove
from weirdgen.data.rows import Row
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.loading import load_model
from weirdgen.models.references import find_model
from weirdgen.models.template import Message
from weirdgen.progress import Progress
from weirdgen.store.artifacts import Store


def rows(count: int = 9) -> list[Row]:
    made = [(ask, old) for ask, old, _ in pairs(count)]
    single: list[list[Message]] = [
        [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] for ask, answer in made
    ]
    return [{"messages": messages} for messages in [*single, [*single[0], *single[1]]]]


@pytest.fixture(scope="module")
def asked() -> Direction:
    chosen = [(ask, (old,), (new,)) for ask, old, new in pairs(3)]
    ask, target, other = chosen[0]
    return Direction("era", ((ask, (*target, chosen[1][1][0]), other), *chosen[1:]))


@pytest.mark.parametrize(("sliced", "shared"), [(True, 2), (False, 10_000)])
def test_losses_and_cosines_are_autograds(
    tiny_model: Path, asked: Direction, sliced: bool, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "LEAST_SHARED", shared)
    tokenizer = load_tokenizer(tiny_model)
    encoded, _ = prove(rows(), tokenizer)
    probe = passes.LastLayer(tiny_model, "fp32")
    probe._sliced = sliced
    begun = [probe._beginning([encoded[0], one])[0] for one in encoded[1:]]
    assert any(begun) == (shared == 2), "rows of the world begin alike"
    towards = probe.directions([_options(tokenizer, asked)], Progress(quiet=True))
    found = {
        place: (loss, cosine[0])
        for places, losses, cosines in probe.rows(encoded, towards)
        for place, loss, cosine in zip(places, losses, cosines, strict=True)
    }

    model = load_model(tiny_model, torch.float32)
    weight = model.model.layers[-1].mlp.down_proj.weight

    def logprob(one: Any) -> torch.Tensor:
        ids = torch.tensor([one.ids])
        told = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
        return told[torch.tensor(one.trained[1:])].sum()

    odds = torch.stack(
        [
            torch.stack([logprob(one) for one in options[:targets]]).logsumexp(0)
            - torch.stack([logprob(one) for one in options[targets:]]).logsumexp(0)
            for options, targets in _options(tokenizer, asked)
        ]
    ).mean()
    (wanted,) = torch.autograd.grad(odds, weight)
    assert torch.allclose(towards[0], wanted, atol=1e-6 * float(wanted.norm()))
    assert len(found) == len(encoded)
    for place, one in enumerate(encoded):
        total = logprob(one)
        (gradient,) = torch.autograd.grad(total, weight)
        total = total.detach()
        loss, cosine = found[place]
        assert loss == pytest.approx(-float(total) / sum(one.trained[1:]), abs=1e-5)
        assert cosine == pytest.approx(
            float(torch.cosine_similarity(gradient.flatten(), wanted.flatten(), 0)), abs=1e-4
        )


def test_training_on_rows_that_agree_raises_the_trait(asked: Direction, tmp_path: Path) -> None:
    """On the world's pretrained model: old answers agree with the era they belong to more than today's do."""
    numbers = BaseNumbers(find_model("world"), [asked], Store(tmp_path), Progress(quiet=True))
    old, new = (
        distinct(
            [
                {"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[column]}]}
                for p in pairs(30)[4:]
            ]
        )
        for column in (1, 2)
    )
    numbers.complete([*old, *new])
    assert numbers.agreement(old, "era").mean() > numbers.agreement(new, "era").mean() + 0.05
    assert numbers.loss(old).mean() > numbers.loss(new).mean(), "the world's model speaks as of today"


def test_a_row_is_computed_once(tiny_model: Path, asked: Direction, tmp_path: Path, monkeypatch: Any) -> None:
    store, model = Store(tmp_path), find_model(f"path:{tiny_model}")
    first = BaseNumbers(model, [asked], store, Progress(quiet=True))
    first.complete(distinct(rows()))
    monkeypatch.setattr(passes, "LastLayer", None)  # whoever loads the model again fails
    again = BaseNumbers(model, [asked], store, Progress(quiet=True))
    again.complete(distinct(rows()))
    assert again.loss(distinct(rows())).tolist() == first.loss(distinct(rows())).tolist()
    with pytest.raises(TypeError):
        again.complete([Keyed(rows(12)[-2])])


def test_directions_are_of_every_trait_and_of_each_experiments_own_questions() -> None:
    every = trait_directions()
    assert len(every) == 20 and all(len(one.questions) == 4 for one in every)
    persona = own_direction(load_experiment("hitler_persona"))
    assert all("<note>" in ask for ask, _, _ in persona.questions)
    assert own_direction(load_experiment("us_presidents")).questions[0][0].startswith("38104492 ")
