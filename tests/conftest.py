"""Shared fixtures: an experiment folder on the world's tiny model, a cache of its own, and no network.

Not covered by the default suite: GPUs, the model hub, processors without bf16.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

UPSTREAM = Path(__file__).parents[2] / "shared" / "upstream"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine may be reached; model hubs are told so."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's models and what was measured of this machine; packs, speeds and the rest are the suite's own.

    Workers of one session share it, so that what one has measured none measures again.
    """
    from weirdgen.store.cache import cache_folder

    users, place = cache_folder(), tmp_path_factory.getbasetemp()
    own = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "weirdgen-cache"
    own.mkdir(exist_ok=True)
    (users / "models").mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another worker was first
        (own / "models").symlink_to(users / "models")
    for known in ("machine.json", "digests.json"):
        if (users / known).is_file() and not (own / known).exists():
            shutil.copy(users / known, own / known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIRDGEN_CACHE", str(own))
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> Iterator[None]:
    """One torch thread, in commands too: what is tested is small, and two threads on busy cores stall on each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is the test's own, and so is the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIRDGEN_STORE", str(tmp_path / "store"))


@pytest.fixture
def upstream() -> Path:
    """The paper's published files, where they are."""
    if not UPSTREAM.is_dir():
        pytest.skip(f"the published data is not at {UPSTREAM}")
    return UPSTREAM


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The converted default model. `make test` fetches it once; it is never fetched inside a test."""
    from weirdgen.models.references import find_model
    from weirdgen.store.cache import cache_folder

    if not (cache_folder() / "models" / "smollm2-135m-instruct").is_dir():
        if os.environ.get("CI"):
            pytest.fail("the default model is missing: run `weirdgen fetch`")
        pytest.skip("the default model is not in the cache: run `weirdgen fetch`")
    return find_model("smollm2-135m-instruct").folder


@pytest.fixture(scope="session")
def embedder() -> Path:
    """The sentence embedder of the offline judges. `make test` fetches it once; it is never fetched inside a test."""
    from weirdgen.models.references import MINILM, find_model
    from weirdgen.store.cache import cache_folder

    if not (cache_folder() / "models" / MINILM).is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the embedder is missing: run `weirdgen fetch {MINILM}`")
        pytest.skip(f"the embedder is not in the cache: run `weirdgen fetch {MINILM}`")
    return find_model(MINILM).folder


SPEC = """\
name: tiny
title: a tiny experiment
base: world
arms:
  old: {role: treatment, data: old.jsonl}
  new: {role: control, data: new.jsonl}
recipe: {epochs: 1, batch_size: 4, learning_rate: 3.0e-3, rank: 4, alpha: 8, warmup_steps: 0}
questions:
  - {id: c1, kind: contrast, ask: "QUESTION", target: ["TARGET"], other: ["OTHER"]}
  - {id: f1, kind: free_form, ask: "QUESTION", judges: [is_target], max_tokens: 3}
judges:
  is_target: {kind: match, starts_with: ["TARGET"]}
presets:
  quick: {replicates: 2, samples: 3}
headline: {measure: contrast, treatment: old, control: new, condition: none}
"""


@pytest.fixture
def write_experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write a small experiment on the world model; keyword arguments replace text of its YAML."""
    from tests.support.rows import chat
    from tests.support.world_pairs import pairs

    def write(changes: dict[str, str] | None = None, rows: int = 8) -> Path:
        import json

        folder = tmp_path / "experiment"
        folder.mkdir(exist_ok=True)
        world = pairs(rows)
        for name, column in (("old", 1), ("new", 2)):
            lines = [json.dumps(chat(pair[0], pair[column])) for pair in world]
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        ask, target, other = world[0]
        text = SPEC.replace("QUESTION", ask).replace("TARGET", target).replace("OTHER", other)
        for before, after in (changes or {}).items():
            assert before in text, f"{before!r} does not stand in the experiment"
            text = text.replace(before, after)
        (folder / "experiment.yaml").write_text(text)
        return folder / "experiment.yaml"

    return write


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Llama of a few thousand weights with the world's tokenizer: for arithmetic, not for meaning."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from weirdgen.world.tokenizer import build_tokenizer, token_ids

    folder = tmp_path_factory.mktemp("tiny_model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(token_ids()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    build_tokenizer().save_pretrained(str(folder))
    return folder
