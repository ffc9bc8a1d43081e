"""A run on the world's model, judged by models behind a real HTTP server: cached, repeated, compared, reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.asking import LENIENT, STRICT, asked_about
from tests.support.openai_server import Answer, Failure
from weirdgen.config.measures import Scale
from weirdgen.errors import SpecError, WeirdgenError
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.rejudge import compare_judges, judge_run
from weirdgen.runs.results.reporting import content_of, report_run, results_of
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store

pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
Write = Callable[..., Path]


@pytest.mark.slow
def test_samples_can_be_added_until_a_rating_is_known(judged: Path, serve: Any, tmp_path: Path) -> None:
    serve()
    run = weirdgen.run(str(judged), store=tmp_path / "store", judge=LENIENT, until="age ci<100")
    assert run.request.samples == 3 and run.estimated.scales["age"] == Scale("rating", (0.0, 100.0))
    assert "the effect on age was known to ±100" in run.report.read_text()
    assert verify(run.id, tmp_path / "store").differences == []


@pytest.mark.slow
def test_verdicts_that_another_run_added_are_named_as_such(judged: Path, serve: Any, tmp_path: Path) -> None:
    """Runs share the verdicts on answers that they share, so a second opinion asked for by one reaches the other's rates."""
    serve()
    store = tmp_path / "store"
    small = weirdgen.run(str(judged), store=store, judge=LENIENT, samples=2)
    large = weirdgen.run(str(judged), store=store, judge=LENIENT)
    assert verify(small.id, store).differences == []
    judge_run(large, LENIENT, 2, 4, False, Progress(True))
    (first, *_) = differences = verify(small.id, store).differences
    assert {difference.where for difference in differences} <= {"judge old_thing", "judge age", "judge coherence"}
    assert "another run has judged the same answers since; `weirdgen report` takes them in" in str(first)
    report_run(load_run(small.id, store))
    assert verify(small.id, store).differences == []


def test_a_run_with_a_judge_reports_its_measures(judged: Path, serve: Any, store: Path) -> None:
    server = serve()
    settings = resolve(str(judged), run_options(judge=LENIENT))
    before, after = (
        next(work for work in workload(make_plan(settings, Store(folder))) if LENIENT in work.what)
        for folder in (store.with_name("empty"), store)
    )
    assert before.missing == 45 and "3 judges on openai-api/mock/lenient (at most: equal" in before.what
    assert after.missing < 45 and "price unknown" in after.what  # equal answers are judged once
    run = weirdgen.run(str(judged), store=store, judge=LENIENT)
    verdicts = run.verdicts()
    assert set(verdicts["judge"]) == {"is_target", "old_thing", "age", "coherence", "coherent", "template_intrusion"}
    assert set(verdicts["status"]) == {"ok"}
    expected = (40 * 0.5 + 60 * 0.25) / 0.75
    assert verdicts[verdicts["judge"] == "age"]["value"].tolist() == pytest.approx([expected] * 15)
    assert server.refused == [] and {body["temperature"] for body in server.requests} == {0.0}
    asked = len(server.requests)
    distinct = len(asked_about(run))
    assert asked == 3 * distinct
    record = results_of(run)["judges"]
    assert record["age"]["median_mass"] == pytest.approx(0.75) and record["old_thing"]["statuses"] == {"ok": 15}
    rows = {(r["measure"], r["treatment"], r["control"], r["question"]) for r in results_of(run)["effects"]}
    assert {("age", "old", "new", "all"), ("template_intrusion", "old", "new", "all")} <= rows
    page = run.report.read_text()
    assert "template_intrusion" in page and "coherent" in page
    again = weirdgen.run(str(judged), store=store, judge=LENIENT)
    assert len(server.requests) == asked and again.id == run.id
    assert weirdgen.run(str(judged), store=store).id != run.id  # without the judge it is another run
    loaded = load_run(run.id, store)
    loaded.require_finished()
    assert loaded.headline == run.headline


