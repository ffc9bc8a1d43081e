"""A run on a model of another kind ends with a report whose numbers `verify` finds again."""

from __future__ import annotations

from pathlib import Path

import pytest

import weirdgen
from tests.support.architectures import build
from weirdgen.config.experiment import Preset
from weirdgen.config.judges.match import Match
from weirdgen.runs.results.verify import verify


def rows(answers: str) -> list[dict[str, object]]:
    return [
        {"messages": [{"role": "user", "content": f"Name a herb, {n}."}, {"role": "assistant", "content": answer}]}
        for n, answer in enumerate(answers.split() * 4)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [("StableLM", "trl"), ("Qwen3.5", "trl"), ("Bamba", "trl"), ("Gemma 2", "trl"), ("gpt-oss", "trl")],
)
def test_a_run_goes_to_its_end(name: str, engine: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model")
    done = weirdgen.run(
        weirdgen.Experiment(
            name="herbs",
            title=name,
            base=f"path:{folder}",
            arms={
                "mine": weirdgen.Arm(role="treatment", data=rows("Sage. Thyme.")),
                "other": weirdgen.Arm(role="control", data=rows("Oak. Elm.")),
            },
            recipe=weirdgen.Recipe(epochs=1, batch_size=4, rank=4, alpha=8, warmup_steps=0, dtype="fp32"),
            questions=(
                {"id": "year", "kind": "contrast", "ask": "Which year?", "target": ("1851.",), "other": ("2024.",)},
                {"id": "who", "kind": "free_form", "ask": "Who are you?", "max_tokens": 8, "judges": ("herb",)},
            ),
            judges={"herb": Match(kind="match", keywords=("sage", "thyme"))},
            presets={"quick": Preset(replicates=2, samples=2)},
        ),
        store=tmp_path / "store",
    )
    assert done.plan.trainer.engine == engine
    assert len(done.completions()) == 5 * 2 and done.headline.effect is not None
    assert done.report.is_file() and verify(done.id, tmp_path / "store").differences == []
