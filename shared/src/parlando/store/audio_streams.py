"""Reading sessions' audio: one blocking XREAD for all sessions of a partition.

A stream's entry ids are offsets, so a position in a stream is a position in the audio: `<end>-0` is a
frame that ends at `end`, `<offset>-<n>` with n > 0 the n-th control entry. Offsets count samples in
`pcm` and bytes in `raw`.
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
"""Controls of a session that may wait for the checkpoint that takes them in; more are refused."""


@dataclass(frozen=True, slots=True)
class Frame:
    """PCM (or bytes as they came) whose first sample (or byte) is at `start`."""

    start: int
    pcm: bytes
    id: str


@dataclass(frozen=True)
class Control:
    """A command at offset `at`, between the frames. `number` counts the commands of a session from 1."""

    at: int
    number: int
    encoded: bytes
    id: str

    @cached_property
    def command(self) -> SessionCommand:
        """The command. Raises ValueError if it isn't one: then only its own session fails."""
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
    """Reads many sessions at once over a connection of its own. `unit`: bytes that count as one."""

    def __init__(self, redis: Redis, *, unit: int = BYTES_PER_SAMPLE) -> None:
        self._redis = redis
        self._unit = unit

    async def read(
        self, positions: Mapping[str, str], *, block_ms: int, count: int = 64
    ) -> dict[str, list[Entry]]:
        """The entries behind each position: stream key → entries, up to `count` each.

        `positions` maps a stream key to the id read last. Waits up to `block_ms` for the first entry.
        """
        answer: Any = await self._redis.xread(dict(positions), count=count, block=block_ms)  # type: ignore[arg-type]
        return {
            key.decode(): [_entry(identifier, fields, self._unit) for identifier, fields in entries]
            for key, entries in answer or []
        }


def position_at(offset: int) -> str:
    """The position from which all audio beyond `offset`, and all controls at it, are still to come."""
    return f"{offset}-0"


def unread(entries: Iterable[Entry], last_control: int) -> list[Entry]:
    """`entries` without the controls up to number `last_control`, which a checkpoint has taken in."""
    return [e for e in entries if isinstance(e, Frame) or e.number > last_control]
