"""The whole path on the world's model: run, run again, extend, kill, resume, break."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import weirdgen
from weirdgen.errors import DataError, ModelError, StoreError, WeirdgenError
from weirdgen.progress import Progress
from weirdgen.report import page
from weirdgen.runs.pipeline import measure, run_plan
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.reporting import report_run
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.sample import Sample
from weirdgen.runs.work.executors import Inline
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]


def mtimes(store: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (store / "artifacts").rglob("*") if p.is_file()}


def test_a_run_gives_frames_headline_and_report(write_experiment: Write, tmp_path: Path) -> None:
    run = weirdgen.run(str(write_experiment()), store=tmp_path / "store")
    assert run.headline.verdict in ("shift", "no_shift", "inconclusive") and run.headline.replicates == 2
    assert run.report.is_file() and (run.folder / "results.json").is_file()
    completions, contrasts, effects = run.completions(), run.contrasts(), run.effects()
    assert len(completions) == 5 * 3 and set(completions["arm"]) == {"base", "old", "new"}
    assert len(contrasts) == 5 and contrasts["logit"].notna().all()
    of_arm = {arm: contrasts[contrasts["arm"] == arm]["logit"].mean() for arm in ("old", "new")}
    row = effects.query("measure == 'contrast' and control == 'new' and question == 'all'").iloc[0]
    assert row["effect"] == pytest.approx(of_arm["old"] - of_arm["new"])
    assert of_arm["old"] > of_arm["new"]  # trained on the target answer itself
    verdicts = run.verdicts()
    assert (verdicts["status"] == "ok").all() and set(verdicts["value"]) <= {0.0, 1.0}


def test_running_again_does_no_work(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    first = weirdgen.run(path, store=store)
    before, report = mtimes(store), first.report.stat().st_mtime_ns
    code = (
        "import sys, weirdgen; run = weirdgen.run(sys.argv[1], store=sys.argv[2]); print(run.headline.sentence);"
        "assert 'torch' not in sys.modules, 'a finished run must not load torch'"
    )
    done = subprocess.run([sys.executable, "-c", code, path, str(store)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == first.headline.sentence
    assert mtimes(store) == before and first.report.stat().st_mtime_ns == report


def test_more_seeds_and_samples_pay_only_for_the_new(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    first = weirdgen.run(path, store=store)
    before = mtimes(store)
    more = weirdgen.run(path, store=store, seeds=3, samples=20)
    assert {k: v for k, v in mtimes(store).items() if k in before} == before
    new = {p for p in mtimes(store) if p not in before and p.endswith("result.json")}
    assert len(new) == 2  # one replicate an arm
    key = ["arm", "replicate", "question", "sample"]
    both = first.completions().merge(more.completions(), on=key)
    assert len(both) == len(first.completions()) and (both["text_x"] == both["text_y"]).all()
    assert len(more.completions()) == 7 * 20


def test_checkpoints_give_curves(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment({"warmup_steps: 0}": "warmup_steps: 0, checkpoints: log}"})
    contrasts = weirdgen.run(str(path), store=tmp_path / "store").contrasts()
    assert sorted(contrasts[contrasts["arm"] == "old"]["checkpoint"].unique()) == [-1, 1]


def test_a_damaged_part_is_named_and_made_again(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    first = weirdgen.run(path, store=store)
    part = next((store / "artifacts" / "sample").rglob("part-*.parquet"))
    adapter = next((store / "artifacts" / "finetune").rglob("adapter_model.safetensors"))
    for file in (part, adapter):
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.warns(UserWarning, match="made again") as caught:
        again = weirdgen.run(path, store=store)
    said = " ".join(str(w.message) for w in caught)
    assert part.name in said and "adapter_model.safetensors is truncated" in said
    pd.testing.assert_frame_equal(again.completions(), first.completions())
    pd.testing.assert_frame_equal(again.contrasts(), first.contrasts())


def test_the_bar_counts_the_answers_that_the_plan_does(write_experiment: Write, tmp_path: Path) -> None:
    """One more question with fewer samples: its batch is drawn as the older question's was, with more than are asked for."""
    path, store = str(write_experiment()), Store(tmp_path / "store")
    measure(make_plan(resolve(path, run_options(samples=2)), store), Progress(quiet=True))
    more = '  - {id: f2, kind: free_form, ask: "What else?", judges: [is_target], max_tokens: 3}\njudges:\n'
    wider = make_plan(resolve(str(write_experiment({"judges:\n": more})), run_options(samples=1)), store)
    (planned,), batch = Sample().work(wider), Sample().batch(wider)
    done = Inline().run(batch.units, store, lambda amount, note: None)
    assert sum(one.amount for one in done) == batch.amount == planned.missing == 5  # of the base and four replicates
    assert len(wider.completions(wider.sampled[0]).read()) == 4


