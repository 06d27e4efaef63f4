"""What an audio-processor does with jobs: let them in, own them while their audio is cut up."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from parlando.errors import FencedError, JobEndedError
from parlando.jobs import MOST_ATTEMPTS
from parlando.redislog import keys as names
from parlando.redislog.claims import ensure_group
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.jobs import JobRecord
from parlando.redislog.keys import LONG_TTL_S, PROCESSORS, JobKeys

LOOK_AT: Final = 100  # waiting jobs, for one whose key has none running


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A job that this process owns, as it was when it was claimed."""

    keys: JobKeys
    entry: str
    epoch: int
    record: JobRecord

    @property
    def owner(self) -> str:
        """The job's key as it's counted."""
        return self.record.key[:16]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a job. `what`: see `chunks.ChunkWork`; `pcm`: s16le."""

    index: int
    what: dict[str, Any]
    pcm: bytes


def _owner(member: str) -> str:
    return member.partition(":")[0]


class JobClaims:
    """A processor's claims on jobs in all partitions."""

    def __init__(self, redis: Redis, *, worker: str, partitions: int, lease_s: float) -> None:
        self.scripts = Scripts(redis)
        self._redis = redis
        self._worker = worker
        self._partitions = partitions
        self._lease_ms = int(lease_s * 1000)

    async def ensure_groups(self) -> None:
        """Create the consumer groups that don't exist."""
        for partition in range(self._partitions):
            await ensure_group(self._redis, names.jobs(partition), PROCESSORS)

    async def admit(self, *, room: bool) -> bool:
        """Let the next waiting job of each partition in; without `room` of keys that have none running."""
        return any([await self._admit(partition, room) for partition in range(self._partitions)])

    async def _admit(self, partition: int, room: bool) -> bool:
        queue = names.waiting(partition)
        found: Any = await retried(lambda: self._redis.zrange(queue, 0, 0 if room else LOOK_AT - 1))
        members = [member.decode() for member in found]
        if not room and members:
            running: Any = await retried(lambda: self._redis.hkeys(names.shares(partition)))
            members = [member for member in members if f"job:{_owner(member)}".encode() not in running][:1]
        for member in members:
            keys = JobKeys(member.partition(":")[2], partition)
            if await self.scripts.run("admit_job", keys.all(_owner(member)), [member, _owner(member)]):
                return True
        return False

    async def take_new(self) -> list[JobClaim]:
        """Claim one job of each partition that has been let in and that nobody owns."""
        streams = {names.jobs(partition): ">" for partition in range(self._partitions)}
        claims = []
        for stream in streams:
            answer: Any = await self._redis.xreadgroup(PROCESSORS, self._worker, {stream: ">"}, count=1)
            for _, entries in answer or []:
                claims += [await self._claim(stream, entry, fields) for entry, fields in entries]
        return [claim for claim in claims if claim]

    async def take_over(self) -> list[JobClaim]:
        """Claim one job of each partition whose owner has let its lease run out."""
        claims = []
        for partition in range(self._partitions):
            stream = names.jobs(partition)
            answer: Any = await self._redis.xautoclaim(
                stream, PROCESSORS, self._worker, self._lease_ms, "0-0", count=1
            )
            claims += [await self._claim(stream, entry, fields) for entry, fields in answer[1] if fields]
        return [claim for claim in claims if claim]

    async def _claim(self, stream: str, entry: bytes, fields: dict[bytes, bytes]) -> JobClaim | None:
        partition = int(stream[stream.index("{") + 1 : stream.index("}")])
        keys = JobKeys(fields[b"job"].decode(), partition)
        owner = fields[b"key"].decode()
        flat = await self.scripts.run(
            "claim_job", keys.all(owner), [self._worker, entry, MOST_ATTEMPTS, owner, LONG_TTL_S]
        )
        if flat is None:
            return None
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        return JobClaim(keys, entry.decode(), int(found[b"epoch"]), JobRecord.of(keys.job, found))

    async def refresh(self, claim: JobClaim) -> str:
        """Keep the lease; the job's state, "lost" or "gone"."""
        answer: bytes = await self.scripts.run(
            "refresh_job",
            claim.keys.all(claim.record.key),
            [claim.epoch, claim.entry, self._worker, LONG_TTL_S],
        )
        return answer.decode()

    async def leave(self, claim: JobClaim, *, hand_back: bool = False) -> None:
        """Be done with a job; or hand it back, for another worker to claim at once."""
        await self.scripts.run(
            "leave_job",
            claim.keys.all(claim.record.key),
            [claim.epoch, claim.entry, claim.owner, int(hand_back)],
        )


class OwnedJob:
    """A job's owner's pen. Every call raises `FencedError` if it's another's now, and `JobEndedError`."""

    def __init__(self, scripts: Scripts, claim: JobClaim) -> None:
        self._scripts = scripts
        self._claim = claim
        self._keys = claim.keys.all(claim.record.key)

    def _check(self, answer: bytes) -> str:
        said = answer.decode()
        if said == "lost":
            raise FencedError(f"Job {self._claim.keys.job} is another worker's now")
        if said == "ended":
            raise JobEndedError(f"Job {self._claim.keys.job} has ended")
        return said

    async def add(
        self, chunk: Chunk, *, most: int, position: int, expected: int, language_first: bool
    ) -> bool:
        """Queue a chunk; False if there's no room for it yet. See `add_chunk.lua`."""
        what = orjson.dumps(chunk.what)
        for pcm in (b"", chunk.pcm):  # a megabyte isn't sent in vain
            answer = await self._scripts.run(
                "add_chunk",
                self._keys,
                [
                    self._claim.epoch,
                    chunk.index,
                    what,
                    pcm,
                    most,
                    position,
                    expected,
                    int(language_first),
                ],
            )
            if self._check(answer) != "ok":
                return False
        return True

    async def cut(self, duration: int, channels: int) -> None:
        """Say that all chunks are queued: the file has `duration` samples in each of its channels."""
        self._check(
            await self._scripts.run("cut_job", self._keys, [self._claim.epoch, duration, duration * channels])
        )

    async def fail(self, code: str, message: str) -> None:
        """End the job with an error."""
        state: Literal["failed"] = "failed"
        why = orjson.dumps({"code": code, "message": message})
        self._check(
            await self._scripts.run("end_job", self._keys, [self._claim.epoch, state, why]) or b"ended"
        )
