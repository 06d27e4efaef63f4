"""A session's events for one client: from the live channel, and from the history to fill its gaps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from api_gateway.live.outbox import Outbox
from parlando.domain.annotations import Annotation
from parlando.store.annotations import Annotations
from parlando.store.envelope import AccessChanged, Envelope
from parlando.store.history import History
from parlando.store.keys import AnnotationKeys
from parlando.store.pubsub import Channels

PAGE: Final = 200
CHECK_EVERY_S: Final = 15.0  # the history is read at this interval if the channel carries nothing


@dataclass(frozen=True, slots=True)
class AnnotationsFrom:
    """Which annotations to relay: those at `keys` after number `after`."""

    annotations: Annotations
    keys: AnnotationKeys
    after: int = 0


class Relay:
    """Relays one session's events after `after`: every kept event once and in order, partials as they arrive.

    `admitted`: whether the client may still read the session. It is called before each read of the history:
    at the start, when a viewer token was revoked, and when the channel may have missed that. `batches` ends
    if it returns False, and raises what it raises, such as `SessionNotFoundError`.
    """

    def __init__(
        self,
        history: History,
        channels: Channels,
        sid: str,
        *,
        after: int,
        annotations: AnnotationsFrom | None = None,
        admitted: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._history = history
        self._channels = channels
        self._sid = sid
        self._channel = history.keys(sid).events
        self._annotations = annotations
        self._outbox = Outbox(after, None if annotations is None else annotations.after)
        self._admitted = admitted
        self._wake = asyncio.Event()

    def _on_message(self, message: Envelope | None) -> None:
        if message is None or isinstance(message.message, AccessChanged):
            self._outbox.missed()
        else:
            self._outbox.put(message)
        self._wake.set()

    async def __aenter__(self) -> "Relay":
        await self._channels.subscribe(self._channel, self._on_message)
        self._on_message(None)  # events before the subscription are in the history
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._channels.unsubscribe(self._channel, self._on_message)

    async def batches(self) -> AsyncIterator[list[Envelope]]:
        """Messages to send, as many as there are; an empty list after `CHECK_EVERY_S` without messages."""
        while True:
            if self._is_behind:
                if self._admitted is not None and not await self._admitted():
                    return
                await self._catch_up()
            batch = self._outbox.take()
            if batch:
                yield batch
                continue
            self._wake.clear()
            if self._is_behind:
                continue
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                self._outbox.missed()
                yield []

    @property
    def _is_behind(self) -> bool:
        annotations = self._outbox.annotations
        return self._outbox.behind or (annotations is not None and annotations.behind)

    async def _catch_up(self) -> None:
        """Read one page of the messages that the channel didn't deliver."""
        if self._outbox.behind:
            page = await self._history.events(self._sid, after=self._outbox.newest, count=PAGE)
            self._outbox.refill([Envelope(event) for event in page], complete=len(page) < PAGE)
        sequence, source = self._outbox.annotations, self._annotations
        if sequence is not None and source is not None and sequence.behind:
            page = await source.annotations.page(source.keys, after=sequence.newest, count=PAGE)
            found = [Envelope(annotation) for annotation in page]
            numbered = [(e.message.number, e) for e in found if isinstance(e.message, Annotation)]
            sequence.refill(numbered, complete=len(page) < PAGE)
