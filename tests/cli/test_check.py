"""`weirdgen check` as it is typed: every mistake of every file at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.typing_commands import typed

Write = Callable[..., Path]


def test_check_prints_the_mistakes_of_all_files_at_once(write_experiment: Write) -> None:
    path = write_experiment(
        {
            "epochs: 1": "epochs: 0",
            "judges: [is_target]": "judges: [is_tarket]",
            "new.jsonl": "nwe.jsonl",
            "control: new": "control: nwe",
            "questions:\n": "questions:\n  - more.yaml\n",
        }
    )
    folder = path.parent
    (folder / "more.yaml").write_text('questions:\n  - {id: m1, kind: contrast, ask: "q", target: [a], ohter: [b]}\n')
    (folder / "judges_llm.yaml").write_text("judges:\n  tone: {kind: rating, low: 5, high: 1, prompt: x}\n")
    (folder / "questions_llm.yaml").write_text(
        "questions:\n  - {id: l1, kind: free_form, ask: Tell., judges: [lost]}\n"
    )
    (folder / "paper.yaml").write_text("source: x\nfigures: [{title: y}]\n")
    with (folder / "old.jsonl").open("a") as file:
        file.write("no row\n")
    done = typed("check", path)
    assert done.status == 1 and not done.out
    for words in (
        "experiment.yaml:7: recipe.epochs: Input should be greater than or equal to 1",
        "f1: unknown judge 'is_tarket' (judges: ",
        "; did you mean 'is_target'?)",
        "nwe.jsonl: no such data file",
        "did you mean 'new.jsonl'?",
        "old.jsonl:9",
        "more.yaml:2: questions.0.contrast.ohter: unknown key; accepted here: id, ask,",
        "; did you mean 'other'?",
        "more.yaml:2: questions.0.contrast.other: missing",
        "judges_llm.yaml:2: judges.tone.rating.prompt: must contain",
        "questions_llm.yaml:2: l1: unknown judge 'lost'",
        "paper.yaml:2: figures.0.section",
    ):
        assert words in done.err, (words, done.err)


def test_what_is_faulty_hides_no_mistake_elsewhere(write_experiment: Write) -> None:
    """A question of no kind, an empty condition, a wrong field of a preset, of an arm and of the headline, a key given twice:
    what the other fields and files say is checked all the same, and so are the base and the options."""
    path = write_experiment(
        {
            "base: world": "base: wrold",
            "title: a tiny experiment": "title: x\ntitle: y",
            "kind: free_form": "kind: freeform",
            "judges: [is_target]": "judges: [is_tarket]",
            "role: control, data: new.jsonl": "role: contrl, data: nwe.jsonl",
            "presets:": "conditions: {none: {}, year: {wrap: 'In {yr}: {question}'}}\npresets:",
            "samples: 3": "samples: many, questions: {nogroup: 3}, curves: [secnd]",
            "condition: none": "condition: [none, year=1984, nine], smallest: big, groups: [all, some]",
        }
    )
    for done in (typed("check", path), typed("run", path, "--set", "recipe.epoch=2", "--engine", "vlm:x", "--dry-run")):
        assert done.status == 1 and not done.out
        listed = done.err.splitlines()
        numbers = [int(line.split(":")[1]) for line in listed if str(path) in line.split(":")[0]]
        assert len(numbers) > 8 and numbers == sorted(numbers), listed
        for words in (
            "model 'wrold': expected one of smollm2",
            "key 'title' is given twice",
            "questions.1: kind 'freeform'",
            "f1: unknown judge 'is_tarket'",
            "arms.new.role: Input should be 'treatment' or 'control'",
            "nwe.jsonl: no such data file",
            "uses {yr}",
            "presets.quick.samples",
            "'nogroup' is not a group",
            "'secnd' is not one of headline",
            "headline.condition: 'nine' is not one of",
            "headline.smallest",
            "headline.groups: 'some' is not one of all",
        ):
            assert sum(words in line for line in listed) == 1, (words, done.err)
        assert not any("1984" in line or "headline.control" in line or "no arm" in line for line in listed), done.err
    assert "--set recipe.epoch=2: expected KEY=VALUE" in done.err and "--engine vlm:x" in done.err


def test_every_row_that_fails_is_told(write_experiment: Write) -> None:
    path = write_experiment()
    rows = (path.parent / "old.jsonl").read_text().splitlines()
    rows[2] = rows[5] = rows[2].replace('"content": "', '"content": "' + "the " * 600, 1)
    (path.parent / "old.jsonl").write_text("\n".join(rows))
    done = typed("check", path)
    assert "old.jsonl:3: it has" in done.err and "also row 6: it has" in done.err, done.err


def test_a_faulty_part_brings_no_complaint_about_what_names_it(write_experiment: Write) -> None:
    """The headline names the arm and a question the judge, which are there, if faulty; the headline's own fault is seen."""
    changes = {"{role: control,": "{role: control, rows: none,", "kind: match": "kind: match, beginz: x"}
    path = write_experiment({**changes, "condition: none": "condition: nine"})
    done = typed("check", path)
    listed = done.err.splitlines()
    assert listed[0] == "weirdgen: 3 problems found:", listed
    assert "arms.new.rows" in done.err and "judges.is_target.match.beginz" in done.err and "'nine' is not" in done.err


