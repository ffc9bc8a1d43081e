"""`weirdgen serve`: loads the models, binds the port, answers until it is stopped.

In: model references, host, port, store, the name of the key's variable, the dtype of what answers. Out: exit after Ctrl-C or
SIGTERM; jobs that are not finished go on at the next start. What is printed never holds a key.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from weirdgen.errors import SpecError
from weirdgen.serve.limits import Limits, access
from weirdgen.store.artifacts import Store


def serve(models: Sequence[str], host: str, port: int, store: str, key_variable: str | None, dtype: str) -> None:
    """Serve until stopped. Raises `WeirdgenError` if that cannot begin."""
    allowed = access(host, key_variable)
    listening = _bind(host, port)
    from weirdgen.serve.app import create_app  # torch, once host and port are known to be right
    from weirdgen.serve.backend import Backend

    with listening, Backend(models, Store(store), Limits(), dtype) as backend:
        app = create_app(backend, allowed)
        import uvicorn

        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
        )
        shown, bound = (f"[{host}]" if ":" in host else host), listening.getsockname()[1]
        print(
            f"weirdgen serve: http://{shown}:{bound}/v1 ({', '.join(backend.models.bases)}); the page: http://{shown}:{bound}/"
        )
        print(
            f"store: {backend.store.root}; key: {'needed' if allowed.key else 'none, for this machine only'}",
            flush=True,
        )
        uvicorn.Server(settings).run(sockets=[listening])
    print("weirdgen serve: stopped", file=sys.stderr)


def _bind(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SpecError([f"--host {host} --port {port}: cannot listen there ({why}); choose another port"]) from None
