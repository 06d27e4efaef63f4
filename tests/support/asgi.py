"""Drives an ASGI app without a server: one request, or one WebSocket handshake."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.types import ASGIApp, Message

ANSWERED_S = 600.0


@dataclass(slots=True)
class Answered:
    """An answer: the HTTP status and body so far, or how a WebSocket was refused."""

    status: int = 0
    body: bytes = b""
    close: int = 0
    accepted: bool = False
    messages: list[str | bytes] = field(default_factory=list)

    @property
    def code(self) -> str:
        """The error's code in a problem's body; "" without one."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return ""
        return str(found.get("code", "")) if isinstance(found, dict) else ""


FOREIGN = "203.0.113.9"
"""An address of none of the networks that are served without a key."""


def _scope(kind: str, path: str, query: str, headers: dict[str, str], method: str) -> dict[str, Any]:
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": {"http": "http", "websocket": "ws"}[kind],
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in {"host": "gateway", **headers}.items()
        ],
        "client": (FOREIGN, 1),
        "server": ("gateway", 80),
        "state": {},
        "extensions": {"websocket.http.response": {}} if kind == "websocket" else {},
    }
    return scope | ({"method": method} if kind == "http" else {"subprotocols": []})


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    endless: bool = False,
) -> Answered:
    """Send a request. Of a stream of events only the head is awaited; then the client disconnects.

    `endless`: the body never ends.
    """
    answer, gone, over = Answered(), asyncio.Event(), asyncio.Event()
    pending = [{"type": "http.request", "body": body, "more_body": endless}]

    async def receive() -> Message:
        if pending:
            return pending.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                over.set()
        else:
            answer.body += message.get("body", b"")
            if not message.get("more_body"):
                over.set()

    scope = _scope("http", path, query, headers or {}, method)
    serving = asyncio.create_task(_run(app, scope, receive, send, over))
    async with asyncio.timeout(ANSWERED_S):
        await over.wait()
    gone.set()
    serving.cancel()
    await asyncio.wait([serving])
    return answer


async def _run(app: ASGIApp, scope: Any, receive: Any, send: Any, over: asyncio.Event) -> None:
    try:
        await app(scope, receive, send)
    finally:
        over.set()


async def connect(
    app: ASGIApp, path: str, *, query: str = "", headers: dict[str, str] | None = None
) -> Answered:
    """Open a WebSocket whose client disconnects as soon as it may."""
    answer = Answered()
    pending: list[Message] = [
        {"type": "websocket.disconnect", "code": 1006, "reason": ""},
        {"type": "websocket.connect"},
    ]

    async def receive() -> Message:
        return pending.pop() if len(pending) > 1 else pending[0]

    async def send(message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                answer.accepted = True
            case "websocket.http.response.start":
                answer.status = message["status"]
            case "websocket.http.response.body":
                answer.body += message.get("body", b"")
            case "websocket.send":
                answer.messages.append(message.get("text") or message.get("bytes") or "")
            case "websocket.close":
                answer.close = message.get("code", 1000)

    async with asyncio.timeout(ANSWERED_S):
        await app(_scope("websocket", path, query, headers or {}, "GET"), receive, send)
    return answer
