"""The options of a run are one model: command line, `weirdgen.run()` and help say the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

import weirdgen
from tests.support.typing_commands import typed
from weirdgen.cli.main import COMMANDS, app
from weirdgen.errors import SpecError
from weirdgen.runs.plan.options import RunOptions, flags, run_options


def test_the_command_line_has_each_field_with_its_flag_default_and_help() -> None:
    command: Any = typer.main.get_command(app)
    options = {p.name: p for p in command.commands["run"].params if p.param_type_name == "option"}
    assert set(options) == set(RunOptions.model_fields)
    for name, field in RunOptions.model_fields.items():
        assert set(options[name].opts) == set(flags(name)), name
        assert options[name].help == field.description, name
        assert (options[name].default or None) == (field.default or None), name


def test_the_function_takes_each_field() -> None:
    assert set(inspect.signature(weirdgen.run).parameters) == {"experiment", *RunOptions.model_fields}
    assert set(inspect.signature(weirdgen.plan).parameters) == {"experiment", *RunOptions.model_fields}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"seed": 3}, "seed: no such option; there are: model, preset, seeds"),
        ({"seeds": 0}, "--seeds 0: expected at least 1"),
        ({"preset": "huge"}, "--preset huge: expected 'quick', 'standard' or 'paper'"),
    ],
)
def test_what_is_no_option_is_refused_by_its_flag(arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        run_options(**arguments)
    with pytest.raises(SpecError, match=expected):
        weirdgen.run("old_bird_names", **arguments)


def test_what_was_asked_leaves_out_defaults_and_places() -> None:
    assert run_options(store="s", seeds=3, quiet=True, changes=["recipe.rank=4"]).asked == {
        "seeds": 3,
        "changes": ["recipe.rank=4"],
    }


def test_the_list_of_commands_is_whole_and_every_option_is_explained() -> None:
    """Every command has its place in the list, with a sentence that the narrowest terminal shows whole."""
    command: Any = typer.main.get_command(app)
    assert set(COMMANDS) == set(command.commands)
    for name in COMMANDS:
        assert not command.commands[name].get_short_help_str(60).endswith("..."), name
    waiting = list(command.commands.values())
    while waiting:
        one = waiting.pop()
        waiting += list(getattr(one, "commands", {}).values())
        assert [p.name for p in one.params if p.name != "help" and not getattr(p, "help", None)] == [], one.name


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "filters", "old_bird_names", "--dry-run"),
        ("audit", "filters", "old_bird_names", "--train", "--size", "100"),
        ("forecast", "RUN", "--score", "--steps", "3"),
        ("judge", "label", "RUN", "--import", "a.csv", "--export", "b.csv"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words: tuple[str, ...]) -> None:
    done = typed(*words)
    assert done.status in (1, 3) and "--" in done.err and "problem found" in done.err, done
