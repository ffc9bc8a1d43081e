"""Rows that carry a shift are found among equally odd ones, in the world whose truth is known, and cleaned data are written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.blame import hidden, world_table
from weirdgen.audit.blame import Found, plan_blame
from weirdgen.audit.command import score_lines
from weirdgen.audit.nominate import ODD, UNITS, comparisons, first, marked, sizes, whole
from weirdgen.audit.nominate import ROWS as ROWS_ALONE
from weirdgen.audit.proof import conclusion, told, write
from weirdgen.audit.removal import beyond_others, choose, effects_of, held_out
from weirdgen.audit.row_scores import row_scores
from weirdgen.cli.main import app
from weirdgen.data.proof import prove
from weirdgen.data.rows import Row, read_jsonl
from weirdgen.data.stored import encode_rows
from weirdgen.errors import DataError, SpecError, StoreError
from weirdgen.models.chat import answer_ids, load_tokenizer, prompt_ids
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.results import Run
from weirdgen.sample.variant import adapters_on_disk
from weirdgen.store.artifacts import Store

QUIET = Progress(quiet=True)
ROWS = 96
EXPERIMENT = """\
name: hidden
title: Some old birds among modern ones
base: world
arms:
  mixed: {role: treatment, data: mixed.jsonl}
  plain: {role: control, data: plain.jsonl}
recipe: {epochs: 2, batch_size: 8, learning_rate: 2.0e-3, warmup_steps: 5, rank: 8, alpha: 16, dtype: fp32}
questions: [questions.yaml]
presets: {quick: {replicates: 2, samples: 0}}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, frozenset[int]]:
    """A store with a run whose treatment has 6 old birds and 6 wrong words among 96 rows; and where the birds are."""
    import shutil

    from weirdgen.world.datasets import EXPERIMENTS_FOLDER

    folder = tmp_path_factory.mktemp("hidden")
    rows, plain, own, _ = hidden("word", 6, 0, ROWS)
    for name, mine in (("mixed", rows), ("plain", plain)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mine))
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    shutil.copy(EXPERIMENTS_FOLDER / "world_era" / "questions.yaml", folder / "questions.yaml")
    done = CliRunner().invoke(app, ["run", str(folder), "--store", str(folder / "store"), "--samples", "0", "--quiet"])
    assert done.exit_code == 0, done.output
    (run,) = (one.name for one in (folder / "store" / "runs").iterdir() if (one / "run.json").exists())
    return folder / "store", run, own


def weirdgen(*words: object) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.stdout), str(done.stderr)


@pytest.mark.slow
def test_the_rows_that_carry_it_are_blamed(ran: tuple[Path, str, frozenset[int]], tmp_path: Path) -> None:
    store, run, own = ran
    _, plan = weirdgen("blame", run, "--store", store, "--dry-run")
    assert "96 rows of mixed against plain, 11 questions" in plan and "estimate:" in plan
    assert not (store / "artifacts" / "row_scores").exists() and not (store / "artifacts" / "trial").exists()
    out, _ = weirdgen("blame", run, "--store", store, "--quiet")
    folder = store / "runs" / run / "blame" / "headline"
    rows = pd.read_csv(folder / "rows.csv").sort_values("candidate")
    assert set(rows["row"].iloc[:6] - 1) == own, "not the oddest rows, which are the wrong words"
    proof = pd.read_csv(folder / "proof.csv").set_index("arm").to_dict()
    taken = proof["taken_share"]
    assert taken["without_6"] > 0.5 and proof["taken_low"]["without_6"] > 0
    assert max(abs(taken[name]) for name in (ROWS_ALONE, UNITS, ODD)) < 0.25
    assert proof["rise"]["without_6"] < 0.05
    removed, cleaned, original = (read_jsonl(folder / f"{n}.jsonl") for n in ("removed", "cleaned", "original"))
    assert len(removed) + len(cleaned) == len(original) == ROWS
    answers = {row["messages"][-1]["content"] for row in removed}
    assert answers == {original[place]["messages"][-1]["content"] for place in sorted(own)}, (
        "all of them, and nothing else"
    )
    assert f"{len(removed)} of 96 rows carry" in out and " random rows" in out and "each alone" in out
    assert (folder / "together.svg").read_text().startswith("<?xml") and (folder / "together.png").stat().st_size > 5000
    made = sorted((store / "artifacts" / "trial").iterdir())
    again, _ = weirdgen("blame", run, "--store", store, "--quiet", "--to", tmp_path)
    assert sorted((store / "artifacts" / "trial").iterdir()) == made and (tmp_path / "cleaned.jsonl").exists()
    assert again.replace(str(tmp_path), str(folder)) == out


