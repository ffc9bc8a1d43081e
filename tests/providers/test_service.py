"""Which service is meant: by its name, an address that is given, and what the environment names."""

from __future__ import annotations

import pytest

from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.errors import ModelError
from weirdgen.judges.api_model import ApiJudgeModel
from weirdgen.judges.model import Request
from weirdgen.models.remote import RemoteModel, remote_model
from weirdgen.providers.service import OFFICIAL, service_of
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.remote import at_service
from weirdgen.sample.engines import Remote
from weirdgen.store.keys import content_key

LOCAL = "http://127.0.0.1:8000/v1"
VARIABLES = [
    ("openai", "OPENAI_BASE_URL"), ("azure", "AZURE_OPENAI_ENDPOINT"), ("openai-api/mine", "MINE_BASE_URL"),
    ("together", "TOGETHER_BASE_URL"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "variable"), VARIABLES)
def test_an_address_of_the_environment_is_another_service(
    provider: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = remote_model(f"{provider}/gpt-test", None, None)
    kept = before.as_data()
    monkeypatch.setenv(variable, f"{LOCAL}/")
    rehearsed = remote_model(f"{provider}/gpt-test", None, None)
    assert rehearsed.service.url == LOCAL and rehearsed.digest != before.digest
    assert rehearsed.service.known_as == ("azure" if provider == "azure" else f"{provider} at {LOCAL}")
    assert RemoteModel.of(kept) == before, "what was written down is not changed by today's environment"
    assert RemoteModel.of(rehearsed.as_data()).digest == rehearsed.digest


def test_the_official_address_is_no_other_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    plain = remote_model("openai/gpt-4.1", None, None)
    assert plain.digest == content_key({"provider": "openai", "url": "", "model": "gpt-4.1"})
    monkeypatch.setenv("OPENAI_BASE_URL", OFFICIAL)
    assert remote_model("openai/gpt-4.1", None, None) == plain
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    assert str(plain.service.client().base_url) == f"{OFFICIAL}/", "a run that was begun at OpenAI goes on there"


def test_our_own_server_is_recognised_however_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)
    with FinetuningServer(Script(owner="weirdgen")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert at_service("openai/gpt-test", "openai", run_options())[0].takes_recipe


@pytest.mark.parametrize("address", ["http://models.example.org/v1", "HTTP://models.example.org/v1"])
def test_a_key_does_not_travel_unencrypted(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    with pytest.raises(ModelError, match="would travel unencrypted"):
        service_of("openai", address).client()
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ModelError, match="would travel unencrypted"):
        service_of("openai", None).client()


@pytest.mark.parametrize(
    ("reference", "key", "variable"),
    [
        ("openai/gpt-4.1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
        ("together/org/base", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
        ("openai-api/my-own/x", "MY_OWN_API_KEY", "MY_OWN_BASE_URL"),
        ("grok/grok-4", "XAI_API_KEY", "XAI_BASE_URL"),
        ("together/org/base", "TOGETHER_API_KEY", "INSPECT_EVAL_MODEL_BASE_URL"),
    ],
)
def test_nor_does_one_that_inspect_would_send(
    reference: str, key: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("inspect_ai")
    monkeypatch.setenv(key, "sk-0123456789")
    monkeypatch.setenv(variable, "http://models.example.org/v1")
    judge = ApiJudgeModel(reference)
    with pytest.raises(ModelError, match=f"{variable}: {key} would travel unencrypted"):
        list(judge.ask([Request("k", "hi", ("yes",), 3)]))
    if reference.startswith("together"):
        with pytest.raises(ModelError, match=f"{variable}: {key} would travel unencrypted"):
            Remote(service_of("together", None), "org/base").connect()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://me:secret@models.example.org/v1", "keys and queries do not belong in it"),
        ("https://models.example.org/v1?key=1", "keys and queries do not belong in it"),
        ("models.example.org/v1", r"expected http\(s\)"),
        ("ftp://models.example.org/v1", r"expected http\(s\)"),
        ("http://models.example.org:port/v1", "ort"),
    ],
)
def test_an_address_holds_no_key_whoever_names_it(address: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=f"--base-url .*{why}") as told:
        service_of("openai", address)
    assert "secret" not in str(told.value)
    for provider, variable in VARIABLES:
        monkeypatch.setenv(variable, address)
        with pytest.raises(ModelError, match=f"{variable} .*{why}"):
            service_of(provider, None)
