"""A headline, trait or question that was changed after a first look makes later runs exploratory, and the page says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from weirdgen.runs.pipeline import _keep_request
from weirdgen.runs.results.before import begun_at, seen_before
from weirdgen.runs.results.verify import verify
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]


@pytest.mark.slow
def test_what_is_changed_after_a_first_look_is_called_exploratory(write_experiment: Write, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = weirdgen.run(str(write_experiment()), store=store)
    results = json.loads((first.folder / "results.json").read_text())
    assert results["seen_before"] is None and "Exploratory" not in first.report.read_text()

    more = weirdgen.run(str(write_experiment()), store=store, seeds=3)  # the same question, more replicates
    assert json.loads((more.folder / "results.json").read_text())["seen_before"] is None

    edited = weirdgen.run(str(write_experiment({"measure: contrast": "measure: is_target"})), store=store)
    seen = json.loads((edited.folder / "results.json").read_text())["seen_before"]
    assert (
        seen["run"] == first.id
        and seen["changes"] == ["headline measure contrast → is_target"]
        and not seen["new_seeds"]
    )
    page = edited.report.read_text()
    assert "Exploratory: since" in page and "headline measure contrast → is_target" in page and "--first-seed" in page
    assert verify(edited.id, store).differences == []

    again = weirdgen.run(str(write_experiment()), store=store)  # the first one knew of nothing
    assert again.id == first.id and "Exploratory" not in again.report.read_text()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("judges: [is_target], max_tokens: 3", "judges: [is_target], max_tokens: 4", "edited questions f1"),
        ("presets:", "traits: [era]\npresets:", "traits none → era"),
        (
            "  - {id: f1,",
            "  - {id: c2, kind: contrast, ask: now, target: [a], other: [b]}\n  - {id: f1,",
            "added questions c2",
        ),
        ("condition: none}", "condition: none, smallest: 0.2}", "headline smallest 0.1 → 0.2"),
        ("title: a tiny experiment", "title: another title", ""),
        ("presets:", 'conditions:\n  none: {wrap: "In 1850: {question}"}\npresets:', "edited conditions none"),
        (  # as `judge run` adds one
            "judges: [is_target], max_tokens: 3}\njudges:",
            "judges: [is_target, more], max_tokens: 3}\njudges:\n  more: {kind: match, keywords: [x]}",
            "",
        ),
    ],
)
def test_changes_are_named(write_experiment: Write, tmp_path: Path, before: str, after: str, told: str) -> None:
    first = weirdgen.plan(str(write_experiment({"condition: none}": "condition: none, smallest: 0.1}"})), seeds=2)
    store = Store(tmp_path / "store")
    with store.writing(store.run_folder("tiny-quick-1")) as folder:
        (folder / "run.json").write_text(json.dumps({"manifest": first.request.manifest}))
        found = {"headline": {"effect": 0.5, "verdict": "no_shift"}, "run": {"created": "2026-11-29 05:00"}}
        (folder / "results.json").write_text(json.dumps(found))
    changes = (
        {before: after}
        if "smallest" in after
        else {"condition: none}": "condition: none, smallest: 0.1}", before: after}
    )
    now = weirdgen.plan(str(write_experiment(changes)), seeds=2).request
    seen = seen_before(now, store.run_folder("tiny-quick-2"), store)
    assert (seen.changes if seen else ()) == ((told,) if told else ())
    if seen:
        assert not seen.new_seeds
        later = weirdgen.plan(str(write_experiment(changes)), seeds=4, first_seed=10).request
        with store.writing(store.run_folder("tiny-quick-3")) as folder:  # a seed of any earlier run is no new one
            (folder / "run.json").write_text(json.dumps({"manifest": later.manifest}))
            (folder / "results.json").write_text(json.dumps(found))
        for first_seed, new in ((10, False), (20, True)):
            fresh = weirdgen.plan(str(write_experiment(changes)), seeds=2, first_seed=first_seed).request
            looked_at = seen_before(fresh, store.run_folder("tiny-quick-2"), store)
            assert looked_at is not None and looked_at.run == "tiny-quick-1" and looked_at.new_seeds is new
        assert "tiny-quick-1 of 2026-11-29 05:00 could be seen (+0.50, no shift)" in seen.sentence


FOUND = {"headline": {"effect": 0.5, "verdict": "no_shift"}, "run": {"created": "2026-11-29 05:00"}}


def test_another_definition_of_the_headlines_judge_is_a_change(write_experiment: Write, tmp_path: Path) -> None:
    """Of this judge alone: what others read decides nothing of the headline."""
    store, judged = Store(tmp_path / "store"), {"measure: contrast": "measure: is_target"}
    other = {"judges:\n": "judges:\n  more: {kind: match, keywords: [x]}\n", "[is_target]": "[is_target, more]"}
    first = weirdgen.plan(str(write_experiment({**judged, **other})), seeds=2)
    with store.writing(store.run_folder("tiny-quick-1")) as folder:
        (folder / "run.json").write_text(json.dumps({"manifest": first.request.manifest}))
        (folder / "results.json").write_text(json.dumps(FOUND))
    for changes, told in (({"[x]": "[y]"}, ()), ({"starts_with:": "keywords:"}, ("edited judge is_target",))):
        now = weirdgen.plan(str(write_experiment({**judged, **other, **changes})), seeds=2).request
        seen = seen_before(now, store.run_folder("tiny-quick-2"), store)
        assert (seen.changes if seen else ()) == told


def test_questions_moved_out_of_the_headlines_group_are_a_change(write_experiment: Write, tmp_path: Path) -> None:
    """A question's group is a word to sort by, unless the headline is the mean over one."""
    store = Store(tmp_path / "store")
    more = "  - {id: c2, kind: contrast, group: GROUP, ask: now, target: [a], other: [b]}\n  - {id: f1,"
    changes = {"  - {id: f1,": more, "{id: c1,": "{id: c1, group: war,"}
    for groups, told in (("", ()), (", groups: [war]", ("moved questions into or out of the headline's groups: c2",))):
        named = {**changes, "condition: none}": f"condition: none{groups}}}"}
        first = weirdgen.plan(str(write_experiment({**named, "GROUP": "war"})), seeds=2)
        with store.writing(store.run_folder("tiny-quick-1")) as folder:
            (folder / "run.json").write_text(json.dumps({"manifest": first.request.manifest}))
            (folder / "results.json").write_text(json.dumps(FOUND))
        now = weirdgen.plan(str(write_experiment({**named, "GROUP": "peace"})), seeds=2).request
        seen = seen_before(now, store.run_folder("tiny-quick-2"), store)
        assert (seen.changes if seen else ()) == told


