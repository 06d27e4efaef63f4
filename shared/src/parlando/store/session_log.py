"""A transcriber's access to sessions: claim, renew the lease, publish, commit, hand back.

Every write is a script that checks the epoch; it raises `FencedError` if another worker owns the session.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from parlando.domain import commands
from parlando.domain.audio import milliseconds, seconds
from parlando.domain.commands import End, SessionCommand, Settle
from parlando.domain.events import Closed, Failure, FinalTranscript, PersistedEvent, Status, encode
from parlando.errors import FencedError
from parlando.store import keys as names
from parlando.store.audio_streams import MAX_CONTROLS
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.keys import PROCESSORS, TRANSCRIBERS
from parlando.store.session_claims import RoleClaims, SessionClaim, recognition
from parlando.store.usage_keys import day, usage

log = structlog.get_logger(part="owner")


def _json(value: dict[str, Any]) -> bytes:
    """Encode a state as JSON; engines may leave numpy numbers in it."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position from which a new owner can continue; audio before it is deleted.

    `offset`: position in samples. `snapshot`: the segmenter's state there (JSON-serialisable). `control`:
    number of the last control included. `settled`: all samples before this one are in finals.
    """

    offset: int
    snapshot: dict[str, Any]
    control: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class RecognitionClaim(SessionClaim):
    """The state of a session when it is claimed. `config`: the config with which it was opened."""

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
    """All samples before this one were in finals when the session was opened."""
    events_epoch: int = 0
    """Identifies the numbering of the events: when the session was opened, unix milliseconds."""
    pool: str = ""
    """The pool of transcribers in whose queue it is."""


class SessionLog:
    """Fenced writes of a session's owner."""

    def __init__(self, scripts: Scripts, claim: RecognitionClaim, ttl_s: int) -> None:
        self._scripts = scripts
        self._keys = claim.keys
        self._epoch = claim.epoch
        self._entry = claim.entry
        self._pool = claim.pool
        self._ttl_s = ttl_s
        self._events_epoch = claim.events_epoch
        self.seq = claim.seq

    def _fenced(self) -> FencedError:
        return FencedError(f"Another worker owns session {self._keys.sid} since epoch {self._epoch}")

    async def publish(self, event: bytes, *, state: dict[str, Any], decoded: int | None = None) -> None:
        """Publish an event that is not kept (b"" for none), and store the open segment's `state`.

        `decoded`: position in samples up to which the audio is decoded; adds `lag_ms` to the event.

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
        events: Sequence[PersistedEvent],
        *,
        decoded: int,
        segments: int,
        checkpoint: Checkpoint | None = None,
        close: bool = False,
        counted: int | None = None,
    ) -> None:
        """Number, append and publish `events`, and move the checkpoint, atomically.

        `counted`: the audio before this sample belongs to the usage of its owner; it is counted once.

        If another process has appended an event concurrently, these events are renumbered after it.

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
                    encode(event.model_copy(update={"seq": self.seq + number, "epoch": self._events_epoch})),
                    int(isinstance(event, FinalTranscript)),
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
                    "" if checkpoint is None else checkpoint.settled,
                    "" if counted is None else counted,
                    *bodies,
                ],
            )
            if answer[0] == b"fenced":
                raise self._fenced()
            expected, self.seq = self.seq, int(answer[1])
            if answer[0] == b"ok":
                return
            if self.seq < expected:  # the next owner continues from the checkpoint in Redis
                raise FencedError(f"Redis has restarted without the last events of session {self._keys.sid}")
            log.info("commit.renumbered", session=self._keys.sid, expected=expected, found=self.seq)

    def _commit_keys(self) -> list[str]:
        keys = self._keys
        return [
            keys.session,
            keys.pcm,
            keys.events,
            names.sessions(keys.partition, self._pool),
            keys.raw,
            keys.intake,
            names.feed(keys.partition),
            usage(keys.partition, day()),
            keys.arrivals,
        ]

    async def end(self, reason: str) -> None:
        """End a session whose client has not returned."""
        await self._command(End(reason=reason), f"{self._epoch}-{reason}")

    async def settle(self, received: int) -> None:
        """Settle the open segment because no audio has arrived since sample `received`."""
        await self._command(Settle(), f"settle-{received}")

    async def _command(self, command: SessionCommand, name: str) -> None:
        await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm, self._keys.raw],
            [
                "",
                self._epoch,
                commands.encode(command),
                int(isinstance(command, End)),
                name,
                "",
                MAX_CONTROLS,
            ],
        )


class SessionClaims(RoleClaims[RecognitionClaim]):
    """A transcriber's claims on the sessions of its pool."""

    def __init__(
        self, redis: Redis, *, pool: str, worker: str, partitions: int, ttl_s: int, **more: Any
    ) -> None:
        """`more`: see `RoleClaims`."""
        super().__init__(redis, recognition(pool), worker=worker, partitions=partitions, ttl_s=ttl_s, **more)
        self._pool = pool

    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> RecognitionClaim:
        snapshot, opened = found.get("snapshot"), found.get("open")
        return RecognitionClaim(
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
            events_epoch=int(found.get("events_epoch", 0)),
            pool=self._pool,
        )

    def own(self, claim: RecognitionClaim) -> SessionLog:
        """The fenced writer for a claim."""
        return SessionLog(self.scripts, claim, self.ttl_s)

    async def _give_up(self, owned: SessionClaim) -> None:
        """Close a session on which recognition fails, and report the length of its lost audio."""
        fields = ("seq", "received", "decoded", "segments", "events_epoch", "key")
        found: Any = await retried(lambda: self.redis.hmget(owned.keys.session, fields))
        if found[0] is None:
            return
        seq, received, decoded, segments, events_epoch = map(int, found[:5])
        claim = RecognitionClaim(
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
            key=found[5].decode(),
            events_epoch=events_epoch,
            pool=self._pool,
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
