"""Claiming work: a queue whose entries stay pending while somebody works on them.

Two kinds of workers own parts of a session, each in its own queue and with its own fencing number: a
transcriber owns the recognition, an audio-processor the conversion of its bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from redis.exceptions import ResponseError

from parlando.redislog import keys as names
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.keys import SessionKeys

FORGOTTEN_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of ownership: its queue, its consumer group, the prefix of its fields in a session's hash."""

    queue: Callable[[int], str]
    group: str
    prefix: str


RECOGNITION: Final = Role(names.sessions, names.TRANSCRIBERS, "")
CONVERSION: Final = Role(names.intake, names.PROCESSORS, "intake_")


@dataclass(frozen=True, slots=True)
class Lease:
    """How a lease refresh went; `lost` if the work is another's now.

    `overdue_s`: seconds beyond its window that the session has been without a client (negative within it).
    `quiet`: whether no audio has come for so long that what is open should be settled.
    `received`: samples of PCM that came. `ending`: whether no more will come.
    """

    lost: bool
    overdue_s: float = 0.0
    quiet: bool = False
    received: int = 0
    ending: bool = False

    @classmethod
    def of(cls, answer: Sequence[Any]) -> "Lease":
        """What the script said."""
        unseen = int(answer[0])
        if unseen < 0:
            return cls(lost=True)
        settle = float(answer[2])
        return cls(
            lost=False,
            overdue_s=unseen - float(answer[1]),
            quiet=0 < settle <= unseen,
            received=int(answer[3]),
            ending=bool(answer[4]),
        )


class Held(Protocol):
    """What a claim must say of itself."""

    @property
    def keys(self) -> SessionKeys:
        """The keys of the session."""
        ...

    @property
    def entry(self) -> str:
        """The id of the work item."""
        ...

    @property
    def epoch(self) -> int:
        """The fencing number."""
        ...


C = TypeVar("C", bound=Held)


class Claims(Generic[C]):
    """A worker's claims on the sessions of all partitions, in one role."""

    def __init__(
        self,
        redis: Redis,
        role: Role,
        read: Callable[[SessionKeys, str, dict[str, bytes]], C],
        *,
        worker: str,
        partitions: int,
        ttl_s: int,
        lease_s: float = 3.0,
    ) -> None:
        self.scripts = Scripts(redis)
        self.ttl_s = ttl_s
        self._redis = redis
        self._role = role
        self._read = read
        self._worker = worker
        self._partitions = partitions
        self._lease_ms = int(lease_s * 1000)

    async def ensure_groups(self) -> None:
        """Create the consumer groups that don't exist."""
        for partition in range(self._partitions):
            await ensure_group(self._redis, self._role.queue(partition), self._role.group)

    async def tidy(self) -> None:
        """Take workers off the queue's books that have not been heard of for an hour and hold nothing."""
        for partition in range(self._partitions):
            await self._tidy(self._role.queue(partition))

    async def _tidy(self, queue: str) -> None:
        group = self._role.group
        consumers: Any = await retried(lambda: self._redis.xinfo_consumers(queue, group))
        for consumer in consumers:
            if consumer["pending"] == 0 and consumer["idle"] > FORGOTTEN_MS:
                await self._redis.xgroup_delconsumer(queue, group, consumer["name"])

    async def take_new(self, partition: int, room: int, *, block_ms: int) -> list[C]:
        """Claim up to `room` sessions that nobody owns, waiting up to `block_ms` for the first."""
        answer: Any = await self._redis.xreadgroup(
            self._role.group, self._worker, {self._role.queue(partition): ">"}, count=room, block=block_ms
        )
        claims = []
        for _, entries in answer or []:
            for entry, fields in entries:
                claim = await self._claim(partition, entry, fields)
                if claim:
                    claims.append(claim)
        return claims

    async def take_over(self, partition: int, room: int) -> list[C]:
        """Claim up to `room` sessions whose owner has let its lease run out."""
        answer: Any = await self._redis.xautoclaim(
            self._role.queue(partition), self._role.group, self._worker, self._lease_ms, "0-0", count=room
        )
        claims = []
        for entry, fields in answer[1]:
            if entry is None or not fields:  # deleted since: Redis before 7 still lists it
                continue
            claim = await self._claim(partition, entry, fields)
            if claim:
                claims.append(claim)
        return claims

    async def _claim(self, partition: int, entry: bytes, fields: dict[bytes, bytes]) -> C | None:
        keys = SessionKeys(fields[b"sid"].decode(), partition)
        flat = await self.scripts.run(
            "claim",
            [keys.session, self._role.queue(partition)],
            [self._worker, entry, self._role.group, self._role.prefix],
        )
        if flat is None:
            return None
        found = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
        return self._read(keys, entry.decode(), found)

    async def refresh(self, claims: Sequence[C]) -> list[Lease]:
        """Keep the leases of `claims`, in one round trip."""
        answers = await self.scripts.run_many(
            "refresh",
            [
                (
                    [claim.keys.session, self._role.queue(claim.keys.partition)],
                    [
                        claim.epoch,
                        claim.entry,
                        self._role.group,
                        self._worker,
                        self.ttl_s,
                        self._role.prefix,
                    ],
                )
                for claim in claims
            ],
        )
        return [Lease.of(answer) for answer in answers]

    async def release(self, claim: C) -> None:
        """Hand a session back, for another worker to claim at once."""
        await self.scripts.run(
            "release",
            [claim.keys.session, self._role.queue(claim.keys.partition)],
            [claim.epoch, claim.entry, self._role.group, claim.keys.sid, self._role.prefix],
        )

    async def failed(self, claim: C) -> int:
        """Note that a worker has failed on a session for a reason of the session's own; how often."""
        field = f"{self._role.prefix}failures"
        failures: Any = await retried(lambda: self._redis.hincrby(claim.keys.session, field, 1))
        return int(failures)


async def ensure_group(redis: Redis, stream: str, group: str) -> None:
    """Create a stream's consumer group if it doesn't exist."""
    try:
        await retried(lambda: redis.xgroup_create(stream, group, id="0", mkstream=True))
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
