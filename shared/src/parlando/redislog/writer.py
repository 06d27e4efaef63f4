"""What a gateway does to a session: open it, come back to it, append audio, say it has ended.

Everything here is fenced by the writer number: a newer connection of the same session outranks an
older one, whose next call raises `SupersededError`.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import orjson

from parlando.audio import BYTES_PER_SAMPLE
from parlando.errors import (
    AtCapacityError,
    NotAllowedError,
    ParlandoError,
    SessionClosedError,
    SessionLostError,
    SessionNotFoundError,
    SessionTakenError,
    SupersededError,
)
from parlando.ids import fingerprint
from parlando.redislog.connection import Redis, Scripts, retried
from parlando.redislog.keys import SessionKeys
from parlando.redislog.keys import sessions as queue_of


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of an append. `stored` is False if the backlog is full; both counts in samples."""

    stored: bool
    received: int
    backlog: int


def _refusal(sid: str, answer: str) -> ParlandoError:
    match answer:
        case "missing":
            return SessionLostError(
                f"Redis no longer knows session {sid}: it restarted without its data. "
                "Start a new session and send again what was not settled."
            )
        case "superseded":
            return SupersededError(f"A newer connection writes to session {sid}")
        case "closed":
            return SessionClosedError(f"Session {sid} has ended")
        case _:
            return ParlandoError(f"Unexpected answer {answer!r} for session {sid}")


class SessionWriter:
    """One connection's right to write to one session."""

    def __init__(self, scripts: Scripts, keys: SessionKeys, writer: int, received: int, ttl_s: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._writer = writer
        self._ttl_s = ttl_s
        self.received = received
        """Samples that are safely in Redis."""

    @property
    def sid(self) -> str:
        """The session's id."""
        return self._keys.sid

    async def append(self, pcm: bytes, most_backlog: int) -> Appended:
        """Store whole s16le samples behind those received.

        Raises
        ------
        SessionLostError, SupersededError, SessionClosedError, UnavailableError

        """
        answer = await self._scripts.run(
            "append",
            [self._keys.session, self._keys.pcm],
            [self._writer, self.received, pcm, most_backlog],
        )
        verdict = answer[0].decode()
        if verdict not in ("ok", "full"):
            raise _refusal(self.sid, verdict)
        if verdict == "ok":
            self.received += len(pcm) // BYTES_PER_SAMPLE
        return Appended(verdict == "ok", int(answer[1]), int(answer[2]))

    async def control(self, control: dict[str, Any], *, ends: bool = False) -> None:
        """Put a control entry behind the audio received so far; `ends` refuses audio after it."""
        answer = await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm],
            [self._writer, "", orjson.dumps(control), int(ends), secrets.token_hex(8)],
        )
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())

    async def touch(self) -> None:
        """Say that the client is still here. Raises as `append`."""
        answer = await self._scripts.run("touch", [self._keys.session], [self._writer, self._ttl_s])
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())


@dataclass(frozen=True, slots=True)
class Attached:
    """A session that a client came back to."""

    writer: SessionWriter
    seq: int
    state: str
    config: dict[str, Any]


class Sessions:
    """Opens sessions and comes back to them."""

    def __init__(self, redis: Redis, *, partitions: int, ttl_s: int) -> None:
        self.redis = redis
        self.partitions = partitions
        self._scripts = Scripts(redis)
        self._ttl_s = ttl_s

    def keys(self, sid: str) -> SessionKeys:
        """The keys of session `sid`."""
        return SessionKeys.of(sid, self.partitions)

    async def open(
        self, sid: str, *, config: dict[str, Any], token: str, key: str = "", most: int = -1
    ) -> SessionWriter:
        """Open session `sid` and queue it for a worker.

        `token` lets a client come back, `key` is the API key it used; only hashes of both are kept.
        `most` is the largest number of open sessions in the partition, -1 for no limit.

        Raises
        ------
        SessionTakenError, AtCapacityError, UnavailableError

        """
        keys = self.keys(sid)
        answer = await self._scripts.run(
            "open",
            [keys.session, keys.pcm, keys.events, keys.queue],
            [
                sid,
                most,
                self._ttl_s,
                int(bool(key)),
                orjson.dumps(config),
                fingerprint(token),
                fingerprint(key),
            ],
        )
        if answer == b"taken":
            raise SessionTakenError(
                f"Session id {sid} is in use; resume it with its token, or choose another"
            )
        if answer == b"full":
            raise AtCapacityError("All transcribers are busy; try again in a few seconds")
        return SessionWriter(self._scripts, keys, 1, 0, self._ttl_s)

    async def attach(self, sid: str, *, token: str = "", key: str = "") -> Attached:
        """Come back to session `sid` with its token or the API key that opened it.

        Raises
        ------
        SessionNotFoundError, NotAllowedError, UnavailableError

        """
        keys = self.keys(sid)
        answer = await self._scripts.run(
            "attach", [keys.session], [fingerprint(token), fingerprint(key), self._ttl_s]
        )
        match answer[0]:
            case b"missing":
                raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
            case b"denied":
                raise NotAllowedError(f"The resume token doesn't belong to session {sid}")
        _, writer, received, seq, state, config = answer
        return Attached(
            SessionWriter(self._scripts, keys, int(writer), int(received), self._ttl_s),
            seq=int(seq),
            state=state.decode(),
            config=orjson.loads(config),
        )

    async def waiting(self) -> int:
        """How many sessions are open, claimed or not."""

        async def count() -> int:
            return sum([int(await self.redis.xlen(queue_of(p))) for p in range(self.partitions)])

        return await retried(count)
