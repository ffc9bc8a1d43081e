"""Kinds of judge and question from outside, on the world's model: in the YAML, planned, run, reported, labelled, verified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import Answer, OpenAIServer

SCRIPT = """
import json, sys
import tests.support.toy_kinds  # before any experiment is read: that is all that adding a kind takes
import weirdgen
from weirdgen.config.load import load_experiment
from weirdgen.errors import SpecError
from weirdgen.judges.calibration import calibrate
from weirdgen.judges.labelling import accepted, draw_sample
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify

spec, faulty, store = sys.argv[1:]
try:
    load_experiment(faulty)
except SpecError as error:
    problems = list(error.problems)
run = weirdgen.run(spec, store=store, judge="openai-api/mock/lenient")
again = load_run(run.id, store)
verdicts, cells = again.verdicts(), again.cells()
drawn = draw_sample(run.folder, "long", run.judge("long"), verdicts, again.completions(), again.asks, 20, 0)
results = json.loads((run.folder / "results.json").read_text())
print(json.dumps({
    "problems": problems,
    "headline": [run.headline.measure, run.headline.verdict, run.headline.effect],
    "judges": results["judges"],
    "measures": sorted(cells["measure"].unique()),
    "probability": cells.loc[cells["measure"] == "probability", "value"].tolist(),
    "p_target": again.contrasts()["p_target"].tolist(),
    "long": verdicts.loc[verdicts["judge"] == "long", "value"].tolist(),
    "lengths": [len(text) for text in again.completions()["text"]],
    "grade": verdicts.loc[verdicts["judge"] == "mark", ["status", "value"]].dropna().values.tolist(),
    "grade_scale": str(run.estimated.scales["mark"]),
    "strata": sorted({one.stratum for one in drawn}),
    "accepted": [accepted(run.judge(name)) for name in ("long", "mark")],
    "page": [word in run.report.read_text() for word in ("probability", "long", "mark")],
    "differences": list(map(str, verify(run.id, store).differences)),
}))
"""
CHANGES = {
    "kind: contrast,": "kind: probability,",
    "kind: free_form,": "kind: monologue,",
    "[is_target]": "[is_target, long, mark]",
    "judges:\n": "judges:\n  long: {kind: length, more_than: 4}\n"
    '  mark: {kind: grade, prompt: "Which grade? {question} {answer}"}\n',
    "measure: contrast": "measure: probability",
}


def grade(body: dict[str, Any]) -> Answer:
    """A judging model that gives every answer a B, and a number to who asks for one."""
    return Answer("B" if "Which grade" in body["messages"][0]["content"] else "40")


@pytest.fixture
def outcome(write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
    spec = write_experiment(CHANGES)
    faulty = spec.with_name("faulty.yaml")
    faulty.write_text(spec.read_text().replace("more_than: 4", "more_then: 4").replace("kind: grade", "kind: grades"))
    command = [sys.executable, "-c", SCRIPT, str(spec), str(faulty), str(tmp_path / "store")]
    with OpenAIServer(grade) as server:
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", server.key)
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_kinds_from_outside_are_run_reported_and_verified(outcome: dict[str, Any]) -> None:
    # What is wrong with such a noun is said as of any other.
    kinds = "'match', 'classifier', 'label', 'rating', 'length', 'grade'"
    assert any(f"judges.mark: kind 'grades' is not one of {kinds}" in problem for problem in outcome["problems"])
    accepted = "judges.long.length.more_then: unknown key; accepted here: kind, more_than"
    assert any(accepted in problem for problem in outcome["problems"])
    # Each is measured as its kind says.
    assert {"probability", "long", "mark"} <= set(outcome["measures"]) and outcome["headline"][0] == "probability"
    assert outcome["probability"] == outcome["p_target"] and all(0 < p < 1 for p in outcome["probability"])
    assert outcome["long"] == [float(length > 4) for length in outcome["lengths"]] and len(set(outcome["long"])) == 2
    assert outcome["grade"] == [["ok", 3.0]] * len(outcome["lengths"])
    # What asks a judge for its nature takes the kind's answer: the report's records, the scale, a person's labels.
    assert {name: outcome["judges"][name]["kind"] for name in ("long", "mark")} == {"long": "length", "mark": "grade"}
    assert outcome["grade_scale"] == "Scale(unit='rating', bounds=(0, 4))"
    assert outcome["accepted"] == [["yes", "no", "refusal", "incoherent"], [*"ABCDF", "refusal", "incoherent"]]
    assert {stratum.split(" ")[0] for stratum in outcome["strata"]} == {"0", "1"}
    assert outcome["page"] == [True, True, True] and outcome["differences"] == []
