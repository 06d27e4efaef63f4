"""What a transcriber does with the chunks of jobs: claim them, keep them, give their results in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict

from parlando.jobs import MOST_ATTEMPTS, JobOptions
from parlando.redislog import keys as names
from parlando.redislog.claims import ensure_group
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.keys import TRANSCRIBERS, JobKeys
from parlando.transcript import FinalSegment

MOST_WHY: Final = 300  # letters of a reason that are kept


class ChunkWork(BaseModel):
    """What a chunk is. Positions in samples of the file.

    Its audio begins at `start`. `speech` are the stretches in which the voice detector heard speech.
    `stands_for`: the samples of the file that are done with when it is, silence included.
    """

    model_config = ConfigDict(frozen=True)

    start: int
    speech: tuple[tuple[int, int], ...]
    stands_for: int
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """A chunk in this worker's hands. `language` is the job's, as far as it's known."""

    keys: JobKeys
    key: str
    entry: str
    index: int
    work: ChunkWork
    pcm: bytes
    options: JobOptions
    language: str | None


class ChunkClaims:
    """A transcriber's claims on chunks in all partitions."""

    def __init__(self, redis: Redis, *, worker: str, partitions: int, lease_s: float) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._worker = worker
        self._partitions = partitions
        self._lease_ms = int(lease_s * 1000)

    async def ensure_groups(self) -> None:
        """Create the consumer groups that don't exist."""
        for partition in range(self._partitions):
            await ensure_group(self._redis, names.chunks(partition), TRANSCRIBERS)

    async def take_new(self, partition: int, room: int, *, block_ms: int) -> list[ChunkClaim]:
        """Claim up to `room` chunks that nobody has, waiting up to `block_ms` for the first."""
        stream = names.chunks(partition)
        answer: Any = await self._redis.xreadgroup(
            TRANSCRIBERS, self._worker, {stream: ">"}, count=room, block=block_ms
        )
        entries = [entry for _, found in answer or [] for entry in found]
        return await self._claim_all(partition, entries)

    async def take_over(self, partition: int, room: int) -> list[ChunkClaim]:
        """Claim up to `room` chunks whose worker has let its lease run out."""
        answer: Any = await self._redis.xautoclaim(
            names.chunks(partition), TRANSCRIBERS, self._worker, self._lease_ms, "0-0", count=room
        )
        return await self._claim_all(partition, [entry for entry in answer[1] if entry[1]])

    async def _claim_all(
        self, partition: int, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]
    ) -> list[ChunkClaim]:
        claims = [await self._claim(partition, entry, fields) for entry, fields in entries]
        return [claim for claim in claims if claim]

    async def _claim(self, partition: int, entry: bytes, fields: dict[bytes, bytes]) -> ChunkClaim | None:
        keys = JobKeys(fields[b"job"].decode(), partition)
        key = fields[b"key"].decode()
        index = int(fields[b"index"])
        answer = await self._scripts.run(
            "claim_chunk", keys.all(key), [index, entry, key[:16], MOST_ATTEMPTS]
        )
        if answer is None:
            return None
        return ChunkClaim(
            keys,
            key,
            entry.decode(),
            index,
            ChunkWork.model_validate_json(fields[b"what"]),
            fields[b"pcm"],
            JobOptions.model_validate_json(answer[0]),
            answer[1].decode() if answer[1] else None,
        )

    async def refresh(self, claims: Sequence[ChunkClaim]) -> None:
        """Keep the leases of `claims`."""
        for partition in {claim.keys.partition for claim in claims}:
            entries = [claim.entry for claim in claims if claim.keys.partition == partition]
            stream = names.chunks(partition)
            await retried(
                lambda stream=stream, entries=entries: self._redis.xclaim(  # type: ignore[misc]
                    stream, TRANSCRIBERS, self._worker, 0, entries, justid=True
                )
            )

    async def done(self, claim: ChunkClaim, segments: Sequence[FinalSegment], language: str | None) -> None:
        """Give the result in. If another worker has done so already, its result stays."""
        body = orjson.dumps(
            [segment.model_dump(exclude={"segment"}, exclude_defaults=True) for segment in segments]
        )
        await self._scripts.run(
            "part", claim.keys.all(claim.key), [claim.index, body, claim.work.stands_for, language or ""]
        )

    async def give_back(self, claim: ChunkClaim, why: str = "") -> None:
        """Give it to another worker; `why` it failed here, which counts as an attempt, if it did."""
        await self._scripts.run(
            "return_chunk",
            claim.keys.all(claim.key),
            [
                claim.index,
                claim.entry,
                why[:MOST_WHY],
                MOST_ATTEMPTS,
                claim.work.model_dump_json(exclude_none=True),
                claim.pcm,
            ],
        )

    async def waiting(self) -> int:
        """Chunks that are queued or being heard."""
        return sum(
            [
                int(await retried(lambda p=p: self._redis.xlen(names.chunks(p))))  # type: ignore[misc]
                for p in range(self._partitions)
            ]
        )
