"""Server-sent events: a relay's messages as frames with ids, until the last event."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from typing import Final

import orjson
from prometheus_client import Gauge
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api_gateway.dependencies import Services
from parlando.domain.annotations import Annotation
from parlando.errors import JobNotFoundError, SessionNotFoundError
from parlando.store.envelope import Envelope
from parlando.store.keys import AnnotationKeys
from parlando.store.relay import AnnotationsFrom, Relay

ENDS: Final = frozenset({"closed", "completed", "failed", "cancelled"})
"""Types of the last event of a session or job."""

_POSITION: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,15}))?(?:-(\d{1,15}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """A reader's position, as the id of a server-sent event: `<seq>[.<annotation>][-<epoch>]`.

    `epoch`: 0 unless the session was reopened, so that ids are usually plain numbers. `annotation`: number of
    the last annotation sent; None if the reader doesn't request them.
    """

    seq: int = 0
    annotation: int | None = None
    epoch: int = 0

    def __str__(self) -> str:
        notes = "" if self.annotation is None else f".{self.annotation}"
        return f"{self.seq}{notes}" + (f"-{self.epoch}" if self.epoch else "")

    @classmethod
    def read(cls, header: str | None) -> "Position":
        """Parse `Last-Event-ID`; the beginning if it is missing or invalid."""
        found = _POSITION.fullmatch(header or "")
        if not found:
            return cls()
        seq, annotation, epoch = found.groups()
        return cls(int(seq), int(annotation) if annotation else None, int(epoch or 0))


def start_of(
    header: str | None,
    *,
    newest: int,
    epoch: int = 0,
    annotations: bool = False,
    trusts_plain: bool = False,
) -> "ReaderStart":
    """Where to continue after `Last-Event-ID` (`header`), if the newest event is `newest` of `epoch`.

    A position of another epoch, or beyond the newest event, is from before Redis lost the session. It is
    invalid now, so the reader starts from the beginning. `trusts_plain`: a position without an epoch belongs
    to this epoch.
    """
    previous = Position.read(header)
    same_epoch = previous.epoch == epoch or (trusts_plain and not previous.epoch)
    restarted = previous.seq > 0 and (not same_epoch or previous.seq > newest)
    if restarted:
        previous = Position()
    annotation = (previous.annotation or 0) if annotations else None
    return ReaderStart(Position(previous.seq, annotation, epoch), restarted)


@dataclass(frozen=True, slots=True)
class ReaderStart:
    """Where a reader starts. `restarted`: whether its own position was invalid."""

    position: Position
    restarted: bool = False


def annotations_from(services: Services, keys: AnnotationKeys, start: ReaderStart) -> AnnotationsFrom | None:
    """Which annotations to relay to a reader; None if it doesn't request them."""
    after = start.position.annotation
    return None if after is None else AnnotationsFrom(services.annotations, keys, after)


def respond(relay: Relay, start: ReaderStart, followers: Gauge | None = None) -> StreamingResponse:
    """A response that streams the relay's messages. `followers` counts open streams."""
    return stream(_frames(relay, start, followers))


class _Events(StreamingResponse):
    """Server-sent events. Closes their generator, which may own a subscription, if the client disconnects."""

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames):
            await super().__call__(scope, receive, send)


def stream(frames: AsyncGenerator[bytes]) -> StreamingResponse:
    """A response of server-sent events, with headers against buffering by proxies. It closes `frames`."""
    return _Events(frames)


async def _frames(relay: Relay, start: ReaderStart, followers: Gauge | None) -> AsyncGenerator[bytes]:
    """Frames; a comment if there was no event for a while; `revoked` if the reader loses its permission."""
    yield b"retry: 2000\n\n"
    if start.restarted:
        body = orjson.dumps({"type": "restarted", "epoch": start.position.epoch})
        yield b"event: restarted\ndata: " + body + b"\n\n"
    with followers.track_inprogress() if followers else nullcontext():
        async with aclosing(_relayed(relay, start.position)) as relayed:
            async for frames in relayed:
                yield frames


async def _relayed(relay: Relay, position: Position) -> AsyncGenerator[bytes]:
    async with relay:
        try:
            async for batch in relay.batches():
                if not batch:
                    yield b": still here\n\n"
                    continue
                frames = []
                for message in batch:
                    position = _position_after(position, message)
                    frames.append(_frame(message, position))
                yield b"".join(frames)
                if any(message.type in ENDS for message in batch):
                    return
        except (SessionNotFoundError, JobNotFoundError):
            return  # Redis has lost it: the client reconnects and gets a 404, or the reopened session
    yield b'event: revoked\ndata: {"type":"revoked"}\n\n'


def _position_after(position: Position, message: Envelope) -> Position:
    """The position of a reader after it has received `message`."""
    if isinstance(annotation := message.message, Annotation):
        return replace(position, annotation=annotation.number)
    return position if message.seq is None else replace(position, seq=message.seq)


def _frame(message: Envelope, position: Position) -> bytes:
    if position.annotation is None and not position.epoch:
        return message.frame  # encoded once for all readers
    numbered = message.seq is not None or isinstance(message.message, Annotation)
    return message.frame_with(str(position) if numbered else "")
