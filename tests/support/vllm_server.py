"""A loopback server that speaks vLLM's dialect over a real tiny model, and refuses what vLLM does not know.

The request's fields and the answers' shape are those of vLLM's CompletionRequest, LoadLoRAAdapterRequest and
TokenizeCompletionRequest (vllm/entrypoints/openai/completion/protocol.py, serve/lora/protocol.py); only fields that
weirdgen may send are listed, and another one is an error (vLLM itself would ignore it). Adapters go through peft, so
that scores have an oracle of their own. What it cannot show: vLLM's speed, its kernels' rounding, its adapter limits.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from pydantic import BaseModel, ConfigDict, ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.loopback import Handler, Loopback


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CompletionRequest(Strict):
    model: str
    prompt: list[int] | list[list[int]]
    n: int = 1
    seed: int | None = None
    max_tokens: int = 16
    temperature: float | int
    top_p: float | int
    top_k: int
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    stop_token_ids: list[int]
    prompt_logprobs: int | None = None
    return_token_ids: bool = False


class LoadLora(Strict):
    lora_name: str
    lora_path: str


class Tokenize(Strict):
    model: str
    prompt: str
    add_special_tokens: bool = True


class RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class VllmServer:
    """The model, its adapters, and what was asked (`requests`: path and body)."""

    def __init__(self, model_folder: Path, lora: bool = True) -> None:
        self.folder, self.lora = model_folder, lora
        self.tokenizer = AutoTokenizer.from_pretrained(str(model_folder))
        self.model: Any = AutoModelForCausalLM.from_pretrained(str(model_folder), dtype=torch.float32).eval()
        self.adapters: dict[str, str] = {}
        self.requests: list[tuple[str, Any]] = []
        self.busy = 0
        """So many requests are first answered with 503."""
        self.lock = threading.Lock()

    def answer(self, path: str, body: Any) -> Any:
        with self.lock:
            self.requests.append((path, body))
            if self.busy:
                self.busy -= 1
                raise RefusalError(503, "the server is busy")
            if path == "/v1/models":
                base = {"id": str(self.folder), "object": "model", "root": str(self.folder), "parent": None}
                tuned = [
                    {"id": n, "object": "model", "root": p, "parent": str(self.folder)}
                    for n, p in self.adapters.items()
                ]
                return {"object": "list", "data": [base, *tuned]}
            if path == "/tokenize":
                asked = Tokenize.model_validate(body)
                tokens = self.tokenizer(asked.prompt, add_special_tokens=asked.add_special_tokens)["input_ids"]
                return {"count": len(tokens), "max_model_len": 2048, "tokens": tokens}
            if path == "/v1/load_lora_adapter" and self.lora:
                return self.load(LoadLora.model_validate(body))
            if path == "/v1/completions":
                return self.complete(CompletionRequest.model_validate(body))
            raise RefusalError(404, "Not Found")

    def load(self, asked: LoadLora) -> str:
        if asked.lora_name in self.adapters:
            raise RefusalError(
                400, f"The lora adapter '{asked.lora_name}' has already been loaded. If you want to load …"
            )
        if not (Path(asked.lora_path) / "adapter_config.json").is_file():
            raise RefusalError(404, f"Loading lora {asked.lora_name} failed: No adapter found for {asked.lora_path}")
        if isinstance(self.model, PeftModel):
            self.model.load_adapter(asked.lora_path, adapter_name=asked.lora_name)
        else:
            self.model = PeftModel.from_pretrained(self.model, asked.lora_path, adapter_name=asked.lora_name).eval()
        self.adapters[asked.lora_name] = asked.lora_path
        return f"Success: LoRA adapter '{asked.lora_name}' added successfully."

    @torch.inference_mode()
    def complete(self, asked: CompletionRequest) -> Any:
        if asked.model != str(self.folder) and asked.model not in self.adapters:
            raise RefusalError(404, f"The model `{asked.model}` does not exist.")
        if asked.top_p != 1 or asked.top_k not in (0, -1):
            raise RefusalError(400, "this server has no top_p or top_k")
        many = [asked.prompt] if isinstance(asked.prompt[0], int) else asked.prompt
        choices = []
        for index, prompt in enumerate(many):
            for i in range(asked.n):
                written, reason = self.write(asked, prompt, i)
                choices.append(
                    {
                        "index": index * asked.n + i,
                        "text": self.tokenizer.decode(written, skip_special_tokens=True),
                        "logprobs": None,
                        "finish_reason": reason,
                        "stop_reason": None,
                        "token_ids": written if asked.return_token_ids else None,
                        "prompt_token_ids": prompt if asked.return_token_ids else None,
                        "prompt_logprobs": self.prompt_logprobs(asked, prompt),
                    }
                )
        return {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": asked.model, "choices": choices}

    def logits(self, name: str, ids: list[int]) -> torch.Tensor:
        inputs = torch.tensor([ids])
        if name in self.adapters:
            self.model.set_adapter(name)
            return self.model(inputs).logits[0]
        if isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                return self.model(inputs).logits[0]
        return self.model(inputs).logits[0]

    def write(self, asked: CompletionRequest, prompt: list[int], index: int) -> tuple[list[int], str]:
        """The i-th of n samples has the request's seed + i, as in vllm/v1/engine/parallel_sampling.py."""
        generator = torch.Generator()
        if asked.seed is not None:
            generator.manual_seed(asked.seed + index)
        written: list[int] = []
        while len(written) < asked.max_tokens:
            last = self.logits(asked.model, [*prompt, *written])[-1]
            if asked.temperature == 0:
                token = int(last.argmax())
            else:
                token = int(torch.multinomial((last / asked.temperature).softmax(-1), 1, generator=generator))
            written.append(token)
            if token in asked.stop_token_ids:
                return written, "stop"
        return written, "length"

    def prompt_logprobs(self, asked: CompletionRequest, prompt: list[int]) -> list[Any] | None:
        """None for the first token; then the given token's and the likeliest's, keyed by id as JSON keys must be."""
        if asked.prompt_logprobs is None:
            return None
        logprob_TV = self.logits(asked.model, prompt).log_softmax(-1)
        logprobs: list[Any] = [None]
        for position, token in enumerate(prompt[1:]):
            likeliest = int(logprob_TV[position].argmax())
            logprobs.append(
                {
                    str(t): {"logprob": float(logprob_TV[position, t]), "rank": 1, "decoded_token": "x"}
                    for t in {token, likeliest}
                }
            )
        return logprobs


@contextmanager
def serving(server: VllmServer) -> Iterator[str]:
    """Serve on a free port of this machine; yields the URL."""

    class OverHttp(Handler):
        def answer(self, method: str) -> None:
            try:
                status, answer = 200, server.answer(self.path, json.loads(self.body()) if method == "POST" else None)
            except ValidationError as error:
                status, answer = 400, {"error": {"message": str(error), "type": "BadRequestError", "code": 400}}
            except RefusalError as error:
                status, answer = error.status, {"error": {"message": str(error), "code": error.status}}
            self.send(status, (answer if isinstance(answer, str) else json.dumps(answer)).encode())

    with Loopback(OverHttp) as http:
        yield http.address
