"""A server on the loopback that speaks OpenAI's files, fine_tuning, models and chat endpoints, strictly.

In: how jobs and answers turn out (`Script`), and faults by path. Out: a base URL, the requests that came, by path. It holds no
model: a finetuned one answers from a hash of its name, the prompt and the seed. Fields and paths are those of the official SDK's
types; an unknown one is refused: 400 or 404 with OpenAI's error body.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.finetuning_answers import (
    CHAT,
    COMPLETE,
    RefusalError,
    Script,
    chat_answer,
    echo_answer,
    require_fields,
)
from tests.support.loopback import Handler, Loopback

CREATE = {
    "model": str,
    "training_file": str,
    "validation_file": str,
    "method": dict,
    "seed": int,
    "suffix": str,
}
HYPER = ("n_epochs", "batch_size", "learning_rate_multiplier")


class FinetuningServer(Loopback):
    """Use in a `with` block."""

    def __init__(self, script: Script | None = None) -> None:
        super().__init__(_Handler)
        self.script = script or Script()
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()
        self.chats: list[dict[str, Any]] = []
        self.lock = threading.RLock()
        self.base_url = f"{self.address}{self.script.prefix}"

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """The answer to one request. Raises `RefusalError`."""
        with self.lock:
            if (method, path) == ("POST", "/files"):
                return self._file(body)
            if (method, path) == ("GET", "/models"):
                tuned = [job["fine_tuned_model"] for job in self.jobs.values() if job["fine_tuned_model"]]
                return {"object": "list", "data": [self._model(name) for name in (*self.script.bases, *tuned)]}
            if method == "GET" and path.startswith("/models/"):
                self._require_model(path.removeprefix("/models/"))
                return self._model(path.removeprefix("/models/"))
            if method == "GET" and (match := re.fullmatch(r"/files/([^/]+)/content", path)):
                if match[1] not in self.files:
                    raise RefusalError(404, f"No such File object: {match[1]}")
                return self.files[match[1]]
            if method == "GET" and (match := re.fullmatch(r"/files/([^/]+)", path)):
                if match[1] not in self.files:
                    raise RefusalError(404, f"No such File object: {match[1]}")
                self.looks[match[1]] += 1
                return self._shown_file(match[1])
            if path == "/fine_tuning/jobs":
                return self._create(body) if method == "POST" else self._page(list(self.jobs.values())[::-1], query)
            if match := re.fullmatch(r"/fine_tuning/jobs/([^/]+)(/events|/checkpoints|/cancel)?", path):
                return self._job(method, match[1], match[2] or "", query)
        if (method, path) == ("POST", "/completions") and self.script.echo:
            require_fields(body, COMPLETE, ("model", "prompt"))
            self._require_model(body["model"])
            return echo_answer(self.script, body)
        if (method, path) == ("POST", "/chat/completions"):
            return self._chat(body)
        raise RefusalError(404, f"Invalid URL ({method} {path})")

    def _file(self, parts: dict[str, bytes]) -> Any:
        if set(parts) != {"purpose", "file"} or parts["purpose"] != b"fine-tune":
            raise RefusalError(400, f"unexpected form: {sorted(parts)}")
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"]
        return self._shown_file(name)

    def _shown_file(self, name: str) -> Any:
        return {
            "id": name, "object": "file", "bytes": len(self.files[name]), "created_at": 1_700_000_000, "filename": "rows.jsonl",
            "purpose": "fine-tune", "status": "processed" if self._is_ready(name) else "pending",
        }  # fmt: skip

    def _is_ready(self, file: str) -> bool:
        return not self.script.azure or self.looks[file] >= self.script.looks

    def _create(self, body: Any) -> Any:
        azure = {"trainingType": str} if self.script.azure else {"metadata": dict}
        require_fields(body, {**CREATE, **azure}, ("model", "training_file", *(azure if self.script.azure else ())))
        if body["model"] not in self.script.bases:
            raise RefusalError(404, f"The model `{body['model']}` does not exist")
        if body["training_file"] not in self.files:
            raise RefusalError(400, f"invalid training_file: {body['training_file']}")
        if not self._is_ready(body["training_file"]):
            raise RefusalError(400, f"The file {body['training_file']} has not been processed")
        if set(body["method"]) != {"type", "supervised"} or set(body["method"]["supervised"]) != {"hyperparameters"}:
            raise RefusalError(400, "invalid method")
        hyper = body["method"]["supervised"]["hyperparameters"]
        if unknown := set(hyper) - set(HYPER):
            raise RefusalError(400, f"Unrecognized request argument supplied: {sorted(unknown)}")
        if len(body.get("suffix", "")) > (40 if self.script.azure else 64) or not re.fullmatch(
            r"[A-Za-z0-9-]+", body.get("suffix", "x")
        ):
            raise RefusalError(400, "invalid suffix")
        rows = [json.loads(line) for line in self.files[body["training_file"]].splitlines()]
        took = {**{k: 1.5 if v == "auto" else v for k, v in hyper.items()}, **self.script.took}
        seed = took.pop("seed", body.get("seed"))
        steps = took["n_epochs"] * -(-len(rows) // took["batch_size"])
        job = {
            "id": f"ftjob-{len(self.jobs)}", "object": "fine_tuning.job", "created_at": 1_700_000_000, "error": None,
            "fine_tuned_model": None, "finished_at": None, "hyperparameters": took, "model": f"{body['model']}-2025-04-14",
            "organization_id": "org-test", "result_files": [], "seed": seed, "status": "validating_files",
            "trained_tokens": None, "training_file": body["training_file"], "validation_file": None,
            "estimated_finish": None, "integrations": [],
            "metadata": None if "metadata" in self.script.drops else body.get("metadata"),
            "user_provided_suffix": None if "suffix" in self.script.drops else body.get("suffix"),
            "method": {"type": "supervised", "supervised": {"hyperparameters": took}},
            "steps": steps, "step": 0, "suffix": body.get("suffix"), "tokens": sum(len(str(row)) for row in rows) // 4,
        }  # fmt: skip
        self.jobs[job["id"]] = job
        return _shown(job)

    def _job(self, method: str, name: str, what: str, query: dict[str, list[str]]) -> Any:
        if name not in self.jobs:
            raise RefusalError(404, f"Could not find fine tune: {name}")
        job = self.jobs[name]
        if what == "/cancel" and method == "POST":
            job["status"] = "cancelled"
            return _shown(job)
        if method != "GET":
            raise RefusalError(405, f"Not allowed to {method}")
        if what == "/events":
            return self._page(self._events(job)[::-1], query)
        if what == "/checkpoints":
            epoch = max(1, job["steps"] // job["hyperparameters"]["n_epochs"])
            points = [
                {"id": f"ftckpt-{name}-{step}", "object": "fine_tuning.job.checkpoint", "created_at": 1_700_000_000,
                 "fine_tuned_model_checkpoint": f"{job['fine_tuned_model']}:ckpt-step-{step}", "fine_tuning_job_id": name,
                 "metrics": {"step": step, "train_loss": 0.5}, "step_number": step}
                for step in range(epoch, job["steps"], epoch)
            ]  # fmt: skip
            return self._page(points[::-1], query)
        self._advance(job)
        return _shown(job)

    def _advance(self, job: dict[str, Any]) -> None:
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return
        if job["status"] == "validating_files":
            job["status"] = "running"
            return
        job["step"] = min(job["steps"], job["step"] + self.script.steps_a_look)
        if job["step"] < job["steps"]:
            return
        if self.script.fail:
            job |= {"status": "failed", "error": {"param": None, **self.script.fail}}
            return
        base = job["model"]
        job |= {
            "status": "succeeded", "fine_tuned_model": f"ft:{base}:org:{job['suffix']}:{job['id'][-1]}x",
            "finished_at": 1_700_000_100, "trained_tokens": job["tokens"] * job["hyperparameters"]["n_epochs"],
        }  # fmt: skip

    def _events(self, job: dict[str, Any]) -> list[Any]:
        told = [("info", "Created fine-tuning job", None)]
        for step in range(1, job["step"] + 1):
            data = {"step": step, "train_loss": round(2 / step, 4), "total_steps": job["steps"]}
            told.append(("info", f"Step {step}/{job['steps']}: training loss={2 / step:.4f}", data))
        return [
            {"id": f"ftevent-{job['id']}-{n}", "object": "fine_tuning.job.event", "created_at": 1_700_000_000 + n, "level": level,
             "message": message, "type": "metrics" if data else "message", "data": data}
            for n, (level, message, data) in enumerate(told)
        ]  # fmt: skip

    def _page(self, items: list[Any], query: dict[str, list[str]]) -> Any:
        if unknown := set(query) - {"after", "limit"}:
            raise RefusalError(400, f"Unknown query parameters: {sorted(unknown)}")
        limit, after = int(query.get("limit", ["20"])[0]), query.get("after", [None])[0]
        if not 1 <= limit <= 100:
            raise RefusalError(400, "limit must be within 1 and 100")
        ids = [item["id"] for item in items]
        start = ids.index(after) + 1 if after in ids else 0
        page = [_shown(item) for item in items[start : start + limit]]
        return {"object": "list", "data": page, "has_more": start + limit < len(items)}

    def _chat(self, body: Any) -> Any:
        for name in self.script.refuses:
            if name in body:
                raise RefusalError(400, f"Unsupported parameter: '{name}' is not supported with this model.")
        require_fields(body, CHAT, ("model", "messages"))
        self._require_model(body["model"])
        with self.lock:
            self.chats.append(body)
        return chat_answer(self.script, body)

    def _require_model(self, name: str) -> None:
        if name not in (*self.script.bases, *self.script.deployed) and name not in [
            job["fine_tuned_model"] for job in self.jobs.values()
        ]:
            raise RefusalError(404, f"The model `{name}` does not exist or you do not have access to it.")

    def _model(self, name: str) -> Any:
        shut = {"shutdown_date": self.script.shutdown} if self.script.shutdown else {}
        return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": self.script.owner, **shut}


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in ("steps", "step", "suffix", "tokens")}


class _Handler(Handler):
    owner: FinetuningServer

    def answer(self, method: str) -> None:
        raw = self.body()
        url = urlsplit(self.path)
        prefix = self.owner.script.prefix
        path = url.path.removeprefix(prefix)
        with self.owner.lock:
            self.owner.counts[f"{method} {path}"] += 1
            count = self.owner.counts[f"{method} {path}"]
        key = self.headers.get("Authorization", "").removeprefix("Bearer ") or self.headers.get("api-key")
        if not url.path.startswith(prefix):
            return self._refused(404, f"Invalid URL ({method} {url.path})")
        if key != self.owner.script.key:
            return self._refused(401, f"Incorrect API key provided: {key}. You can find your API key at …")
        fault = self.owner.script.fault(method, path, count)
        if isinstance(fault, int):
            return self._refused(fault, "scripted failure")
        if isinstance(fault, float):
            time.sleep(fault)
        if fault == "late":
            work = (method, path, parse_qs(url.query), self._parsed(raw))
            threading.Timer(self.owner.script.late, self.owner.handle, work).start()
            return self._refused(504, "the gateway waited no longer")
        if fault == "nothing":
            self.close_connection = True
            return None
        if fault == "garbage":
            return self.send(200, b'{"object": "something else", "data": 7}')
        try:
            query = parse_qs(url.query)
            if prefix == "/openai":  # Azure's addresses: a version with each, and deployments that answer
                if not query.pop("api-version", None):
                    raise RefusalError(404, "Missing api-version")
                path = re.sub(r"^/deployments/[^/]+/", "/", path)
            answer = self.owner.handle(method, path, query, self._parsed(raw))
        except RefusalError as error:
            return self._refused(error.status, str(error), error.code)
        except (KeyError, TypeError, ValueError) as error:
            return self._refused(400, f"invalid request: {error!r}")
        if fault == "hang up after":
            self.close_connection = True
            return None
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return self.send(200, content, half=fault == "half")

    def _parsed(self, raw: bytes) -> Any:
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
            return {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                for part in message.iter_parts()
            }
        return json.loads(raw) if raw else None

    def _refused(self, status: int, message: str, code: str | None = None) -> None:
        headers = {}
        if status == 429 and self.owner.script.retry_after:
            headers["retry-after"] = self.owner.script.retry_after
        elif status in (429, 500, 503):
            headers["retry-after-ms"] = "5"
        self.refuse(status, message, code, headers)