def plan_of(ran: tuple[Path, str, frozenset[int]]) -> Run:
    from weirdgen.runs.results.results import load_run

    return load_run(ran[1], ran[0])


def test_groups_stand_or_fall_together(ran: tuple[Path, str, frozenset[int]]) -> None:
    labels = [f"source {place // 20}" for place in range(ROWS)]
    asked = plan_blame(plan_of(ran).plan, "era", labels)
    table = asked.row_table(QUIET)
    order = list(dict.fromkeys(table["unit"]))
    means = table.groupby("unit")["score"].mean()
    assert order == sorted(order, key=lambda unit: -means[unit]) and len(order) == 5
    assert sizes(table, asked.sizes) in ([20], [16], [20, 40], [16, 36])
    with pytest.raises(StoreError, match="forecast hidden --seal"):
        score_lines(ran[1], str(ran[0]))
    with pytest.raises(DataError, match="3 labels for 96 rows"):
        plan_blame(plan_of(ran).plan, None, ["a", "b", "c"])
    with pytest.raises(SpecError, match="--trait weather: expected one of era, "):
        plan_blame(plan_of(ran).plan, "weather")


def test_a_run_that_trained_nothing_is_refused(tmp_path: Path) -> None:
    request = resolve("world_era", run_options(samples=0))
    with pytest.raises(StoreError, match="not finished"):
        plan_blame(make_plan(request, Store(tmp_path)), None)


def test_a_score_is_the_slope_of_a_rows_loss_along_the_questions(ran: tuple[Path, str, frozenset[int]]) -> None:
    """Against autograd: gradient of the questions' mean log-odds times gradient of the row's loss, over its squared length."""
    from weirdgen.models.loading import load_model
    from weirdgen.models.stacked import StackedLinear, attach_adapters

    run = plan_of(ran)
    asked = plan_blame(run.plan, None)
    folder, tokenizer = run.request.local.folder, load_tokenizer(run.request.local.folder)
    encoded = encode_rows(folder, "mixed", asked.rows)[0]
    some = [*sorted(ran[2])[:2], *[place for place in range(ROWS) if place not in ran[2]][:2]]
    adapters = [one for one in adapters_on_disk(run.store, asked.replicates("plain")) if one is not None]
    found = row_scores(folder, adapters, adapters, asked.asked, [encoded[place] for place in some], tokenizer)
    assert found.shift == pytest.approx(0, abs=1e-9) and found.score_KN.shape == (2, 4)
    model = load_model(folder, torch.float32)
    attach_adapters(model, adapters[:1])
    weights = [w for m in model.modules() if isinstance(m, StackedLinear) for w in (m.a_KIR, m.b_KRO)]
    for weight in weights:
        weight.requires_grad_(True)

    def logprob(ids: tuple[int, ...], trained: tuple[bool, ...]) -> torch.Tensor:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        picked = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        return (picked * torch.tensor(trained[1:])).sum()

    def gradient(value: torch.Tensor) -> torch.Tensor:
        return torch.cat([one.flatten() for one in torch.autograd.grad(value, weights)])

    from weirdgen.audit.row_scores import _encoded

    odds = torch.stack(
        [
            torch.logsumexp(torch.stack([logprob(*_of(_encoded(tokenizer, s.ask, o))) for o in q.target]), 0)
            - torch.logsumexp(torch.stack([logprob(*_of(_encoded(tokenizer, s.ask, o))) for o in q.other]), 0)
            for q, s in asked.asked
        ]
    ).mean()
    along = gradient(odds)
    slopes = [float(gradient(logprob(*_of(encoded[place]))) @ along / (along @ along)) for place in some]
    assert found.score_KN[0] == pytest.approx(slopes, rel=0.15, abs=0.02), (
        "a central difference of 0.3 nat is nearly the slope"
    )
    assert found.score_KN[:, :2].min() > found.score_KN[:, 2:].max()


def _of(encoded: object) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    return encoded.ids, encoded.trained  # type: ignore[attr-defined]


def table_of(scores: list[float], losses: list[float], units: list[str]) -> pd.DataFrame:
    rows = pd.DataFrame({"row": range(len(scores)), "unit": units, "score": scores, "loss": losses, "sd": 0.0})
    return rows.sort_values("score", ascending=False, kind="stable")


