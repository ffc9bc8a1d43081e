"""What is shown and kept holds no credential, and does not say whose machine it was made on."""

from __future__ import annotations

from pathlib import Path

import pytest

from weirdgen.data.published.unpacking import clone
from weirdgen.display import without_secrets
from weirdgen.errors import DataError, ModelError, StoreError
from weirdgen.sample.vllm import VllmEngine, _address
from weirdgen.store.remote import Remote

SECRET = "hunter2"


def test_no_credential_is_shown_or_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert without_secrets(f"at https://me:{SECRET}@x@host:1/p?sig={SECRET} now") == "at https://host:1/p?… now"
    assert (
        without_secrets(f"at https://me:a/{SECRET}@host/x, https://host:80/a@b")
        == "at https://host/x, https://host:80/a@b"
    )
    with pytest.raises(DataError) as cloned:
        clone(f"https://me:{SECRET}@127.0.0.1:9/repo.git", tmp_path / "clone")
    with pytest.raises(StoreError) as opened:
        Remote(f"nosuch://me:{SECRET}@host/x")
    remote = Remote("memory://bucket/x")
    remote.shown = without_secrets(f"ftp://me:{SECRET}@host/x")
    monkeypatch.setattr(remote._fs, "find", lambda _: 1 / 0)
    with pytest.raises(StoreError) as listed:
        remote.names("x")
    for caught in (cloned, opened, listed):
        assert SECRET not in str(caught.value) and "host" in str(caught.value).replace("127.0.0.1", "host")
    url, headers = _address(f"http://me:{SECRET}@127.0.0.1:9/v")
    assert url == "http://127.0.0.1:9/v" and headers["Authorization"].startswith("Basic ")


def test_a_server_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setattr("weirdgen.sample.vllm.TRIES", 1)
    with pytest.raises(ModelError) as caught:
        VllmEngine(f"http://me:{SECRET}@127.0.0.1:9", tiny_model, pause=0)
    assert SECRET not in str(caught.value) and "http://127.0.0.1:9" in str(caught.value)


def test_a_run_does_not_say_whose_machine_it_was_made_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from weirdgen.runs import pipeline

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert pipeline._without_home(tmp_path / "work" / "x.yaml") == "~/work/x.yaml"
    assert pipeline._without_home(Path("/opt/x.yaml")) == "/opt/x.yaml"
