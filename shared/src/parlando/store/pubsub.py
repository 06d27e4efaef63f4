"""Subscriptions to channels over one connection per process."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio as aioredis
import structlog

from parlando.errors import UnavailableError
from parlando.store.clients import answered
from parlando.store.connection import BROKEN, Redis
from parlando.store.envelope import Envelope
from parlando.tasks import finish

CONFIRMED_S: Final = 8.0  # time-out of a subscription, including reconnections
AGAIN_S: Final = 0.2  # between two attempts to connect

log = structlog.get_logger(part="channels")

Listener = Callable[[Envelope | None], None]


@dataclass(slots=True)
class _Subscription:
    listeners: set[Listener] = field(default_factory=set)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)


class Channels:
    """Calls listeners with published messages, in order.

    All listeners of a channel receive the same `Envelope`. A listener receives None after a lost connection:
    messages may be missing, and it has to read the kept ones from the history.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pubsub = self._new()
        self._subscriptions: dict[str, _Subscription] = {}
        self._unconfirmed: Counter[str] = Counter()  # unanswered SUBSCRIBE commands by channel
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()  # held while commands are sent, or the connection is replaced
        self._lost = False

    def _new(self) -> Any:
        return self._redis.pubsub()

    async def _subscribe(self, *channels: str) -> None:
        if isinstance(self._redis, aioredis.RedisCluster):
            await self._redis.initialize()  # a subscription needs the node of its channel
        await self._pubsub.subscribe(*channels)

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Call `listener` for each message from now on. Returns when Redis has confirmed the subscription.

        Raises
        ------
        UnavailableError
            if Redis does not confirm it in time; the listener is then removed.

        """
        subscription = self._subscriptions.get(channel)
        first = subscription is None
        if subscription is None:
            subscription = self._subscriptions[channel] = _Subscription()
        subscription.listeners.add(listener)
        try:
            async with asyncio.timeout(CONFIRMED_S):
                if first:
                    await self._send(channel)
                await subscription.confirmed.wait()
        except TimeoutError as error:
            await self.unsubscribe(channel, listener)
            raise UnavailableError("Redis can't be reached: no subscription was confirmed") from error
        except BaseException:
            self._drop(channel, listener)
            raise

    async def _send(self, channel: str) -> None:
        async with self._sending:
            if not self._lost:  # else `_restore` subscribes to all channels
                await finish(self._send_subscribe(channel), within_s=CONFIRMED_S)
            self._changed.set()

    async def _send_subscribe(self, channel: str) -> None:
        """Send the command. A cancellation must not interrupt it, because its answer is counted."""
        self._unconfirmed[channel] += 1
        try:
            await answered(self._subscribe(channel))
        except BROKEN:
            self._lost = True

    def _drop(self, channel: str, listener: Listener) -> bool:
        """Remove a listener. Returns whether it was the last one of the channel."""
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return False
        subscription.listeners.discard(listener)
        if subscription.listeners:
            return False
        del self._subscriptions[channel]
        return True

    async def unsubscribe(self, channel: str, listener: Listener) -> None:
        """Stop calling `listener`."""
        if not self._drop(channel, listener):
            return
        async with self._sending:
            if channel not in self._subscriptions and not self._lost:
                await finish(self._send_unsubscribe(channel), within_s=CONFIRMED_S)

    async def _send_unsubscribe(self, channel: str) -> None:
        with suppress(*BROKEN):  # a lost connection has no subscriptions
            await answered(self._pubsub.unsubscribe(channel))

    async def run(self) -> None:
        """Deliver messages until cancelled; reconnects and resubscribes automatically."""
        while True:
            if not self._subscriptions:
                self._changed.clear()
            await self._changed.wait()
            try:
                message = None if self._lost else await self._pubsub.get_message(timeout=1.0)
            except (*BROKEN, RuntimeError) as error:
                log.warning("channels.lost", error=str(error))
                self._lost = True
            if self._lost:
                await self._restore()
            elif message is not None:
                self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        subscription = self._subscriptions.get(channel)
        if message["type"] == "subscribe":
            self._unconfirmed[channel] -= 1
            if self._unconfirmed[channel] <= 0:
                del self._unconfirmed[channel]
                if subscription is not None:
                    subscription.confirmed.set()
        elif message["type"] == "message" and subscription is not None:
            envelope = Envelope(message["data"])
            for listener in tuple(subscription.listeners):
                listener(envelope)

    async def _restore(self) -> None:
        """Reconnect, possibly to another node, and subscribe to all channels."""
        while self._subscriptions:
            await asyncio.sleep(AGAIN_S)
            async with self._sending:
                try:
                    await answered(self._pubsub.aclose())
                    self._pubsub = self._new()
                    channels = [*self._subscriptions]
                    if not channels:
                        return
                    self._unconfirmed = Counter(channels)
                    await answered(self._subscribe(*channels))
                except BROKEN:
                    continue
                self._lost = False
            for subscription in tuple(self._subscriptions.values()):
                for listener in tuple(subscription.listeners):
                    listener(None)
            return

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pubsub.aclose()
