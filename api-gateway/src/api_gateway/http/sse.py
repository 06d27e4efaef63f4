"""Server-sent events: what a relay gives, as frames with ids, until the last event."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import Final

from prometheus_client import Gauge
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api_gateway.live.relay import Relay
from api_gateway.server.header_values import whole_number
from parlando.errors import JobNotFoundError, SessionNotFoundError

ENDS: Final = frozenset({"closed", "completed", "failed", "cancelled"})
"""Events behind which nothing comes."""


def last_seen(header: str | None, newest: int) -> int:
    """The seq that `Last-Event-ID` names; 0 for everything.

    A seq beyond `newest`, the last one there is, was given by a life of the session that Redis has forgotten.
    """
    seq = whole_number(header or "") or 0
    return seq if seq <= newest else 0


def respond(relay: Relay, followers: Gauge | None = None) -> StreamingResponse:
    """An answer that follows the relay, counted in `followers` while it does."""
    return stream(_frames(relay, followers))


class _Events(StreamingResponse):
    """Server-sent events. Their generator, which may own a subscription, is closed when the client leaves."""

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames):
            await super().__call__(scope, receive, send)


def stream(frames: AsyncGenerator[bytes]) -> StreamingResponse:
    """An answer of server-sent events that no proxy keeps back. It closes `frames`."""
    return _Events(frames)


async def _frames(relay: Relay, followers: Gauge | None) -> AsyncGenerator[bytes]:
    """Frames, a comment when nothing came for a while, and a word to those who may read no longer."""
    yield b"retry: 2000\n\n"
    with followers.track_inprogress() if followers else nullcontext():
        async with aclosing(_followed(relay)) as followed:
            async for frames in followed:
                yield frames


async def _followed(relay: Relay) -> AsyncGenerator[bytes]:
    async with relay:
        try:
            async for batch in relay.batches():
                if not batch:
                    yield b": still here\n\n"
                else:
                    yield b"".join(message.frame for message in batch)
                if any(message.type in ENDS for message in batch):
                    return
        except (SessionNotFoundError, JobNotFoundError):
            return  # Redis has lost it: who asks again is told, or finds a session that goes on
    yield b'event: revoked\ndata: {"type":"revoked"}\n\n'
