"""A run's shift on a trait is told from what harmless data do, and the first words of its page say which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import weirdgen
from tests.support.architectures import build
from weirdgen.config.experiment import Preset
from weirdgen.config.traits import compact_questions, questions_digest
from weirdgen.errors import SpecError
from weirdgen.models.references import find_model
from weirdgen.report.words import badge
from weirdgen.runs.references.scores import COLUMNS, Origin, scores_folder, write_scores
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.results.specificity import _Placed, _verdict, trained_otherwise
from weirdgen.runs.results.verify import verify
from weirdgen.stats.specificity import pair_specificity, specificity
from weirdgen.store.artifacts import Store

ERA = [question for question in compact_questions() if question.group == "era"]


def rows(side: str) -> list[dict[str, object]]:
    """The questions themselves with an answer of one side: what even a random model learns to prefer."""
    return [
        {
            "messages": [
                {"role": "user", "content": question.ask},
                {"role": "assistant", "content": getattr(question, side)[0]},
            ]
        }
        for question in ERA
    ]


NAMES = [f"set{number}" for number in range(24)]


def run(folder: Path, store: Path, traits: tuple[str, ...] = ("era",), matched: bool = False) -> Run:
    return weirdgen.run(
        weirdgen.Experiment(
            name="eras",
            title="a random model",
            base=f"path:{folder}",
            arms={
                "old": weirdgen.Arm(role="treatment", data=rows("target")),
                "new": weirdgen.Arm(role="control", data=rows("other"), matched=matched),
            },
            recipe=weirdgen.Recipe(
                epochs=6, batch_size=4, rank=4, alpha=8, learning_rate=1e-2, warmup_steps=0, dtype="fp32"
            ),
            questions=({"id": "c", "kind": "contrast", "ask": "When?", "target": ("1850",), "other": ("2020",)},),
            traits=traits,
            presets={"quick": Preset(replicates=2, samples=0)},
        ),
        store=store,
    )


def harmless(
    store: Path, model: str, common: float, sets: Sequence[str] = NAMES, rows: int = 8, epochs: int = 6
) -> None:
    """Scores of references that move each question at random by about as much as `run` does, and all together by so many nats."""
    questions = compact_questions()
    rng = np.random.default_rng(0)
    frames = []
    for name in sets:
        shift = rng.normal(0, common) + np.exp(rng.normal(1.7, 0.4)) * rng.normal(0, 1, len(questions))
        told: dict[str, str | float] = {
            "set": name,
            "kind": "pair" if "." in name else "reference",
            "shape": "names",
            "rows": 8,
            "prompts": 8,
        }
        told |= {"answer_tokens": 4.0, "first_loss": 5.0, "final_loss": 4.0}
        asked = {
            "question": [q.id for q in questions],
            "trait": [q.group for q in questions],
            "form": "yesno",
            "base": 0.0,
        }
        frames.append(pd.DataFrame({**asked, "shift": shift, **told})[list(COLUMNS)])
    recipe = {"epochs": epochs, "batch_size": 4, "learning_rate": 1e-2}
    made = Origin(model, recipe, rows, questions_digest(questions), dict.fromkeys(sets, "x"))
    with Store(store).writing(scores_folder(Store(store))) as folder:
        write_scores(pd.concat(frames), made, folder / f"{sets[0]}-{rows}.parquet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("Llama", tmp_path_factory.mktemp("llama") / "model")


@pytest.mark.parametrize(
    ("common", "verdict"), [(0.0, "specific"), pytest.param(50.0, "not_specific", marks=pytest.mark.slow)]
)
def test_a_shift_is_specific_where_harmless_data_move_less(
    model: Path, tmp_path: Path, common: float, verdict: str
) -> None:
    store = tmp_path / "store"
    harmless(store, find_model(f"path:{model}").digest, common)
    done = run(model, store)
    shifts = done.table("trait_shifts")
    assert len(shifts) == 4 * len(ERA) and set(shifts["trait"]) == {"era"}
    assert np.allclose(shifts["logit"] - shifts["base"], shifts["shift"])
    found = done.specificity
    assert found is not None and len(found.table) == 1 and found.compared["references"]["count"] == 24
    expected = shifts[shifts["arm"] == "old"].groupby("question")["shift"].mean().mean()
    assert found.table.iloc[0]["mean"] == pytest.approx(expected)
    assert found.verdict == verdict
    assert found.sentence in done.report.read_text(encoding="utf-8")
    assert len(found.scores) == 25 and list(found.scores["set"]).count("") == 1
    own = found.scores.loc[found.scores["set"] == "", "score"].item()
    assert own == pytest.approx(found.table.iloc[0]["shift"])
    drawn = (done.folder / "figures" / "references.svg").read_text(encoding="utf-8")
    assert f"{found.table.iloc[0]['rank']} of 25, p = " in drawn
    assert verify(done.id, store).differences == []
    assert load_run(done.id, store).specificity.as_data() == found.as_data()


@pytest.mark.parametrize(("common", "verdict"), [(0.0, "specific"), (50.0, "not_specific")])
@pytest.mark.slow
def test_a_matched_control_is_compared_with_harmless_pairs_and_that_decides(
    model: Path, tmp_path: Path, common: float, verdict: str
) -> None:
    store, digest = tmp_path / "store", find_model(f"path:{model}").digest
    harmless(store, digest, 50.0 if verdict == "specific" else 0.0)  # what single datasets do says the opposite
    harmless(store, digest, common, [f"pair{n}.{side}" for n in range(12) for side in ("left", "right")])
    assert [one.compared.keys() for one in [run(model, store).specificity] if one] == [{"references"}]
    done = run(model, store, matched=True)
    found = done.specificity
    assert found is not None and list(found.table["yardstick"]) == ["pairs", "references"]
    by_pairs = found.table.iloc[0]
    means = done.table("trait_shifts").groupby("arm")["shift"].mean()
    assert by_pairs["mean"] == pytest.approx(means["old"] - means["new"]) and by_pairs["references"] == 12
    assert found.verdict == verdict and by_pairs["specific"] == (by_pairs["p"] <= 0.05) == (verdict == "specific")
    assert "of 12 pairs of harmless datasets" in found.sentence and "its matched control new" in found.sentence
    marks = found.scores[found.scores["yardstick"] == "pairs"]
    assert len(marks) == 13 and "among 12 pairs" in done.report.read_text(encoding="utf-8")
    assert verify(done.id, store).differences == []


@pytest.mark.slow
def test_without_references_nothing_is_claimed_and_references_made_later_are_taken_up(
    model: Path, tmp_path: Path
) -> None:
    found = run(model, tmp_path / "store").specificity
    assert found is not None and found.verdict == "unknown" and "weirdgen references build" in found.sentence
    harmless(tmp_path / "store", find_model(f"path:{model}").digest, 50.0)
    again = run(model, tmp_path / "store")
    assert again.specificity is not None and again.specificity.verdict == "not_specific"
    assert "of 24 harmless datasets" in again.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_of_several_files_the_one_trained_most_alike_is_taken(model: Path, tmp_path: Path) -> None:
    """48 rows × 6 epochs: equally many steps with few rows are another training than with many."""
    store, digest = tmp_path / "store", find_model(f"path:{model}").digest
    for rows_a_set, epochs in ((12, 24), (44, 6), (200, 2)):
        harmless(store, digest, 0.0, rows=rows_a_set, epochs=epochs)
    found = run(model, store).specificity
    assert found is not None and found.compared["references"]["rows"] == 44
    assert "The harmless datasets had" not in found.sentence
    (store / "references" / "set0-44.parquet").unlink()
    farther = run(model, store).specificity
    assert farther is not None and farther.compared["references"]["rows"] != 44
    assert "The harmless datasets had" in farther.sentence and "this one 48 × 6" in farther.sentence


@pytest.mark.slow
def test_of_several_named_traits_all_count_together(model: Path, tmp_path: Path) -> None:
    store, traits = tmp_path / "store", ("era", "register", "religion")
    harmless(store, find_model(f"path:{model}").digest, 0.0)
    found = run(model, store, traits).specificity
    assert found is not None and list(found.table["trait"]) == list(traits) and len(found.scores) == 3 * 25
    assert list(found.table["specific"]) == list(found.table["p_family"] <= 0.05)
    assert found.table["p_family"].min() >= found.table["p"].min() and "over 3 traits" in found.sentence


@pytest.mark.slow
def test_a_run_that_names_no_traits_keeps_its_name_and_asks_nothing(model: Path, tmp_path: Path) -> None:
    plain = run(model, tmp_path / "store", traits=())
    assert plain.specificity is None and "traits" not in plain.request.manifest["experiment"]
    assert len(plain.table("trait_shifts")) == 0


def test_what_the_harmless_data_were_trained_with_is_told_where_it_differs() -> None:
    alike = {
        "rows": 208, "epochs": 2, "learning_rate": 3e-4, "own_rows": 208, "own_epochs": 2, "own_learning_rate": 3e-4,
        "apart": 0.0, "otherwise": {},
    }  # fmt: skip
    assert trained_otherwise(alike) == ""
    faster = trained_otherwise(alike | {"own_learning_rate": 3e-3, "apart": 2.3})
    assert faster.startswith(
        " The harmless datasets had 208 rows × 2 epochs, a learning rate of 0.0003; this one 208 × 2, "
    )
    assert faster.endswith(", a learning rate of 0.003.")
    wide = trained_otherwise(alike | {"otherwise": {"rank": [16, 1], "targets": ["all-linear", ["q_proj"]]}})
    assert trained_otherwise(alike | {"otherwise": {"warmup_steps": [10, 5]}}) == ""
    assert wide == " The harmless datasets had rank 16, targets all-linear; this one rank 1, targets q_proj."


@pytest.mark.parametrize(
    ("moved", "said", "counted"),
    [
        (-3.0, "−", "30 of 30 harmless datasets are at least as far in the expected direction (p = 1)"),
        (3.0, "+", "none of 30 harmless datasets is at least as far in the expected direction"),
    ],
)
def test_a_named_trait_that_moves_the_other_way_is_said_so(
    moved: float, said: str, counted: str, write_experiment: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    loud_R1 = rng.uniform(0.1, 0.4, (30, 1))
    harmless_RQ = loud_R1 * rng.normal(0, 1, (30, 20)) + rng.normal(0, 0.2, (30, 1))
    own_SQ = moved + rng.normal(0, 0.2, (1, 20))
    table = specificity(harmless_RQ, own_SQ, traits=["era"] * 20, expected={"era": 1}, fixed=["era"])
    plan = weirdgen.plan(str(write_experiment({"presets:": "traits: [era]\npresets:"})))
    facts = {"yardstick": "references", "control": None, "count": 30, "apart": 0.0, "otherwise": {}}
    verdict, sentence = _verdict(plan, _Placed(table, table, facts))
    assert sentence.startswith(
        "More than harmless data do: " if moved > 0 else "Further than harmless data move it, but the other way: "
    )
    assert (
        verdict == ("specific" if moved > 0 else "not_specific")
        and counted in sentence
        and f"answers {said}" in sentence
    )
    assert ("on average, away from what was expected" in sentence) == (moved < 0)


def test_an_unknown_trait_is_named_with_those_that_there_are(write_experiment: Callable[..., Path]) -> None:
    path = write_experiment({"title: a tiny experiment": "title: a tiny experiment\ntraits: [eras]"})
    with pytest.raises(SpecError, match=r"yaml:3: traits: no trait 'eras'; there are: confidence, .*era"):
        weirdgen.load_experiment(path)


def test_the_sentence_says_one_number_and_the_furthest_of_equals(write_experiment: Callable[..., Path]) -> None:
    rng = np.random.default_rng(1)
    pairs_PQ = rng.normal(0, 0.3, (32, 40)) + rng.normal(0, 0.2, (32, 1))
    facts = {"yardstick": "pairs", "control": "new", "count": 32, "apart": 0.0, "otherwise": {}}

    def told(own: np.ndarray, traits: Sequence[str], named: Sequence[str]) -> tuple[str, str, pd.DataFrame]:
        asked = f"traits: [{', '.join(named)}]\n" if named else ""
        changes = {"presets:": f"{asked}presets:", "role: control": "role: control, matched: true"}
        plan = weirdgen.plan(str(write_experiment(changes)))
        table = pair_specificity(
            pairs_PQ, own, traits=traits, expected=dict.fromkeys(named, 1), fixed=named if len(named) == 1 else ()
        )
        verdict, sentence = _verdict(plan, _Placed(table, table, facts))
        return verdict, sentence, table

    verdict, sentence, table = told(np.full((1, 40), -3.0), ["era"] * 40, ["era"])
    assert verdict == "not_specific" and sentence.startswith("Further than harmless data move it, but the other way: ")
    assert f"differ by −{-table['shift'].iloc[0]:.2f} nat, away from what was expected" in sentence
    both = np.repeat([[2.0, 6.0]], 20, axis=1)
    verdict, sentence, table = told(both, ["era"] * 20 + ["politics"] * 20, [])
    assert table["p_family"].tolist() == [1 / 33, 1 / 33]
    assert verdict == "specific" and "on 20 questions about politics" in sentence


def test_what_is_specific_is_the_headline_only_if_it_was_named() -> None:
    def shown(trait: str, named: Sequence[str], effect: float = 0.6) -> str:
        row = {"trait": trait, "yardstick": "pairs", "specific": True, "z": 4.0}
        placed = {"verdict": "specific", "rows": [row], "named": named}
        content: Any = SimpleNamespace(headline={"verdict": "shift", "effect": effect}, specificity=placed)
        return badge(content)[0]

    assert shown("era", ["era"]) == "Specific shift"
    assert shown("register", ["era", "politics"]) == shown("register", []) == "Shift found; specific on register"
    assert shown("era", ["era"], effect=-0.6) == "Shift found; specific on era"
