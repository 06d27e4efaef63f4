"""The names of the keys of the index of songs; see the table in `keys.py`."""

from collections.abc import Iterable
from typing import Final

from parlando.errors import NoRecognizerError
from parlando.store.keys import RECOGNIZERS
from parlando.store.requests import RequestQueue

RECOGNIZER: Final = "song-recognizer"
"""The kind of the recognizers in their heartbeats."""
SHARDS: Final = 16
"""Number of hash tags among which the hashes are divided, so that a Redis Cluster spreads the index."""

PARAMETERS: Final = "stt:{songs}:parameters"
LAST: Final = "stt:{songs}:last"
ALL: Final = "stt:{songs}:all"
CONTENTS: Final = "stt:{songs}:contents"
FILES: Final = "stt:{songs}:files"
REMOVED: Final = "stt:{songs}:removed"
SWEEPER: Final = "stt:{songs}:sweeper"
QUEUE: Final = RequestQueue(
    worker=RECOGNIZER,
    stream="stt:{songs}:requests",
    group=RECOGNIZERS,
    reply="stt:{songs}:reply:",
    missing=NoRecognizerError,
    about="songs",
)
"""Files to register, and files in which to recognise songs."""


def song_prefix() -> str:
    """What the keys of all songs begin with; the song's number follows."""
    return "stt:{songs}:song:"


def song(number: int) -> str:
    """A song."""
    return f"{song_prefix()}{number}"


def bucket(value: int) -> str:
    """The landmarks with a hash."""
    return f"stt:{{songs:{value % SHARDS}}}:{value:05x}"


def by_shard(values: Iterable[int]) -> list[list[int]]:
    """Hashes, grouped by their shard."""
    shards: list[list[int]] = [[] for _ in range(SHARDS)]
    for value in values:
        shards[value % SHARDS].append(value)
    return [shard for shard in shards if shard]