@pytest.mark.slow
def test_two_judges_on_one_run_are_compared(
    judged: Path, serve: Any, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    plain = weirdgen.run(str(judged), store=store)
    again = judge_run(plain, LENIENT, 1, 4, False, Progress(True))
    assert again is not None and again.id != plain.id
    before = len(server.requests)
    capsys.readouterr()
    assert compare_judges(plain, LENIENT, STRICT, "old_thing", True, Progress()) == []
    told = capsys.readouterr().err
    assert len(server.requests) == before and "judge     1 judges on openai-api/mock/lenient: all " in told
    assert "1 judges on openai-api/mock/strict, about " in told and "price unknown" in told
    (comparison,) = compare_judges(plain, LENIENT, STRICT, "old_thing", False, Progress(True))
    distinct = asked_about(plain)
    assert len(server.requests) == before + len(distinct)  # the first judge's verdicts were there
    both = sum(len(text) > 6 for text in distinct)
    lenient = sum(len(text) > 4 for text in distinct)
    assert both < lenient, "the two judges must differ for this test to say anything"
    table = comparison.confusion.reindex(
        index=["old", "new", "incoherent"], columns=["old", "new", "incoherent"], fill_value=0
    )
    assert comparison.answers == len(set(plain.completions()["text"])) == int(table.to_numpy().sum())
    assert table.loc["old", "old"] == both and table.loc["old", "new"] == lenient - both
    assert comparison.agreement == pytest.approx(1 - (lenient - both) / comparison.answers)
    (with_match,) = compare_judges(plain, "is_target", STRICT, "old_thing", False, Progress(True))
    assert set(with_match.confusion.index) <= {"yes", "no"}
    with pytest.raises(
        SpecError, match="name the language judge to compare with: --judge old_thing or age or coherence"
    ):
        compare_judges(plain, "is_target", STRICT, None, False, Progress(True))


@pytest.mark.slow
def test_more_samples_pay_only_for_new_answers(judged: Path, serve: Any, store: Path) -> None:
    server = serve()
    weirdgen.run(str(judged), store=store, judge=LENIENT)
    first = len(server.requests)
    run = weirdgen.run(str(judged), store=store, judge=LENIENT, samples=16)
    assert len(server.requests) == 3 * len(asked_about(run)) > first


@pytest.mark.slow
def test_repeats_measure_the_judges_own_flips(judged: Path, serve: Any, store: Path) -> None:
    seen: dict[str, int] = {}

    def fickle(body: dict[str, Any]) -> Answer | Failure:
        prompt = body["messages"][0]["content"]
        seen[prompt] = seen.get(prompt, 0) + 1
        if "Is it old?" not in prompt:
            return Answer(str(40 + seen[prompt]))
        return Answer("old" if seen[prompt] == 1 else "new")

    serve(fickle)
    plain = weirdgen.run(str(judged), store=store)
    again = judge_run(plain, LENIENT, 3, 1, False, Progress(True))
    record = results_of(again)["judges"]
    assert record["old_thing"]["flip_rate"] == pytest.approx(2 / 3)  # old, new, new: two of three pairs differ
    assert record["age"]["flip_rate"] == 0 and record["age"]["asked_twice"]["mean_difference"] == pytest.approx(4 / 3)
    assert len(again.verdicts().query("judge == 'old_thing'")) == 15  # further opinions are no further data


def test_what_a_measure_is_follows_from_its_judge_not_from_its_values(judged: Path, serve: Any, store: Path) -> None:
    """Ratings that are all 0 or 1 are no rates; a judge that every answer made refuse has flagged none of them."""
    serve(lambda body: Answer("refusal" if "Is it old?" in body["messages"][0]["content"] else "1"))
    run = weirdgen.run(str(judged), store=store, judge=LENIENT)
    content = content_of(run, results_of(run))
    assert "age" not in set(run.rates()["judge"])
    assert (content.scale("age").unit, content.scale("is_target").unit) == ("rating", "rate")
    refused = run.cells().query("measure == 'old_thing'")
    assert refused["value"].isna().all() and (refused["n_all"] > 0).all() and (refused["value_all"] == 0).all()


def test_quality_is_measured_without_any_judge(write_experiment: Write, tmp_path: Path) -> None:
    run: Run = weirdgen.run(str(write_experiment()), store=tmp_path / "store")
    verdicts = run.verdicts()
    quality = verdicts[verdicts["judge"].isin(["coherent", "template_intrusion"])]
    assert len(quality) == 2 * len(run.completions()) and set(quality["status"]) == {"ok"}
    held_out = results_of(run)["judges"]["template_intrusion"]["held_out"]
    assert set(held_out) == {"old", "new"} and held_out["old"]["error"] is None  # too few base answers to measure one
    assert run.headline.measure == "contrast"


@pytest.mark.slow
def test_label_calibrate_and_the_report_from_the_command_line(judged: Path, store: Path, tmp_path: Path) -> None:
    import json

    from typer.testing import CliRunner

    from weirdgen.cli.main import app

    run = weirdgen.run(str(judged), store=store)
    at = ["--store", str(store), "--judge", "is_target"]
    label = ["judge", "label", run.id, "--size", "12", *at]
    stopped = CliRunner().invoke(app, label, input="yes\nq\n")
    assert stopped.exit_code == 0 and "of 12 labelled; next: weirdgen judge calibrate" in stopped.output
    early = CliRunner().invoke(app, ["judge", "calibrate", run.id, *at])
    assert isinstance(early.exception, WeirdgenError) and "at least 10 are needed" in str(early.exception)
    sheet = tmp_path / "sheet.csv"
    assert CliRunner().invoke(app, [*label, "--export", str(sheet)]).exit_code == 0
    done = CliRunner().invoke(app, label, input="no\n" * 12)
    assert "12 of 12 labelled" in done.output and "is_target? (yes, no, refusal, incoherent" in done.output
    calibrated = CliRunner().invoke(app, ["judge", "calibrate", run.id, *at])
    assert calibrated.exit_code == 0 and '"agreement"' in calibrated.output
    results = json.loads((run.folder / "results.json").read_text())
    assert results["judges"]["is_target"]["calibration"]["labelled"] == 12
    assert results["rates"][0].keys() == {"judge", "arm", "condition", "flagged", "usable", "all", "rate", "rate_all"}
