"""What a worker does to sessions: claim, keep the lease, publish, commit, hand back.

Every write is a script that checks the epoch; a worker that lost a session hears it as `FencedError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import ResponseError

from parlando.errors import FencedError
from parlando.events import KeptEvent, encode
from parlando.redislog import keys as names
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.keys import TRANSCRIBERS, SessionKeys


def _json(value: dict[str, Any]) -> bytes:
    """JSON of a state in which an engine may have left numpy's numbers."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The point below which a session never needs to be read again.

    `offset` is in samples; `snapshot` is the segmenter's state behind it (JSON-able).
    """

    offset: int
    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A session as its new owner finds it."""

    keys: SessionKeys
    entry: str
    epoch: int
    config: dict[str, Any]
    checkpoint: Checkpoint | None
    open_segment: dict[str, Any] | None
    seq: int
    segments: int
    decoded: int
    taken_over: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """How a lease refresh went: `unseen_s` seconds without a client; `lost` if it's another's now."""

    lost: bool
    unseen_s: float


class OwnedSession:
    """The fenced pen of one session's owner."""

    def __init__(self, scripts: Scripts, claim: Claim, ttl_s: int) -> None:
        self._scripts = scripts
        self._keys = claim.keys
        self._epoch = claim.epoch
        self._entry = claim.entry
        self._ttl_s = ttl_s
        self.seq = claim.seq

    def _fenced(self) -> FencedError:
        return FencedError(f"Session {self._keys.sid} has another owner since epoch {self._epoch}")

    async def publish(self, event: bytes, *, state: dict[str, Any], decoded: int | None = None) -> None:
        """Publish an event that isn't kept (b"" for none) and store the open segment's `state` with it.

        `decoded` is how far the audio has been decoded, in samples; the event then says its lag.

        Raises
        ------
        FencedError, UnavailableError

        """
        ok = await self._scripts.run(
            "partial",
            [self._keys.session, self._keys.events],
            [self._epoch, event, _json(state), "" if decoded is None else decoded],
        )
        if not ok:
            raise self._fenced()

    async def commit(
        self,
        events: Sequence[KeptEvent],
        *,
        decoded: int,
        segments: int,
        checkpoint: Checkpoint | None = None,
        close: bool = False,
    ) -> None:
        """Append and publish `events`, numbering them, and move the checkpoint, all or nothing.

        Raises
        ------
        FencedError, UnavailableError

        """
        bodies = [
            encode(event.model_copy(update={"seq": self.seq + number}))
            for number, event in enumerate(events, start=1)
        ]
        answer = await self._scripts.run(
            "commit",
            [self._keys.session, self._keys.pcm, self._keys.events, self._keys.queue],
            [
                self._epoch,
                self.seq,
                "" if checkpoint is None else checkpoint.offset,
                "" if checkpoint is None else _json(checkpoint.snapshot),
                decoded,
                segments,
                int(close),
                self._entry,
                TRANSCRIBERS,
                self._ttl_s,
                *bodies,
            ],
        )
        if answer < 0:
            raise self._fenced()
        self.seq = int(answer)

    async def end(self, reason: str) -> None:
        """End a session that its client has left for good."""
        control = orjson.dumps({"type": "end", "reason": reason})
        await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm],
            ["", self._epoch, control, 1, f"{self._epoch}-{reason}"],
        )

    async def failed(self) -> int:
        """Note that a worker has failed on the session for a reason of the session's own; how often."""
        failures: Any = await retried(lambda: self._scripts.redis.hincrby(self._keys.session, "failures", 1))
        return int(failures)

    async def release(self) -> None:
        """Hand the session back, for another worker to claim at once."""
        await self._scripts.run(
            "release",
            [self._keys.session, self._keys.queue],
            [self._epoch, self._entry, TRANSCRIBERS, self._keys.sid],
        )


class SessionClaims:
    """A worker's claims on the sessions of all partitions."""

    def __init__(
        self, redis: Redis, *, worker: str, partitions: int, ttl_s: int, lease_s: float = 3.0
    ) -> None:
        self._redis = redis
        self._worker = worker
        self._partitions = partitions
        self._ttl_s = ttl_s
        self._lease_ms = int(lease_s * 1000)
        self._scripts = Scripts(redis)

    async def ensure_groups(self) -> None:
        """Create the consumer groups that don't exist."""
        for partition in range(self._partitions):
            try:
                await retried(
                    lambda p=partition: self._redis.xgroup_create(  # type: ignore[misc]
                        names.sessions(p), TRANSCRIBERS, id="0", mkstream=True
                    )
                )
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def take_new(self, partition: int, room: int, *, block_ms: int) -> list[Claim]:
        """Claim up to `room` sessions that nobody owns, waiting up to `block_ms` for the first."""
        answer: Any = await self._redis.xreadgroup(
            TRANSCRIBERS, self._worker, {names.sessions(partition): ">"}, count=room, block=block_ms
        )
        claims = []
        for _, entries in answer or []:
            for entry, fields in entries:
                claim = await self._claim(partition, entry, fields)
                if claim:
                    claims.append(claim)
        return claims

    async def take_over(self, partition: int, room: int) -> list[Claim]:
        """Claim up to `room` sessions whose owner has let its lease run out."""
        answer: Any = await self._redis.xautoclaim(
            names.sessions(partition), TRANSCRIBERS, self._worker, self._lease_ms, "0-0", count=room
        )
        claims = []
        for entry, fields in answer[1]:
            if entry is None or not fields:  # deleted since: Redis before 7 still lists it
                continue
            claim = await self._claim(partition, entry, fields)
            if claim:
                claims.append(claim)
        return claims

    async def _claim(self, partition: int, entry: bytes, fields: dict[bytes, bytes]) -> Claim | None:
        sid = fields[b"sid"].decode()
        keys = SessionKeys(sid, partition)
        flat = await self._scripts.run(
            "claim", [keys.session, keys.queue], [self._worker, entry, TRANSCRIBERS]
        )
        if flat is None:
            return None
        found = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
        snapshot, opened = found.get("snapshot"), found.get("open")
        return Claim(
            keys=keys,
            entry=entry.decode(),
            epoch=int(found["epoch"]),
            config=orjson.loads(found["config"]),
            checkpoint=Checkpoint(int(found["checkpoint"]), orjson.loads(snapshot)) if snapshot else None,
            open_segment=orjson.loads(opened) if opened else None,
            seq=int(found["seq"]),
            segments=int(found["segments"]),
            decoded=int(found["decoded"]),
            taken_over=int(found["epoch"]) > 1,
        )

    def own(self, claim: Claim) -> OwnedSession:
        """The pen that comes with a claim."""
        return OwnedSession(self._scripts, claim, self._ttl_s)

    async def refresh(self, claims: Sequence[Claim]) -> list[Lease]:
        """Keep the leases of `claims`, in one round trip."""
        answers = await self._scripts.run_many(
            "refresh",
            [
                (
                    [claim.keys.session, claim.keys.queue],
                    [claim.epoch, claim.entry, TRANSCRIBERS, self._worker, self._ttl_s],
                )
                for claim in claims
            ],
        )
        return [Lease(lost=answer < 0, unseen_s=max(0.0, float(answer))) for answer in answers]
