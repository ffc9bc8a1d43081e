"""Tinker, through its SDK: connections, one call at a time with a limit, downloads. The only module that imports `tinker` (extra
`tinker`).

In: a service. Out: clients of the SDK, what calls come to, errors as one sentence. Written for SDKs from 0.12 to 0.38, which
differ in how adapters are handed out. What is trained is `weirdgen.finetune.tinker`.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.progress import clock
from weirdgen.providers.service import AbsentError, Service, reason

OFFICIAL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
"""The SDK's own address."""
CONNECT_SECONDS, ANSWER_SECONDS, DOWNLOAD_SECONDS = 120.0, 1800.0, 60.0
"""For connecting; for any one answer, as a first step may wait for machines or a compiler; without a byte of a download."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files of an adapter."""

Example = tuple[list[int], list[int], list[float]]
"""(tokens that are read, token to predict after each, its weight in the loss)."""


class Tinker:
    """One service. Raises of every call: see `ask`."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A client with a session of its own, whose end frees what the service holds for it.

        Raises `ModelError` if the SDK or the key is missing, or the key would travel unencrypted.
        """
        try:
            import tinker
        except ImportError as error:
            raise ModelError(
                f"{self.service.shown} is reached through its SDK, which is not installed ({error.name}): "
                "pip install 'weirdgen[tinker]'"
            ) from None
        address, key = self.service.credentials(OFFICIAL)
        key = "tml-none" if key == "none" else key  # what servers on one's own machine are sent, as the SDK wants it
        client = self.ask("connecting", lambda: tinker.ServiceClient(base_url=address, api_key=key), CONNECT_SECONDS)
        try:
            yield client
        finally:
            if hasattr(client, "close"):
                client.close("success")
            else:
                client.holder.close()

    def ask(self, doing: str, call: Callable[[], Any], seconds: float = ANSWER_SECONDS) -> Any:
        """What a call of the SDK comes to. By themselves calls wait without end, and refuse to be made from a notebook's loop.

        Raises `UnreachableError` if another try may well succeed, `AbsentError` if there is no such thing, else `ModelError`.
        """
        came: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                came.append((call(), None))
            except BaseException as error:
                came.append((None, error))

        thread = threading.Thread(target=work, name=f"tinker: {doing}", daemon=True)
        thread.start()
        thread.join(seconds)
        if not came:
            raise UnreachableError(f"{self.service.shown}: {doing}: no answer within {clock(seconds)}")
        answer, error = came[0]
        if error is not None:
            raise self._explained(error, doing) from None
        return answer

    def training(self, doing: str, make: Callable[[], Any]) -> Any:
        """A training client; newer SDKs hand out the promise of one."""
        made = self.ask(doing, make)
        return self.ask(doing, made.result) if hasattr(made, "result") else made

    def log_probabilities(self, passed: Any, batch: Sequence[Example]) -> list[list[float]]:
        """Of every token to predict of these examples, once a pass over them is through."""
        output = self.ask("training", passed.result)
        try:
            told = [[float(p) for p in one["logprobs"].data] for one in output.loss_fn_outputs]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelError(
                f"{self.service.shown}: a pass without log-probabilities ({type(error).__name__})"
            ) from None
        if list(map(len, told)) != [len(tokens) for tokens, _, _ in batch]:
            raise ModelError(
                f"{self.service.shown}: a pass over {len(batch)} rows tells of other tokens than were sent"
            )
        return told

    def save_adapter(self, training: Any, name: str, seconds: int) -> Any:
        """Have the weights of now kept in the form that can be downloaded; its promise."""
        # Newer SDKs hand out what is saved so, and no more what samplers read.
        save = getattr(training, "save_weights_external", None) or training.save_weights_for_sampler
        return self.ask("keeping an adapter", lambda: save(name, ttl_seconds=seconds))

    def download_adapter(self, path: str, folder: Path) -> None:
        """Fetch the two files of an adapter that the service keeps."""
        with self.connected() as client:
            rest, doing = client.create_rest_client(), "looking for an adapter"
            if hasattr(rest, "get_external_weights_urls"):
                urls = self.ask(doing, lambda: rest.get_external_weights_urls(path).result()).urls
                for name, url in urls.items():
                    if (plain := name.rpartition("/")[2]) in (CONFIG, WEIGHTS):
                        self._download(url, folder / plain)
                return
            run, _, name = path.removeprefix("tinker://").partition("/")
            link = rest.get_checkpoint_archive_url
            try:
                found = self.ask(doing, lambda: link(run, name).result())
            except AbsentError:  # a server that knows sampler_weights/NAME as NAME
                found = self.ask(doing, lambda: link(run, name.rpartition("/")[2]).result())
            archive = folder.with_suffix(".tar")
            self._download(str(found.url), archive)
            unpack(archive, folder)
            archive.unlink()

    def _download(self, url: str, file: Path) -> None:
        self.ask("downloading", lambda: _fetch(url, file))

    def _explained(self, error: BaseException, doing: str) -> BaseException:
        """One sentence for whatever the SDK raised, without keys."""
        if isinstance(error, ModelError):
            return error
        status, text = getattr(error, "status_code", None), f"{self.service.shown}: {doing}: {reason(error)}"
        if status in (401, 403):
            return ModelError(f"{text}. The key is read from {self.service.key_name}")
        if status == 404:
            return AbsentError(text)
        busy = isinstance(status, int) and (status in (408, 409, 425, 429) or status >= 500)
        if busy or isinstance(error, OSError) or type(error).__name__ in ("APIConnectionError", "APITimeoutError"):
            return UnreachableError(text)
        return ModelError(text)


def datums(batch: Sequence[Example]) -> list[Any]:
    """Examples as the SDK sends them."""
    import tinker

    return [
        tinker.Datum(
            model_input=tinker.ModelInput.from_ints(tokens),
            loss_fn_inputs={
                "target_tokens": tinker.TensorData(data=targets, dtype="int64", shape=[len(targets)]),
                "weights": tinker.TensorData(data=weights, dtype="float32", shape=[len(weights)]),
            },
        )
        for tokens, targets, weights in batch
    ]


def adam(**settings: float) -> Any:
    """Settings of one step of AdamW."""
    import tinker

    return tinker.AdamParams(**settings)


def unpack(archive: Path, folder: Path) -> None:
    """Take an adapter's two files out of an archive, wherever in it they are, and nothing else. Raises `ModelError`."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                name = member.name.rpartition("/")[2]
                if member.isreg() and name in (CONFIG, WEIGHTS) and (stream := packed.extractfile(member)):
                    with (folder / name).open("wb") as file:
                        shutil.copyfileobj(stream, file)
    except tarfile.TarError as error:
        raise ModelError(f"what was downloaded is no archive of an adapter: {error}") from None


def _fetch(url: str, file: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise ModelError("the service names a file that is at no web address")
    file.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer, file.open("wb") as stream:
        shutil.copyfileobj(answer, stream)
        size = answer.headers.get("Content-Length")
    if size is not None and int(size) != file.stat().st_size:
        raise UnreachableError(
            f"{file.name}: the connection ended after {file.stat().st_size:,} of {int(size):,} bytes"
        )
