"""What a worker does to sessions: claim, keep the lease, publish, commit, hand back.

Every write is a script that checks the epoch; a worker that lost a session hears it as `FencedError`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from parlando.audio import milliseconds, seconds
from parlando.errors import FencedError
from parlando.events import Closed, Failure, KeptEvent, Status, encode
from parlando.events import Final as FinalEvent
from parlando.redislog import keys as names
from parlando.redislog.claims import RECOGNITION, RoleClaims, SessionClaim
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.keys import PROCESSORS, TRANSCRIBERS
from parlando.redislog.pcm import MOST_CONTROLS

MOST_IN_INBOX: Final = 100_000  # deliveries that no gateway has accepted; the oldest beyond that are lost

log = structlog.get_logger(part="owner")


def _json(value: dict[str, Any]) -> bytes:
    """JSON of a state in which an engine may have left numpy's numbers."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The point below which a session never needs to be read again.

    `offset` is in samples; `snapshot` is the segmenter's state behind it (JSON-able). `control` is the number
    of the last control that it has taken in. All audio before sample `settled` is in finals.
    """

    offset: int
    snapshot: dict[str, Any]
    control: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Claim(SessionClaim):
    """A session as its new owner finds it. `config` is the one it was opened with."""

    config: dict[str, Any]
    checkpoint: Checkpoint | None
    open_segment: dict[str, Any] | None
    seq: int
    segments: int
    decoded: int
    taken_over: bool
    key: str = ""
    start: int = 0
    """Sample at which the session's audio begins."""
    floor: int = 0
    """Samples before which all audio was in finals when the session was opened."""


class OwnedSession:
    """The fenced pen of one session's owner."""

    def __init__(self, scripts: Scripts, claim: Claim, ttl_s: int) -> None:
        self._scripts = scripts
        self._keys = claim.keys
        self._epoch = claim.epoch
        self._entry = claim.entry
        self._key = claim.key
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
        head, rest = event, b""
        if event and decoded is not None:
            head, rest = b'{"lag_ms":', b"," + event.removeprefix(b"{")
        ok = await self._scripts.run(
            "partial",
            [self._keys.session, self._keys.events],
            [
                self._epoch,
                secrets.token_hex(8),
                head,
                rest,
                _json(state),
                "" if decoded is None else decoded,
            ],
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

        If somebody else has appended an event meanwhile, these are numbered behind it.

        Raises
        ------
        FencedError, UnavailableError

        """
        keys, call = self._commit_keys(), secrets.token_hex(8)
        while True:
            bodies = [
                part
                for number, event in enumerate(events, start=1)
                for part in (
                    encode(event.model_copy(update={"seq": self.seq + number})),
                    int(isinstance(event, FinalEvent)),
                )
            ]
            answer = await self._scripts.run(
                "commit",
                keys,
                [
                    self._epoch,
                    call,
                    self.seq,
                    "" if checkpoint is None else checkpoint.offset,
                    "" if checkpoint is None else _json(checkpoint.snapshot),
                    "" if checkpoint is None else checkpoint.control,
                    decoded,
                    segments,
                    int(close),
                    self._entry,
                    TRANSCRIBERS,
                    self._ttl_s,
                    PROCESSORS,
                    MOST_IN_INBOX,
                    "" if checkpoint is None else checkpoint.settled,
                    *bodies,
                ],
            )
            if answer[0] == b"fenced":
                raise self._fenced()
            expected, self.seq = self.seq, int(answer[1])
            if answer[0] == b"ok":
                return
            if self.seq < expected:  # the next owner goes on from the checkpoint that Redis has
                raise FencedError(f"Redis has restarted without the last events of session {self._keys.sid}")
            log.info("commit.renumbered", session=self._keys.sid, expected=expected, found=self.seq)

    def _commit_keys(self) -> list[str]:
        keys = self._keys
        return [
            keys.session,
            keys.pcm,
            keys.events,
            keys.queue,
            keys.raw,
            keys.intake,
            names.closed(keys.partition),
            names.pushes(keys.partition),
            names.usage(keys.partition, self._key, names.month()),
            keys.arrivals,
        ]

    async def end(self, reason: str) -> None:
        """End a session that its client has left for good."""
        await self._say({"type": "end", "reason": reason}, 1, f"{self._epoch}-{reason}")

    async def settle(self, received: int) -> None:
        """Settle what is open, for no audio has come since sample `received`."""
        await self._say({"type": "settle"}, 0, f"settle-{received}")

    async def _say(self, control: dict[str, Any], ends: int, name: str) -> None:
        await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm, self._keys.raw],
            ["", self._epoch, orjson.dumps(control), ends, name, "", MOST_CONTROLS],
        )


class SessionClaims(RoleClaims[Claim]):
    """A transcriber's claims."""

    def __init__(
        self, redis: Redis, *, worker: str, partitions: int, ttl_s: int, lease_s: float = 3.0
    ) -> None:
        super().__init__(
            redis, RECOGNITION, worker=worker, partitions=partitions, ttl_s=ttl_s, lease_s=lease_s
        )

    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> Claim:
        snapshot, opened = found.get("snapshot"), found.get("open")
        return Claim(
            keys=owned.keys,
            entry=owned.entry,
            epoch=owned.epoch,
            config=orjson.loads(found.get("first_config") or found["config"]),
            checkpoint=Checkpoint(int(found["checkpoint"]), orjson.loads(snapshot)) if snapshot else None,
            open_segment=orjson.loads(opened) if opened else None,
            seq=int(found["seq"]),
            segments=int(found["segments"]),
            decoded=int(found["decoded"]),
            taken_over=owned.epoch > 1,
            key=found["key"].decode(),
            start=int(found.get("start", 0)),
            floor=int(found.get("floor", 0)),
        )

    def own(self, claim: Claim) -> OwnedSession:
        """The fenced log that comes with a claim."""
        return OwnedSession(self.scripts, claim, self.ttl_s)

    async def _give_up(self, owned: SessionClaim) -> None:
        """Close a session that can't be recognised, saying how much of its audio was not."""
        fields = ("seq", "received", "decoded", "segments", "key")
        found: Any = await retried(lambda: self.redis.hmget(owned.keys.session, fields))
        if found[0] is None:
            return
        seq, received, decoded, segments = map(int, found[:4])
        claim = Claim(
            owned.keys,
            owned.entry,
            owned.epoch,
            config={},
            checkpoint=None,
            open_segment=None,
            seq=seq,
            segments=segments,
            decoded=decoded,
            taken_over=True,
            key=found[4].decode(),
        )
        sid, message = owned.keys.sid, "The transcribers failed on this session's audio"
        await self.own(claim).commit(
            [
                Status(session_id=sid, status="lost", ms=milliseconds(received - decoded), reason="failed"),
                Failure(session_id=sid, code="internal", message=message, retryable=False),
                Closed(session_id=sid, duration=seconds(received), segments=segments, reason="failed"),
            ],
            decoded=decoded,
            segments=segments,
            close=True,
        )
