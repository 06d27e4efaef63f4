"""HTTP audio: audio sent in HTTP bodies. One rolling session per user contains each body exactly once.

Any gateway appends a body with one atomic script, which detects repeats, keeps an odd byte for the next body,
and records arrival times.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from parlando.domain import commands
from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.commands import End
from parlando.domain.formats import AudioFormat
from parlando.errors import (
    AtCapacityError,
    ParlandoError,
    SessionClosedError,
    SessionLostError,
    UnavailableError,
)
from parlando.ids import new_session_id
from parlando.store.connection import Scripts, retried
from parlando.store.keys import LONG_TTL_S, SessionKeys, UserKeys
from parlando.store.sessions import Sessions, SessionWriter
from parlando.store.usage_keys import day, usage

MAX_NAMES: Final = 20_000
"""Maximum bodies of a user within `KEY_KEPT_S` seconds, for which their names are kept."""
MAX_USERS: Final = 100_000
"""Maximum active users counted per partition, the most recent ones."""
KEY_KEPT_S: Final = 600
"""Seconds within which a body with the same Idempotency-Key is a repeat."""
HASH_KEPT_S: Final = 60
"""Seconds within which an equal body without a key is a repeat."""
ATTEMPTS: Final = 50  # at a session that other gateways open or end concurrently
WAIT_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class AcceptedBody:
    """The result of sending a body: its session, and whether it was a repeat."""

    sid: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class UserState:
    """Statistics of a user's bodies. `last`: arrival in unix milliseconds, None before the first body."""

    sid: str
    sample_rate: int
    last: int | None
    bodies: int
    per_minute: int
    repeats: int
    signature_failures: int
    song: dict[str, Any] | None = None
    """The song recognised last; see `domain.songs.RecognisedSong`."""


Open = Callable[[str, AudioFormat], Awaitable[SessionWriter]]
"""Opens the session with this id for audio of this format."""


