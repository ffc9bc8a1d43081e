"""A chat server that answers the same few words after a while, however many ask: what is measured is whoever asks it.

In: `--seconds`, how long each answer takes. Out: the port, on its first line of output. HTTP/1.1 with connections that stay open,
on asyncio alone; it looks at nothing but the path. A process of its own, so that it shares no interpreter with a client.
"""

from __future__ import annotations

import argparse
import asyncio
import json

CHOICE = {
    "index": 0,
    "finish_reason": "stop",
    "message": {"role": "assistant", "content": "in the year 1838"},
    "logprobs": None,
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
HEAD = {"id": "chatcmpl-stub", "object": "chat.completion", "created": 1_700_000_000, "model": "stub"}
MODEL = {"id": "stub", "object": "model", "created": 1_700_000_000, "owned_by": "stub"}


def _answer(body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


CHAT, LISTED = _answer({**HEAD, "choices": [CHOICE], "usage": USAGE}), _answer(MODEL)


class _Connection(asyncio.Protocol):
    def __init__(self, seconds: float) -> None:
        self._seconds, self._held = seconds, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            whole = end + 4 + int(length or 0)
            if len(self._held) < whole:
                return
            self._held = self._held[whole:]
            wait, answer = (self._seconds, CHAT) if head.startswith(b"post") else (0.0, LISTED)
            asyncio.get_running_loop().call_later(wait, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(seconds), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.05)
    asyncio.run(_serve(parser.parse_args().seconds))
