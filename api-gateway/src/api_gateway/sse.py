"""Server-sent events: what a relay gives, as frames with ids, until the last event."""

from collections.abc import AsyncIterator
from typing import Final

import orjson
from starlette.responses import StreamingResponse

from api_gateway.relay import Relay

ENDS: Final = frozenset({"closed", "completed", "failed", "cancelled"})
"""Events behind which nothing comes."""


def last_seen(header: str | None) -> int:
    """The seq that `Last-Event-ID` names; 0 for everything."""
    return int(header) if header and header.isdigit() and len(header) < 16 else 0


def respond(relay: Relay) -> StreamingResponse:
    """An answer that follows the relay."""
    return StreamingResponse(
        _frames(relay),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(relay: Relay) -> AsyncIterator[bytes]:
    """Frames with an `id` for kept events; a comment when nothing came for a while."""
    yield b"retry: 2000\n\n"
    async with relay:
        async for batch in relay.batches():
            if not batch:
                yield b": still here\n\n"
            for message in batch:
                body = orjson.loads(message)
                identity = b"id: %d\n" % body["seq"] if "seq" in body else b""
                yield b"%sevent: %s\ndata: %s\n\n" % (identity, body["type"].encode(), message)
                if body["type"] in ENDS:
                    return
