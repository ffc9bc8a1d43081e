"""A stand-in for the newest SDK of Tinker that trains in this process: the calls that `weirdgen.providers.tinker` makes of it.

It does with torch and peft what Tinker's documents say of each call (the loss is the sum of weight × −log p; AdamW; gradients are
clipped as a whole), and begins where our own training begins, so that both can be compared. What it kept outlives its clients.
"""

from __future__ import annotations

import copy
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch


class NotFoundError(Exception):
    status_code = 404


@dataclass
class Done:
    """A promise that is kept already."""

    value: Any

    def result(self) -> Any:
        return self.value


@dataclass
class Datum:
    model_input: Any
    loss_fn_inputs: dict[str, Any]


@dataclass
class TensorData:
    data: list[Any]
    dtype: str
    shape: list[int]


class TinkerHere:
    """The module `tinker`, of one service. `asked` counts calls; `fails` is told of each and may raise."""

    def __init__(self, model: Path, name: str, files: Path, url: str) -> None:
        self.model, self.name, self.files, self.url = model, name, files, url
        self.states: dict[str, Any] = {}
        self.asked: list[str] = []
        self.fails: Callable[[str], None] = lambda call: None
        self.Datum, self.TensorData, self.AdamParams = Datum, TensorData, SimpleNamespace
        self.ModelInput = SimpleNamespace(from_ints=list)
        self.ServiceClient = functools.partial(Client, self)

    def count(self, call: str) -> None:
        self.asked.append(call)
        self.fails(call)


@dataclass
class Client:
    """A service client, and its REST client."""

    at: TinkerHere
    base_url: str
    api_key: str
    closed: list[str] = field(default_factory=list)

    def get_server_capabilities(self) -> Any:
        return SimpleNamespace(supported_models=[SimpleNamespace(model_name=self.at.name)])

    def create_rest_client(self) -> Client:
        return self

    def create_lora_training_client(
        self, base_model: str, rank: int, seed: int, train_unembed: bool, **more: Any
    ) -> Any:
        self.at.count("create")
        assert base_model == self.at.name and not train_unembed
        return Done(Training(self.at, rank, seed))

    def create_training_client_from_state_with_optimizer(self, path: str) -> Any:
        self.at.count("resume")
        if path not in self.at.states:
            raise NotFoundError(f"no {path}")
        rank, weights, optimizer = self.at.states[path]
        training = Training(self.at, rank, 0)
        training.model.load_state_dict(weights, strict=False)
        training.optimizer.load_state_dict(optimizer)
        return Done(training)

    def get_external_weights_urls(self, path: str) -> Any:
        name = path.removeprefix("tinker://").replace("/", "_")
        files = ("adapter_config.json", "adapter_model.safetensors", "README.md")
        return Done(SimpleNamespace(urls={f"adapter/{file}": f"{self.at.url}/{name}/{file}" for file in files}))

    def close(self, status: str) -> Any:
        self.closed.append(status)
        return Done(None)


class Training:
    """A LoRA of one base."""

    def __init__(self, at: TinkerHere, rank: int, seed: int) -> None:
        from peft import LoraConfig, get_peft_model

        from weirdgen.config.experiment import Recipe
        from weirdgen.finetune.lora import adapted_layers, initial_a
        from weirdgen.models.loading import read_model

        self.at, self.rank = at, rank
        self.model_id = f"run-{sum(call in ('create', 'resume') for call in at.asked)}"
        base = read_model(at.model, torch.float32)
        layers = adapted_layers(base, Recipe())
        inputs = {name: int(cast(torch.Tensor, layer.weight).shape[1]) for name, layer in layers.items()}
        lora = LoraConfig(r=rank, lora_alpha=32, target_modules=sorted(layers), task_type="CAUSAL_LM")
        self.model = get_peft_model(base, lora)
        with torch.no_grad():
            for name, width in inputs.items():
                layer = self.model.get_submodule(f"base_model.model.{name}")
                layer.lora_A["default"].weight.copy_(initial_a(seed, name, width, rank))
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=0.0, weight_decay=0.0)

    def forward(self, data: list[Datum], loss_fn: str) -> Done:
        self.at.count("forward")
        with torch.no_grad():
            return self._passed(data, loss_fn)

    def forward_backward(self, data: list[Datum], loss_fn: str) -> Done:
        self.at.count("forward_backward")
        return self._passed(data, loss_fn)

    def _passed(self, data: list[Datum], loss_fn: str) -> Done:
        assert loss_fn == "cross_entropy"
        outputs = []
        for datum in data:
            targets = torch.tensor(datum.loss_fn_inputs["target_tokens"].data)
            logits = self.model(input_ids=torch.tensor([datum.model_input]), use_cache=False).logits[0]
            log_T = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
            loss = -(torch.tensor(datum.loss_fn_inputs["weights"].data) * log_T).sum()
            if torch.is_grad_enabled():
                loss.backward()
            outputs.append({"logprobs": SimpleNamespace(data=log_T.tolist())})
        return Done(SimpleNamespace(loss_fn_outputs=outputs))

    def optim_step(self, adam: Any) -> Done:
        self.at.count("optim_step")
        settings = {"lr": adam.learning_rate, "betas": (adam.beta1, adam.beta2), "eps": adam.eps}
        self.optimizer.param_groups[0].update(settings, weight_decay=adam.weight_decay)
        torch.nn.utils.clip_grad_norm_(self.weights, adam.grad_clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Done(None)

    def save_state(self, name: str, ttl_seconds: int) -> Done:
        self.at.count("save_state")
        path = f"tinker://{self.model_id}/weights/{name}"
        weights = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}
        self.at.states[path] = self.rank, weights, copy.deepcopy(self.optimizer.state_dict())
        return Done(SimpleNamespace(path=path))

    def save_weights_external(self, name: str, ttl_seconds: int) -> Done:
        self.at.count("save_weights_external")
        self.model.save_pretrained(str(self.at.files / f"{self.model_id}_external_weights_{name}"))
        return Done(SimpleNamespace(path=f"tinker://{self.model_id}/external_weights/{name}"))


@contextmanager
def tinker_here(model: Path, name: str, files: Path) -> Iterator[TinkerHere]:
    """The stand-in; what it hands out lies under `files` and is served on the loopback."""
    files.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words, directory=str(files))

        def log_message(self, *words: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield TinkerHere(model, name, files, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
