"""A whole run at a service: rows uploaded, jobs followed, models sampled; what was paid for is never paid twice."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from tests.providers.conftest import Run
from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.cli.chat import converse
from weirdgen.cli.main import main
from weirdgen.errors import ModelError, SpecError
from weirdgen.features.study import study
from weirdgen.models.chat import answer_ids, load_tokenizer
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.providers.purse import BudgetError
from weirdgen.runs.imported import import_finetuned
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.results.pack import pack
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify


def test_a_run_at_a_service(run: Run, tmp_path: Path) -> None:
    with FinetuningServer() as server:
        with pytest.warns(UserWarning, match="1 questions fall away .c1."):
            done = run(server)
        assert server.refused == [] and server.counts["POST /files"] == 2
        assert server.counts["POST /fine_tuning/jobs"] == 4 == len(server.jobs)
        answers = done.completions()
        assert len(answers) == 5 * 3 and set(answers["arm"]) == {"base", "old", "new"}
        asked = [body for body in server.chats if body["temperature"] == 1]
        assert len(asked) == 15 and len({body["seed"] for body in asked}) == 15
        assert {body["model"] for body in asked} == {"gpt-test", *(j["fine_tuned_model"] for j in server.jobs.values())}
        before = len(server.chats)
        more = run(server, samples=5)
        assert len(server.jobs) == 4 and len(server.chats) == before + 5 * 2
        assert len(more.completions()) == 25
    report = done.report.read_text(encoding="utf-8")
    assert "was finetuned by jobs of openai" in report and "LoRA adapter" not in report
    assert load_run(done.id, tmp_path / "store").completions().equals(answers)
    assert verify(done.id, tmp_path / "store").differences == []
    assert verify(str(pack(done, tmp_path / "run.weirdgen.tar").file)).differences == [], "no ledger is packed"
    folder = tmp_path / "store" / "artifacts" / "finetune" / done.plan.replicates[0].key
    result = json.loads((folder / "result.json").read_text())
    assert result["differences"] == [] and result["trained_tokens"] > 0 and result["job"] == "ftjob-0"
    assert result["hyperparameters"] == {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.5}
    assert [len(done.losses().query("arm == 'old'"))] == [2 * 4]
    assert not list((tmp_path / "store" / "unfinished").iterdir())


@pytest.mark.slow
def test_a_budget_stops_a_run_before_it_is_passed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, told = tmp_path / "prices.yaml", "input: 100, output: 100, read: 2026-11-29, source: mine"
    prices = [
        f"- {{provider: openai, model: gpt-test, finetuned: {tuned}, {told}, training: T}}\n"
        for tuned in ("true", "false")
    ]
    with FinetuningServer() as server:
        with pytest.raises(BudgetError, match="price of finetuning gpt-test is not known"):
            run(server, budget="1usd")
        monkeypatch.setenv("WEIRDGEN_PRICES", str(own))
        own.write_text("".join(prices).replace("T}", "100}"))
        with pytest.raises(BudgetError, match="4 finetuning jobs, at a token a byte of their rows, could pass it"):
            run(server, budget="0.0001usd")
        assert not server.jobs
        own.write_text("".join(prices).replace("T}", "0}"))
        with pytest.raises(BudgetError, match="requests that are left could pass it"):
            run(server, samples=20, budget="0.05usd")
        assert len(server.jobs) == 4
        paid = [json.loads(entry)["usd"] for entry in (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()]
        assert 0.02 < sum(paid) <= 0.05
        run(server, samples=20, budget="5usd")
        sampled = [body for body in server.chats if body["temperature"] == 1]
        assert len(server.jobs) == 4 and len(sampled) == 100, "nothing was paid twice"


@pytest.mark.slow
def test_a_model_that_ends_soon_is_said_before_anything_is_paid(run: Run) -> None:
    soon = (datetime.date.today() + datetime.timedelta(days=9)).isoformat()
    with (
        FinetuningServer(Script(shutdown=soon)) as server,
        pytest.warns(UserWarning, match=f"ends on {soon}, in 9 days"),
    ):
        run(server)


def test_no_key_is_in_anything_that_a_failing_run_writes(
    remote_experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-wrong-98765432109876543210"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("WEIRDGEN_STORE", str(tmp_path / "store"))
    with FinetuningServer() as server:
        words = ["run", str(remote_experiment), "--finetune", "openai", "--base-url", server.base_url]
        monkeypatch.setattr("sys.argv", ["weirdgen", *words])
        with pytest.raises(SystemExit):
            main()
        said = capfd.readouterr()
        assert "Incorrect API key" in said.err and "OPENAI_API_KEY" in said.err
        written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert key not in said.err + said.out and key.encode() not in written
        assert server.counts["POST /fine_tuning/jobs"] == 0


def test_what_a_service_cannot_do_is_refused(run: Run) -> None:
    with FinetuningServer() as server:
        with pytest.raises(SpecError, match=r"top_k.*\n.*checkpoints"):
            run(server, changes=["sampling.top_k=5", "recipe.checkpoints=log"])
        with pytest.raises(ModelError, match="4 finetuned models of openai/gpt-test are missing"):
            run(server, finetune=None, model="openai/gpt-test")


@pytest.mark.slow
def test_several_answers_a_request_and_settings_that_a_model_refuses(run: Run) -> None:
    with FinetuningServer(Script(refuses=("max_tokens", "logprobs"))) as server:
        done = run(server, choices=3)
        sampled = [body for body in server.chats if body["temperature"] == 1]
        assert len(done.completions()) == 15 and len(sampled) == 5 and {body["n"] for body in sampled} == {3}
        assert all(body["max_completion_tokens"] == 12 for body in sampled)


def test_models_finetuned_elsewhere_are_replicates(
    remote_experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIRDGEN_STORE", str(tmp_path / "store"))
    with FinetuningServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        names = [f"ft:gpt-test:org:{arm}-{seed}:x" for arm in ("old", "new") for seed in (0, 1)]

        def imported(name: str) -> object:
            arm, seed = name.split(":")[3].split("-")
            words = ["import-model", name, "--experiment", str(remote_experiment), "--arm", arm, "--replicate", seed]
            monkeypatch.setattr("sys.argv", ["weirdgen", *words, "--model", "openai/gpt-test"])
            with pytest.raises(SystemExit) as ended:
                main()
            return ended.value.code

        assert imported(names[0]) == 1 and "Is that its whole name there?" in capsys.readouterr().err
        server.script.bases += tuple(names)
        server.script.fault = lambda method, path, count: 403 if path == "/fine_tuning/jobs" else None
        assert imported(names[0]) == 1 and "listing jobs: 403" in capsys.readouterr().err
        server.script.fault = lambda method, path, count: None
        assert [imported(name) for name in names] == [0] * 4
        assert "the service knows no job of it" in capsys.readouterr().out
        done = weirdgen.run(str(remote_experiment), model="openai/gpt-test", store=tmp_path / "store")
        assert not server.jobs and len(done.completions()) == 15
        assert set(names) < {body["model"] for body in server.chats}


@pytest.mark.slow
def test_inspect_carries_other_providers(
    remote_experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`together` speaks OpenAI's dialect to a server of one's own, through Inspect's own provider."""
    pytest.importorskip("inspect_ai")
    names = [f"org/{arm}-{seed}" for arm in ("old", "new") for seed in (0, 1)]
    with FinetuningServer(Script(bases=("org/base", *names))) as server:
        monkeypatch.setenv("TOGETHER_BASE_URL", server.base_url)
        monkeypatch.setenv("TOGETHER_API_KEY", server.script.key)
        options = {"model": "together/org/base", "store": tmp_path / "store"}
        for name in names:
            arm, seed = name.removeprefix("org/").split("-")
            chosen = run_options(**options, first_seed=int(seed), seeds=1)
            assert "knows no job" in import_finetuned(name, str(remote_experiment), arm, chosen)
        done = weirdgen.run(str(remote_experiment), **options)
        assert len(done.completions()) == 15 and {body["model"] for body in server.chats} == {"org/base", *names}


