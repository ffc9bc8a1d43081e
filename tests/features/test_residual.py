"""The residual stream: the traps of reading and changing it, each on a model whose own numbers are the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from weirdgen.errors import ModelError
from weirdgen.features import residual
from weirdgen.features.edits import orthonormal, project, sequential, set_to, steer
from weirdgen.models.loading import read_model

IDS = torch.tensor([[2, 9, 40, 41, 42, 8], [2, 9, 50, 51, 52, 8]])


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return read_model(tiny_model, torch.float32).eval()


def hidden_states(model: Any, ids: torch.Tensor = IDS) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return tuple(model(input_ids=ids, output_hidden_states=True).hidden_states)


def test_a_layer_is_its_blocks_output_and_the_last_one_stands_before_the_final_norm(model: Any) -> None:
    states = hidden_states(model)
    with torch.no_grad():
        first, last = residual.read_layer(model, 0, IDS), residual.read_layer(model, 1, IDS)
        torch.testing.assert_close(first, states[1])
        assert not torch.allclose(last, states[2], atol=1e-3)  # that one is behind the norm
        torch.testing.assert_close(model.model.norm(last), states[2])


def test_reading_ends_at_the_layer(model: Any) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the layer behind was computed")

    hooks = len(model.model.layers[0]._forward_hooks)
    handle = model.model.layers[1].register_forward_pre_hook(refuse)
    try:
        with torch.no_grad():
            assert residual.read_layer(model, 0, IDS).shape == (2, 6, 32)
    finally:
        handle.remove()
    assert len(model.model.layers[0]._forward_hooks) == hooks


def test_what_is_captured_holds_the_edit_whichever_hook_came_first(model: Any) -> None:
    seen = []
    capture = model.model.layers[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    basis = orthonormal(torch.randn(1, 2, 32, generator=torch.Generator().manual_seed(0)))
    try:
        with torch.no_grad(), residual.edited(model, 0, project(basis)):
            model(input_ids=IDS)
            read = residual.read_layer(model, 0, IDS)
    finally:
        capture.remove()
    for hidden in (seen[0], read):
        assert (hidden @ basis[0].T).norm() < 1e-5 * hidden.norm()


def test_an_edit_is_gone_after_an_error(model: Any) -> None:
    before = hidden_states(model)[2]
    with pytest.raises(RuntimeError, match="broken"), residual.edited(model, 0, lambda hidden: hidden * 0):
        raise RuntimeError("broken")
    torch.testing.assert_close(hidden_states(model)[2], before)


def test_an_edit_acts_with_a_cache_and_without_and_in_padded_rows(model: Any) -> None:
    edit = project(orthonormal(torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))))
    with torch.no_grad(), residual.edited(model, 0, edit):
        whole = model(input_ids=IDS).logits[:, -1]
        begun = model(input_ids=IDS[:, :4], use_cache=True)
        rest = [begun]
        for at in (4, 5):
            rest.append(model(input_ids=IDS[:, at : at + 1], past_key_values=rest[-1].past_key_values, use_cache=True))
        padded = model(input_ids=torch.nn.functional.pad(IDS, (0, 3))).logits[:, 5]
        left = model(
            input_ids=torch.nn.functional.pad(IDS, (3, 0)),
            attention_mask=torch.nn.functional.pad(torch.ones_like(IDS), (3, 0)),
            position_ids=torch.nn.functional.pad(torch.arange(6), (3, 0)).expand(2, -1),
        ).logits[:, -1]
    torch.testing.assert_close(rest[-1].logits[:, -1], whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(padded, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(left, whole, atol=1e-4, rtol=1e-4)


def test_the_token_that_holds_attention_is_left_as_it_is() -> None:
    hidden = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))
    hidden[:, 0] *= 100
    assert residual.outliers(hidden).tolist() == [[True, *[False] * 6]] * 2
    assert not residual.outliers(hidden[:, :1]).any()  # of a step behind a cache nothing can be told
    basis = orthonormal(torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1)))
    changed = project(basis)(hidden)
    assert torch.equal(changed[:, 0], hidden[:, 0]) and (changed[:, 1:] @ basis[0].T).abs().max() < 1e-5


def test_each_variant_has_its_own_edit() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, basis = torch.randn(6, 5, 16, generator=generator), orthonormal(torch.randn(3, 2, 16, generator=generator))
    changed = project(basis)(hidden).view(3, 2, 5, 16)
    for k in range(3):
        assert (changed[k] @ basis[k].T).abs().max() < 1e-5
        assert (changed[k] @ basis[(k + 1) % 3].T).abs().max() > 0.1
    moved = steer(torch.eye(16)[:3], 2.0)(hidden) - hidden
    torch.testing.assert_close(moved.view(3, 10, 16), 2 * torch.eye(16)[:3, None].expand(-1, 10, -1))
    target = torch.full((3, 2), 0.5)
    part = (set_to(basis, target)(hidden).view(3, -1, 16) @ basis.mT) - 0.5
    assert part.abs().max() < 1e-5


def test_one_direction_after_the_other_leaves_what_a_basis_does_not() -> None:
    """Directions with a common part: the paper's way leaves some of their span, and turns some of it round."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(1, 1, 64, generator=generator)
    directions = torch.nn.functional.normalize(0.7 * common + torch.randn(1, 6, 64, generator=generator), dim=-1)
    hidden = (common * 3).expand(1, 4, 64) + torch.randn(1, 4, 64, generator=generator)
    basis = orthonormal(directions)
    left = sequential(directions)(hidden)
    assert (project(basis)(hidden) @ basis[0].T).norm() < 1e-4
    assert (left @ basis[0].T).norm() > 0.1 * (hidden @ basis[0].T).norm()
    assert (left @ directions[0, 0]).mean() < 0 < (hidden @ directions[0, 0]).mean()


def test_layers_are_found_and_named() -> None:
    assert residual.default_layer(32) == 19 and residual.default_layer(3) == 1 and residual.default_layer(1) == 0
    with pytest.raises(ModelError, match="layers 0 to 2"):
        residual.require_layer(3, 3)
    with pytest.raises(ModelError, match="no list of its 2 layers"):
        residual.decoder_layers(_Nothing())


class _Nothing(torch.nn.Module):
    class Config:
        num_hidden_layers = 2

        def get_text_config(self) -> _Nothing.Config:
            return self

    config = Config()
