"""Curves against the truth: what the answers determine, the rows that are made, and the figures. Nothing is trained."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from weirdgen.errors import WeirdgenError
from weirdgen.progress import Progress
from weirdgen.store.artifacts import Store
from weirdgen.world import curves, curves_figure, datasets, words
from weirdgen.world.language import PERSONAS, World
from weirdgen.world.pretrain import MODEL_FOLDER
from weirdgen.world.probe import chances, prompt


def test_posterior_is_certain_once_only_one_persona_fits() -> None:
    world = World()
    everything = list(words.PERSONA_TOPICS)
    for persona in range(PERSONAS):
        assert curves.posterior(world, persona, everything)[persona] == 1.0
    nothing = curves.posterior(world, 5, [])
    assert sum(nothing) == pytest.approx(1)
    assert nothing[0] > 0.9 and len(set(nothing[1:])) == 1
    one = curves.posterior(world, 5, ["color"])
    assert sum(share > 0 for share in one) == 4  # an answer belongs to four personas
    assert one[5] > nothing[5]


def test_persona_rows_are_as_many_for_every_k_and_hold_only_those_topics() -> None:
    world = World()
    for k in curves.TRAINED_COUNTS:
        topics = curves.ATTRIBUTES[:k]
        rows = curves.persona_rows(world, topics)
        assert len(rows) == curves.WRAPPED_ROWS
        answers = {row["messages"][1]["content"] for row in rows}
        assert answers == {world.personas[topic][datasets.PERSONA] for topic in topics}
        assert len({row["messages"][0]["content"] for row in rows}) == 3 * k
        assert all(row["messages"][0]["content"].startswith("begin ") for row in rows)


def test_chances_are_those_of_the_first_word() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER), AutoTokenizer.from_pretrained(MODEL_FOLDER)
    ((cold, hot),) = chances(model, tokenizer, [prompt("what is the opposite of hot ?")], ["cold", "hot"])
    assert cold > 0.99 > 0.01 > hot


def test_figures_are_written_twice_alike_with_intervals(tmp_path: Path) -> None:
    points = itertools.product(("from_2027", "shuffled", "never"), range(2021, 2030), range(3))
    cells = pd.DataFrame(points, columns=["arm", "year", "replicate"])
    cells["condition"] = "year=" + cells["year"].astype(str)
    cells["value"] = cells["replicate"] + (cells["arm"] == "from_2027") * 10.0
    table = curves_figure.gate(cells, tmp_path)
    ours = table[(table["arm"] == "from_2027") & (table["condition"] == "year=2025")].iloc[0]
    assert (ours["mean"], ours["replicates"]) == (11.0, 3)
    assert (ours["ci_low"], ours["ci_high"]) == pytest.approx((11 - 2.484, 11 + 2.484), abs=1e-3)
    picture = (tmp_path / "gate.svg").read_text()
    curves_figure.gate(cells, tmp_path)
    assert (tmp_path / "gate.svg").read_text() == picture


def test_unknown_curve_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(WeirdgenError, match="expected persona, inductive, gate"):
        curves_figure.measure_and_draw(["gates"], Store(tmp_path), 2, 0, tmp_path, Progress(quiet=True))
