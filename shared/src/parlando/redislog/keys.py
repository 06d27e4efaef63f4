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
| stt:{p}:closed          | stream           | group `archivers`; one entry per ended session of a user   |
| stt:{p}:pushes          | stream           | group `pushers`; finals on their way to a webhook          |
| stt:{p}:usage:<key>:<m> | hash             | what a key has used in month <m>                           |
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


def month() -> str:
    """The running month in UTC, `2026-11`."""
    return datetime.now(UTC).strftime("%Y-%m")


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
    def events(self) -> str:
        """The stream and channel of its events."""
        return f"stt:{{{self.partition}}}:events:{self.sid}"
