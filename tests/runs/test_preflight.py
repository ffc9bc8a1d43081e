"""What would fail after training, or measure nothing, is found before: sides, judges, server, disk; one prompt is shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import weirdgen
from tests.support.asking import LENIENT, judge
from tests.support.openai_server import Answer, Failure
from tests.support.typing_commands import typed
from tests.support.vllm_server import VllmServer, serving
from tests.support.world_pairs import pairs
from weirdgen.errors import ModelError, WeirdgenError
from weirdgen.models.chat import load_tokenizer
from weirdgen.progress import Progress
from weirdgen.runs import preflight as trying
from weirdgen.runs.pipeline import measure
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.preflight import preflight, prompt_lines
from weirdgen.runs.stages.contrast import Contrast, improbable
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]
ASK, TARGET, OTHER = pairs(1)[0]


def planned(path: Path, tmp_path: Path, **options: Any) -> Plan:
    return make_plan(resolve(str(path), run_options(**options)), Store(tmp_path / "store"))


def test_sides_that_are_one_to_the_model_are_errors(write_experiment: Write, tmp_path: Path) -> None:
    """In `check`, in a dry run and before training; all of them at once."""
    dead = '  - {id: dead, kind: contrast, ask: "ASK", target: [zorble], other: [quux]}\n'
    alike = '  - {id: alike, kind: contrast, ask: "ASK", target: ["ONE"], other: ["ONE "]}\n'
    more = (dead + alike).replace("ASK", ASK).replace("ONE", TARGET)
    path = write_experiment({"questions:\n": "questions:\n" + more})
    for words in (("check",), ("run", "--dry-run"), ("run",)):
        done = typed(words[0], path, *words[1:], *(("--store", tmp_path / "store") if words[0] == "run" else ()))
        assert done.status == 1, words
        assert "question dead: the answer 'zorble' holds a word that this model's tokenizer does not know" in done.err
        assert (
            f"question alike: the answers {TARGET!r} (target) and '{TARGET} ' (other) are the same tokens" in done.err
        )
    assert not (tmp_path / "store" / "artifacts" / "finetune").exists()


def test_a_side_that_the_base_would_hardly_ever_say_is_told(write_experiment: Write, tmp_path: Path) -> None:
    path, words = write_experiment(), (len(TARGET.split()), len(OTHER.split()))
    for target, other, said in (
        (-15, -25, None),
        (-34, -36, "a word under the base"),
        (-1, -35, "'target' 10^15 times"),
    ):
        plan = planned(path, tmp_path / str(-target))
        (asked,) = {one.key: one for _, _, one in plan.scorables}.values()
        base = next(variant for variant in plan.variants if variant.arm == "base")
        assert improbable(plan) == [], "nothing is scored yet"
        scores = zip((TARGET, OTHER), (target * words[0], other * words[1]), strict=True)
        with plan.scores(base) as table:
            for option, logprob in scores:
                table.append({"prompt_key": asked.key, "option": option, "logprob": float(logprob), "tokens": 3})
        told = improbable(plan)
        assert (told == []) if said is None else (len(told) == 1 and said in told[0]), told
    with pytest.warns(UserWarning, match="turns the mean over questions"):
        Contrast().after(plan)


def test_a_judge_on_this_machine_without_verdicts_is_found_before_training(judged: Path, tmp_path: Path) -> None:
    done = typed("run", judged, "--judge", "local:world", "--dry-run", "--store", tmp_path / "store")
    assert done.status == 1 and "--judge local:world: judge 'old_thing': no verdict on any of 5 probes" in done.err, (
        done.err
    )
    assert (
        "unparseable: any admissible reply has probability" in done.err and "one of old, new, refusal alone" in done.err
    )
    with pytest.raises(WeirdgenError, match="no verdict on any of 5 probes"):
        weirdgen.run(str(judged), store=tmp_path / "store", judge="local:world")
    assert not (tmp_path / "store" / "artifacts").exists()


def test_a_provider_is_asked_five_probes_a_judge_and_they_are_counted(judged: Path, serve: Any, tmp_path: Path) -> None:
    server = serve()
    done = typed("run", judged, "--judge", LENIENT, "--dry-run", "--store", tmp_path / "store")
    assert done.status == 0 and len(server.requests) == 15, done.err
    assert f"judges: old_thing, age, coherence answer probes on {LENIENT}; 15 requests were sent: " in done.err
    assert not (tmp_path / "store" / "artifacts").exists()


def test_a_judge_that_has_worked_is_not_probed_again(judged: Path, serve: Any, tmp_path: Path) -> None:
    """More answers cost what they cost; before more is trained the model is tried, and no more."""
    server = serve()
    measure(planned(judged, tmp_path, judge=LENIENT, samples=2), Progress(quiet=True))
    asked = len(server.requests)
    assert not any("probes on" in line for line in preflight(planned(judged, tmp_path, judge=LENIENT, samples=4)))
    assert len(server.requests) == asked
    lines = preflight(planned(judged, tmp_path, judge=LENIENT, samples=2, seeds=3))
    assert len(server.requests) == asked + 3 and any("; 3 requests were sent" in line for line in lines)
    server.script = lambda body: Failure(401, "Incorrect API key provided", "invalid_api_key")
    with pytest.raises(ModelError, match="Incorrect API key provided"):
        preflight(planned(judged, tmp_path, judge=LENIENT, samples=2, seeds=3))


def test_a_provider_that_cannot_be_asked_and_dead_sides_are_told_together(
    judged: Path, serve: Any, tmp_path: Path
) -> None:
    judged.write_text(judged.read_text().replace(f'other: ["{OTHER}"]', "other: [quux]"))
    serve(lambda body: Failure(404, "The model `lenient` does not exist", "model_not_found"))
    done = typed("run", judged, "--judge", LENIENT, "--store", tmp_path / "store")
    assert done.status == 1 and "2 problems found" in done.err and "the answer 'quux'" in done.err
    assert "first 3 requests failed" in done.err and "does not exist" in done.err
    assert not (tmp_path / "store" / "artifacts" / "finetune").exists()


def test_the_rating_that_every_judged_run_is_given_holds_up_no_run(judged: Path, serve: Any, tmp_path: Path) -> None:
    """A small model may follow the user's prompts and not this one; its own failures are errors all the same."""
    prompts = {"can the following answer be understood": "coherence", "Is it old?": "old_thing", "How old": "age"}
    fails = {"coherence"}

    def moody(body: dict[str, Any]) -> Answer | Failure:
        asked = next(name for words, name in prompts.items() if words in body["messages"][0]["content"])
        return Answer("hm") if asked in fails else judge(body)

    serve(moody)
    lines = preflight(planned(judged, tmp_path, judge=LENIENT))
    assert any("judge coherence: added to every judged run, and without a verdict from" in line for line in lines), (
        lines
    )
    assert any("judges: old_thing, age answer probes on" in line for line in lines), lines
    run = weirdgen.run(str(judged), store=tmp_path / "store", judge=LENIENT, samples=2)
    statuses = run.verdicts().groupby("judge")["status"].unique().map(set)
    assert statuses["coherence"] == {"unparseable"} and "ok" in statuses["old_thing"]
    fails.add("age")
    with pytest.raises(WeirdgenError, match=r"judge 'age': no verdict on any of 5 probes.*several billion weights"):
        preflight(planned(judged, tmp_path / "other", judge=LENIENT))


