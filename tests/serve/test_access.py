"""Who may ask, and how much: keys, hosts, other sites' pages, sizes, contexts, hostile bodies; keys are never written down."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.serving import Server, serving
from weirdgen.errors import SpecError
from weirdgen.serve.limits import Access, access
from weirdgen.serve.problems import ApiError

CHAT = {"model": "world", "messages": [{"role": "user", "content": "which bird is usual ?"}], "max_tokens": 2}
KEY = "sk-weirdgen-0123456789abcdef"


def send(
    server: Server, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Status, parsed body and headers; a body that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, path, data, sent)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if text.startswith(("{", "[")) else text, dict(answer.getheaders())


def test_other_hosts_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIRDGEN_SERVE_KEY", raising=False)
    assert access("127.0.0.1", None).key is None and access("::1", None).key is None
    for host in ("0.0.0.0", "192.168.1.4", "example.org", "::"):
        with pytest.raises(SpecError, match="needs a key"):
            access(host, None)
    with pytest.raises(SpecError, match="not set"):
        access("127.0.0.1", "NO_SUCH_VARIABLE")
    monkeypatch.setenv("MY_KEY", KEY)
    assert access("0.0.0.0", "MY_KEY").key == KEY


def test_who_is_let_in() -> None:
    free, locked = Access(None), Access(KEY)
    free.check("/v1/models", {"host": "127.0.0.1:8000"})
    free.check("/v1/models", {"host": "[::1]:8000", "origin": "http://[::1]:8000"})
    locked.check("/v1/models", {"host": "box:8000", "authorization": f"Bearer {KEY}"})
    locked.check("/", {"host": "box:8000"})
    refused: list[tuple[Access, dict[str, str], int]] = [
        (free, {"host": "evil.example:8000"}, 403),
        (free, {"host": ""}, 403),
        (free, {"host": "127.0.0.1:8000", "origin": "http://evil.example"}, 403),
        (free, {"host": "127.0.0.1:8000", "origin": "null"}, 403),
        (locked, {"host": "box:8000"}, 401),
        (locked, {"host": "box:8000", "authorization": "Bearer wrong"}, 401),
        (locked, {"host": "box:8000", "authorization": f"Basic {KEY}"}, 401),
    ]
    for gate, headers, status in refused:
        with pytest.raises(ApiError) as error:
            gate.check("/v1/models", headers)
        assert error.value.status == status and KEY not in str(error.value)


@pytest.mark.slow
def test_hostile_requests_are_answered_and_the_server_goes_on(server: Server) -> None:
    bodies: list[bytes] = [
        b"", b"{", b"[]", b"null", b'{"model": "world", "model": "x"}', b'{"temperature": NaN}', b"\xff\xfe", b"[" * 100_000,
        b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
        json.dumps({**CHAT, "temperature": 1e400}).encode(), json.dumps({**CHAT, "n": 10**9}).encode(),
        json.dumps({**CHAT, "n": True}).encode(), json.dumps({**CHAT, "seed": 10**400}).encode(),
        json.dumps({**CHAT, "messages": [{"role": "tool", "content": "x"}]}).encode(),
        json.dumps({**CHAT, "messages": [{"role": "user", "content": None}]}).encode(),
        json.dumps({**CHAT, "messages": [{"role": "user", "content": "a " * 100_000}]}).encode(),
        json.dumps({**CHAT, "tools": [{"type": "function"}]}).encode(), json.dumps({**CHAT, "frequency_penalty": 1}).encode(),
    ]  # fmt: skip
    for body in bodies:
        status, said, _ = send(server, "POST", "/v1/chat/completions", body)
        assert status == 400 and set(said["error"]) == {"message", "type", "param", "code"}, body[:80]
    for method, path, wanted in (
        ("GET", "/v1/nothing", 404), ("PUT", "/v1/models", 405), ("GET", "/v1/files/..%2F..%2Fetc%2Fpasswd", 404),
        ("GET", "/v1/files/file-x/content", 404), ("DELETE", "/v1/files/%2e%2e", 404), ("GET", "/v1/models/%00", 404),
        ("GET", "/v1/fine_tuning/jobs?limit=0", 400), ("POST", "/v1/files", 400),
        ("GET", "/v1/fine_tuning/jobs/%2e%2e/events", 404),
    ):  # fmt: skip
        status, said, _ = send(server, method, path)
        assert status == wanted and said["error"]["message"], path
    status, said, _ = send(server, "POST", "/v1/chat/completions", b" " * 9_000_000)
    assert status == 413 and said["error"]["code"] == "request_too_large"
    status, said, _ = send(server, "GET", "/v1/models", headers={"Host": "evil.example"})
    assert status == 403
    status, said, _ = send(server, "POST", "/v1/completions", {"model": "world", "prompt": [10**6], "max_tokens": 1})
    assert status == 400 and said["error"]["param"] == "prompt"
    status, said, _ = send(server, "POST", "/contrast", {**CHAT, "options": ["a", "b"]})
    assert status == 400 and said["error"]["param"] == "max_tokens"
    long = [
        {"role": "user", "content": "which bird is usual ? " * 80_000}
    ]  # 1.8 MB, which would take many seconds to tokenise
    for path, more in (("/v1/chat/completions", {}), ("/contrast", {"options": ["canary", "osprey"]})):
        begun = time.monotonic()
        status, said, _ = send(server, "POST", path, {"model": "world", "messages": long, **more})
        assert status == 400 and said["error"]["code"] == "context_length_exceeded" and time.monotonic() - begun < 5
    longer = [{"role": "user", "content": "which bird is usual ? " * 500}]
    status, said, _ = send(
        server, "POST", "/contrast", {"model": "world", "messages": longer, "options": ["canary", "tern"]}
    )
    assert status == 400 and "maximum context length" in said["error"]["message"]
    status, said, _ = send(server, "POST", "/v1/chat/completions", CHAT)
    assert status == 200 and said["usage"]["completion_tokens"] >= 1
    assert "Traceback" not in server.log.read_text()


def test_a_host_without_a_key_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "weirdgen",
        "serve",
        "--model",
        "world",
        "--host",
        "0.0.0.0",
        "--store",
        str(tmp_path / "s"),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "needs a key" in done.stderr and not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_key_is_needed_and_never_written(tmp_path: Path) -> None:
    import openai

    with serving(tmp_path / "store", env={"WEIRDGEN_SERVE_KEY": KEY}) as server:
        assert len(server.client(KEY).models.list().data) == 1
        with pytest.raises(openai.AuthenticationError) as refused:
            server.client("sk-wrong").models.list()
        assert refused.value.code == "invalid_api_key"
        send(server, "POST", f"/v1/chat/completions?key={KEY}", b"{", {"Authorization": f"Bearer {KEY}"})
        send(server, "GET", "/v1/models", headers={"Authorization": KEY})
        status, page, headers = send(server, "GET", "/")
        assert (
            status == 200
            and "<title>weirdgen serve</title>" in page
            and "connect-src 'self'" in headers["content-security-policy"]
        )
        server.stop()
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) >= 2 and not [file for file in written if KEY.encode() in file.read_bytes()]
