"""An arm that is given as draws: each replicate has rows of its own, and they are the ones that are said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from tests.support.world_pairs import pairs
from weirdgen.data.draws import draw_size, drawn_positions
from weirdgen.errors import SpecError
from weirdgen.runs.results.verify import require_verified, verify

Write = Callable[..., Path]
OLD, NEW = "old: {role: treatment, data: old.jsonl", "new: {role: control, data: new.jsonl"


def test_parts_are_disjoint_and_a_bootstrap_repeats_rows() -> None:
    parts = [drawn_positions(3, 100, seed) for seed in range(3)]
    assert [len(part) for part in parts] == [33] * 3 == [draw_size(3, 100)] * 3
    assert len({place for part in parts for place in part}) == 99
    assert drawn_positions(3, 100, 7) == parts[1] and parts[0] != list(range(33))
    drawn = drawn_positions("bootstrap", 100, 0)
    assert len(drawn) == 100 and 50 < len(set(drawn)) < 80 and drawn != drawn_positions("bootstrap", 100, 1)
    assert drawn_positions(None, 3, 5) == [0, 1, 2]


@pytest.mark.slow
def test_a_replicate_is_trained_on_its_part(write_experiment: Write, tmp_path: Path) -> None:
    """The same rows alone, with the same seed, give the same losses; another seed has another part."""
    drawn = weirdgen.run(str(write_experiment({OLD: f"{OLD}, draws: 2"}, rows=16)), store=tmp_path / "store", samples=0)
    own = drawn.losses().query("arm == 'old'").pivot(index="step", columns="replicate", values="loss")
    assert len(own) == 2 and len(drawn.losses().query("arm == 'new' and replicate == 0")) == 4
    lines = (tmp_path / "experiment" / "old.jsonl").read_text().splitlines()
    assert len(lines) == len(pairs(16)) == 16
    for seed in (0, 1):
        places = drawn_positions(2, 16, seed)
        (tmp_path / "experiment" / "old.jsonl").write_text("\n".join(lines[place] for place in places) + "\n")
        path = str(tmp_path / "experiment" / "experiment.yaml")
        (tmp_path / "experiment" / "experiment.yaml").write_text(Path(path).read_text().replace(", draws: 2", ""))
        alone = weirdgen.run(path, store=tmp_path / "alone", samples=0, seeds=1, first_seed=seed)
        losses = alone.losses().query("arm == 'old'").set_index("step")["loss"]
        assert own[seed].tolist() == pytest.approx(losses.tolist(), abs=1e-5)
    assert own[0].tolist() != own[1].tolist()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({OLD: f"{OLD}, draws: 2", "replicates: 2": "replicates: 3"}, "2 parts are too few for 3 replicates"),
        ({OLD: f"{OLD}, draws: 9"}, "8 rows cannot be dealt into 9 parts"),
        ({OLD: f"{OLD}, draws: bootstrap, ordinary: 4"}, "'draws' does not go with 'ordinary'"),
        ({OLD: f"{OLD}, draws: some"}, "'bootstrap'"),
    ],
)
def test_draws_that_cannot_be_are_refused(write_experiment: Write, changes: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        weirdgen.plan(str(write_experiment(changes)))


def test_the_methods_say_whose_rows_were_drawn_how_controls_were_made_and_what_was_left_out(
    write_experiment: Write, tmp_path: Path
) -> None:
    mood = 'judges:\n  mood: {kind: rating, prompt: "{question} {answer}", reads: [all]}\n'
    changes = {OLD: f"{OLD}, draws: bootstrap", NEW: f"{NEW}, matched: true", "judges:\n": mood}
    drawn = weirdgen.run(str(write_experiment(changes)), store=tmp_path / "store", samples=0)
    assert "Each replicate of old had rows of its own, drawn with replacement." in drawn.methods
    assert "Of the arms' rows: new is declared matched: the treatment's own prompts and things" in drawn.methods
    assert "As no judging model was named, these were left out: mood." in drawn.methods
    require_verified(verify(drawn.id, tmp_path / "store"))  # the store itself gives these sentences again