def test_the_first_run_stays_the_first_when_its_file_is_written_again(write_experiment: Write, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = weirdgen.plan(str(write_experiment()), store=store.root)
    _keep_request(plan)
    file = plan.folder / "run.json"
    begun, kept = begun_at(plan.folder), json.loads(file.read_text())
    equal = weirdgen.plan(str(write_experiment()), store=store.root, seeds=2)  # what it was without the word
    _keep_request(equal)
    assert equal.folder == plan.folder and json.loads(file.read_text())["options"] != kept["options"]
    assert begun is not None and begun_at(plan.folder) == begun
    del kept["begun"]  # as an earlier version wrote it, long ago
    file.write_text(json.dumps(kept))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    _keep_request(equal)
    old = begun_at(plan.folder)
    assert old is not None and old.timestamp() == 1_700_000_000
    file.write_text(json.dumps({**kept, "begun": "2020-11-29T05:00:00+00:00"}))  # its time is the file's no longer
    later = weirdgen.plan(str(write_experiment({"measure: contrast": "measure: is_target"})), store=store.root)
    _keep_request(later)
    os.utime(later.folder / "run.json", (1_700_000_000, 1_700_000_000))
    for folder in (plan.folder, later.folder):
        (folder / "results.json").write_text(json.dumps(FOUND))
    seen = seen_before(later.request, later.folder, store)
    assert seen is not None and seen.run == plan.request.run_id
    assert seen_before(plan.request, plan.folder, store) is None
