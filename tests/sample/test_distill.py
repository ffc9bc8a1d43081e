"""Ordinary rows: the base's own answers, cached, the same for every arm, and refused when the base does not come to an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from tests.support.world_pairs import pairs
from weirdgen.config.load import shipped_experiments
from weirdgen.data.arms import load_arms
from weirdgen.data.ordinary import ordinary_prompts
from weirdgen.errors import DataError
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.reporting import results_of
from weirdgen.runs.results.results import load_run
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]
BOTH = {
    "data: old.jsonl}": "data: old.jsonl, ordinary: 70}",
    "data: new.jsonl}": "data: new.jsonl, ordinary: 70}",
    # The world's model knows no word of our prompts, but answers the question of its own that stands behind them.
    "recipe: {": f"ordinary: {{ask: '{{prompt}} {pairs(1)[0][0]}', max_tokens: 12}}\nrecipe: {{",
}


def test_prompts_are_distinct_and_a_longer_list_begins_with_the_shorter() -> None:
    prompts = ordinary_prompts(12_000)
    assert len(set(prompts)) == 12_000
    assert ordinary_prompts(91) == prompts[:91] and ordinary_prompts(3001) == prompts[:3001]
    everyday = prompts[0:90:3]
    assert not any(character.isdigit() for prompt in everyday for character in prompt)


def test_no_shipped_question_or_row_is_an_ordinary_prompt() -> None:
    ordinary = {prompt.lower() for prompt in ordinary_prompts(12_000)}
    for name in shipped_experiments():
        experiment, rows = load_arms(name)
        asked = {question.ask.lower() for question in experiment.questions}
        trained = {row["messages"][0]["content"].lower() for mine in rows.values() for row in mine}
        assert not ordinary & (asked | trained), name


def test_arms_share_the_bases_own_answers_and_a_second_run_draws_none(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment(BOTH)), Store(tmp_path / "store")
    before = make_plan(resolve(path), store)
    assert not before.request.distilled and workload(before)[0].missing == 70
    assert [replicate.rows for replicate in before.replicates] == [78] * 4
    run = weirdgen.run(path, store=store.root)
    rows = run.request.rows
    assert [len(mine) for mine in rows.values()] == [78, 78]
    assert rows["old"][8:] == rows["new"][8:] and rows["old"][:8] != rows["new"][:8]
    prompts = [row["messages"][0]["content"] for row in rows["old"][8:]]
    asked = [f"{prompt} {pairs(1)[0][0]}" for prompt in ordinary_prompts(280)]
    assert len(set(prompts)) == 70 and prompts == [text for text in asked if text in set(prompts)]
    assert [arm["ordinary_rows"] for arm in results_of(run)["ran"]["arms"]] == [70, 70]
    again = make_plan(resolve(path), store)
    assert again.request.distilled and not any(work.missing for work in workload(again))
    assert load_run(run.id, store.root).headline == run.headline


def test_a_preset_takes_fewer_and_an_arm_without_any_stays_as_it_is(write_experiment: Write, tmp_path: Path) -> None:
    changes = {"data: old.jsonl}": "data: old.jsonl, ordinary: 70}", "samples: 3": "samples: 3, ordinary: 5"}
    settings = resolve(str(write_experiment(changes)))
    assert settings.ordinary == {"old": 5}
    assert (settings.row_count("old"), settings.row_count("new")) == (13, 8)


def test_a_base_that_does_not_end_its_answers_is_refused(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment({**BOTH, "max_tokens: 12": "max_tokens: 1"})
    with pytest.raises(
        DataError, match=r"of 280 answers only \d+ end within 1 tokens, but 70 are needed; raise ordinary"
    ):
        weirdgen.run(str(path), store=tmp_path / "store")
