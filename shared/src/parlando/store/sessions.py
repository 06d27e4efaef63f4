"""A gateway's access to sessions: open, attach, append audio, send commands.

All writes are fenced by the writer number: after a newer connection has attached to a session, the next call
of the older one raises `SupersededError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from parlando.domain import commands
from parlando.domain.audio import BYTES_PER_SAMPLE
from parlando.domain.commands import Configure, End, SessionCommand
from parlando.domain.formats import CANONICAL, SETTLED_STEP, AudioFormat
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
from parlando.ids import fingerprint
from parlando.store.audio_streams import MAX_CONTROLS
from parlando.store.connection import Redis, Scripts
from parlando.store.keys import PROCESSORS, SessionKeys, feed, user_sessions
from parlando.store.keys import sessions as queue_of
from parlando.store.pools import Place, open_sessions
from parlando.store.usage_keys import day, usage


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append. `stored`: False if the backlog is full. Counts are in the writer's units."""

    stored: bool
    received: int
    backlog: int


def _refusal(sid: str, answer: str) -> ParlandoError:
    match answer:
        case "missing":
            return SessionLostError(
                f"Redis has lost session {sid} in a restart without its data. "
                "Start a new session and resend the audio that was not settled."
            )
        case "lost":
            return SessionLostError(
                f"Redis has restarted without the last seconds of session {sid}. "
                "Start a new session and send again what was not settled."
            )
        case "superseded":
            return SupersededError(f"A newer connection has taken over session {sid}")
        case "closed":
            return SessionClosedError(f"Session {sid} has ended")
        case "many":
            return TooManyControlsError(
                f"{MAX_CONTROLS} flush or config messages are unprocessed, which is the maximum; "
                "wait until some of them have been answered"
            )
        case _:
            return ParlandoError(f"Unexpected answer {answer!r} for session {sid}")


class SessionWriter:
    """Fenced writes of one connection to one session.

    It writes samples of PCM or, if the session needs conversion (`format.direct` is false), raw bytes.
    """

    def __init__(
        self,
        scripts: Scripts,
        keys: SessionKeys,
        writer: int,
        received: int,
        ttl_s: int,
        form: AudioFormat = CANONICAL,
        *,
        seq: int = 0,
        input_at: int = 0,
        epoch: int = 0,
        pool: str = "",
    ) -> None:
        self._scripts = scripts
        self._keys = keys
        self._writer = writer
        self._ttl_s = ttl_s
        self.format = form
        self.received = received
        """Samples (or bytes, see above) stored in Redis."""
        self.seq = seq
        """Number of the last event when the session was opened or attached; 0 if there was none."""
        self.settled = (0, 0)
        """At the last append: samples covered by finals, and the seq of the last event."""
        self._input_at = input_at
        self.epoch = epoch
        """Identifies the numbering of the events: when the session was opened, unix milliseconds."""
        self.pool = pool
        """The pool whose transcribers decode the session; "" if the writer was made without reading it."""

    @property
    def sid(self) -> str:
        """The session's id."""
        return self._keys.sid

    @property
    def position(self) -> int:
        """The stored audio in the client's units: samples at its own rate, or bytes of a container."""
        if self.format.direct:
            return self.received
        return self._input_at + self.received // self.format.frame_bytes

    async def append(self, data: bytes, max_backlog: int) -> Appended:
        """Append whole s16le samples (or bytes), unless the backlog would exceed `max_backlog`.

        Raises
        ------
        SessionLostError, SupersededError, SessionClosedError, UnavailableError

        """
        direct = self.format.direct
        answer = await self._scripts.run_together(
            "append" if direct else "append_raw",
            self._keys.partition,
            [self._keys.session, self._keys.pcm if direct else self._keys.raw],
            [self._writer, self.received, data, max_backlog],
        )
        verdict = answer[0].decode()
        if verdict not in ("ok", "full"):
            raise _refusal(self.sid, verdict)
        if verdict == "ok":
            self.received += len(data) // (BYTES_PER_SAMPLE if direct else 1)
            self.settled = (int(answer[3]), int(answer[4]))
        return Appended(verdict == "ok", int(answer[1]), int(answer[2]))

    async def reformat(self, form: AudioFormat) -> None:
        """Change the format before the first audio. Raises as `append`."""
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

    async def command(self, command: SessionCommand) -> None:
        """Append a command after the audio received so far; after `End` no audio is accepted.

        `Configure` changes the visible config of the session immediately, and the decoding of later audio.

        Raises
        ------
        TooManyControlsError
            if `MAX_CONTROLS` are unprocessed; never for `End`.
        SessionLostError, SupersededError, SessionClosedError, UnavailableError

        """
        changes = orjson.dumps(command.changes) if isinstance(command, Configure) else ""
        ends = isinstance(command, End)
        answer = await self._scripts.run(
            "control",
            [self._keys.session, self._keys.pcm, self._keys.raw],
            [self._writer, "", commands.encode(command), int(ends), "", changes, MAX_CONTROLS],
        )
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())

    async def touch(self) -> None:
        """Record that the client is connected. Raises as `append`."""
        keys, args = [self._keys.session, *self._keys.beside_hash], [self._writer, self._ttl_s]
        answer = await self._scripts.run_together("touch", self._keys.partition, keys, args)
        if answer != b"ok":
            raise _refusal(self.sid, answer.decode())