def test_a_run_is_found_again_though_its_files_changed(write_experiment: Write, tmp_path: Path) -> None:
    path, store = write_experiment(), tmp_path / "store"
    run = weirdgen.run(str(path), store=store)
    for file in path.parent.iterdir():
        file.unlink()
    loaded = load_run(run.id, store)
    loaded.require_finished()
    assert loaded.headline == run.headline
    assert report_run(loaded) == run.report
    with pytest.raises(StoreError, match=f"there are: {run.id}"):
        load_run("tiny-quick-0", store)


def test_a_torn_request_is_named(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    run = weirdgen.run(path, store=store)
    (run.folder / "run.json").write_text('{"a":')
    for read in (load_run, verify):
        with pytest.raises(
            StoreError, match=r"run.json is damaged .*; the `weirdgen run` that made it writes it again"
        ):
            read(run.id, store)
    assert load_run(weirdgen.run(path, store=store).id, store).headline == run.headline


@pytest.mark.slow
def test_a_report_with_more_figures_is_written_once(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write_report = page.write_report

    def counted(content: Any, folder: Path, extra: Any) -> Path:
        written.append(folder)
        return write_report(content, folder, extra)

    monkeypatch.setattr(page, "write_report", counted)
    plan = make_plan(resolve(str(write_experiment())), Store(tmp_path / "store"))
    run = run_plan(plan, Progress(quiet=True), figures=("pdf",))
    assert len(written) == 1 and list((run.folder / "figures").glob("*.pdf"))
    run_plan(plan, Progress(quiet=True))
    assert len(written) == 1


def test_a_control_without_replicates_to_compare_is_within_model_only(write_experiment: Write, tmp_path: Path) -> None:
    run = weirdgen.run(str(write_experiment()), store=tmp_path / "store", seeds=1)
    assert run.headline.ci_low is None and "within-model only" in run.headline.sentence.lower()


def test_plan_counts_what_is_missing(write_experiment: Write, tmp_path: Path) -> None:
    path = str(write_experiment())
    plan = make_plan(resolve(path), Store(tmp_path / "store"))
    assert {w.stage: (w.missing, w.total) for w in workload(plan)} == {
        "finetune": (2, 2),
        "contrast": (5, 5),
        "sample": (15, 15),
        "judge": (33, 33),  # 15 of the rule, 18 of form: the base's 3 answers are compared with the rows of both arms
    }
    weirdgen.run(path, store=tmp_path / "store")
    assert all(w.missing == 0 for w in workload(make_plan(resolve(path), Store(tmp_path / "store"))))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"changes": ["recipe.epochs=0"]}, "recipe.epochs: Input should be greater than or equal to 1"),
        ({"changes": ["recipe.batch_size=9"]}, "there are only 8"),
        ({"changes": ["recipe.lr=1"]}, "--set recipe.lr=1: expected KEY=VALUE with KEY one of recipe.engine"),
        ({"changes": ["recipe.targets=[nothing]"]}, "names no linear layer of this model; it has"),
        ({"changes": ["recipe.epochs=["]}, "--set recipe.epochs=[: '[' is not YAML"),
        ({"seeds": 0}, "--seeds 0: expected at least 1"),
        ({"model": "gpt-5"}, "expected one of smollm2-135m-instruct, gemma3-270m, world, hub:"),
        ({"model": "path:/nonexistent"}, "is not a folder"),
    ],
)
def test_bad_requests(write_experiment: Write, tmp_path: Path, arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(WeirdgenError) as caught:
        weirdgen.run(str(write_experiment()), store=tmp_path / "store", **arguments)  # type: ignore[arg-type]
    assert expected in str(caught.value)
    assert not list((tmp_path / "store").glob("artifacts/finetune/*"))


def test_a_model_folder_without_a_tokenizer(write_experiment: Write, tiny_model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        os.link(tiny_model / name, bare / name)
    with pytest.raises(ModelError, match=r"has no a tokenizer \(tokenizer.json\); it holds config.json, model.saf"):
        weirdgen.run(str(write_experiment()), model=f"path:{bare}", store=tmp_path / "store")


def test_a_word_the_tokenizer_lacks_fails_the_proof(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment()
    rows = (path.parent / "old.jsonl").read_text().splitlines()
    rows[4] = '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "zyzzyva"}]}'
    (path.parent / "old.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"arm old: template proof failed at .*old\.jsonl:5: the trained tokens read"):
        weirdgen.run(str(path), store=tmp_path / "store")
