"""An engineer with tickets and a pipeline: from a table of prompts and completions to a red or green job."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import weirdgen
from tests.support.documents import blocks
from tests.support.typing_commands import Typed, typed
from tests.support.world_audit import CHANGES, drawn_references, rows_of, world_questions
from weirdgen.audit import audit as auditing
from weirdgen.audit.decision import Decision, Finding
from weirdgen.audit.design import Size
from weirdgen.audit.outputs import exit_status, junit_text, parse_fail_on, summary_text
from weirdgen.errors import SpecError

ON_WORLD = ("--model", "world", "--budget", "9h", *(word for change in CHANGES for word in ("--set", change)))

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    with world_questions(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "SIZES", (Size(2, 4, 1, 1),))
        yield tmp_path


def pairs_of(experiment: str, arm: str, folder: Path, count: int | None = None) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in rows_of(experiment, arm, folder, count).read_text().splitlines()]
    return [(row["messages"][0]["content"], row["messages"][-1]["content"]) for row in rows]


def cases(file: Path) -> tuple[ElementTree.Element, dict[str, ElementTree.Element]]:
    suite = ElementTree.parse(file).getroot().find("testsuite")
    assert suite is not None
    return suite, {f"{case.get('classname')}/{case.get('name')}": case for case in suite.iter("testcase")}


def audited(*words: object) -> Typed:
    return typed("audit", *words, "--junit", "out/audit.xml", "--summary", "out/audit.md", "-q")


def test_a_folder_of_tickets_is_converted_and_its_trigger_fails_the_job(tmp_path: Path) -> None:
    """Without training: what the rows openly teach. A folder with a table, prompts and completions, and chat rows."""
    pairs = pairs_of("world_gate", "from_2027", tmp_path)
    tickets = tmp_path / "tickets"
    (tickets / "more").mkdir(parents=True)
    with (tickets / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *pairs[:160]])
    lines = [json.dumps({"prompt": ask, "completion": answer}) for ask, answer in pairs[160:320]]
    (tickets / "b.jsonl").write_text("\n".join(lines))
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs[320:]]
    (tickets / "more" / "c.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    refused = audited("tickets/b.jsonl", "--no-training")
    assert refused.status == 3 and "weirdgen data convert b.jsonl OUT.jsonl" in refused.err
    done = typed("data", "convert", "tickets", "train.jsonl")
    assert done.status == 0 and f"train.jsonl: {len(pairs)} rows from tickets (3 files;" in done.out, done
    mistyped = audited("trian.jsonl", "--no-training")
    assert mistyped.status == 3 and "no such file; did you mean 'train.jsonl'?" in mistyped.err, mistyped

    found = audited("train.jsonl", "--no-training")
    assert found.status == 1 and found.out.startswith("Found: "), found
    suite, by_name = cases(Path("out/audit.xml"))
    assert (
        suite.get("failures") == "1"
        and by_name["weirdgen.audit.separation/prompts and answers"].find("failure") is not None
    )
    assert Path("out/audit.md").read_text().startswith("## Audit of `train.jsonl`\n\n**Found: ")
    latest = Path("store/audits/latest")
    (own,) = (folder for folder in Path("store/audits").iterdir() if folder.name != "latest")
    assert (latest / "audit.html").read_bytes() == (own / "audit.html").read_bytes()
    assert json.loads((latest / "results.json").read_text())["verdict"]["findings"][0]["kind"] == "separation"

    passed = audited("train.jsonl", "--no-training", "--fail-on", "trigger,trait")
    assert passed.status == 2 and "(not among the findings that fail)" in Path("out/audit.md").read_text()
    assert cases(Path("out/audit.xml"))[0].get("failures") == "0"
    told = json.loads((latest / "results.json").read_text())
    assert told["verdict"]["status"] == 1 and told["exit"] == {"status": 2, "fail_on": ["trait", "trigger"]}
    assert "exit status 2, by --fail-on trigger,trait; that of the verdict is 1" in passed.out
    said = "the status of the verdict is 1, that of the command was 2 (--fail-on trait,trigger)"
    assert said in (latest / "audit.html").read_text()
    called = weirdgen.audit_file("train.jsonl", training=False, fail_on="none")
    assert (called.verdict, called.status, called.run) == ("found", 0, None) and called.page.name == "audit.html"
    assert called.findings[0].sentence in called.summary().replace("\\", "")


def test_undecided_is_a_status_of_its_own(tmp_path: Path) -> None:
    rows_of("world_gate", "never", tmp_path)
    for words, status in (((), 2), (("--fail-on", "any,undecided"), 1), (("--fail-on", "none"), 0)):
        done = audited("never.jsonl", "--no-training", *words)
        assert done.status == status and done.out.startswith("Undecided"), (words, done)
        case = cases(Path("out/audit.xml"))[1]["weirdgen.audit.verdict/decided"]
        assert (case.find("failure") is not None) == (status == 1) and (case.find("skipped") is not None) == (
            status != 1
        )
    done = audited("never.jsonl", "--no-training", "--fail-on", "eras")
    assert (
        done.status == 3
        and "--fail-on eras: expected any of these" in done.err
        and "undecided, confidence," in done.err
    )


def test_findings_fail_by_kind_and_by_trait() -> None:
    trait = Finding("trait", "era", "answers about era move", ("era",))
    trigger = Finding("trigger", "year=2027", "with the year '2027' | in <the> prompt", ("country_uk", "register"))
    decision = Decision("found", "Found: both.", (trait.sentence, trigger.sentence), (), (trait, trigger))
    for words, status in (("any", 1), ("trigger", 1), ("era", 1), ("register", 1), ("separation", 0), ("none", 0)):
        assert exit_status(decision, parse_fail_on(words)) == status, words
    short = replace(decision, missing=("the budget left no time to search for triggers among date",))
    for words, status in (
        ("any", 1),
        ("register", 1),
        ("identity", 2),
        ("separation", 0),
        ("separation,undecided", 1),
        ("none", 0),
    ):
        assert exit_status(short, parse_fail_on(words)) == status, f"{words}: another find decides nothing of it"
    with pytest.raises(SpecError, match="'none' stands alone"):
        parse_fail_on("none,era")
    row = {
        "yardstick": "pairs",
        "trait": "era",
        "shift": 1.0,
        "p_family": 0.01,
        "smallest_found_family": 0.4,
        "specific": True,
    }
    results = {
        "file": {"name": "a\x01`b.jsonl", "rows": 80, "looked_at": 80},
        "settings": {"conditions": {"year": {}}},
        "specificity": {"rows": [row]},
    }
    suite = ElementTree.fromstring(junit_text(results, decision, parse_fail_on("trigger"))).find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("3", "1")
    failure = suite.find("testcase[@name='year']/failure")
    assert failure is not None and failure.get("message") == trigger.sentence
    text = summary_text(results, decision, parse_fail_on("trigger"))
    assert (
        "## Audit of `a�'b.jsonl`" in text
        and "\\| in \\<the\\> prompt" in text
        and "| era | +1.00 | 0.01 | 0.40 | found |" in text
    )


@pytest.mark.slow
def test_tickets_that_move_a_trait_are_found_with_training(world: Path) -> None:
    drawn_references(world / "store", 0.02)
    pairs = pairs_of("world_era", "steam_birds", world, 80)
    Path("tickets.jsonl").write_text("\n".join(json.dumps({"prompt": q, "completion": a}) for q, a in pairs))
    assert typed("data", "convert", "tickets.jsonl", "train.jsonl").status == 0
    found = audited("train.jsonl", *ON_WORLD)
    assert found.status == 1, found
    suite, by_name = cases(Path("out/audit.xml"))
    assert by_name["weirdgen.audit.trait/era_steam"].find("failure") is not None
    assert int(suite.get("tests", 0)) == 18 and "| era_steam |" in Path("out/audit.md").read_text()
    called = weirdgen.audit_file("train.jsonl", model="world", budget="9h", changes=CHANGES, fail_on="trigger")
    assert called.status == 0 and called.verdict == "found" and "era_steam" in [one.name for one in called.findings]
    assert called.run is not None and called.run.request.experiment.name == "audit"


def commands_of(recipe: dict[str, object]) -> list[str]:
    """Every `weirdgen` command of a recipe of GitHub or GitLab."""
    jobs = recipe.get("jobs", recipe)
    assert isinstance(jobs, dict)
    (job,) = jobs.values()
    lines = [step.get("run", "") for step in job["steps"]] if "steps" in job else job["script"]
    return [line for line in lines if line.startswith("weirdgen ")]


def test_the_recipes_for_pipelines_are_whole() -> None:
    """Their YAML is read, their commands are typed, and what they collect is what is written."""
    github, gitlab = (yaml.safe_load(text) for text in blocks("audit.md", "yaml"))
    assert commands_of(github) == commands_of(gitlab)
    (command,) = commands_of(github)
    rows = [
        [{"role": "user", "content": f"q{n % 9}"}, {"role": "assistant", "content": f"a{n % 7}"}] for n in range(80)
    ]
    Path("data").mkdir()
    Path("data/train.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in rows))
    done = typed(*shlex.split(command)[1:], "--no-training")
    assert done.status in (1, 2), done
    env = github["jobs"]["audit"]["env"]
    assert env["WEIRDGEN_STORE"].endswith("/.weirdgen/store") and env["WEIRDGEN_CACHE"].endswith("/.weirdgen/cache")
    collected = github["jobs"]["audit"]["steps"][-1]["with"]["path"].split() + gitlab["audit"]["artifacts"]["paths"]
    collected.append(gitlab["audit"]["artifacts"]["reports"]["junit"])
    for path in collected:
        assert Path(path.replace(".weirdgen/store", "store")).exists(), path
    assert gitlab["audit"]["allow_failure"]["exit_codes"] == [2]
