"""What a gateway does to a session: open it, come back to it, append audio, say it has ended.

Everything here is fenced by the writer number: a newer connection of the same session outranks an
older one, whose next call raises `SupersededError`.
"""

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
    TooManyControlsError,
)
from parlando.formats import KEPT, SETTLED_STEP, AudioFormat
from parlando.ids import fingerprint
from parlando.redislog.connection import Redis, Scripts, of_all_partitions
from parlando.redislog.keys import PROCESSORS, SessionKeys, user_sessions
from parlando.redislog.keys import sessions as queue_of
from parlando.redislog.pcm import MOST_CONTROLS


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of an append. `stored` is False if the backlog is full; counts in the writer's units."""

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
        case "lost":
            return SessionLostError(
                f"Redis has restarted without the last seconds of session {sid}. "
                "Start a new session and send again what was not settled."
            )
        case "superseded":
            return SupersededError(f"A newer connection writes to session {sid}")
        case "closed":
            return SessionClosedError(f"Session {sid} has ended")
        case "many":
            return TooManyControlsError(
                f"{MOST_CONTROLS} flush or config messages wait to be processed, which is the most; "
                "send more when some of them have been answered"
            )
        case _:
            return ParlandoError(f"Unexpected answer {answer!r} for session {sid}")


class SessionWriter:
    """One connection's right to write to one session.

    It writes samples of PCM, or, where FFmpeg makes the PCM (`format.direct` is false), bytes as they came.
    """

    def __init__(
        self,
        scripts: Scripts,
        keys: SessionKeys,
        writer: int,
        received: int,
        ttl_s: int,
        form: AudioFormat = KEPT,
        *,
        seq: int = 0,
        input_at: int = 0,
    ) -> None:
        self._scripts = scripts
        self._keys = keys
        self._writer = writer
        self._ttl_s = ttl_s
        self.format = form
        self.received = received
        """Samples (or bytes, see above) that are safely in Redis."""
        self.seq = seq
        """Number of the last event when the session was opened or attached to; 0 if there was none."""
        self.settled = (0, 0)
        """As the last append found it: samples before which all audio is in finals, the last one's seq."""
        self._input_at = input_at

    @property
    def sid(self) -> str:
        """The session's id."""
        return self._keys.sid

    @property
    def position(self) -> int:
        """What is safely in Redis as the client counts: samples at its own rate, or bytes of a container."""
        if self.format.direct:
            return self.received
        return self._input_at + self.received // self.format.frame_bytes

    async def append(self, data: bytes, most_backlog: int) -> Appended:
        """Store whole s16le samples (or bytes) behind those received, if no more than `most_backlog` wait.

        Raises
        ------
        SessionLostError, SupersededError, SessionClosedError, UnavailableError

        """
        direct = self.format.direct
        answer = await self._scripts.run(
            "append" if direct else "append_raw",
            [self._keys.session, self._keys.pcm if direct else self._keys.raw],
            [self._writer, self.received, data, most_backlog],
        )
        verdict = answer[0].decode()
        if verdict not in ("ok", "full"):
            raise _refusal(self.sid, verdict)
        if verdict == "ok":
            self.received += len(data) // (BYTES_PER_SAMPLE if direct else 1)
            self.settled = (int(answer[3]), int(answer[4]))
        return Appended(verdict == "ok", int(answer[1]), int(answer[2]))

    async def reformat(self, form: AudioFormat) -> None:
        """Say, before the first audio, that it comes in another format. Raises as `append`."""
        answer = await self._scripts.run(
            "reformat",
            [self._keys.session, self._keys.intake],
            [
                self._writer,
                self.sid,
                "" if form.direct else form.model_dump_json(exclude_none=True),
                PROCESSORS,
                form.model_dump_json(exclude_none=True),
            ],
        )
        verdict = answer[0].decode()
        if verdict != "ok":
            raise _refusal(self.sid, verdict)
        self.format = form
        self.received = int(answer[1]) if form.direct else 0

    async def control(self, control: dict[str, Any], *, ends: bool = False) -> None:
        """Put a control entry behind the audio received so far; `ends` refuses audio after it.

        A `config` control changes at once what is told of the session, and what follows in the audio.

        Raises
        ------
        TooManyControlsError
            if `MOST_CONTROLS` wait; never for one that `ends` the session.
        SessionLostError, SupersededError, SessionClosedError, UnavailableError

        """
        changes = orjson.dumps(control["config"]) if control["type"] == "config" else ""
        answer = await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm, self._keys.raw],
            [self._writer, "", orjson.dumps(control), int(ends), "", changes, MOST_CONTROLS],
        )
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())

    async def touch(self) -> None:
        """Say that the client is still here. Raises as `append`."""
        answer = await self._scripts.run(
            "touch", [self._keys.session, *self._keys.beside_hash], [self._writer, self._ttl_s]
        )
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())


@dataclass(frozen=True, slots=True)
class Continued:
    """Where a client goes on with a session that Redis has lost.

    `seq`: the last event that the client has; `segments`: how many segments are final; `position`: where the
    client counts the first audio that it will send, in samples at its own rate (bytes of a container);
    `settled`: samples, as we keep audio, before which everything is in finals.
    """

    seq: int = 0
    segments: int = 0
    position: int = 0
    settled: int = 0

    def start(self, form: AudioFormat) -> int:
        """The first sample that is recognised; a container is decoded from its beginning up to it."""
        if form.whole:
            return self.settled // SETTLED_STEP * SETTLED_STEP
        return form.samples(self.position)


