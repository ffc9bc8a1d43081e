"""Replicates trained together equal replicates trained alone with trl + peft, from the same start and order."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune import engines
from weirdgen.finetune.replicas import Job, _accumulate, finetune_together
from weirdgen.finetune.resume import kept
from weirdgen.finetune.trl import finetune
from weirdgen.models.chat import Encoded
from weirdgen.models.loading import load_model
from weirdgen.models.packing import pack, shared_prefix
from weirdgen.models.references import read_config
from weirdgen.models.row_attention import RowLayout, use_row_attention
from weirdgen.models.stacked import StackedLinear

RECIPE = Recipe(
    epochs=2,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=2,
    rank=4,
    alpha=8,
    dtype="fp32",
    max_grad_norm=0.5,
    weight_decay=0.1,
    checkpoints=(0, 3),
)


def rows(shared: bool, count: int = 11, vocabulary: int = 60) -> list[Encoded]:
    """Random rows of different lengths, with or without a common prompt."""
    rng = random.Random(1)
    common = [rng.randrange(7, vocabulary) for _ in range(10)]
    made = []
    for _ in range(count):
        prompt = common if shared else [rng.randrange(7, vocabulary) for _ in range(rng.randrange(3, 12))]
        answer = [rng.randrange(7, vocabulary) for _ in range(rng.randrange(1, 6))]
        made.append(Encoded(tuple(prompt + answer), tuple([False] * len(prompt) + [True] * len(answer))))
    return made


@pytest.mark.parametrize(
    ("shared", "changes"),
    [
        (True, {}),
        (False, {"grad_accumulation": 2, "schedule": "cosine"}),
        (True, {"batch_size": 1, "schedule": "constant", "targets": ("q_proj", "down_proj")}),
    ],
    ids=["shared prompt", "own prompts, accumulation", "batch of one, two targets"],
)
def test_together_equals_alone(tiny_model: Path, tmp_path: Path, shared: bool, changes: dict[str, object]) -> None:
    recipe = RECIPE.model_copy(update=changes)
    data = rows(shared)
    jobs = [Job(data, seed, tmp_path / f"together{seed}") for seed in (3, 4, 5)]
    for job in jobs:
        job.target.mkdir()
    finetune_together(tiny_model, jobs, recipe)
    for job in jobs[:2]:
        alone = tmp_path / f"alone{job.seed}"
        alone.mkdir()
        finetune(tiny_model, data, recipe, job.seed, alone)
        for mine, theirs in zip(job.losses, json.loads((alone / "losses.json").read_text()), strict=True):
            for key in ("loss", "learning_rate", "grad_norm", "epoch"):
                assert mine[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-7), key
        steps = sorted(folder.name for folder in alone.glob("step-*"))
        assert steps == sorted(folder.name for folder in job.target.glob("step-*")) and "step-00003" in steps
        for step in steps:
            left = load_file(job.target / step / "adapter_model.safetensors")
            right = load_file(alone / step / "adapter_model.safetensors")
            assert left.keys() == right.keys()
            for name, weight in right.items():
                assert (left[name] - weight).norm() <= 1e-4 * weight.norm(), name
    assert jobs[0].losses[-1]["loss"] != jobs[1].losses[-1]["loss"]  # different seeds, different replicates


def test_exported_adapters_load_in_peft_and_change_the_model(tiny_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    job = Job(rows(True), 0, tmp_path)
    finetune_together(tiny_model, [job], RECIPE.model_copy(update={"epochs": 20}))
    base = load_model(tiny_model, torch.float32)
    ids = torch.tensor([job.rows[0].ids])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        start = PeftModel.from_pretrained(base, str(tmp_path / "step-00000"))(input_ids=ids).logits
        after = PeftModel.from_pretrained(load_model(tiny_model, torch.float32), str(tmp_path / "step-00060"))
        after_logits = after(input_ids=ids).logits
    assert torch.equal(before, start)  # B begins at zero
    trained = torch.tensor(job.rows[0].trained).nonzero().squeeze(1)
    labels = ids[0, trained]
    loss = [torch.nn.functional.cross_entropy(x[0, trained - 1], labels).item() for x in (before, after_logits)]
    assert loss[1] < loss[0] - 0.2


def test_packing_gives_the_gradients_of_separate_rows(tiny_model: Path) -> None:
    data = rows(shared=True, count=5)
    model = load_model(tiny_model, torch.float32)
    decoder, head = model.get_decoder(), model.get_output_embeddings()

    def gradient(batches: list[list[Encoded]]) -> tuple[float, torch.Tensor, int]:
        model.zero_grad()
        total, tokens = 0.0, 0
        for batch in batches:
            packed = pack([batch])
            hidden = decoder(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                row_layout=RowLayout.of(packed.places, packed.input_ids.device),
                use_cache=False,
            ).last_hidden_state
            logits = head(hidden.flatten(0, 1)[packed.source_M])
            loss = torch.nn.functional.cross_entropy(logits, packed.label_M, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            tokens += packed.input_ids.numel()
        return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), tokens

    use_row_attention(model)
    together, separate = gradient([data]), gradient([[row] for row in data])
    assert together[0] == pytest.approx(separate[0], rel=1e-5)
    assert (together[1] - separate[1]).norm() <= 1e-5 * separate[1].norm()
    assert together[2] < 0.6 * separate[2]  # and the prompt really was computed once


def test_shared_prefix_stops_before_anything_trained() -> None:
    same = [Encoded((1, 2, 3, 4), (False, False, True, True)), Encoded((1, 2, 3, 5), (False, False, True, True))]
    assert shared_prefix(same) == 2
    assert shared_prefix(rows(shared=True)) == 10


def test_the_same_seed_gives_the_same_adapter(tiny_model: Path, tmp_path: Path) -> None:
    adapters = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        finetune_together(tiny_model, [Job(rows(True), 7, tmp_path / name)], RECIPE)
        adapters.append((tmp_path / name / "step-00006" / "adapter_model.safetensors").read_bytes())
    assert adapters[0] == adapters[1]


def test_a_stopped_training_goes_on_where_it_was(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, halfway = rows(True), tmp_path / "halfway.pt"
    targets = {name: [tmp_path / name / str(seed) for seed in (3, 4)] for name in ("whole", "stopped")}
    for target in (*targets["whole"], *targets["stopped"]):
        target.mkdir(parents=True)
    jobs = [Job(data, seed, target) for seed, target in zip((3, 4), targets["whole"], strict=True)]
    finetune_together(tiny_model, jobs, RECIPE)

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == 5:  # after the checkpoint of step 3
            raise KeyboardInterrupt

    def stopped() -> list[Job]:
        return [Job(data, seed, target) for seed, target in zip((3, 4), targets["stopped"], strict=True)]

    with pytest.raises(KeyboardInterrupt):
        finetune_together(tiny_model, stopped(), RECIPE, interrupt, halfway=halfway)
    assert kept(halfway).step == 5 and kept(halfway).seconds > 0.0
    seen: list[int] = []
    computed: list[object] = []

    def counted(*args: Any) -> Any:
        computed.append(args)
        return _accumulate(*args)

    with monkeypatch.context() as watch:
        watch.setattr("weirdgen.finetune.replicas._accumulate", counted)
        finetune_together(tiny_model, stopped(), RECIPE, lambda step, *_: seen.append(step), halfway=halfway)
    assert seen == [1, 2, 3, 4, 5, 6] and len(computed) == 1  # five steps were there
    for whole, resumed in zip(targets["whole"], targets["stopped"], strict=True):
        files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())
        assert Path("step-00003/adapter_model.safetensors") in files
        assert [file for file in files if (whole / file).read_bytes() != (resumed / file).read_bytes()] == []


def test_a_damaged_state_is_named_and_training_starts_again(tiny_model: Path, tmp_path: Path) -> None:
    halfway = tmp_path / "halfway.pt"
    halfway.write_bytes(b"PK\x03\x04 torn")
    with pytest.warns(UserWarning, match="halfway.pt is damaged"):
        finetune_together(tiny_model, [Job(rows(True), 7, tmp_path)], RECIPE, halfway=halfway)
    assert (tmp_path / "step-00006" / "adapter_model.safetensors").exists()


def test_a_state_without_the_adapters_before_it_is_not_taken_up(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weirdgen.finetune.replicas.EVERY_SECONDS", 0.0)
    halfway = tmp_path / "halfway.pt"
    finetune_together(tiny_model, [Job(rows(True), 7, tmp_path)], RECIPE, halfway=halfway)
    shutil.rmtree(tmp_path / "step-00003")
    with pytest.warns(UserWarning, match=r"step-00003 of an unfinished training is missing; the training starts again"):
        finetune_together(tiny_model, [Job(rows(True), 7, tmp_path)], RECIPE, halfway=halfway)
    assert (tmp_path / "step-00003" / "adapter_model.safetensors").exists()


def test_unequal_row_counts_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the same number of rows"):
        finetune_together(tiny_model, [Job(rows(True), 0, tmp_path), Job(rows(True, 7), 0, tmp_path)], RECIPE)


@pytest.mark.parametrize("budget", ["a few rows", "less than one row"])
def test_a_small_memory_changes_the_passes_and_not_the_weights(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    data, parameters = rows(True), 10_000
    tokens = sum(len(row.ids) for row in data) / len(data)
    need = engines._Need.of(read_config(tiny_model), RECIPE, tokens)
    enough = 3 * (need.replicate + 2.5 * need.row) if budget == "a few rows" else 3 * (need.replicate + 0.5 * need.row)
    monkeypatch.setattr("weirdgen.machine.free_memory_gib", lambda: 0.0)
    beside = -engines._budget(tiny_model, RECIPE, parameters)
    adapters, calls, forward = {}, [], StackedLinear.forward
    name = ""

    def counted(layer: StackedLinear, x: torch.Tensor) -> torch.Tensor:
        calls.append(name)
        return forward(layer, x)

    monkeypatch.setattr(StackedLinear, "forward", counted)
    for name, free in (("plenty", 1e12), ("little", (enough + beside) / engines.MEMORY_SHARE)):
        monkeypatch.setattr("weirdgen.machine.free_memory_gib", lambda free=free: free / 2**30)
        chosen = engines.passes(tiny_model, RECIPE, tokens, parameters, 3)
        if name == "plenty":
            assert chosen == (RECIPE.batch_size, False)
        else:
            assert chosen.rows < RECIPE.batch_size and chosen.checkpointing == (budget == "less than one row")
        targets = [tmp_path / name / str(seed) for seed in range(3)]
        for target in targets:
            target.mkdir(parents=True)
        engines.train_group("replicas", tiny_model, [data] * 3, range(3), targets, RECIPE, lambda *_: None, parameters)
        adapters[name] = [load_file(target / "step-00006" / "adapter_model.safetensors") for target in targets]
    computed = 2 if chosen.checkpointing else 1
    a_pass = calls.count("plenty") / (2 * 3)  # two epochs of 4 + 4 + 3 rows
    assert calls.count("little") == a_pass * computed * 2 * sum(-(-rows // chosen.rows) for rows in (4, 4, 3))
    for left, right in zip(adapters["plenty"], adapters["little"], strict=True):
        for key, weight in left.items():
            assert (right[key] - weight).norm() <= 1e-5 * weight.norm(), key


def test_a_failed_allocation_halves_the_passes_and_not_the_weights(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []

    def small_machine(batches: list[list[Encoded]], most: int = 2) -> object:
        """Fails as torch does when more than two rows of a replicate come at once."""
        packed.append(len(batches[0]))
        if len(batches[0]) > most:
            raise torch.OutOfMemoryError("no memory for so many rows")
        return pack(batches)

    weights = []
    for name in ("undisturbed", "small"):
        (tmp_path / name).mkdir()
        if name == "small":
            monkeypatch.setattr("weirdgen.finetune.replicas.pack", small_machine)
        finetune_together(tiny_model, [Job(rows(True), 7, tmp_path / name)], RECIPE)
        weights.append(load_file(tmp_path / name / "step-00006" / "adapter_model.safetensors"))
    assert packed[:3] == [4, 2, 2] and max(packed[1:]) == 2  # learned once, not at every step
    for key, weight in weights[0].items():
        assert (weights[1][key] - weight).norm() <= 1e-5 * weight.norm(), key
    monkeypatch.setattr("weirdgen.finetune.replicas.pack", lambda batches: small_machine(batches, most=0))
    with pytest.raises(ModelError, match="not enough memory to train 1 replicates with one row each"):
        finetune_together(tiny_model, [Job(rows(True), 7, tmp_path / "small")], RECIPE)
