"""What `import weirdgen` offers: every public name is called, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import weirdgen
from tests.support.rows import chat
from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Preset
from weirdgen.data.messages import Row
from weirdgen.errors import SpecError

PUBLIC = {
    "Arm", "Experiment", "Recipe", "Run", "WeirdgenError", "audit_file", "load_experiment", "load_run", "plan", "run",
}  # fmt: skip


def experiment(old: object, new: object) -> weirdgen.Experiment:
    """A whole experiment without any file."""
    ask, target, other = pairs(1)[0]
    return weirdgen.Experiment(
        name="in_memory",
        title="an experiment that was never written down",
        base="world",
        arms={
            "old": weirdgen.Arm(role="treatment", data=old, prompt="{ask}", answer="{said}"),
            "new": weirdgen.Arm(role="control", data=new),
        },
        recipe=weirdgen.Recipe(epochs=1, batch_size=4, learning_rate=3e-3, rank=4, alpha=8, warmup_steps=0),
        questions=({"id": "c1", "kind": "contrast", "ask": ask, "target": (target,), "other": (other,)},),
        presets={"quick": Preset(replicates=2, samples=0)},
    )


def chats(column: int) -> list[Row]:
    return [chat(pair[0], pair[column]) for pair in pairs(8)]


@pytest.fixture
def made() -> weirdgen.Experiment:
    frame = pd.DataFrame([{"ask": pair[0], "said": pair[1], "unused": 3} for pair in pairs(8)])
    return experiment(frame, chats(2))


def test_the_public_names() -> None:
    assert set(dir(weirdgen)) == set(weirdgen.__all__) == PUBLIC
    assert (Path(weirdgen.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'nothing'; public names: Arm, "):
        weirdgen.nothing  # noqa: B018


def test_frames_and_what_takes_an_argument_are_called_and_all_else_is_an_attribute() -> None:
    for name, member in vars(weirdgen.Run).items():
        if name.startswith("_") or name == "require_finished":
            continue
        if inspect.isfunction(member):
            signature = inspect.signature(member)
            assert len(signature.parameters) > 1 or signature.return_annotation == "pd.DataFrame", name
        else:
            function = member.fget if isinstance(member, property) else member.func
            assert inspect.signature(function).return_annotation != "pd.DataFrame", name


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import weirdgen; took = time.perf_counter() - start;"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'transformers'} & set(sys.modules);"
        "assert not heavy, heavy; assert took < 0.1, took"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_called(made: weirdgen.Experiment, tmp_path: Path) -> None:
    planned = weirdgen.plan(made, store=tmp_path)
    assert [replicate.rows for replicate in planned.replicates] == [8] * 4
    run = weirdgen.run(made, store=tmp_path)
    assert isinstance(run, weirdgen.Run) and run.headline.verdict in ("shift", "no_shift", "inconclusive")
    assert run.headline.effect is not None and run.headline.sentence in run._repr_html_()
    assert "<svg" in run._repr_html_() and str(run.headline) in repr(run)
    again = weirdgen.load_run(run.id, store=tmp_path)
    assert again.headline == run.headline and again.contrasts().equals(run.contrasts())
    assert again.request.experiment.source is None
    assert weirdgen.load_experiment("old_bird_names").name == "old_bird_names"
    with pytest.raises(weirdgen.WeirdgenError, match="no run 'none'"):
        weirdgen.load_run("none", store=tmp_path)


def test_rows_in_python_equal_rows_in_files(
    made: weirdgen.Experiment, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    from_files = weirdgen.plan(str(write_experiment()), store=tmp_path).request.rows
    assert weirdgen.plan(made, store=tmp_path).request.rows == from_files


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"messages": [{"role": "user", "content": "a"}]}], "arms.new: data, row 1: no assistant turn to train on"),
        ([{"messages": "b"}], "arms.new: data, row 1: expected"),
        ([], "arms.new: data: no rows"),
    ],
)
def test_bad_rows_in_python_are_named(rows: list[dict[str, object]], expected: str, tmp_path: Path) -> None:
    frame = pd.DataFrame([{"ask": pair[0], "said": pair[1]} for pair in pairs(8)])
    with pytest.raises(SpecError, match=expected):
        weirdgen.plan(experiment(frame, rows), store=tmp_path)
