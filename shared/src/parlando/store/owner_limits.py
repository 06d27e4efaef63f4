"""The limits of owners in Redis, and a gateway's copy of them."""

import asyncio
import time
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError

from parlando.domain.limits import NAMES, NO_LIMITS, Limits
from parlando.errors import AtCapacityError, UnavailableError
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.envelope import Envelope
from parlando.store.limit_keys import LIMITS_CHANNEL, OWNER_LIMITS, owner_id
from parlando.store.pubsub import Channels

MAX_OWNERS: Final = 10_000
"""Maximum number of owners with limits of their own."""
MAX_AGE_S: Final = 30.0
"""Seconds after which the copy is read again without a message."""
PAUSE_S: Final = 0.5
"""Seconds between two attempts while Redis can't be reached, and at least between two reads."""

log = structlog.get_logger(part="limits")


def _parsed(record: bytes) -> Limits:
    """Limits of a stored record, without those that only a newer release knows."""
    try:
        fields = orjson.loads(record)
        return Limits.model_validate({name: value for name, value in fields.items() if name in NAMES})
    except (orjson.JSONDecodeError, AttributeError, ValidationError) as error:
        log.warning("limits.unreadable", error=str(error), effect="the cluster's limits apply")
        return NO_LIMITS


class OwnerLimits:
    """The limits of owners. `run` keeps this process's copy up to date; the other calls ask Redis.

    Owners are named by the first 16 digits of their fingerprint (`limit_keys.owner_id`).
    """

    def __init__(self, redis: Redis, channels: Channels) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._channels = channels
        self._known: dict[str, Limits] = {}
        self._changed = asyncio.Event()

    def of(self, owner: str) -> Limits:
        """The limits set for an owner (a fingerprint), as this process knows them."""
        return self._known.get(owner_id(owner), NO_LIMITS)

    async def get(self, name: str) -> Limits:
        """The limits set for an owner. Raises `UnavailableError`."""
        record: Any = await retried(lambda: self._redis.hget(OWNER_LIMITS, name))
        return _parsed(record) if record else NO_LIMITS

    async def all(self) -> dict[str, Limits]:
        """The owners for whom limits are set. Raises `UnavailableError`."""
        found: Any = await retried(lambda: self._redis.hgetall(OWNER_LIMITS))
        return {name.decode(): _parsed(record) for name, record in found.items()}

    async def put(self, name: str, limits: Limits) -> None:
        """Set all limits of an owner. Raises `AtCapacityError` at `MAX_OWNERS`, `UnavailableError`."""
        record = limits.model_dump_json(exclude_none=True)
        keys = [OWNER_LIMITS, LIMITS_CHANNEL]
        if await self._scripts.run("owner_limits", keys, [name, record, MAX_OWNERS]) == b"full":
            raise AtCapacityError(f"{MAX_OWNERS} owners have limits of their own, which is the maximum")
        self._known[name] = limits

    async def remove(self, name: str) -> None:
        """Remove an owner's limits: those of the cluster apply. Raises `UnavailableError`."""
        await self._scripts.run("owner_limits", [OWNER_LIMITS, LIMITS_CHANNEL], [name, "", MAX_OWNERS])
        self._known.pop(name, None)

    async def read(self) -> None:
        """Read the limits of all owners. Raises `UnavailableError`."""
        self._known = await self.all()

    async def run(self) -> None:
        """Keep the copy up to date until cancelled."""
        subscribed, read_at = False, 0.0
        while True:
            try:
                if not subscribed:
                    await self._channels.subscribe(LIMITS_CHANNEL, self._on_message)
                    subscribed = True
                    self._changed.set()
                if self._changed.is_set() or time.monotonic() - read_at > MAX_AGE_S:
                    self._changed.clear()
                    await self.read()
                    read_at = time.monotonic()
            except UnavailableError:
                self._changed.set()
            await asyncio.sleep(PAUSE_S)

    def _on_message(self, message: Envelope | None) -> None:
        """Limits have changed, or (None) messages may be missing."""
        self._changed.set()
