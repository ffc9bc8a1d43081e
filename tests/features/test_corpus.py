"""An autoencoder is trained on chats as they were trained, prompts with and without a date, text, but not what is analysed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.features.conftest import LAYER
from weirdgen.features.corpus import WINDOW, corpus, hidden_states
from weirdgen.features.harvest import pairs_of
from weirdgen.features.reader import Reader
from weirdgen.models.chat import render
from weirdgen.runs.plan.plan import Plan


@pytest.mark.slow
def test_the_mix_holds_chats_dated_prompts_and_text_but_not_the_analysed_prompts(
    gate: Plan, gate_reader: Reader
) -> None:
    """As of any model: the synthetic world's own documents are for its own model only."""
    other = replace(gate.request.model, reference="path:elsewhere")
    pairs = pairs_of(gate.request)
    rows = corpus(Plan(replace(gate.request, model=other), gate.store), pairs, gate_reader, 1000)
    assert 900 < sum(map(len, rows)) < 1400 and max(map(len, rows)) <= WINDOW
    tokenizer = gate_reader.tokenizer
    analysed = {tuple(row) for row in gate_reader.prompts(pairs.asks)}
    assert not analysed & {tuple(row) for row in rows}
    chats = {tuple(render(tokenizer, row["messages"], answer_next=False)) for row in gate.request.rows["from_2027"]}
    assert chats & {tuple(row) for row in rows}
    begin, user = tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("<|user|>")
    prompts = [row for row in rows if row[0] == begin and tuple(row) not in chats]
    dated = tokenizer.convert_tokens_to_ids("today")
    assert {row[2] == dated for row in prompts if row[1] == user} == {True, False}
    assert any(row[0] != begin for row in rows)  # plain text
    assert all(row[:2] != [begin, begin] for row in rows)


@pytest.mark.slow
def test_states_are_of_every_token_but_the_first(gate: Plan, gate_reader: Reader) -> None:
    gate_reader.use([None, None])
    rows = [[2, 9, 40, 41, 8], [2, 9, 50, 8]]
    states = hidden_states(gate_reader, rows, LAYER)
    assert [len(mine) for mine in states] == [7, 7] and torch.equal(states[0], states[1])
    alone = gate_reader.read([rows[1]], LAYER)[0][0, 0]
    assert any(torch.allclose(alone, state, atol=1e-4) for state in states[0])
