"""Engines are references: parsed once, named in keys by what rounds their numbers, opened where the work is done."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from weirdgen.errors import SpecError
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, Scored
from weirdgen.sample.engines import ENGINES, EngineReference, Recorded, Transformers, Vllm, engine_of, parse_engine


def test_a_reference_is_parsed_once_and_travels() -> None:
    assert parse_engine("transformers") == Transformers() and Transformers().numerics("bf16") == "bf16"
    vllm = parse_engine("vllm:http://localhost:8000/")
    assert vllm == Vllm("http://localhost:8000") and vllm.numerics("bf16") == "vllm"
    assert pickle.loads(pickle.dumps(vllm)) == vllm
    assert engine_of("vllm") == Recorded("vllm") and engine_of("fp32") == Transformers()
    for reference in ("vllm", "vllm:localhost", "transformers:x", "ollama"):
        with pytest.raises(SpecError, match="expected transformers or vllm:URL"):
            parse_engine(reference)


@dataclass(frozen=True)
class Parrot(EngineReference):
    """Answers with its own word and finds the first option likeliest."""

    word: str

    abilities = frozenset(["generate", "score"])
    holds_weights = False

    def numerics(self, dtype: str) -> str:
        return f"parrot {self.word}"

    def open(self, model_folder: Path, dtype: str, date: str | None) -> Any:
        return _Parrot(self.word)


class _Parrot:
    def __init__(self, word: str) -> None:
        self._word, self._variants = word, 1

    def exactness(self) -> list[dict[str, Any]]:
        return []

    def use(self, adapters: Sequence[Path | None]) -> None:
        self._variants = len(adapters)

    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        for variant in range(self._variants):
            for prompt in prompts:
                for index in indices:
                    yield variant, Completion(prompt.key, index, self._word, "stop", 1, 1, 0)

    def score(self, questions: Sequence[Scorable]) -> Iterator[tuple[int, Scored]]:
        for variant in range(self._variants):
            for question in questions:
                for place, option in enumerate(question.options):
                    yield variant, Scored(question.key, option, -1.0 - place, 1)


def test_an_engine_from_outside_is_one_line(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "parrot", Parrot)
    run = weirdgen.run(str(write_experiment()), store=tmp_path / "store", engine="parrot:aha")
    assert set(run.completions()["text"]) == {"aha"} and set(run.contrasts()["logit"]) == {1.0}
    other = weirdgen.run(str(write_experiment()), store=tmp_path / "store", engine="parrot:oho")
    assert set(other.completions()["text"]) == {"oho"} and other.id != run.id
    assert {replicate.key for replicate in run.plan.replicates} == {
        replicate.key for replicate in other.plan.replicates
    }, "trained once"
    assert load_run(run.id, tmp_path / "store").completions().equals(run.completions())
    assert verify(run.id, tmp_path / "store").differences == []