class HttpAudio:
    """Receives HTTP audio.

    `max_s`: maximum backlog of a user's audio in Redis, seconds. `idle_s`: a session is closed after so many
    seconds without a body.
    """

    def __init__(self, sessions: Sessions, *, max_s: float, idle_s: float) -> None:
        self._sessions = sessions
        self._scripts = Scripts(sessions.redis)
        self._max_s = max_s
        self._idle_s = idle_s

    def _keys(self, key: str, uid: str) -> UserKeys:
        return UserKeys.of(key, uid, self._sessions.partitions)

    async def take(
        self, key: str, uid: str, rate: int, body: bytes, *, name: str, named: bool, opening: Open
    ) -> AcceptedBody:
        """Append a body (mono s16le at `rate` Hz) to the user's session; opens a session if there is none.

        `name`: equal for repeats: the client's idempotency key (`named`), or a hash of the body.

        Raises
        ------
        AtCapacityError
            if the user's backlog is full, or `opening` raises it.
        UnavailableError

        """
        user = self._keys(key, uid)
        form = AudioFormat(sample_rate=rate)
        for _ in range(ATTEMPTS):
            sid = (await self._running(user))[0]
            answer = await self._append(user, sid, form, body, name, named=named) if sid else "ended"
            match answer:
                case "ok" | "repeat":
                    return AcceptedBody(sid, answer == "repeat")
                case "full":
                    raise AtCapacityError(
                        f"The user's backlog is full: {self._max_s:.0f} s of audio wait for recognition"
                    )
                case "many":
                    raise AtCapacityError(
                        f"The user has sent {MAX_NAMES} bodies in {KEY_KEPT_S} s, which is the maximum; "
                        "send fewer and longer ones"
                    )
                case "other" | "ended":
                    await self._next_session(user, sid, form, opening)
                case "wait":
                    await asyncio.sleep(WAIT_S)
        raise UnavailableError(f"No session could be opened for user {uid}")

    async def _running(self, user: UserKeys) -> tuple[str, str]:
        found: Any = await retried(lambda: self._sessions.redis.hmget(user.user, "sid", "rate"))
        return (found[0] or b"").decode(), (found[1] or b"").decode()

    async def _append(
        self, user: UserKeys, sid: str, form: AudioFormat, body: bytes, name: str, *, named: bool
    ) -> Literal["ok", "repeat", "other", "wait", "ended", "full", "many"]:
        keys = self._sessions.keys(sid)
        second = form.sample_rate * 2
        answer = await self._scripts.run(
            "body",
            [
                user.user,
                user.seen,
                keys.session,
                keys.pcm if form.direct else keys.raw,
                keys.arrivals,
                user.users,
                usage(user.partition, day()),
            ],
            [
                sid,
                form.sample_rate,
                name,
                (KEY_KEPT_S if named else HASH_KEPT_S) * 1000,
                body,
                int(self._max_s * (SAMPLE_RATE if form.direct else second)),
                int(form.direct),
                user.name,
                second,
                KEY_KEPT_S,
                LONG_TTL_S,
                self._idle_s,
                MAX_NAMES,
                MAX_USERS,
            ],
        )
        verdict: Any = answer[0].decode()
        return verdict  # type: ignore[no-any-return]

    async def _next_session(self, user: UserKeys, sid: str, form: AudioFormat, opening: Open) -> None:
        """Open the user's next session, unless another gateway does, and end the previous one."""
        following = new_session_id(user.partition, self._sessions.partitions)
        adopted = await self._scripts.run("adopt", [user.user], [sid, following, form.sample_rate])
        if not adopted:
            return
        try:
            await opening(following, form)
        except ParlandoError:
            await self._scripts.run("abandon", [user.user], [following])  # the next body retries
            raise
        if sid:
            await self._end(sid, End(reason="replaced"))

    async def _end(self, sid: str, command: End) -> None:
        writer = SessionWriter(self._scripts, self._sessions.keys(sid), 1, 0, LONG_TTL_S)
        try:
            await writer.command(command)
        except (SessionLostError, SessionClosedError):
            return  # it has ended already

    async def take_file(
        self, key: str, uid: str, *, name: str, named: bool, sending: Callable[[str], Awaitable[None]]
    ) -> AcceptedBody:
        """Store a recording in a session of its own by calling `sending` with the session's id.

        A recording of the same name is stored in the same session, also if both are sent concurrently or the
        first was interrupted: `sending` must store only what is not stored yet.
        """
        mark = self._keys(key, uid).file(name)
        kept = KEY_KEPT_S if named else HASH_KEPT_S
        found, stored = await self._scripts.run("claim_file", [mark], [new_session_id(), kept, 0])
        sid: str = found.decode()
        if not stored:
            await sending(sid)
            await self._scripts.run("claim_file", [mark], [sid, kept, 1])
        return AcceptedBody(sid, bool(stored))

    async def refused_signature(self, key: str, uid: str) -> None:
        """Count a body with an invalid signature."""
        user = self._keys(key, uid).user
        await self._scripts.run("count", [user], ["signature_failures", 1, LONG_TTL_S])

    async def state(self, key: str, uid: str) -> UserState | None:
        """The statistics of a user's bodies; None if none was received in the last week."""
        user = self._keys(key, uid).user
        found: Any = await retried(lambda: self._sessions.redis.hgetall(user))
        if not found:
            return None
        h = {name.decode(): value.decode("utf-8", "replace") for name, value in found.items()}
        return UserState(
            sid=h.get("sid", ""),
            sample_rate=int(h.get("rate", SAMPLE_RATE)),
            last=int(h["last"]) if "last" in h else None,
            bodies=int(h.get("bodies", 0)),
            per_minute=max(int(h.get("minute_before", 0)), int(h.get("in_minute", 0))),
            repeats=int(h.get("repeats", 0)),
            signature_failures=int(h.get("signature_failures", 0)),
            song=orjson.loads(h["song"]) if "song" in h else None,
        )

    async def discard(self, key: str, uid: str) -> bool:
        """Discard the user's unrecognised audio and end the session. Returns whether there was one."""
        user = self._keys(key, uid)
        sid, rate = await self._running(user)
        if not sid:
            return False
        keys: SessionKeys = self._sessions.keys(sid)
        form = AudioFormat(sample_rate=int(rate))
        done = await self._scripts.run(
            "discard",
            [user.user, keys.session, keys.pcm if form.direct else keys.raw],
            [sid, commands.encode(End(reason="discarded", discard=True))],
        )
        return bool(done)