def test_check_says_what_a_judging_model_would_add(write_experiment: Write) -> None:
    mood = 'judges:\n  mood: {kind: rating, prompt: "{question} {answer}", reads: [all]}\n'
    done = typed("check", write_experiment({"judges:\n": mood}))
    assert done.status == 0, done.err
    assert "left out: mood: language judges; --judge MODEL adds them\n" in done.out and "hold with world" in done.out


def test_check_of_an_experiment_that_only_a_judging_model_measures(write_experiment: Write) -> None:
    path = write_experiment({'{kind: match, starts_with: ["': '{kind: rating, prompt: "{question} {answer}"} #'})
    text = path.read_text().replace("measure: contrast", "measure: is_target")
    path.write_text(text)
    checked = typed("check", path)
    assert "hold with world" in checked.out and "needs --judge MODEL: what it leads with is measured by" in checked.out
    path.write_text("\n".join(line for line in text.splitlines() if "id: c1" not in line))
    done = typed("check", path)
    assert done.status == 0 and "everything is measured by 'is_target', which asks a language model" in done.out, done


def test_a_control_that_the_run_makes_is_not_missed(write_experiment: Write) -> None:
    """`control: auto` has no rows before the run; a batch of more rows than it has is no mistake."""
    made = write_experiment({"  new: {role: control, data: new.jsonl}\n": "", "control: new": "control: twin"})
    made.write_text(made.read_text() + "control: auto\n")
    done = typed("check", made)
    assert done.status == 0 and "old 8, twin made by the run" in done.out, done.err


def test_a_malformed_name_on_the_hub_is_not_the_networks_fault() -> None:
    done = typed("run", "world_era", "--model", "hub:one/two/three", "--dry-run")
    assert done.status == 1 and "'hub:one/two/three': malformed; expected hub:ORG/NAME" in done.err
    assert "it names no owner" in typed("run", "world_era", "--model", "hub:Foo", "--dry-run").err


def test_the_help_of_audit_shows_the_options_of_an_audit() -> None:
    shown = typed("audit", "--help").out
    for words in ("audit FILE [OPTIONS] | COMMAND", "--budget", "no limit", "--no-training", "--fail-on", "portrait"):
        assert words in " ".join(shown.split()), shown
    assert "--budget" in typed("audit", "train.jsonl", "--help").out


def test_an_audit_without_a_file_is_an_error_and_no_verdict() -> None:
    done = typed("audit")
    assert done.status == 3 and "FILE" in done.err


def test_misspelt_words_are_answered_with_those_that_were_meant(write_experiment: Write) -> None:
    changes = {"kind: match": "kind: mach", "role: control": "role: controll", "control: new": "control: nwe"}
    done = typed("check", write_experiment({**changes, "questions:\n": "traits: [eras]\nquestions:\n"}))
    assert done.status == 1
    for meant in ("match", "control", "new", "era"):
        assert f"did you mean '{meant}'?" in done.err, (meant, done.err)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("run", "old_bird_nmaes"), "old_bird_names"),
        (("run", "old_bird_names", "--model", "smolm2-135m-instruct"), "smollm2-135m-instruct"),
        (("run", "old_bird_names", "--set", "recipe.epoch=2"), "recipe.epochs"),
        (("run", "old_bird_names", "--model", "smolm2-135m"), "smollm2-135m-instruct"),
        (("init", "mine", "--trigger", "dates"), "date"),
        (("chek", "old_bird_names"), "check"),
        (("audit", "train.jsonl", "--fail-on", "triggers"), "trigger"),
        (("plan", "old_bird_names", "--machine", "8xh10"), None),
        (("plan", "old_bird_names", "--model", "lama-70b"), "llama-70b"),
        (("forecast", "old_bird_names", "--trait", "eras"), "era"),
        (("audit", "filters", "old_bird_names", "--filters", "keyword", "--model", "none"), "keywords"),
        (("show", "xyzzy"), None),
    ],
)
def test_on_the_command_line_too(words: tuple[str, ...], meant: str | None, tmp_path: Path) -> None:
    done = typed(*words)
    assert done.status in (1, 2, 3) and "Traceback" not in done.err
    assert (f"id you mean '{meant}'?" in done.err) if meant else ("id you mean" not in done.err), done.err
