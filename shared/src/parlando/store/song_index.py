"""The index of songs: for each hash of a landmark, in which songs and at which frames it occurs.

A record has 5 bytes: the song's number (3) and the frame (2), little endian. The records of a hash are one
string, so a landmark of a song takes these 5 bytes and nothing else. A removed song's records are ignored,
because its number has no song any more, until `sweep` deletes them.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from parlando.domain.songs import Song
from parlando.errors import AtCapacityError, ConflictError, SongNotFoundError
from parlando.store import song_keys as names
from parlando.store.connection import Redis, Scripts, retried

NUMBER_BYTES: Final = 3
FRAME_BYTES: Final = 2
RECORD_BYTES: Final = NUMBER_BYTES + FRAME_BYTES
MAX_FRAMES: Final = 1 << (8 * FRAME_BYTES)
MAX_SONGS: Final = (1 << (8 * NUMBER_BYTES)) - 1
"""Maximum number of songs that were ever registered."""
MAX_RECORDS: Final = 1000
"""Maximum records of a hash. A more common hash says little about the song."""
BATCH: Final = 1000
"""Hashes per command."""
HASHES: Final = 1 << 20
"""Number of different hashes."""
SWEPT: Final = 200
"""Hashes per command of a sweep, which takes Redis some milliseconds …"""
SWEEP_PAUSE_S: Final = 0.01
"""… and the pause after it, for other commands."""
SWEEPER_S: Final = 120
"""Seconds for which a worker sweeps alone; others may begin again after it."""


class SongIndex:
    """Access to the index. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    async def check(self, parameters: Mapping[str, Any]) -> None:
        """Raises `ConflictError` if the index has landmarks with other parameters than `parameters`."""
        ours = orjson.dumps(dict(parameters), option=orjson.OPT_SORT_KEYS)

        async def agreed() -> Any:
            await self._redis.set(names.PARAMETERS, ours, nx=True)
            return await self._redis.get(names.PARAMETERS)

        found = await retried(agreed)
        if found != ours:
            raise ConflictError(
                f"The index of songs was made with other parameters ({found.decode()}, here "
                f"{ours.decode()}); remove the songs with the version that registered them, or use "
                "another Redis"
            )

    # --- registering --------------------------------------------------------------------------

    async def begin(
        self, *, content: str, file: str = "", fields: Mapping[str, str | int | float]
    ) -> tuple[int, bool]:
        """Begin to register a song: its number, and whether it is registered already.

        `content`, `file`: hashes of the audio and of the file. Raises `AtCapacityError` at `MAX_SONGS`.
        """
        pairs = [each for name, value in fields.items() for each in (name, value)]
        number, ready = await self._scripts.run(
            "song_begin",
            [names.LAST, names.CONTENTS, names.FILES, names.REMOVED, names.song_prefix()],
            [content, file, MAX_SONGS, *pairs],
        )
        if number < 0:
            raise AtCapacityError(f"{MAX_SONGS} songs have been registered, which is the maximum")
        return int(number), bool(ready)

    async def append(self, number: int, landmarks: Mapping[int, Iterable[int]]) -> None:
        """Add landmarks of song `number`: hash → frames."""
        head = number.to_bytes(NUMBER_BYTES, "little")
        for shard in names.by_shard(landmarks):
            for at in range(0, len(shard), BATCH):
                values = shard[at : at + BATCH]
                records = [
                    b"".join(head + frame.to_bytes(FRAME_BYTES, "little") for frame in landmarks[value])
                    for value in values
                ]
                keys = [names.bucket(value) for value in values]
                await self._scripts.run("song_append", keys, [MAX_RECORDS * RECORD_BYTES, *records])

    async def finish(self, number: int) -> bool:
        """Complete a registration; False if another one of the same audio has begun meanwhile."""
        return bool(await self._scripts.run("song_finish", self._keys(number), [number]))

    def _keys(self, number: int) -> list[str]:
        return [names.song(number), names.CONTENTS, names.FILES, names.ALL, names.REMOVED]

    # --- songs --------------------------------------------------------------------------------

    async def song(self, number: int) -> Song:
        """A registered song. Raises `SongNotFoundError`."""
        key = names.song(number)
        found: Any = await retried(lambda: self._redis.hgetall(key))
        if found.get(b"state") != b"ready":
            raise SongNotFoundError(f"No song {number} is registered")
        return _song(number, found)

    async def by_file(self, file: str) -> Song | None:
        """The song registered from a file with this SHA-256."""
        number: Any = await retried(lambda: self._redis.hget(names.FILES, file))
        if number is None:
            return None
        try:
            return await self.song(int(number))
        except SongNotFoundError:
            return None

    async def count(self) -> int:
        """The number of registered songs."""
        return int(await retried(lambda: self._redis.zcard(names.ALL)))

    async def page(self, *, after: int, limit: int) -> list[Song]:
        """Up to `limit` songs with numbers greater than `after`, in their order."""
        numbers: Any = await retried(
            lambda: self._redis.zrangebyscore(names.ALL, f"({after}", "+inf", start=0, num=limit)
        )
        wanted = [int(number) for number in numbers]

        async def read() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for number in wanted:
                    pipe.hgetall(names.song(number))
                return list(await pipe.execute())

        found = await retried(read) if wanted else []
        return [_song(number, each) for number, each in zip(wanted, found, strict=True) if each]

    async def remove(self, number: int) -> None:
        """Remove a song; it is not recognised any more from now on. Raises `SongNotFoundError`."""
        if not await self._scripts.run("song_remove", self._keys(number), [number]):
            raise SongNotFoundError(f"No song {number} is registered")

    # --- recognising --------------------------------------------------------------------------

    async def removed(self) -> frozenset[int]:
        """The removed songs whose records may still be in the index."""
        members: Any = await retried(lambda: self._redis.smembers(names.REMOVED))
        return frozenset(map(int, members))

    async def records(self, hashes: Iterable[int]) -> dict[int, bytes]:
        """The records of hashes; those without records are missing."""
        batches = [
            shard[at : at + BATCH] for shard in names.by_shard(hashes) for at in range(0, len(shard), BATCH)
        ]

        async def read() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for batch in batches:
                    pipe.execute_command("MGET", *map(names.bucket, batch))
                return list(await pipe.execute())

        answers = await retried(read) if batches else []
        return {
            value: records
            for batch, answer in zip(batches, answers, strict=True)
            for value, records in zip(batch, answer, strict=True)
            if records is not None
        }

    # --- sweeping -----------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Delete the records of removed songs. Returns how many; 0 if nothing is to be done.

        Only one worker sweeps at a time.
        """
        members: Any = await retried(lambda: self._redis.smembers(names.REMOVED))
        if not members:
            return 0
        mine = secrets.token_hex(8)
        if not await retried(lambda: self._redis.set(names.SWEEPER, mine, nx=True, ex=SWEEPER_S)):
            return 0
        heads = [int(member).to_bytes(NUMBER_BYTES, "little") for member in members]
        deleted, renewed = 0, time.monotonic()
        for shard in names.by_shard(range(HASHES)):
            for at in range(0, len(shard), SWEPT):
                keys = [names.bucket(value) for value in shard[at : at + SWEPT]]
                args = [RECORD_BYTES, NUMBER_BYTES, *heads]
                deleted += int(await self._scripts.run("song_sweep", keys, args))
                await asyncio.sleep(SWEEP_PAUSE_S)
                if time.monotonic() - renewed > SWEEPER_S / 4:
                    renewed = time.monotonic()
                    await retried(lambda: self._redis.expire(names.SWEEPER, SWEEPER_S))
        await retried(lambda: self._redis.srem(names.REMOVED, *members))
        await retried(lambda: self._redis.delete(names.SWEEPER))
        return deleted


def _song(number: int, found: Mapping[bytes, bytes]) -> Song:
    fields = {name.decode(): value.decode("utf-8", "replace") for name, value in found.items()}
    known = {name: fields[name] for name in Song.model_fields if name in fields}
    return Song(**{**known, "id": number})