@dataclass(frozen=True, slots=True)
class Attached:
    """A session that a client came back to."""

    writer: SessionWriter
    seq: int
    state: str
    config: dict[str, Any]

    def behind(self, client: Continued) -> bool:
        """Whether a client has seen more of the session than Redis has: it lost its last writes."""
        return self.seq < client.seq or self.writer.position < client.position


class Sessions:
    """Opens sessions and comes back to them. `window_s`: how long one lives on without a client."""

    def __init__(self, redis: Redis, *, partitions: int, ttl_s: int, window_s: float = 60.0) -> None:
        self.redis = redis
        self.partitions = partitions
        self._scripts = Scripts(redis)
        self._ttl_s = ttl_s
        self._window_s = window_s

    def keys(self, sid: str) -> SessionKeys:
        """The keys of session `sid`."""
        return SessionKeys.of(sid, self.partitions)

    async def open(
        self,
        sid: str,
        *,
        config: dict[str, Any],
        token: str,
        key: str = "",
        most: int = -1,
        form: AudioFormat = KEPT,
        uid: str = "",
        push: bool = False,
        window_s: float | None = None,
        settle_s: float = 0,
        metered: bool = False,
        continued: Continued | None = None,
        replace: bool = True,
    ) -> SessionWriter:
        """Open session `sid` and queue it for a worker, and for an audio-processor where it needs one.

        `token` lets a client come back, `key` is the API key it used; only hashes of both are kept.
        `most` is the largest number of open sessions in the partition, -1 for no limit.
        `uid`: whose transcript it is, for the archive; `push` sends its finals to the webhook.
        `metered`: whoever sends its audio counts it, for the month's usage.
        `settle_s`: what is open is settled after so long without audio (0: the gateway sees to it).
        `continued` says where a session goes on that Redis has lost, or of which it holds an older state.
        `replace`: whether it may take the place of a closed session of that id and key.

        Raises
        ------
        SessionTakenError, AtCapacityError, UnavailableError

        """
        keys = self.keys(sid)
        at = continued or Continued()
        start, input_start = at.start(form), 0 if form.whole else at.start(form)
        answer = await self._scripts.run(
            "open",
            [
                keys.session,
                keys.pcm,
                keys.events,
                keys.queue,
                keys.raw,
                keys.intake,
                user_sessions(keys.partition, fingerprint(key), uid),
                keys.arrivals,
            ],
            [
                sid,
                most,
                self._ttl_s,
                int(replace and bool(key)),
                orjson.dumps(config),
                fingerprint(token),
                fingerprint(key),
                self._window_s if window_s is None else window_s,
                "" if form.direct else form.model_dump_json(exclude_none=True),
                settle_s,
                uid,
                int(push),
                int(metered),
                at.seq,
                start,
                at.segments,
                int(continued is not None),
                max(start, at.settled),
                input_start,
                at.position,
                form.model_dump_json(exclude_none=True),
            ],
        )
        if answer[0] == b"taken":
            raise SessionTakenError(
                f"Session id {sid} is in use; resume it with its token, or choose another"
            )
        if answer[0] == b"full":
            raise AtCapacityError("All transcribers are busy; try again in a few seconds")
        return SessionWriter(
            self._scripts,
            keys,
            int(answer[2]),
            start if form.direct else 0,
            self._ttl_s,
            form,
            seq=int(answer[1]),
            input_at=at.position,
        )

    def again(self, sid: str, form: AudioFormat) -> SessionWriter:
        """The writer that `open` gave, from the first byte on: what is stored already isn't stored again."""
        return SessionWriter(self._scripts, self.keys(sid), 1, 0, self._ttl_s, form)

    async def attach(self, sid: str, *, token: str = "", key: str = "") -> Attached:
        """Come back to session `sid` with its token or the API key that opened it.

        Raises
        ------
        SessionNotFoundError, NotAllowedError, UnavailableError

        """
        keys = self.keys(sid)
        answer = await self._scripts.run(
            "attach",
            [keys.session, *keys.beside_hash],
            [fingerprint(token), fingerprint(key), self._ttl_s],
        )
        match answer[0]:
            case b"missing":
                raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
            case b"denied":
                raise NotAllowedError(f"The resume token doesn't belong to session {sid}")
        _, writer, samples, seq, state, config, given, raw, input_at = answer
        form = AudioFormat.model_validate_json(given)
        received = int(samples) if form.direct else int(raw)
        return Attached(
            SessionWriter(
                self._scripts,
                keys,
                int(writer),
                received,
                self._ttl_s,
                form,
                seq=int(seq),
                input_at=int(input_at),
            ),
            seq=int(seq),
            state=state.decode(),
            config=orjson.loads(config),
        )

    async def waiting(self) -> int:
        """How many sessions are open, claimed or not."""
        lengths = await of_all_partitions(self.redis, self.partitions, lambda pipe, p: pipe.xlen(queue_of(p)))
        return sum(lengths)
