"""Recognition of one window: its landmarks, their records in the index, the best song.

Few landmarks are tried first; most music that plays alone is recognised by them, for a quarter of the time.

Computing happens in a thread of low priority; the transcribers of the same machine don't wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import asdict, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np

from parlando.domain.audio import Pcm16
from parlando.domain.songs import RecognisedSong, Song
from parlando.errors import SongNotFoundError
from parlando.store.song_index import SongIndex
from song_recognizer import metrics
from song_recognizer.landmarks import DEFAULT, Landmarks, landmarks_in, levels
from song_recognizer.matching import Match, best_match
from song_recognizer.rule import Rule, is_candidate

FEW_DENSITY: Final = 60.0
FEW: Final = replace(DEFAULT, fan_out=5)
"""Some 60 landmarks a second, of one analysis. They suffice for music that plays alone."""
CLEAR: Final = (14, 2.0)
"""Least matches and ratio of a result by few landmarks."""
MANY_DENSITY: Final = 200.0
MANY: Final = replace(DEFAULT, fan_out=15, per_frame=12)
"""Under speech an excerpt needs more landmarks: noise adds peaks between those of the song."""
SHIFTS: Final = 2
MOST: Final = 20_000
"""Maximum landmarks of an excerpt. Dense music has more, and is recognised by fewer."""
SONG_KEPT_S: Final = 30.0
"""Seconds for which a song's names are kept in memory."""
MAX_KEPT: Final = 1000

T = TypeVar("T")


def parameters_of_index() -> dict[str, object]:
    """What must be equal for all landmarks in the index."""
    fields = asdict(DEFAULT)
    return {
        name: fields[name]
        for name in ("version", "rate", "window", "hop", "pole", "least", "around_s", "bins", "frames")
    }


class Excerpt:
    """The landmarks of 16 kHz mono PCM. What `few` has computed isn't computed again by `many`."""

    def __init__(self, pcm: Pcm16) -> None:
        self._levels = levels(pcm, shifts=SHIFTS)
        self._first = next(self._levels)

    def few(self) -> Landmarks:
        """Those of one analysis."""
        return landmarks_in([self._first], density=FEW_DENSITY, parameters=FEW)

    def many(self) -> Landmarks:
        """Those of all analyses. To be called once."""
        return landmarks_in([self._first, *self._levels], density=MANY_DENSITY, most=MOST, parameters=MANY)


def is_clear(match: Match | None) -> bool:
    """Whether a result by few landmarks needs no more."""
    return match is not None and match.matches >= CLEAR[0] and match.ratio >= CLEAR[1]


class Recogniser:
    """Recognises songs of `index`; computes in `thread`."""

    def __init__(self, index: SongIndex, thread: Executor, *, rule: Rule | None = None) -> None:
        self._index = index
        self._thread = thread
        self.rule = rule or Rule()
        self._songs: dict[int, tuple[float, Song | None]] = {}

    async def best(self, pcm: Pcm16) -> Match | None:
        """The best match of 16 kHz mono PCM; None without any landmark in common with a song."""
        with metrics.RECOGNITION.time():
            # Their records stay in the index until they are swept; another registration of the same audio
            # would be no better than they are.
            removed = await self._index.removed()
            excerpt = await self._computed(Excerpt, pcm)
            match = await self._match(await self._computed(excerpt.few), removed)
            if is_clear(match):
                return match
            return await self._match(await self._computed(excerpt.many), removed)

    async def _match(self, query: Landmarks, removed: Collection[int]) -> Match | None:
        found = await self._index.records(np.unique(query.hashes).tolist())
        return await self._computed(partial(best_match, query, found, excluded=removed))

    async def _computed(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def candidate(self, pcm: Pcm16, *, start: float) -> RecognisedSong | None:
        """The song that may be played in a window that begins at second `start`."""
        match = await self.best(pcm)
        if match is None or not is_candidate(match, self.rule):
            metrics.WINDOWS.labels("nothing" if match is None else "rejected").inc()
            return None
        song = await self._song(match.number)
        if song is None:  # removed, or not registered completely
            metrics.WINDOWS.labels("rejected").inc()
            return None
        metrics.WINDOWS.labels("candidate").inc()
        return RecognisedSong.of(
            song, start=start, offset=match.offset_s, matches=match.matches, ratio=match.ratio
        )

    async def _song(self, number: int) -> Song | None:
        now = time.monotonic()
        known = self._songs.get(number)
        if known is not None and now - known[0] < SONG_KEPT_S:
            return known[1]
        try:
            song: Song | None = await self._index.song(number)
        except SongNotFoundError:
            song = None
        if len(self._songs) >= MAX_KEPT:
            self._songs.clear()
        self._songs[number] = (now, song)
        return song
