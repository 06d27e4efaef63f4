"""Server-sent events: what a relay gives, as frames with ids, until the last event."""

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
from api_gateway.live.relay import AnnotationsFrom, Relay
from parlando.domain.annotations import Annotation
from parlando.errors import JobNotFoundError, SessionNotFoundError
from parlando.store.envelope import Envelope
from parlando.store.keys import AnnotationKeys

ENDS: Final = frozenset({"closed", "completed", "failed", "cancelled"})
"""Events behind which nothing comes."""


_POSITION: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,15}))?(?:-(\d{1,15}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """What a reader has seen, as the id of a server-sent event: `<seq>[.<annotation>][-<epoch>]`.

    `epoch` is 0 in the first life of a session id, so that its ids are plain numbers. `annotation`: the last
    one that was sent, None to a reader that wants none.
    """

    seq: int = 0
    annotation: int | None = None
    epoch: int = 0

    def __str__(self) -> str:
        notes = "" if self.annotation is None else f".{self.annotation}"
        return f"{self.seq}{notes}" + (f"-{self.epoch}" if self.epoch else "")

    @classmethod
    def read(cls, header: str | None) -> "Position":
        """The position that `Last-Event-ID` names; the beginning if it names none."""
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
    """Where a reader goes on that was at `header`, when the newest event is `newest` of life `epoch`.

    A position of another life, or beyond the newest event, which was given by a life that Redis has
    forgotten, means nothing in this one: the reader gets everything. `trusts_plain`: whether a number without
    an epoch is taken for one of this life.
    """
    was = Position.read(header)
    same_life = was.epoch == epoch or (trusts_plain and not was.epoch)
    restarted = was.seq > 0 and (not same_life or was.seq > newest)
    if restarted:
        was = Position()
    return ReaderStart(Position(was.seq, (was.annotation or 0) if annotations else None, epoch), restarted)


@dataclass(frozen=True, slots=True)
class ReaderStart:
    """Where a reader begins. `restarted`: whether its own position was of another life."""

    position: Position
    restarted: bool = False


def annotations_from(found: Services, keys: AnnotationKeys, start: ReaderStart) -> AnnotationsFrom | None:
    """Where the annotations lie that a reader wants; None if it wants none."""
    after = start.position.annotation
    return None if after is None else AnnotationsFrom(found.annotations, keys, after)


def respond(relay: Relay, start: ReaderStart, followers: Gauge | None = None) -> StreamingResponse:
    """An answer that follows the relay, counted in `followers` while it does."""
    return stream(_frames(relay, start, followers))


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


async def _frames(relay: Relay, start: ReaderStart, followers: Gauge | None) -> AsyncGenerator[bytes]:
    """Frames, a comment when nothing came for a while, and a word to those who may read no longer."""
    yield b"retry: 2000\n\n"
    if start.restarted:
        told = orjson.dumps({"type": "restarted", "epoch": start.position.epoch})
        yield b"event: restarted\ndata: " + told + b"\n\n"
    with followers.track_inprogress() if followers else nullcontext():
        async with aclosing(_followed(relay, start.position)) as followed:
            async for frames in followed:
                yield frames


async def _followed(relay: Relay, position: Position) -> AsyncGenerator[bytes]:
    async with relay:
        try:
            async for batch in relay.batches():
                if not batch:
                    yield b": still here\n\n"
                    continue
                frames = []
                for message in batch:
                    position = _behind(position, message)
                    frames.append(_frame(message, position))
                yield b"".join(frames)
                if any(message.type in ENDS for message in batch):
                    return
        except (SessionNotFoundError, JobNotFoundError):
            return  # Redis has lost it: who asks again is told, or finds a session that goes on
    yield b'event: revoked\ndata: {"type":"revoked"}\n\n'


def _behind(position: Position, message: Envelope) -> Position:
    """The position of a reader that has got `message`."""
    if isinstance(annotation := message.message, Annotation):
        return replace(position, annotation=annotation.number)
    return position if message.seq is None else replace(position, seq=message.seq)


def _frame(message: Envelope, position: Position) -> bytes:
    if position.annotation is None and not position.epoch:
        return message.frame  # the same for all readers
    numbered = message.seq is not None or isinstance(message.message, Annotation)
    return message.frame_with(str(position) if numbered else "")
