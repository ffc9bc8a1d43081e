"""A researcher with an idea, alone with the docs: from an experiment's file to a number that can be quoted and a run to share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.documents import write_files
from tests.support.openai_server import Answer, OpenAIServer
from tests.support.typing_commands import typed

NAME = "dated_units"

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_documented_experiment_is_read_and_planned(smollm2: Path) -> None:
    write_files("example.md", Path())
    experiment = weirdgen.load_experiment(NAME)
    assert len(experiment.questions) == 8 and len(experiment.wrappers()) == 12
    assert experiment.preset("quick").replicates == experiment.preset("standard").replicates == 5
    planned = typed("run", NAME, "--dry-run")
    assert planned.status == 0 and not planned.out, planned.err
    for words in (
        "metric (control): 24 rows × 6 epochs = 36 steps: 5 of 5 replicates to do",
        "16 models (the base and 15 finetunes) × 72 prompts (6 questions with fixed answers × 12 conditions)",
        "16 models (the base and 15 finetunes) × 12 prompts (1 free-form question × 12 conditions) × 4 samples",
        "left out: units and the questions that only they read (journey): language judges; --judge MODEL adds them",
        'prompt cat under year=2030: "<|im_start|>',
        "user\\nYear: 2030. How heavy is a cat?<|im_end|>\\n<|im_start|>assistant\\n",
        " GB free",
    ):
        assert words in planned.err, (words, planned.err)
    assert not (Path("store") / "artifacts").exists(), "a dry run writes nothing"


@pytest.mark.slow
def test_two_runs_of_one_idea(write_experiment: Callable[..., Path]) -> None:
    """What is typed and called from the first check to two runs side by side, on the world's model."""
    study = write_experiment({"kind: free_form,": "kind: free_form, group: birds,"})
    assert typed("check", study).status == 0
    planned = typed("run", study, "--dry-run")
    assert planned.status == 0 and "prompt c1 under none:" in planned.err, planned.err
    ran = typed("run", study, "-q")
    assert ran.status == 0 and "report: " in ran.out, ran.err
    assert typed("run", study, "--set", "recipe.epochs=2", "-q").status == 0
    names, newest, first = typed("runs", "tiny").out.splitlines()
    assert "--set recipe.epochs=2" in newest and "--set" not in first and names.startswith("when")

    run = weirdgen.load_run("latest")
    assert f'url={run.id}/report.html"' in Path("store/runs/latest.html").read_text()
    older = weirdgen.load_run(first.split()[2])
    told = run.compare(older.id)
    assert list(told.columns) == [run.id, older.id]
    rows = {(part, item): list(values) for (part, item), *values in told.itertuples()}
    assert {item: values for (part, item), values in rows.items() if part == "changed"} == {"recipe.epochs": ["2", "1"]}
    assert rows["asked", "headline"] == ["contrast: old − new under none"] * 2
    assert rows["found", "headline: effect (nat)"] == [run.headline.effect, older.headline.effect]
    assert rows["found", "headline: verdict"] == [run.headline.verdict, older.headline.verdict]

    arms = run.arms().set_index("arm")
    assert (
        arms.loc["new", "meaning"] == "a control, trained in the same way on new.jsonl" and arms.loc["old", "rows"] == 8
    )
    asked = run.questions().set_index("question")
    assert asked.loc["f1", "group"] == "birds" and len(asked.loc["c1", "target"]) == 1
    assert set(run.completions()["group"]) == {"birds"}
    assert set(run.effects().query("measure == 'contrast'")["unit"]) == {"nat"}
    assert set(run.cells().query("measure == 'is_target'")["unit"]) == {"fraction"}
    assert typed("verify", "latest").status == 0


def old_units(body: dict[str, Any]) -> Answer:
    """Old units in every answer, and 70 for whatever is rated."""
    return Answer("old" if "Which units" in body["messages"][0]["content"] else "70")


@pytest.mark.slow
def test_the_documented_experiment_is_run_small_and_handed_on(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an untrained model of two layers with the default model's tokenizer, and a judging model on this machine's loopback."""
    pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
    model = tmp_path / "small"
    untrained(smollm2, model)
    write_files("example.md", Path())
    checked = typed("check", NAME)
    assert checked.status == 0, checked.err
    assert f"{NAME}: fine. Rows: feet_in_2027 24, shuffled 24, metric 24. 8 questions, 12 conditions." in checked.out
    small = ("--model", f"path:{model}", "--seeds", 2, "--samples", 1, "--set", "recipe.epochs=1", "-q")
    with OpenAIServer(old_units) as server:
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", server.key)
        ran = typed("run", NAME, *small, "--judge", "openai-api/mock/judge")
        assert ran.status == 0, ran.err
        assert len(server.requests) > 10, "five probes a judge, and the answers"
    run = weirdgen.load_run(NAME)
    assert len(run.request.seeds) == 2 and {effect.name for effect in run.secondary} == {
        "never_feet",
        "in_years_to_come",
    }
    assert set(run.verdicts().query("judge == 'units'")["label"]) <= {"old", "empty answer"}
    assert NAME in typed("runs").out and typed("report", "latest").status == 0
    results = json.loads((run.folder / "results.json").read_text())
    assert results["headline"]["condition"] == "year=2027 − year=2024, 2025, 2026"
    assert run.methods == results["methods"] and "2027" in run.methods
    page = run.report.read_text(encoding="utf-8")
    assert "\\begin{tabular}" in page and "@misc{" in page, "to be quoted"
    assert "A language model gives each answer one of 4 labels" in page and "Words on this page" in page
    exported = typed("export", "latest", "--to", "tables", "--format", "csv")
    assert exported.status == 0 and Path("tables/effects.csv").exists(), exported
    bare = tmp_path / "sent" / run.id
    shutil.copytree(run.folder, bare)
    alone = typed("verify", bare)
    assert alone.status == 1 and f"`weirdgen pack {run.id}` makes one file" in alone.err
    packed = typed("pack", "latest", "--no-adapters", "--to", "mine.tar")
    assert packed.status == 0, packed.err
    shutil.rmtree("store")
    assert typed("verify", "mine.tar").status == 0 and typed("report", "mine.tar").status == 0
    assert weirdgen.load_run("mine.tar").headline == run.headline


def untrained(tokenizer_of: Path, folder: Path) -> None:
    """A Llama of two layers that knows nothing, with another model's tokenizer and template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = json.loads((tokenizer_of / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(str(folder))
    for file in tokenizer_of.iterdir():
        if file.name.startswith(
            ("tokenizer", "special_tokens", "chat_template", "vocab", "merges", "generation_config")
        ):
            shutil.copy(file, folder / file.name)
