"""The known speakers of keys: for jobs as they are in Redis, for sessions as they were some seconds ago."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

import structlog

from parlando.domain.known_speakers import KnownSpeaker, chosen
from parlando.errors import UnavailableError
from parlando.store.known_speakers import KnownSpeakers

if TYPE_CHECKING:
    from transcriber.speakers.known import KnownVoices

LASTS_S: Final = 10.0
"""After this time a deleted speaker isn't recognised any more."""
READ_S: Final = 2.0
"""Maximum time that a session waits for Redis."""
ENTRIES: Final = 200  # each has up to 200 voices, 0.15 MB
SWEEP_S: Final = 1.0  # between two removals of expired entries

log = structlog.get_logger(part="speakers")


class KnownSpeakersCache:
    """Known speakers for the sessions and jobs of a process."""

    def __init__(self, store: KnownSpeakers, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, KnownVoices | None]] = OrderedDict()

    async def voices(self, owner: str, option: str, *, newest: bool = False) -> "KnownVoices | None":
        """The voices that the option `known_speakers` of a session or job of `owner` (a hashed key) names.

        `newest`: as they are in Redis now; raises `UnavailableError` if it can't be reached. Without, None is
        returned in this case. None: they are unknown at present.
        """
        if newest:
            return await self._read(owner, option)
        self.drop_expired()
        key = (owner, option)
        if key in self._kept:
            return self._kept[key][1]
        until = self._clock() + LASTS_S
        found = await self._read_soon(owner, option)
        self._kept[key] = (until, found)
        self._kept.move_to_end(key)
        if len(self._kept) > ENTRIES:
            self._kept.popitem(last=False)
        return found

    def drop_expired(self) -> None:
        """Remove the voices that were read more than `LASTS_S` ago."""
        now = self._clock()
        for key in [key for key, (until, _) in self._kept.items() if until <= now]:
            del self._kept[key]

    async def run(self) -> None:
        """Remove expired voices until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.drop_expired()

    async def _read_soon(self, owner: str, option: str) -> "KnownVoices | None":
        try:
            async with asyncio.timeout(READ_S):
                return await self._read(owner, option)
        except TimeoutError:
            log.warning("speakers.unread", error=f"Redis didn't answer in {READ_S:.0f} s")
        except UnavailableError as error:
            log.warning("speakers.unread", error=str(error))
        return None

    async def _read(self, owner: str, option: str) -> "KnownVoices | None":
        try:
            people = await self._store.all(owner)
            return await asyncio.to_thread(_voices, people, option)
        except UnavailableError:
            raise
        except Exception as error:  # without its text, which may contain a stored voice
            log.error("speakers.unreadable", error=type(error).__name__)
            return None


def _voices(people: Sequence[KnownSpeaker], option: str) -> "KnownVoices":
    """Takes some 7 ms for 100 people."""
    found: KnownVoices = import_module("transcriber.speakers.known").KnownVoices.of(chosen(people, option))
    return found
