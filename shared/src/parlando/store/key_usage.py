"""Reads how much audio an owner, or one of its keys, has used, and what of a session isn't counted yet."""

from datetime import date
from typing import Any

from parlando.domain.audio import SAMPLES_PER_MS
from parlando.store.connection import Redis, retried
from parlando.store.keys import SessionKeys
from parlando.store.usage import Usage, days_between
from parlando.store.usage_keys import usage


class AudioUsed:
    """The usage of audio in a keyspace with `partitions`. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self._owners = Usage(redis, partitions=partitions)

    async def audio_s(self, owner: str, first: date, last: date, *, key: str | None = None) -> float:
        """Seconds of audio of an owner (a fingerprint) from day `first` to day `last`, inclusive.

        `key`: id of a stored key of the owner, for what was made with it only.
        """
        if key is None:
            return await self._owners.audio_s(owner, first, last)
        field = f"{owner[:16]}:key-{key}_ms"
        days = [day.isoformat() for day in days_between(first, last)]

        async def read() -> list[bytes | None]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for day in days:
                    for partition in range(self._partitions):
                        pipe.hget(usage(partition, day), field)
                counted: list[bytes | None] = await pipe.execute()
            return counted

        return sum(int(each or 0) for each in await retried(read)) / 1000

    async def uncounted_ms(self, sid: str) -> int:
        """Milliseconds of audio that a live session has received and its owner's usage doesn't have yet."""
        name = SessionKeys.of(sid, self._partitions).session
        fields = ["received", "counted", "start", "state"]
        found: Any = await retried(lambda: self._redis.hmget(name, fields))
        received, counted, start, state = (each and each.decode() for each in found)
        if received is None or state == "closed":
            return 0
        return max(0, int(received) - int(counted or start or 0)) // SAMPLES_PER_MS