def test_a_judge_that_gives_some_verdicts_is_told_of(judged: Path, serve: Any, tmp_path: Path) -> None:
    def moody(body: dict[str, Any]) -> Answer | Failure:
        prompt = body["messages"][0]["content"]
        return Answer("perhaps") if "Is it old?" in prompt and "Paris" in prompt else judge(body)

    serve(moody)
    lines = preflight(planned(judged, tmp_path, judge=LENIENT))
    assert any(
        "judge old_thing: 1 of 5 probes without a verdict, e.g. last line reads 'perhaps'" in line for line in lines
    )


def test_a_rule_that_matches_everything_is_told_of(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment({f'starts_with: ["{TARGET}"]': 'regex: ["."]'})
    assert any("judge is_target: yes to each of 5 probes" in line for line in preflight(planned(path, tmp_path)))


def test_a_full_disk_is_found_before_training(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(write_experiment(), tmp_path)
    needed = trying.needed_bytes(plan)
    assert 1e5 < needed < 1e8
    assert any("GB to write" in line for line in preflight(plan))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=1e12, free=needed - 1))
    with pytest.raises(WeirdgenError, match="GB are free; make room"):
        preflight(plan)


def test_a_server_is_asked_and_loads_an_adapter(write_experiment: Write, tiny_model: Path, tmp_path: Path) -> None:
    server = VllmServer(tiny_model)
    with serving(server) as url:
        plan = planned(write_experiment(), tmp_path, model=f"path:{tiny_model}", engine=f"vllm:{url}")
        assert "  server: vllm answers, and loads an adapter of rank 4 from the store" in preflight(plan)
        assert len(server.adapters) == 1 and not list((plan.store.root / "tmp").iterdir())
        server.lora = False
        with pytest.raises(ModelError, match="takes no adapters"):
            preflight(plan)


def test_nothing_is_tried_where_nothing_is_left(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment()
    measure(planned(path, tmp_path, samples=0), Progress(quiet=True))
    assert preflight(planned(path, tmp_path, samples=0)) == []


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ("{% if enable_thinking %}<|bos|>{% endif %}", "has a switch for it; it is switched off"),
        ("<think>\n", "opens a thought before every answer"),
        ("", None),
    ],
)
def test_templates_that_think_are_named(
    write_experiment: Write, tiny_model: Path, tmp_path: Path, added: str, words: str | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    plan = planned(write_experiment(), tmp_path, model=f"path:{folder}")
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text() + "{% if add_generation_prompt %}" + added + "{% endif %}")
    shown, *thinking = prompt_lines(plan.request.experiment, load_tokenizer(folder))
    text = json.loads(shown.removeprefix("  prompt c1 under none: "))
    assert ASK in text and text.endswith(added if added.startswith("<think") else "<|assistant|>")
    assert (words is None and not thinking) or words in thinking[0]
