"""Recognition of one window: its landmarks, their records in the index, the best song.

Computing happens in a thread of low priority; the transcribers of the same machine don't wait for it.
"""

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import asdict, replace
from typing import Final

import numpy as np

from parlando.domain.audio import Pcm16
from parlando.domain.songs import RecognisedSong, Song
from parlando.errors import SongNotFoundError
from parlando.store.song_index import SongIndex
from song_recognizer import metrics
from song_recognizer.landmarks import DEFAULT, Landmarks, landmarks
from song_recognizer.matching import Match, best_match
from song_recognizer.rule import Rule, is_candidate

QUERY_DENSITY: Final = 200.0
QUERY: Final = replace(DEFAULT, fan_out=15, per_frame=12)
"""An excerpt has more landmarks than a song in the same time: noise adds peaks between those of the song."""
SHIFTS: Final = 2
SONG_KEPT_S: Final = 30.0
"""Seconds for which a song's names are kept in memory."""
MAX_KEPT: Final = 1000


def parameters_of_index() -> dict[str, object]:
    """What must be equal for all landmarks in the index."""
    fields = asdict(DEFAULT)
    return {
        name: fields[name]
        for name in ("version", "rate", "window", "hop", "pole", "least", "around_s", "bins", "frames")
    }


def analysed(pcm: Pcm16) -> Landmarks:
    """The landmarks of an excerpt."""
    return landmarks(pcm, density=QUERY_DENSITY, shifts=SHIFTS, parameters=QUERY)


class Recogniser:
    """Recognises songs of `index`; computes in `thread`."""

    def __init__(self, index: SongIndex, thread: Executor, *, rule: Rule | None = None) -> None:
        self._index = index
        self._thread = thread
        self.rule = rule or Rule()
        self._songs: dict[int, tuple[float, Song | None]] = {}

    async def best(self, pcm: Pcm16) -> Match | None:
        """The best match of 16 kHz mono PCM; None without any landmark in common with a song."""
        loop = asyncio.get_running_loop()
        with metrics.RECOGNITION.time():
            query = await loop.run_in_executor(self._thread, analysed, pcm)
            found = await self._index.records(np.unique(query.hashes).tolist())
            return await loop.run_in_executor(self._thread, best_match, query, found)

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
