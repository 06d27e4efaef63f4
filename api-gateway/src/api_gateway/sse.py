"""Server-sent events: what a relay gives, as frames with ids, until the last event."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Final

from prometheus_client import Gauge
from starlette.responses import StreamingResponse

from api_gateway.header_values import whole_number
from api_gateway.relay import Relay
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


def stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    """An answer of server-sent events that no proxy keeps back."""
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(relay: Relay, followers: Gauge | None) -> AsyncIterator[bytes]:
    """Frames, a comment when nothing came for a while, and a word to those who may read no longer."""
    yield b"retry: 2000\n\n"
    with followers.track_inprogress() if followers else nullcontext():
        async for frames in _followed(relay):
            yield frames


async def _followed(relay: Relay) -> AsyncIterator[bytes]:
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
