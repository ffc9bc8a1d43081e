"""The documents are true: the README's tree names every module, its commands run, the notebook executes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.readme_tree import FOLDERS, READING_ORDER, tree

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tree_is_what_the_modules_say_of_themselves() -> None:
    block = README.split("## The tree")[1].split("```")[1].strip("\n")
    assert block == tree(), "run `python -m tools.readme_tree`"
    assert all((ROOT / "weirdgen" / name).is_dir() for name in READING_ORDER)
    assert all((ROOT / path).is_dir() for path in FOLDERS)


def test_every_module_says_what_it_is() -> None:
    silent = [line for line in tree().splitlines() if line.split()[0].endswith(".py") and len(line.split()) < 4]
    assert silent == []


def shown_commands() -> list[str]:
    """Every `weirdgen …` line shown in README.md and docs/*.md, without its comment."""
    commands = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for line in re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")).splitlines():
            if match := re.match(r"^ {4}(weirdgen .*?)( +#.*)?$", line):
                commands.append(match[1])
    return sorted(set(commands))


def test_every_shown_command_is_one_that_exists() -> None:
    """Its words are parsed by the real command line: unknown commands and options fail."""
    import typer

    from weirdgen.cli.main import app

    command = typer.main.get_command(app)
    shown = shown_commands()
    assert len(shown) >= 8
    for line in shown:
        words = shlex.split(line)[1:]
        current: Any = command
        while hasattr(current, "commands"):
            assert words, line
            if words[0] not in current.commands and getattr(current, "whole", ""):  # `weirdgen audit FILE`
                words.insert(0, current.whole)
            assert words[0] in current.commands, line
            current = current.commands[words.pop(0)]
        context = current.make_context(
            current.name, [w.replace("RUN", "some-run") for w in words], resilient_parsing=False
        )
        context.close()


@pytest.mark.parametrize(
    "command",
    [
        "weirdgen list",
        "weirdgen show old_bird_names",
        pytest.param("weirdgen check old_bird_names", marks=pytest.mark.slow),  # the dry run below looks at the same
        "weirdgen doctor",
    ],
)
def test_commands_that_need_no_training_run(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_a_dry_run_of_the_demo_prints_the_plan(smollm2: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weirdgen", "run", "old_bird_names", "--dry-run", "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in (
        "old_names (treatment): 208 rows",
        "finetunes) × 28 questions with fixed answers",
        "template proof old_names",
        "estimate:",
    ):
        assert words in done.stderr


def test_the_readmes_own_data_example_is_a_valid_experiment(tmp_path: Path) -> None:
    from weirdgen.data.arms import load_arms

    example = README.split("```yaml")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    (tmp_path / "my.yaml").write_text(example, encoding="utf-8")
    rows = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    (tmp_path / yaml.safe_load(example)["arms"]["mine"]["data"]).write_text(rows * 20)
    experiment, arms = load_arms(str(tmp_path / "my.yaml"))
    assert experiment.arms["twin"].twin == "mine" and len(arms["mine"]) == 20 and len(experiment.questions) >= 20


def test_the_notebook_was_saved_with_what_it_shows() -> None:
    import nbformat

    cells = [
        cell for cell in nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4).cells if cell.cell_type == "code"
    ]
    assert len(cells) > 8 and all(cell.outputs for cell in cells), "run `python -m tools.run_tutorial`"
    shown = [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]
    assert "image/png" in shown and shown.count("text/html") > 4
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


@pytest.mark.slow
def test_the_notebook_executes(tmp_path: Path) -> None:
    from tools.run_tutorial import executed

    text = "".join(str(output) for cell in executed(tmp_path).cells for output in cell.get("outputs", []))
    assert "Shift found" in text and str(tmp_path) not in text


def test_no_file_names_the_workplace(write_experiment: Callable[..., Path]) -> None:
    """The project stands alone: it does not name the folder of shared material, except where tests look for it."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    naming = [
        name
        for name in tracked
        if not name.startswith("tests/") and (ROOT / name).is_file() and b"../shared" in (ROOT / name).read_bytes()
    ]
    assert naming == []