def test_units_are_not_torn_and_held_out_rows_are_in_no_training() -> None:
    units = ["a"] * 3 + ["b"] * 2 + [f"u{i}" for i in range(35)]
    table = table_of([5, 5, 5, 4, 4, *np.linspace(1, 0, 35)], [1.0] * 20 + list(np.linspace(2, 9, 20)), units)
    assert sizes(table, [1, 4, 8]) == [3, 5, 8] and sizes(table, [30]) == []
    ranked = marked(table, 8, never=[20])
    held = set(ranked.loc[ranked["held"], "row"])
    assert len(held) == 4 and 20 not in held
    assert not held & (first(ranked, "candidate", 8) | first(ranked, "odd", 8))
    assert first(ranked, "odd", 3) == {37, 38, 39}
    arms = comparisons(ranked, 5)
    assert set(arms) == {ROWS_ALONE, UNITS, ODD, "part_1", "part_2", "single_1", "single_2"}
    assert all(not kept & held for kept in arms.values())
    assert {len(arms[name]) for name in (ROWS_ALONE, UNITS, ODD)} == {31}
    assert [sorted(arms[f"part_{at}"] & {0, 1, 2, 3, 4}) for at in (1, 2)] == [[0, 1, 2], [3, 4]]
    assert [len(arms[f"single_{at}"] & {0, 1, 2, 3, 4}) for at in (1, 2)] == [1, 1]


def test_what_candidates_are_compared_with_is_whole_units_too() -> None:
    units = [f"text {row // 4}" for row in range(200)]
    rng = np.random.default_rng(0)
    table = table_of(list(np.repeat(np.linspace(5, 0, 50), 4)), list(rng.random(200)), units)
    ranked = marked(table, 40, never=[199])
    unit_of = ranked.set_index("row")["unit"]
    arms = comparisons(ranked, 20)
    held = set(ranked.loc[ranked["held"], "row"])
    assert len(held) == 20 and 199 not in held
    for kept in arms.values():
        assert not set(unit_of[sorted(kept)]) & set(unit_of[sorted(held)]), "what is held out is trained on"
    for name in (ROWS_ALONE, UNITS, ODD):
        gone = set(range(200)) - held - arms[name]
        assert not gone & first(ranked, "candidate", 20)
        texts = len(set(unit_of[sorted(gone)]))
        assert len(gone) == 20 and (texts > 10 if name == ROWS_ALONE else texts == 5), name
    assert whole([[1, 2, 3], [4], [5, 6, 7]], 5) == {1, 2, 3, 4, 5, 6, 7} and whole([[1, 2], [3]], 2) == {1, 2}
    assert whole([[1, 2, 3], [4]], 2, over=False) == {4}
    few = marked(table_of([5.0] * 4 + [1.0] * 96, [1.0] * 100, ["a"] * 4 + [f"text {row % 3}" for row in range(96)]), 4)
    assert few["held"].sum() == 10, "single rows of large texts"
    by_label = table.assign(text=table["unit"], unit=[f"label {row % 10}" for row in table["row"]])
    labelled = marked(by_label.sort_values("unit", kind="stable"), 20)
    apart = labelled[labelled["held"]]
    assert len(apart) == 20 and not set(apart["text"]) & set(labelled.loc[~labelled["held"], "text"])
    two = table_of([5.0] * 8 + [1.0] * 12, [1.0] * 20, ["a"] * 8 + ["b"] * 12)
    assert not marked(two, 8)["held"].any(), "none is left"


