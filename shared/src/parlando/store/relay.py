"""The events of a session, job or task for one reader: from the channel, and from the history."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from parlando.domain.annotations import Annotation
from parlando.store.annotations import Annotations
from parlando.store.envelope import AccessChanged, Envelope
from parlando.store.keys import AnnotationKeys
from parlando.store.outbox import Outbox
from parlando.store.pubsub import Channels

PAGE: Final = 200
CHECK_EVERY_S: Final = 15.0  # the history is read at this interval if the channel carries nothing


class EventSource(Protocol):
    """Where events are kept and published, by the id of their session, job or task; see `History`."""

    def channel(self, name: str) -> str:
        """The channel on which they are published."""
        ...

    async def events(self, name: str, *, after: int, count: int) -> list[bytes]:
        """Up to `count` kept events after seq `after`, oldest first, each as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class AnnotationsFrom:
    """Which annotations to relay: those at `keys` after number `after`."""

    annotations: Annotations
    keys: AnnotationKeys
    after: int = 0


class Relay:
    """Relays the events of `name` after `after`: every kept event once and in order, partials as they arrive.

    `admitted`: whether the reader may still read them. It is called before each read of the history:
    at the start, when a viewer token was revoked, and when the channel may have missed that. `batches` ends
    if it returns False, and raises what it raises, such as `SessionNotFoundError`.
    """

    def __init__(
        self,
        source: EventSource,
        channels: Channels,
        name: str,
        *,
        after: int,
        annotations: AnnotationsFrom | None = None,
        admitted: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._source = source
        self._channels = channels
        self._name = name
        self._channel = source.channel(name)
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
            page = await self._source.events(self._name, after=self._outbox.newest, count=PAGE)
            self._outbox.refill([Envelope(event) for event in page], complete=len(page) < PAGE)
        sequence, notes = self._outbox.annotations, self._annotations
        if sequence is not None and notes is not None and sequence.behind:
            page = await notes.annotations.page(notes.keys, after=sequence.newest, count=PAGE)
            found = [Envelope(annotation) for annotation in page]
            numbered = [(e.message.number, e) for e in found if isinstance(e.message, Annotation)]
            sequence.refill(numbered, complete=len(page) < PAGE)
