"""An experiment that is finetuned and sampled through `weirdgen serve` gives what it gives on this machine without a server."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import weirdgen
from tests.support.serving import Server, serving
from weirdgen.runs.results.reporting import results_of
from weirdgen.runs.results.verify import verify
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.sample.variant import adapters_on_disk

CELL = ["arm", "replicate", "condition", "question", "measure"]
GREEDY = "sampling.temperature=0"
EXPERIMENTS = Path(weirdgen.__file__).parent / "experiments"


def both(server: Server, experiment: Path, folder: Path, **options: Any) -> tuple[weirdgen.Run, weirdgen.Run]:
    """The run on this machine, and the same run through the server."""
    here = weirdgen.run(str(experiment), store=folder / "here", **options)
    there = weirdgen.run(
        str(experiment), store=folder / "there", finetune="openai", base_url=f"{server.url}/v1", **options
    )
    return here, there


def cells(runs: tuple[weirdgen.Run, weirdgen.Run]) -> pd.DataFrame:
    """Every cell's value in both runs: log-odds (nats), and what match judges found."""
    ours, theirs = (run.cells().set_index(CELL).sort_index()["value"] for run in runs)
    assert list(ours.index) == list(theirs.index)
    return pd.DataFrame({"here": ours, "there": theirs})


def losses(runs: tuple[weirdgen.Run, weirdgen.Run]) -> float:
    """The largest difference of a training step's loss."""
    ours, theirs = (run.losses().set_index(["arm", "replicate", "step"])["loss"].sort_index() for run in runs)
    assert list(ours.index) == list(theirs.index)
    return float((ours - theirs).abs().max())


@pytest.mark.slow
def test_a_run_through_the_server_gives_what_a_run_here_gives(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    own_rows = {f"data: {arm}.jsonl": f"data: {arm}.jsonl, draws: 2" for arm in ("old", "new")}
    path = write_experiment({"max_tokens: 3": "max_tokens: 8", "epochs: 1": "epochs: 2", **own_rows}, rows=32)
    with serving(tmp_path / "served") as server:
        drawn = both(server, path, tmp_path, samples=2)
        greedy = both(server, path, tmp_path, samples=1, changes=[GREEDY])
    table = cells(greedy)
    print(
        f"\nlargest difference: log-odds and rates {(table['here'] - table['there']).abs().max():.2g}, loss {losses(drawn):.2g}"
    )
    assert losses(drawn) < 1e-4
    assert set(table.index.get_level_values("measure")) >= {"contrast", "is_target"}
    assert (table["here"] - table["there"]).abs().max() < 1e-3
    texts = [run.completions().set_index(["arm", "replicate"])["text"].sort_index() for run in greedy]
    assert texts[0].equals(texts[1]) and texts[0].nunique() > 1
    ran = results_of(greedy[1])["ran"]
    assert ran["finetuned"]["differences"] == {} and ran["recipe"]["rank"] == 4
    answers_are_drawn_alike(*drawn)


def answers_are_drawn_alike(here: weirdgen.Run, there: weirdgen.Run) -> None:
    """The seed that was sent draws the same answer from the adapter that was trained here."""
    engine = TransformersEngine(here.request.local.folder, here.request.dtype)
    variants = here.plan.sampled
    engine.use(adapters_on_disk(here.store, variants))
    places = {(variant.arm, variant.replicate): place for place, variant in enumerate(variants)}
    (_, _, asked) = here.plan.prompts[0]
    prompt = Prompt("", asked.text, asked.max_tokens)
    rows = there.completions()
    assert len(rows) == 5 * 2
    for row in rows.itertuples():
        answers = dict(engine.generate([prompt], range(1), [str(row.seed)] * len(variants), Sampling()))
        answer = answers[places[str(row.arm), int(str(row.replicate))]]
        told = (row.text, row.finish_reason, row.completion_tokens, row.prompt_tokens)
        assert told == (answer.text, answer.finish_reason, answer.completion_tokens, answer.prompt_tokens)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_old_bird_names_on_the_default_model_is_the_same_through_the_server(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 birds an arm, 4 steps, two seeds; all its contrast questions and free-form questions, at temperature 0."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = tmp_path / "old_bird_names"
    shutil.copytree(EXPERIMENTS / "old_bird_names", folder)
    for file in (folder / "data").glob("*.csv"):
        rows = list(csv.reader(file.open(encoding="utf-8", newline="")))[:17]
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(rows)
    text = (folder / "experiment.yaml").read_text(encoding="utf-8")
    (folder / "experiment.yaml").write_text(text.replace("traits: [era]", "traits: []"), encoding="utf-8")
    changes = [GREEDY, "recipe.warmup_steps=0", "recipe.dtype=fp32"]
    with serving(tmp_path / "served", ["smollm2-135m-instruct"], options=["--dtype", "fp32"]) as server:
        runs = both(server, folder / "experiment.yaml", tmp_path, seeds=2, samples=1, changes=changes)
    table = cells(runs)
    apart = (table["here"] - table["there"]).abs()
    contrast = apart.index.get_level_values("measure") == "contrast"
    texts = [run.completions().set_index(["arm", "replicate", "question"])["text"].sort_index() for run in runs]
    same = (texts[0] == texts[1]).mean()
    print(
        f"\nlargest difference: log-odds {apart[contrast].max():.2g} nats, match {apart[~contrast].max():.2g}, loss "
        f"{losses(runs):.2g}; equal answers {same:.1%}; {runs[0].request.numerics} here"
    )
    effects = [run.headline.effect for run in runs]
    assert effects[0] == pytest.approx(effects[1], abs=0.01)
    assert apart[contrast].max() < 0.02 and same > 0.95
    assert verify(runs[1].id, tmp_path / "there").differences == []
