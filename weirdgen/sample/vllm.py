"""The vLLM engine: answers and scores from a vLLM server, replicates as LoRA adapters by name.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora --max-lora-rank 16
    weirdgen run EXPERIMENT --model path:MODEL --engine vllm:http://localhost:8000

In: the server's URL, the model's folder (for tokenizer and chat template), adapters. Out: what every engine gives. Chats
become token ids here, exactly as in training, and go to `/v1/completions`; the server never sees a template. Every
setting that a server might fill in from a model's `generation_config` is sent. Adapter folders are read by the server,
so it must see the store under the same path. Not for servers of other makes: prompt_logprobs and adapters are vLLM's.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from weirdgen.display import without_secrets
from weirdgen.errors import ModelError
from weirdgen.models.chat import answer_ids, end_of_turn_ids, load_tokenizer, prompt_ids
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, Scored, sample_seed

REQUESTS_AT_ONCE = 64
"""The server makes its own batches of whatever is waiting."""
TRIES, PAUSE_SECONDS = 4, 2.0
"""For a server that is busy, or just being restarted."""
TIMEOUT_SECONDS = 600.0
Result = TypeVar("Result")


class VllmEngine:
    """`Engine` over one vLLM server."""

    def __init__(self, url: str, model_folder: Path, pause: float = PAUSE_SECONDS, date: str | None = None) -> None:
        """`pause`: seconds before a failed request is sent again. Raises `ModelError` if the server has another model."""
        self._url, self._headers = _address(url)
        self._shown, self._pause = without_secrets(self._url), pause
        self.tokenizer = load_tokenizer(model_folder, date)
        self._stops = end_of_turn_ids(self.tokenizer)
        cards = self._send("/v1/models")["data"]
        bases = [card["id"] for card in cards if not card.get("parent")]
        if not bases:
            raise ModelError(f"the server at {self._shown} serves no model")
        self._base = bases[0]
        self._variants = [self._base]
        self._require_same_tokens(model_folder)

    def exactness(self) -> list[dict[str, Any]]:
        """A server's own ways are not tried."""
        return []

    def use(self, adapters: Sequence[Path | None]) -> None:
        """Adapters stay loaded on the server, which keeps the ones used last; other runs may be using them."""
        self._variants = [self._base if adapter is None else self._load(adapter) for adapter in adapters]

    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        """One request per variant and prompt for its samples. vLLM seeds the i-th of them with the request's seed + i."""

        def ask(variant: int, prompt: Prompt) -> list[tuple[int, Completion]]:
            first = sample_seed(seeds[variant], prompt.key, indices.start) >> 1  # room for + i in 63 bits
            ids = prompt_ids(self.tokenizer, prompt.text)
            settings = {**_settings(sampling), "n": len(indices), "seed": first, "max_tokens": prompt.max_tokens}
            choices = _in_order(self._complete(variant, ids, **settings))
            return [
                (variant, self._completion(prompt, sample, first + sample - indices.start, len(ids), choice))
                for sample, choice in zip(indices, choices, strict=True)
            ]

        wanted = [(variant, prompt) for variant in range(len(self._variants)) for prompt in prompts]
        for completions in _all_at_once([lambda v=variant, p=prompt: ask(v, p) for variant, prompt in wanted]):  # type: ignore[misc]
            yield from completions

    def score(self, questions: Sequence[Scorable]) -> Iterator[tuple[int, Scored]]:
        """One request per variant and question, each option a prompt of its own; the tokens' log-probabilities come back."""

        def ask(variant: int, question: Scorable) -> list[tuple[int, Scored]]:
            before = prompt_ids(self.tokenizer, question.ask)
            tails = [answer_ids(self.tokenizer, question.ask, option) for option in question.options]
            # prompt_logprobs: the given token's own is always among them. One token must be written, and is ignored.
            settings = {**_settings(Sampling(temperature=0)), "max_tokens": 1, "prompt_logprobs": 1}
            answer = self._complete(variant, [[*before, *tail] for tail in tails], **settings)
            scores = []
            for option, tail, choice in zip(question.options, tails, _in_order(answer), strict=True):
                given = choice["prompt_logprobs"][len(before) :]
                logprob = sum(at[str(token)]["logprob"] for token, at in zip(tail, given, strict=True))
                scores.append((variant, Scored(question.key, option, logprob, len(tail))))
            return scores

        wanted = [(variant, question) for variant in range(len(self._variants)) for question in questions]
        for scores in _all_at_once([lambda v=variant, q=question: ask(v, q) for variant, question in wanted]):  # type: ignore[misc]
            yield from scores

    def _complete(self, variant: int, prompt: Any, **settings: Any) -> Any:
        body = {"model": self._variants[variant], "prompt": prompt, "stop_token_ids": sorted(self._stops)}
        return self._send("/v1/completions", {**body, "return_token_ids": True, **settings})

    def _completion(
        self, prompt: Prompt, sample: int, seed: int, prompt_tokens: int, choice: dict[str, Any]
    ) -> Completion:
        ids = list(choice["token_ids"])
        stopped = choice["finish_reason"] == "stop"
        written = ids[:-1] if ids and ids[-1] in self._stops else ids
        return Completion(
            key=prompt.key,
            sample=sample,
            text=self.tokenizer.decode(written, skip_special_tokens=True),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(written) + stopped,
            seed=seed,
        )

    def _load(self, adapter: Path) -> str:
        """The server's name for an adapter: by its path in the store, which names its content."""
        name = f"weirdgen-{hashlib.sha256(str(adapter).encode()).hexdigest()[:16]}"
        try:
            self._send("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(adapter)})
        except _RefusedError as error:
            if "already been loaded" in str(error):
                return name
            if error.status in (404, 405) and "No adapter found" not in str(error):
                raise ModelError(
                    f"the server at {self._shown} takes no adapters: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its "
                    "environment and --enable-lora --max-lora-rank RANK"
                ) from None
            raise ModelError(
                f"the server at {self._shown} cannot load {adapter}: {error}. It must see the store under this path, and "
                "--max-lora-rank must be at least the recipe's rank"
            ) from None
        return name

    def _require_same_tokens(self, model_folder: Path) -> None:
        """A server of another model family would answer anyway, with nonsense."""
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": "1838"}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        theirs = self._send("/tokenize", {"model": self._base, "prompt": text, "add_special_tokens": False})["tokens"]
        if theirs != prompt_ids(self.tokenizer, "1838"):
            raise ModelError(
                f"the server at {self._shown} serves '{self._base}', whose tokenizer is not that of {model_folder}; "
                "start it with the model that --model names"
            )

    def _send(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST `body` as JSON (GET without one). Tries again while the server is unreachable or overloaded."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                    text = answer.read().decode()
                return json.loads(text) if text.startswith(("{", "[")) else text
            except urllib.error.HTTPError as error:
                said = _said(error.read().decode(errors="replace"))
                if error.code not in (429, 502, 503, 504) or attempt == TRIES:
                    raise _RefusedError(f"{path} answered {error.code}: {said}", error.code) from None
            except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.InvalidURL) as error:
                if attempt == TRIES:
                    reason = getattr(error, "reason", error)
                    raise ModelError(
                        f"no vLLM server answers at {self._shown} ({without_secrets(str(reason))}); start one: "
                        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora"
                    ) from None
            time.sleep(self._pause * attempt)
        raise AssertionError("unreachable")


def _address(url: str) -> tuple[str, dict[str, str]]:
    """The server's address without a user and password in it, and the header that carries these instead."""
    scheme, _, rest = url.rstrip("/").partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if not at:
        return url.rstrip("/"), {}
    coded = base64.b64encode(unquote(user).encode()).decode()
    return f"{scheme}://{host}{slash}{path}", {"Authorization": f"Basic {coded}"}


class _RefusedError(ModelError):
    """The server's own words on a request that it will not do."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _settings(sampling: Sampling) -> dict[str, Any]:
    """Every one is sent: what is left out, a server may take from the model's generation_config."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
    }


def _in_order(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(answer["choices"], key=lambda choice: int(choice["index"]))


def _all_at_once(calls: Sequence[Callable[[], Result]]) -> Iterator[Result]:
    """Results as they come in; the first error ends it, and what has not been sent is not sent."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        waiting = [pool.submit(call) for call in calls]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _said(text: str) -> str:
    """The message of an error body: vLLM's {"error": {"message"}}, older {"message"}, or the text itself."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        return text[:300]
    body = body.get("error", body) if isinstance(body, dict) else body
    return str(body.get("message", body) if isinstance(body, dict) else body)[:300]
