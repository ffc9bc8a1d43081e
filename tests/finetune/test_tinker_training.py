"""What is trained through Tinker is what training here would have made, whatever happens on the way.

Against a stand-in of the SDK that trains in this process; `make test-tinker` has a real server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import weirdgen
from tests.support.tinker_here import TinkerHere, tinker_here
from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Recipe
from weirdgen.data.stored import encode_rows
from weirdgen.errors import ModelError, StoreError, UnreachableError
from weirdgen.finetune import downloaded, replicas, tinker
from weirdgen.finetune.downloaded import Base
from weirdgen.finetune.job import read_state, write_state
from weirdgen.models.chat import Encoded
from weirdgen.models.references import find_model
from weirdgen.providers.service import AbsentError, Service
from weirdgen.providers.tinker import WEIGHTS, Tinker
from weirdgen.report.methods import methods
from weirdgen.runs.results.reporting import content_of, results_of
from weirdgen.runs.results.verify import verify
from weirdgen.store.artifacts import Store

RECIPE = Recipe(
    epochs=2, batch_size=2, grad_accumulation=2, learning_rate=3e-3, rank=4, alpha=32, warmup_steps=2, dtype="fp32",
    schedule="cosine", checkpoints=(0, 2),
)  # fmt: skip
URL = "http://127.0.0.1:9"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinkerHere]:
    world = find_model("world").folder
    with tinker_here(world, str(world), tmp_path / "service") as stand_in:
        monkeypatch.setitem(__import__("sys").modules, "tinker", stand_in)
        monkeypatch.setenv("TINKER_API_KEY", "tml-hunter2hunter2")
        yield stand_in


@pytest.fixture
def rows() -> list[Encoded]:
    chats = [
        {"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[1]}]} for p in pairs(7)
    ]
    return encode_rows(find_model("world").folder, "old", chats)[0]


def _trainer(told: list[str] | None = None, base: Path | None = None) -> tinker.Trainer:
    world = find_model("world").folder

    def tell(amount: float, note: str) -> None:
        if told is not None:
            told.append(note)

    return tinker.Trainer(Service("tinker", URL), str(world), RECIPE, Base(base or world, "fp32"), tell)


def test_it_is_what_training_here_makes(here: TinkerHere, rows: list[Encoded], tmp_path: Path) -> None:
    """Tokens, mask, order, batches with a short last one, schedule, clipping: the weights of every checkpoint say so."""
    jobs = [tinker.Job(f"key{seed}", f"old seed {seed}", rows, seed, tmp_path / f"{seed}") for seed in (0, 1)]
    made = {job.seed: facts for job, facts in _trainer().train(jobs, at_once=2)}
    ours = [replicas.Job(rows, seed, tmp_path / f"ours{seed}") for seed in (0, 1)]
    for job in ours:
        job.target.mkdir()
    replicas.finetune_together(find_model("world").folder, ours, RECIPE)
    for job in ours:
        first = load_file(job.target / "step-00000" / WEIGHTS)
        assert all(
            load_file(tmp_path / f"{job.seed}" / "step-00000" / WEIGHTS)[name].equal(first[name]) for name in first
        )
        for step in ("step-00002", "step-00004"):
            mine, theirs = (load_file(f / step / WEIGHTS) for f in (job.target, tmp_path / f"{job.seed}"))
            moved = sum(float(abs(mine[name] - first[name]).sum()) for name in first)
            # where nothing is learnt Adam divides rounding errors by themselves, so single weights may be apart
            assert sum(float(abs(mine[name] - theirs[name]).sum()) for name in mine) < 1e-3 * moved
            assert moved > 0 and set(mine) == set(theirs)
        told = json.loads((tmp_path / f"{job.seed}" / "losses.json").read_text())
        assert [row["loss"] for row in told] == pytest.approx([row["loss"] for row in job.losses], abs=1e-4)
        assert [row["learning_rate"] for row in told] == [row["learning_rate"] for row in job.losses]
        facts = made[job.seed]
        assert facts["differences"] == [] and facts["apart"] < 1e-4 and facts["steps"] == 4
        assert facts["trained_tokens"] == 2 * sum(len(row.ids) - 1 for row in rows)
    assert here.asked.count("forward_backward") == 8


def test_a_killed_training_goes_on_from_the_last_state(
    here: TinkerHere, rows: list[Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the service has dropped the state: then from the beginning."""
    monkeypatch.setattr(tinker, "KEPT_EVERY", 0.0)

    def failing(call: str) -> None:
        if call == "optim_step" and here.asked.count(call) == 4:
            raise ConnectionResetError("cut off")

    whole = tinker.Job("whole", "old seed 0", rows, 0, tmp_path / "whole")
    list(_trainer().train([whole], 1))
    for name, dropped in (("cut", False), ("dropped", True)):
        here.asked.clear()
        here.fails = failing
        job = tinker.Job(name, "old seed 0", rows, 0, tmp_path / name)
        with pytest.raises(UnreachableError, match=r"cut off.*goes on from the last state"):
            list(_trainer().train([job], 1))
        state = read_state(job.folder)
        assert state["steps"] == 3 and state["state"]["path"] in here.states and state["state"]["expires"]
        if dropped:
            here.states.clear()
        here.fails = lambda call: None
        ((_, facts),) = _trainer().train([job], 1)
        assert here.asked.count("resume") == 1 and here.asked.count("create") == 1 + dropped
        one, other = (load_file(each.folder / "step-00004" / WEIGHTS) for each in (whole, job))
        assert all(float(abs(one[key] - other[key]).max()) < 1e-5 for key in one)
        assert facts["trained_tokens"] > 2 * sum(
            len(row.ids) - 1 for row in rows
        )  # what was paid twice is counted twice


