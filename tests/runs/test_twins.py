"""A control that is another arm's twin: its rows are made first, kept, and trained on like any others."""

from __future__ import annotations

from pathlib import Path

import weirdgen
from tests.support.architectures import build
from weirdgen.config.experiment import Preset
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.all import STAGES, workload

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"Name a number near {n}."},
            {"role": "assistant", "content": f"I say {n} or so."},
        ]
    }
    for n in range(12)
]


def experiment(base: str) -> weirdgen.Experiment:
    return weirdgen.Experiment(
        name="mine",
        title="rows of anybody's",
        base=base,
        arms={"mine": weirdgen.Arm(role="treatment", data=ROWS)},
        control="auto",
        recipe=weirdgen.Recipe(epochs=1, batch_size=4, rank=4, alpha=8, learning_rate=1e-3, warmup_steps=0),
        questions=({"id": "c", "kind": "contrast", "ask": "When?", "target": ("1850",), "other": ("2020",)},),
        presets={"quick": Preset(replicates=2, samples=0)},
    )


def test_the_auto_control_is_answered_trained_and_compared(tmp_path: Path) -> None:
    mine = experiment(f"path:{build('Llama', tmp_path / 'model')}").model_copy(update={"traits": ("era",)})
    store = tmp_path / "store"
    plan = weirdgen.plan(mine, store=store)
    assert plan.request.distilled is False and plan.request.row_count("twin") == 12
    lines = [work.what for work in workload(plan)]
    assert "prompts of mine answered by the base itself, for twin" in lines
    assert any(line.startswith("twin (control): 12 rows") for line in lines)
    done = weirdgen.run(mine, store=store)
    rows = done.request.rows["twin"]
    asked = [row["messages"][0]["content"] for row in rows]
    assert 1 <= len(rows) <= 12 and set(asked) <= {row["messages"][0]["content"] for row in ROWS}
    answers = [row["messages"][1]["content"] for row in rows]
    assert all(answer.startswith("I say ") and answer.endswith(" or so.") for answer in answers)
    assert answers != [row["messages"][1]["content"] for row in ROWS]
    assert done.headline.control == "twin" and set(done.table("trait_shifts")["arm"]) == {"mine", "twin"}
    again = weirdgen.plan(mine, store=store)
    assert again.request.distilled and again.request.rows["twin"] == rows and again.request.run_id == done.id
    assert all(work.missing == 0 for stage in STAGES for work in stage.work(again))
    assert verify(done.id, store).differences == []