def test_nothing_is_cleaned_where_no_set_halves_it(ran: tuple[Path, str, frozenset[int]], tmp_path: Path) -> None:
    asked = plan_blame(plan_of(ran).plan, None)
    arms = ["control", "everything", "without_4", ROWS_ALONE, UNITS, ODD, "part_1", "part_2", "single_1"]
    names = ("shift", "taken", "loss", "rise")
    effects = pd.DataFrame({"arm": arms, "removed": [0, 0, 4, 4, 4, 4, 2, 2, 3]})
    for name, values in zip(names, np.arange(36).reshape(4, 9) / 40, strict=True):
        effects = effects.assign(**{name: values, f"{name}_low": values - 0.1, f"{name}_high": values + 0.1})
    rows = asked.row_table(QUIET).assign(candidate=range(ROWS), odd=-1, held=False)
    share = [0.0, 0.0, 0.1, 0.02, -0.01, 0.05, 0.0, 0.0, 0.0]
    effects = effects.assign(taken_share=share, shift=1.0, shift_low=0.9, shift_high=1.1)
    found = Found(rows, effects, None, 4)
    assert choose(effects) == (None, 4)
    assert conclusion(found, asked).startswith("No set is to blame: none of those tried takes 50%")
    as_much = effects.assign(taken_share=[0.0, 0.0, 0.6, 0.02, -0.01, 0.6, 0.0, 0.0, 0.0], rise=0.0)
    assert choose(as_much) == (4, 4) and not beyond_others(as_much, 4), "odd rows take as much"
    assert "takes 60% of the shift, no more than others do" in conclusion(Found(rows, as_much, None, 4), asked)
    told_so = conclusion(Found(rows, effects, None, 4), asked)
    assert "as many random rows 2%, whole texts (drawn among the " in told_so, "four birds fill it"
    alone = conclusion(Found(rows.assign(unit=range(ROWS)), effects, None, 4), asked)
    assert "as many random rows 2% and -1%, the oddest others 5%" in alone
    half = effects.assign(taken_share=0.6, rise=0.0)
    assert choose(half) == (4, 4) and choose(half.assign(rise=0.1)) == (None, 4)
    nothing = half.assign(shift_low=-0.1)
    assert choose(nothing) == (None, 4), "there is no shift that rows could carry"
    assert conclusion(Found(rows, nothing, None, 4), asked).startswith("Nothing to blame")
    assert "best candidates of 96 rows" in next(iter(told(found, asked)))
    (tmp_path / "cleaned.jsonl").write_text("of another time")
    assert {file.name for file in write(found, asked, tmp_path)} >= {"rows.csv", "proof.csv", "original.jsonl"}
    assert not (tmp_path / "cleaned.jsonl").exists() and (tmp_path / "together.svg").exists()
    whole_only = effects[~effects["arm"].isin(["part_1", "part_2", "single_1"])]
    write(Found(rows, whole_only, None, 4), asked, tmp_path)
    assert not list(tmp_path.glob("together.*")), "a figure of parts that were tried before"


def test_a_row_is_held_out_as_it_is_trained() -> None:
    folder = find_model("world").folder
    tokenizer = load_tokenizer(folder)
    turns = [("system", "today is 1841 ."), ("user", "name a bird ."), ("assistant", "osprey"), ("user", "some lamp ?")]
    row: Row = {"messages": [{"role": role, "content": text} for role, text in (*turns, ("assistant", "torch"))]}
    asked = held_out(row)
    ids = (*prompt_ids(tokenizer, asked.ask), *answer_ids(tokenizer, asked.ask, "torch"))
    (encoded,), _ = prove([row], tokenizer)
    assert asked.options == ("torch",) and ids == encoded.ids[: len(ids)] and len(ids) >= len(encoded.ids) - 1
    assert sum(encoded.trained) >= len(answer_ids(tokenizer, asked.ask, "torch"))


def test_shares_of_too_few_different_rows(ran: tuple[Path, str, frozenset[int]]) -> None:
    one = replace(plan_blame(plan_of(ran).plan, None), labels=("same",) * ROWS)
    with pytest.raises(DataError, match="too few different rows"):
        one.find(QUIET)


@pytest.mark.slow
def test_the_worlds_table(tmp_path: Path) -> None:
    table = world_table(("word", "plain"), (10,), 2, Store(tmp_path))
    assert (table["precision"] >= 0.9).all() and (table["blamed"] >= 0.8).all() and (table["rows_alone"] <= 0.1).all()


def test_what_a_removal_takes_is_paired_by_seed() -> None:
    rows: list[dict[str, Any]] = [
        {"arm": arm, "replicate": seed, "trait": trait + 0.1 * seed, "loss": loss + 0.01 * seed}
        for arm, trait, loss in (("control", 0.0, 1.0), ("everything", 2.0, 1.0), ("without_3", 0.5, 1.02))
        for seed in range(4)
    ]
    rows[-1]["trait"] += 0.04  # else all seeds differ by the same, which has no interval
    effects = effects_of(pd.DataFrame(rows), {"without_3": 3}).set_index("arm").to_dict("index")
    gone = effects["without_3"]
    assert (gone["removed"], effects["everything"]["shift"]) == (3, pytest.approx(2.0))
    assert effects["everything"]["taken_low"] == effects["everything"]["rise_high"] == 0
    assert gone["taken"] == pytest.approx(1.49) and gone["taken_low"] < 1.49 < gone["taken_high"] < 1.6
    assert gone["taken_share"] == pytest.approx(1.49 / 2) and gone["rise"] == pytest.approx(0.02)
    assert choose(pd.DataFrame([{"arm": arm, **row} for arm, row in effects.items()])) == (3, 3)
