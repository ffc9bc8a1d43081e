"""What a headline says in words decides sentences only: no key, no name of a run, nothing that was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import weirdgen
from weirdgen.config.experiment import Headline
from weirdgen.config.load import load_experiment
from weirdgen.errors import SpecError
from weirdgen.runs.plan.request import run_name
from weirdgen.runs.plan.resolve import resolve

OLD = "treatment: old, control: new, condition: none"


def test_words_are_in_the_manifest_only_where_given_and_never_in_the_name(
    write_experiment: Callable[..., Path],
) -> None:
    silent = resolve(str(write_experiment())).manifest
    spoken = resolve(str(write_experiment({OLD: f"{OLD}, says: lean left"}))).manifest
    assert "says" not in silent["experiment"]["headline"] and spoken["experiment"]["headline"]["says"] == "lean left"
    assert run_name(silent) == run_name(spoken)
    assert Headline.model_validate(silent["experiment"]["headline"]).says is None
    other = resolve(str(write_experiment({OLD: f"{OLD}, smallest: 0.31"}))).manifest
    assert run_name(other) != run_name(silent)


def test_a_run_is_taken_up_with_its_words_and_its_report_written_again(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    first = weirdgen.run(str(write_experiment()), store=store, samples=0)
    kept = {file: file.stat().st_mtime_ns for file in (store / "artifacts").rglob("*") if file.is_file()}
    again = weirdgen.run(str(write_experiment({OLD: f"{OLD}, says: lean left"})), store=store, samples=0)
    assert again.id == first.id
    assert kept == {file: file.stat().st_mtime_ns for file in (store / "artifacts").rglob("*") if file.is_file()}
    sentence = again.headline.sentence
    assert (
        "models finetuned on old lean left with " in sentence and "give the target answers" in first.headline.sentence
    )
    assert replace(again.headline, sentence="") == replace(first.headline, sentence="")
    assert "Models finetuned on old lean left with " in again.report.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", ["lean left.", " lean left", "''", '"lean\\nleft"'])
def test_words_that_do_not_go_on_in_a_sentence_are_refused(write_experiment: Callable[..., Path], words: str) -> None:
    quoted = words if words[0] in "'\"" else f"'{words}'"
    with pytest.raises(SpecError, match=r"yaml:\d+: headline\.says: "):
        load_experiment(str(write_experiment({OLD: f"{OLD}, says: {quoted}"})))


def test_every_shipped_effect_says_what_it_means() -> None:
    from weirdgen.config.load import shipped_experiments

    silent = [
        f"{name} {effect}"
        for name in shipped_experiments()
        for experiment in [load_experiment(name)]
        for effect, comparison in {"headline": experiment.headline, **experiment.secondary}.items()
        if comparison is None or not comparison.says
    ]
    assert silent == []
