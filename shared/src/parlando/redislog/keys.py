"""Every Redis key, built here and nowhere else.

Keys of one session share the hash tag `{p}` of its partition, so that scripts stay in one slot.

| key                     | type             | what                                                       |
|-------------------------|------------------|------------------------------------------------------------|
| stt:{p}:sessions        | stream           | group `transcribers`; one entry per live session           |
| stt:{p}:intake          | stream           | group `processors`; one entry per session that needs FFmpeg|
| stt:{p}:raw:<sid>       | stream           | bytes as they came; an entry's id is the byte at its end   |
| stt:{p}:session:<sid>   | hash             | config, ownership, checkpoint, counters                    |
| stt:{p}:pcm:<sid>       | stream           | 16 kHz mono s16le; an entry's id is the offset of its end  |
| stt:{p}:events:<sid>    | stream + channel | kept events, id = seq; the channel also carries partials   |
| stt:{p}:arrivals:<sid>  | list             | when audio that comes in bodies came                       |
| stt:{p}:user:<key>:<uid>| hash             | the rolling session of a user who sends bodies             |
| stt:{p}:seen:<key>:<uid>| sorted set       | the user's bodies of the last minutes                      |
| stt:{p}:users           | sorted set       | users by their last audio                                  |
| stt:{p}:user-sessions:… | sorted set       | a user's sessions by their beginning                       |
| stt:{p}:closed          | stream           | group `archivers`; one entry per ended session of a user   |
| stt:{p}:pushes          | stream           | group `pushers`; finals on their way to a webhook          |
| stt:{p}:usage:<key>:<m> | hash             | what a key has used in month <m>                           |
| stt:billed:<m>          | string           | what a paid engine has billed in month <m>, milliseconds   |
| stt:workers             | hash             | worker id → heartbeat (JSON)                               |
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from parlando.ids import partition_of

TRANSCRIBERS: Final = "transcribers"
PROCESSORS: Final = "processors"
ARCHIVERS: Final = "archivers"
PUSHERS: Final = "pushers"
WORKERS: Final = "stt:workers"
LONG_TTL_S: Final = 7 * 24 * 3600
"""Seconds that Redis remembers a user who sends nothing any more, and what the archive hasn't taken."""


def sessions(partition: int) -> str:
    """The work queue of live sessions."""
    return f"stt:{{{partition}}}:sessions"


def intake(partition: int) -> str:
    """The work queue of sessions whose bytes need FFmpeg."""
    return f"stt:{{{partition}}}:intake"


def closed(partition: int) -> str:
    """The queue of sessions that have ended and belong into the archive."""
    return f"stt:{{{partition}}}:closed"


def pushes(partition: int) -> str:
    """The queue of finals to be pushed out."""
    return f"stt:{{{partition}}}:pushes"


def usage(partition: int, key: str, month: str) -> str:
    """What an API key (hashed) has used in a month."""
    return f"stt:{{{partition}}}:usage:{key[:16]}:{month}"


def billed(month: str) -> str:
    """Milliseconds that a paid engine has billed the whole cluster in a month."""
    return f"stt:billed:{month}"


def month() -> str:
    """The running month in UTC, `2026-11`."""
    return datetime.now(UTC).strftime("%Y-%m")


def user_sessions(partition: int, key: str, uid: str) -> str:
    """A user's sessions in a partition, by the time they were opened."""
    return f"stt:{{{partition}}}:user-sessions:{key[:16]}:{uid}"


def users(partition: int) -> str:
    """Users (`<key>:<uid>`) by the time their last audio came."""
    return f"stt:{{{partition}}}:users"


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The keys of a user whose audio comes in HTTP bodies. `key` is the API key, hashed."""

    key: str
    uid: str
    partition: int

    @classmethod
    def of(cls, key: str, uid: str, partitions: int) -> "UserKeys":
        """The keys of user `uid` when the keyspace has `partitions`."""
        return cls(key, uid, partition_of(f"{key[:16]}:{uid}", partitions))

    @property
    def user(self) -> str:
        """The user's hash: the running session, what was carried over, how bodies come."""
        return f"stt:{{{self.partition}}}:user:{self.key[:16]}:{self.uid}"

    @property
    def seen(self) -> str:
        """The bodies of the last minutes, to know repeats by."""
        return f"stt:{{{self.partition}}}:seen:{self.key[:16]}:{self.uid}"

    @property
    def users(self) -> str:
        """See `users`."""
        return users(self.partition)

    @property
    def name(self) -> str:
        """The user among those of all keys."""
        return f"{self.key[:16]}:{self.uid}"


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The keys of one session."""

    sid: str
    partition: int

    @classmethod
    def of(cls, sid: str, partitions: int) -> "SessionKeys":
        """The keys of session `sid` when the keyspace has `partitions`."""
        return cls(sid, partition_of(sid, partitions))

    @property
    def queue(self) -> str:
        """The stream that holds the session's work item."""
        return sessions(self.partition)

    @property
    def session(self) -> str:
        """The session's hash."""
        return f"stt:{{{self.partition}}}:session:{self.sid}"

    @property
    def intake(self) -> str:
        """The stream that holds its work item for the audio-processors, if it needs one."""
        return intake(self.partition)

    @property
    def raw(self) -> str:
        """The stream of the bytes that came, where FFmpeg makes the audio of them."""
        return f"stt:{{{self.partition}}}:raw:{self.sid}"

    @property
    def pcm(self) -> str:
        """The stream of its audio."""
        return f"stt:{{{self.partition}}}:pcm:{self.sid}"

    @property
    def arrivals(self) -> str:
        """When its audio came: `<stream time>:<unix time>` of each burst, both in milliseconds."""
        return f"stt:{{{self.partition}}}:arrivals:{self.sid}"

    @property
    def events(self) -> str:
        """The stream and channel of its events."""
        return f"stt:{{{self.partition}}}:events:{self.sid}"
