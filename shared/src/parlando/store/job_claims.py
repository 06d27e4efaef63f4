"""An audio-processor's claims on jobs: admit waiting jobs, and own them until their chunks are queued."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
import structlog

from parlando.domain.job_options import MAX_ATTEMPTS
from parlando.errors import FencedError, JobEndedError
from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.job_store import JobRecord
from parlando.store.keys import LONG_TTL_S, PROCESSORS, JobKeys
from parlando.store.leases import Claims, Renewal
from parlando.store.work_queue import Delivered, WorkQueue

LOOK_AT: Final = 100  # waiting jobs searched for one whose key has no running job

log = structlog.get_logger(part="jobs")


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A job owned by this process. `record`: its state when it was claimed."""

    keys: JobKeys
    entry: str
    epoch: int
    record: JobRecord

    @property
    def name(self) -> str:
        """The job's id."""
        return self.keys.job

    @property
    def partition(self) -> int:
        """The job's partition."""
        return self.keys.partition

    @property
    def owner(self) -> str:
        """The first 16 digits of the job's hashed key, under which its share is counted."""
        return self.record.key[:16]

    @property
    def script_keys(self) -> list[str]:
        """KEYS of every job script."""
        return self.keys.all(self.record.key, self.record.pool)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a job. `what`: see `chunk_claims.ChunkSpec`. `pcm`: s16le."""

    index: int
    what: dict[str, Any]
    pcm: bytes


def _parts(member: str) -> tuple[str, str, str]:
    """A member of the waiting jobs: first 16 digits of the hashed key, pool, job."""
    owner, pool, job = member.split(":")
    return owner, pool, job


@dataclass(frozen=True, slots=True)
class JobRenewal(Renewal):
    """The result of renewing a lease on a job. `over`: the job has ended or does not exist any more."""

    over: bool = False


OVER: Final = ("gone", "failed", "cancelled")  # states of a job that another process has ended


class JobClaims(Claims[JobClaim, JobRenewal]):
    """An audio-processor's claims on jobs in all partitions."""

    def __init__(self, redis: Redis, *, worker: str, partitions: int, lease_s: float) -> None:
        super().__init__(
            WorkQueue(redis, names.jobs, PROCESSORS, worker=worker, partitions=partitions, lease_s=lease_s)
        )
        self.scripts = Scripts(redis)
        self._redis = redis
        self._worker = worker
        self._partitions = partitions

    async def admit(self, *, room: bool) -> bool:
        """Admit the next waiting job of each partition; without `room` only if its key has none in its pool.

        Returns whether a job was admitted.
        """

        async def first() -> list[list[bytes]]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for partition in range(self._partitions):
                    pipe.zrange(names.waiting(partition), 0, 0 if room else LOOK_AT - 1)
                found: list[list[bytes]] = await pipe.execute()
            return found

        waiting = await retried(first)
        return any(
            [
                await self._admit(partition, [member.decode() for member in members], room)
                for partition, members in enumerate(waiting)
                if members
            ]
        )

    async def _admit(self, partition: int, members: list[str], room: bool) -> bool:
        waiting = [_parts(member) for member in members]
        if not room:
            running = await self._running(partition, {pool for _, pool, _ in waiting})
            waiting = [each for each in waiting if each[:2] not in running][:1]
        for owner, pool, job in waiting:
            keys = JobKeys(job, partition).all(owner, pool)
            if await self.scripts.run("admit_job", keys, [f"{owner}:{pool}:{job}", owner]):
                return True
        return False

    async def _running(self, partition: int, pools: set[str]) -> set[tuple[str, str]]:
        """The keys (first 16 digits) that have a running job, each with the pool of the job."""
        found = set()
        for pool in pools:
            name = names.shares(partition, pool)
            fields: Any = await retried(lambda name=name: self._redis.hkeys(name))  # type: ignore[misc]
            counted = [field.decode().partition(":") for field in fields]
            found |= {(owner, pool) for kind, _, owner in counted if kind == "job"}
        return found

    async def _claim(self, delivered: Delivered) -> JobClaim | None:
        keys = JobKeys(delivered.fields[b"job"].decode(), delivered.partition)
        owner, pool = delivered.fields[b"key"].decode(), delivered.fields[b"pool"].decode()
        flat = await self.scripts.run(
            "claim_job",
            keys.all(owner, pool),
            [self._worker, delivered.entry, MAX_ATTEMPTS, owner, LONG_TTL_S],
        )
        if flat is None:
            return None
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        try:
            record = JobRecord.of(keys.job, found)
        except (KeyError, ValueError, TypeError) as error:  # written by another version of this program
            log.error("job.unreadable", job=keys.job, error=f"{type(error).__name__}: {error}")
            return None  # the attempt counts: the job fails after the last one
        return JobClaim(keys, delivered.entry, int(found[b"epoch"]), record)

    async def renew(self, claims: Sequence[JobClaim]) -> list[JobRenewal]:
        """Renew leases. Raises `UnavailableError`."""
        answers: list[bytes] = await self.scripts.run_many(
            "refresh_job",
            [
                (
                    claim.script_keys,
                    [claim.epoch, claim.entry, self._worker, LONG_TTL_S],
                )
                for claim in claims
            ],
        )
        states = [answer.decode() for answer in answers]
        return [JobRenewal(lost=state == "lost", over=state in OVER) for state in states]

    async def leave(self, claim: JobClaim) -> None:
        """Give up a job whose chunks are all queued, or that has ended, and whose audio is deleted."""
        await self._leave(claim, hand_back=False)

    async def hand_back(self, claim: JobClaim) -> None:
        """Queue a job again, so that another worker can claim it at once."""
        await self._leave(claim, hand_back=True)

    async def _leave(self, claim: JobClaim, *, hand_back: bool) -> None:
        await self.scripts.run(
            "leave_job",
            claim.script_keys,
            [claim.epoch, claim.entry, claim.owner, int(hand_back)],
        )

    async def failed(self, claim: JobClaim, error: Exception) -> None:
        """Do nothing: each claim counts as an attempt, and the job is claimed again after its lease."""


class JobLog:
    """Fenced writes of a job's owner. Every call raises `FencedError`, `JobEndedError`."""

    def __init__(self, scripts: Scripts, claim: JobClaim) -> None:
        self._scripts = scripts
        self._claim = claim
        self._keys = claim.script_keys

    def _check(self, answer: bytes) -> str:
        verdict = answer.decode()
        if verdict == "lost":
            raise FencedError(f"Another worker owns job {self._claim.keys.job}")
        if verdict == "ended":
            raise JobEndedError(f"Job {self._claim.keys.job} has ended")
        return verdict

    async def add(
        self, chunk: Chunk, *, limit: int, position: int, expected: int, language_first: bool
    ) -> bool:
        """Queue a chunk. Returns False if the queue has no room yet. See `add_chunk.lua`."""
        what = orjson.dumps(chunk.what)
        for pcm in (b"", chunk.pcm):  # check for room first: the PCM has about 1 MB
            answer = await self._scripts.run(
                "add_chunk",
                self._keys,
                [
                    self._claim.epoch,
                    chunk.index,
                    what,
                    pcm,
                    limit,
                    position,
                    expected,
                    int(language_first),
                ],
            )
            if self._check(answer) != "ok":
                return False
        return True

    async def cut(self, duration: int, channels: int) -> None:
        """Record that all chunks are queued. `duration`: samples of each channel of the file."""
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