@dataclass(frozen=True, slots=True)
class Continued:
    """The position from which a client continues a session that Redis has lost.

    `seq`: last event received by the client. `segments`: number of final segments. `position`: client's
    position of the next audio, in samples at its own rate (bytes of a container). `settled`: 16 kHz samples
    covered by finals.
    """

    seq: int = 0
    segments: int = 0
    position: int = 0
    settled: int = 0

    def start(self, form: AudioFormat) -> int:
        """The first sample to recognise. Earlier samples of a container are decoded and skipped."""
        if form.whole:
            return self.settled // SETTLED_STEP * SETTLED_STEP
        return form.samples(self.position)


@dataclass(frozen=True, slots=True)
class Attached:
    """A session to which a client has attached again."""

    writer: SessionWriter
    seq: int
    state: str
    config: dict[str, Any]

    def behind(self, client: Continued) -> bool:
        """Whether the client is ahead of Redis, because Redis has lost its last writes."""
        return self.seq < client.seq or self.writer.position < client.position


class Sessions:
    """Opens sessions and attaches to them. `window_s`: resume window, in seconds."""

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
        places: Sequence[Place],
        config: dict[str, Any],
        token: str,
        key: str = "",
        form: AudioFormat = CANONICAL,
        uid: str = "",
        push: bool = False,
        window_s: float | None = None,
        settle_s: float = 0,
        metered: bool = False,
        continued: Continued | None = None,
        replace: bool = True,
        api_key: str = "",
    ) -> SessionWriter:
        """Open session `sid`, queue it for a transcriber and, to be converted, for an audio-processor.

        `places`: pools in the order of preference; the first one with a free place gets the session.
        `token`: resume token, of which only a hash is stored; `key`: the owner, a fingerprint.
        `uid`: user of the session, for the archive. `push`: whether its finals are sent to the webhook.
        `api_key`: id of the stored key, for which the usage is counted as well.
        `metered`: its audio is added to the day's usage when it is received, not with the finals.
        `settle_s`: seconds without audio after which the open segment is settled (0: the gateway settles it).
        `continued`: continues a session that Redis has lost, or of which it holds an older state.
        `replace`: whether it may replace a closed session with the same id and key.

        Raises
        ------
        SessionTakenError, AtCapacityError, UnavailableError

        """
        keys = self.keys(sid)
        at = continued or Continued()
        start, input_start = at.start(form), 0 if form.whole else at.start(form)
        for place in places:
            limit, own_limit = place.limits_in(keys.partition)
            answer = await self._scripts.run(
                "open",
                [
                    keys.session,
                    keys.pcm,
                    keys.events,
                    queue_of(keys.partition, place.pool),
                    keys.raw,
                    keys.intake,
                    user_sessions(keys.partition, key, uid),
                    keys.arrivals,
                    feed(keys.partition),
                    *keys.annotations.beside_hash,
                    keys.songs,
                    usage(keys.partition, day()),
                ],
                [
                    sid,
                    limit,
                    self._ttl_s,
                    int(replace and bool(key)),
                    orjson.dumps(config),
                    fingerprint(token),
                    key,
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
                    place.pool,
                    int(bool(config.get("songs"))),
                    api_key,
                    own_limit,
                ],
            )
            if answer[0] not in (b"full", b"share"):
                break
        else:
            if answer[0] == b"share":
                raise AtCapacityError(
                    "You have your share of places, and others wait; try again in a few seconds"
                )
            raise AtCapacityError("All transcribers are busy; try again in a few seconds")
        if answer[0] == b"taken":
            raise SessionTakenError(
                f"Session id {sid} is in use; resume it with its token, or choose another"
            )
        return SessionWriter(
            self._scripts,
            keys,
            int(answer[2]),
            start if form.direct else 0,
            self._ttl_s,
            form,
            seq=int(answer[1]),
            input_at=at.position,
            epoch=int(answer[3]),
            pool=place.pool,
        )

    def from_start(self, sid: str, form: AudioFormat) -> SessionWriter:
        """The first writer of a session, starting at byte 0: bytes that are stored already are skipped."""
        return SessionWriter(self._scripts, self.keys(sid), 1, 0, self._ttl_s, form)

    async def attach(self, sid: str, *, token: str = "", key: str = "") -> Attached:
        """Attach to session `sid` with its token or as its owner, `key`.

        Raises
        ------
        SessionNotFoundError, NotAllowedError, UnavailableError

        """
        keys = self.keys(sid)
        answer = await self._scripts.run(
            "attach",
            [keys.session, *keys.beside_hash],
            [fingerprint(token), key, self._ttl_s],
        )
        match answer[0]:
            case b"missing":
                raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
            case b"denied":
                raise NotAllowedError(f"The resume token doesn't belong to session {sid}")
        _, writer, samples, seq, state, config, given, raw, input_at, epoch, pool = answer
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
                epoch=int(epoch),
                pool=pool.decode(),
            ),
            seq=int(seq),
            state=state.decode(),
            config=orjson.loads(config),
        )

    async def open_by_pool(self) -> dict[str, int]:
        """The number of open sessions of each pool, claimed or not."""
        return await open_sessions(self.redis, self.partitions)

    async def waiting(self) -> int:
        """The number of open sessions of all pools, claimed or not."""
        return sum((await self.open_by_pool()).values())
