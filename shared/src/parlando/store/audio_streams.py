"""Reading sessions' audio: one blocking XREAD for all sessions of a partition.

The ids of stream entries are offsets, so a position in a stream is a position in the audio: `<end>-0` is a
frame that ends at `end`; `<offset>-<n>` with n > 0 is the n-th control entry. Offsets count samples in `pcm`
and bytes in `raw`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from parlando.domain import commands
from parlando.domain.audio import BYTES_PER_SAMPLE
from parlando.domain.commands import SessionCommand
from parlando.store.connection import Redis

MAX_CONTROLS: Final = 1000
"""Maximum controls of a session that no checkpoint includes yet; more are refused."""


@dataclass(frozen=True, slots=True)
class Frame:
    """PCM (or raw bytes) whose first sample (or byte) has offset `start`."""

    start: int
    pcm: bytes
    id: str


@dataclass(frozen=True)
class Control:
    """A command at offset `at`, between frames. `number` counts the commands of a session from 1."""

    at: int
    number: int
    encoded: bytes
    id: str

    @cached_property
    def command(self) -> SessionCommand:
        """The command, decoded lazily so that an invalid one fails only its session. Raises ValueError."""
        return commands.decode(self.encoded)


Entry = Frame | Control


def _entry(identifier: bytes, fields: Mapping[bytes, bytes], unit: int) -> Entry:
    name = identifier.decode()
    offset, _, number = name.partition("-")
    pcm = fields.get(b"p")
    if pcm is not None:
        return Frame(int(offset) - len(pcm) // unit, pcm, name)
    return Control(int(offset), int(number), fields[b"c"], name)


class StreamReader:
    """Reads the streams of many sessions at once. `unit`: bytes per unit of the offsets."""

    def __init__(self, redis: Redis, *, unit: int = BYTES_PER_SAMPLE) -> None:
        self._redis = redis
        self._unit = unit

    async def read(
        self, positions: Mapping[str, str], *, block_ms: int, count: int = 64
    ) -> dict[str, list[Entry]]:
        """Read up to `count` entries after each position: stream key → entries.

        `positions`: stream key → id of the entry read last. Waits up to `block_ms` for the first entry.
        """
        answer: Any = await self._redis.xread(dict(positions), count=count, block=block_ms)  # type: ignore[arg-type]
        return {
            key.decode(): [_entry(identifier, fields, self._unit) for identifier, fields in entries]
            for key, entries in answer or []
        }


def position_at(offset: int) -> str:
    """The position before the controls at `offset` and all audio after it."""
    return f"{offset}-0"


def unread(entries: Iterable[Entry], last_control: int) -> list[Entry]:
    """`entries` without the controls up to number `last_control`, which the checkpoint includes."""
    return [e for e in entries if isinstance(e, Frame) or e.number > last_control]