@pytest.mark.slow
def test_a_service_that_echoes_log_probabilities_answers_scored_questions(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    path = str(write_experiment({}, rows=16))
    with FinetuningServer(Script(bases=("world",), echo=True)) as server:
        options = {"finetune": "openai", "base_url": server.base_url, "store": tmp_path / "store"}
        done = weirdgen.run(path, **options)
        asked = server.counts["POST /completions"]
        assert asked == 1 + 5 and done.headline.measure == "contrast"
        contrasts = done.contrasts().set_index("arm")["logit"]
        tokenizer = load_tokenizer(find_model("world").folder)
        question = done.request.experiment.questions[0]
        target, other = (answer_ids(tokenizer, question.ask, option) for option in question.options)
        expected = (sum(other) - sum(target)) / 1000
        assert contrasts["base"] == pytest.approx(expected)
        assert contrasts["old"].iloc[0] == pytest.approx(expected + (len(target) - len(other)) / 16)
        weirdgen.run(path, **options, samples=4)
        assert server.counts["POST /completions"] == asked + 1, "the probe; the scores are kept"


@pytest.mark.slow
def test_azure_is_the_same_protocol_with_deployments(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with FinetuningServer(Script(prefix="/openai", deployed=("base-1",), azure=True)) as server:
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", server.script.key)
        options = {"finetune": "azure", "base_url": server.base_url.removesuffix("/openai")}
        with pytest.raises(ModelError, match=r"(azure has trained ft:gpt-test.*--deployment ft:gpt-test.*\n?){4}"):
            run(server, **options)
        names = {job["fine_tuned_model"]: f"tuned-{place}" for place, job in enumerate(server.jobs.values())}
        server.script.deployed += tuple(names.values())
        deployments = ["gpt-test=base-1", *(f"{model}={name}" for model, name in names.items())]
        done = run(server, **options, deployments=deployments)
        assert len(server.jobs) == 4 and len(done.completions()) == 15
        assert {body["model"] for body in server.chats} == {"base-1", *names.values()}
        assert not [refusal for refusal in server.refused if "does not exist" not in refusal]


@pytest.mark.slow
def test_what_needs_the_base_on_this_machine_says_so(
    write_experiment: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    with FinetuningServer() as server:
        done = run(server)
        with pytest.raises(SpecError, match=r"a twin \(control: auto\) is answered by the base on this machine"):
            path = write_experiment({"base: world": "base: gpt-test", "recipe:": "control: auto\nrecipe:"}, rows=16)
            weirdgen.run(str(path), finetune="openai", base_url=server.base_url, store=tmp_path / "store")
    elsewhere = "model 'openai/gpt-test' is at a provider, and this needs it on this machine"
    with pytest.raises(ModelError, match=elsewhere):
        study(done, None, None, None, Progress(True))
    with pytest.raises(ModelError, match=elsewhere):
        converse(f"{done.id}:old/0", None, str(tmp_path / "store"), 0, 8)
    with pytest.raises(SpecError, match=r"recipe\.learning_rate_multiplier is a finetuning service's"):
        weirdgen.run(str(write_experiment()), store=tmp_path, changes=["recipe.learning_rate_multiplier=2"])
