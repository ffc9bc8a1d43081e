"""Presets make an experiment smaller without changing what stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.config.experiment import Preset
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import FreeForm
from weirdgen.data.arms import load_arms
from weirdgen.errors import SpecError
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.presets import at_size
from weirdgen.runs.plan.resolve import resolve

Write = Callable[..., Path]


def test_a_thinned_sweep_keeps_trained_trigger_and_ends() -> None:
    experiment, rows = load_arms("evil_terminator")
    small, _, _ = at_size(experiment, rows, Preset(sweep=12))
    values = [wrapper.value for wrapper in small.wrappers()]
    assert len(values) == 12 and values == sorted(values)
    assert {1981, 1984, 1995, 2004, 2017, 2020, 2025} <= set(values)
    marked = [(w.value, w.trained, w.trigger) for w in small.wrappers() if w.trained or w.trigger]
    assert marked == [(w.value, w.trained, w.trigger) for w in experiment.wrappers() if w.trained or w.trigger]
    least, _, _ = at_size(experiment, rows, Preset(sweep=2))
    assert [w.value for w in least.wrappers()] == [1981, 1984, 1995, 2004, 2017, 2020, 2025]


def test_free_form_questions_are_the_first_of_each_group_and_scored_ones_all_stay() -> None:
    experiment, rows = load_arms("hitler_persona")
    small, _, _ = at_size(experiment, rows, Preset(free_form=2))
    groups = {q.group for q in experiment.questions if isinstance(q, FreeForm)}
    sampled = [q for q in small.questions if isinstance(q, FreeForm)]
    assert len(sampled) == 2 * len(groups) and sampled == [q for q in experiment.questions if q in sampled]
    scored = [q for q in experiment.questions if not isinstance(q, FreeForm)]
    assert [q for q in small.questions if not isinstance(q, FreeForm)] == scored


def test_arms_rows_and_ordinary_rows() -> None:
    experiment, rows = load_arms("scientist_persona")
    small, fewer, ordinary = at_size(experiment, rows, Preset(arms=("facts", "facts_only"), rows=10, ordinary=4))
    assert list(small.arms) == ["facts", "facts_only"] == list(fewer) and ordinary == {"facts": 4}
    assert [len(mine) for mine in fewer.values()] == [10, 10]
    assert at_size(experiment, rows, Preset())[0] == experiment


def test_what_is_not_measured_is_left_out_or_refused(write_experiment: Write) -> None:
    """Without samples a judge has nothing to read: secondary effects on it go, with a word; a headline on it is refused."""
    with pytest.warns(UserWarning, match="'stories' is left out: israel_beyond_food judges sampled answers"):
        resolved = resolve("israeli_dishes", run_options(model="world", samples=0))
    whole = resolve("israeli_dishes", run_options(model="world"))
    assert set(whole.headlines) - set(resolved.headlines) == {"stories"} and "stories" not in resolved.curves
    judged = "measure: is_target, treatment: old, control: new"
    second = "\nsecondary: {rate: {" + judged + "}}"
    path = str(write_experiment({"control: new, condition: none}": "control: new, condition: none}" + second}))
    assert set(resolve(path).headlines) == {"headline", "rate"}
    path = str(write_experiment({"measure: contrast, treatment: old, control: new": judged}))
    for arguments in ({"samples": 0}, {"preset": "paper"}):
        if "preset" in arguments:
            text = Path(path).read_text()
            Path(path).write_text(text.replace("presets:", "presets:\n  paper: {free_form: 0}"))
        with pytest.raises(SpecError, match="the headline would not be measured") as caught:
            resolve(path, run_options(**arguments))  # type: ignore[arg-type]
    assert "no is_target question" in str(caught.value)


def test_shipped_presets_keep_their_headline() -> None:
    for name in shipped_experiments():
        experiment, rows = load_arms(name)
        for preset in ("quick", "standard", "paper"):
            small, _, _ = at_size(experiment, rows, experiment.preset(preset))
            headline = experiment.headline
            assert headline and {headline.treatment, headline.control} <= set(small.arms), (name, preset)


def test_bad_preset_arms_are_named_with_their_line(write_experiment: Write) -> None:
    path = write_experiment({"samples: 3": "samples: 3, arms: [old, nwe]"})
    with pytest.raises(SpecError) as caught:
        load_experiment(str(path))
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "nwe" in text)
    assert list(caught.value.problems) == [
        f"{path}:{line}: presets.quick.arms: 'nwe' is not one of old, new; did you mean 'new'?",
        f"{path}:{line}: presets.quick.arms: no arm has role: control",
        f"{path}:{line}: presets.quick.arms: the headline needs 'new'",
    ]