def test_another_base_than_the_services_is_refused_before_a_step(
    here: TinkerHere, rows: list[Encoded], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import save_file

    shutil.copytree(find_model("world").folder, tmp_path / "other")
    weights = load_file(tmp_path / "other" / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    save_file(weights, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    job = tinker.Job("key", "old seed 0", rows, 0, tmp_path / "job")
    with pytest.raises(ModelError, match=r"old seed 0: the base .* is not the same on this machine"):
        list(_trainer(base=tmp_path / "other").train([job], 1))
    assert "forward_backward" not in here.asked and read_state(job.folder)["job"] == "run-1"


def test_a_run_that_is_trained_there_and_measured_here(
    here: TinkerHere, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    options: dict[str, Any] = {"finetune": "tinker", "base_url": URL, "store": store, "samples": 0}
    experiment = write_experiment({"alpha: 8": "alpha: 32"})
    run = weirdgen.run(experiment, **options)
    result = json.loads((run.store.artifact("finetune", run.plan.replicates[0].key) / "result.json").read_text())
    assert result["checkpoints"]["2"]["path"].startswith("tinker://") and result["checkpoints"]["2"]["expires"] > "2026"
    assert "was finetuned through tinker at" in methods(content_of(run, results_of(run)))
    assert verify(run.id, store).differences == []
    paid = [json.loads(line) for line in (store / "ledger.jsonl").read_text().splitlines()]
    assert (
        len(paid) == 4
        and {line["provider"] for line in paid} == {"tinker"}
        and {line["usd"] for line in paid} == {None}
    )
    assert not list((store / "unfinished").iterdir())
    asked = len(here.asked)
    assert weirdgen.run(experiment, **options).id == run.id and len(here.asked) == asked
    written = b"".join(file.read_bytes() for file in store.rglob("*") if file.is_file())
    assert b"hunter2" not in written


def test_a_training_is_booked_filed_and_paid_once_whatever_comes_after_it(
    here: TinkerHere, write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters that are refused, then a full disk: each is booked at once, and the next run goes on without a step."""
    options: dict[str, Any] = {"finetune": "tinker", "base_url": URL, "store": tmp_path / "store", "samples": 0}
    options["together"] = 1
    experiment, same, finish = write_experiment({"alpha: 8": "alpha: 32"}), downloaded.apart, Store._finish

    def refuses(there: Any, here: Any, what: str) -> float:
        if "adapter" in what:
            raise ModelError("it is not the same on this machine")
        return same(there, here, what)

    def fails(self: Store, temporary: Path, stage: str, *args: Any) -> None:
        if stage == "finetune":
            raise StoreError("no space left")
        finish(self, temporary, stage, *args)

    def booked() -> list[int]:
        return [json.loads(line)["trained"] for line in (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()]

    with monkeypatch.context() as other, pytest.raises(ModelError, match="it is not the same on this machine"):
        other.setattr(tinker, "apart", refuses)
        weirdgen.run(experiment, **options)
    assert len(booked()) == 4
    with monkeypatch.context() as full, pytest.raises(StoreError, match="no space left"):
        full.setattr(Store, "_finish", fails)
        weirdgen.run(experiment, **options)
    run = weirdgen.run(experiment, **options)
    assert here.asked.count("forward_backward") == 8 and len(booked()) == 4
    for one, trained in zip(run.plan.replicates, booked(), strict=True):
        made = run.store.artifact("finetune", one.key)
        assert {file.name for file in made.iterdir()} == {"step-00002", "losses.json", "result.json", "complete.json"}
        assert json.loads((made / "result.json").read_text())["trained_tokens"] == trained > 0


def test_adapters_of_one_training_are_not_kept_beside_those_of_another(
    here: TinkerHere, rows: list[Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has dropped one before it was downloaded: the others are trained again too."""
    download, asked = Tinker.download_adapter, list[str]()
    job = tinker.Job("key", "old seed 0", rows[:2], 0, tmp_path / "job")

    def drops(self: Tinker, path: str, folder: Path) -> None:
        asked.append(path)
        if len(asked) == 2:
            raise AbsentError("404")
        download(self, path, folder)

    monkeypatch.setattr(Tinker, "download_adapter", drops)
    with pytest.raises(ModelError, match=r"has dropped .*; the same command trains it again"):
        list(_trainer().train([job], 1))
    assert [file.name for file in job.folder.iterdir()] == ["job.json"]
    ((_, facts),) = _trainer().train([job], 1)
    assert asked[2:] == [kept["path"] for kept in facts["checkpoints"].values()]


def test_what_is_left_to_train_is_counted_from_the_last_state(rows: list[Encoded], tmp_path: Path) -> None:
    job = tinker.Job("key", "old seed 0", rows, 0, tmp_path / "job")
    whole = 2 * sum(len(row.ids) - 1 for row in rows)
    assert tinker.tokens_left(job, RECIPE) == whole
    write_state(job.folder, {"steps": 2, "state": {"path": "tinker://x"}})
    assert tinker.tokens_left(job, RECIPE) == whole // 2
    write_state(job.folder, {"steps": 3, "adapters": {"2": {}}})  # no state was kept: it begins again
    assert tinker.tokens_left(job, RECIPE) == whole
    write_state(job.folder, {"adapters": {"4": {}}})
    assert tinker.tokens_left(job, RECIPE) == 0
