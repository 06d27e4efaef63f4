"""Every Redis key, built here and nowhere else.

Keys of one session share the hash tag `{p}` of its partition, so that scripts stay in one slot.

| key                     | type             | what                                                       |
|-------------------------|------------------|------------------------------------------------------------|
| stt:{p}:sessions        | stream           | group `transcribers`; one entry per live session           |
| stt:{p}:intake          | stream           | group `processors`; one entry per session that needs FFmpeg|
| stt:{p}:session:<sid>   | hash             | config, ownership, checkpoint, counters                    |
| stt:{p}:pcm:<sid>       | stream           | 16 kHz mono s16le; an entry's id is the offset of its end  |
| stt:{p}:events:<sid>    | stream + channel | kept events, id = seq; the channel also carries partials   |
| stt:workers             | hash             | worker id → heartbeat (JSON)                               |
"""

from dataclasses import dataclass
from typing import Final

from parlando.ids import partition_of

TRANSCRIBERS: Final = "transcribers"
PROCESSORS: Final = "processors"
WORKERS: Final = "stt:workers"


def sessions(partition: int) -> str:
    """The work queue of live sessions."""
    return f"stt:{{{partition}}}:sessions"


def intake(partition: int) -> str:
    """The work queue of sessions whose bytes need FFmpeg."""
    return f"stt:{{{partition}}}:intake"


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
    def pcm(self) -> str:
        """The stream of its audio."""
        return f"stt:{{{self.partition}}}:pcm:{self.sid}"

    @property
    def events(self) -> str:
        """The stream and channel of its events."""
        return f"stt:{{{self.partition}}}:events:{self.sid}"
