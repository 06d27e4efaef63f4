"""The songs of one live session: windows of its audio, as it arrives."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from parlando.domain.audio import SAMPLE_RATE, Pcm16, samples
from parlando.errors import ConflictError, SessionNotFoundError
from parlando.store.audio_streams import Control, Entry
from parlando.store.session_claims import SessionRenewal
from parlando.store.song_claims import SongClaim, SongClaims
from song_recognizer import metrics
from song_recognizer.recognition import Recogniser
from song_recognizer.rule import NamedOnce, is_silent

NAME: Final = "songs"
"""Author of the annotations."""
LAST_S: Final = 2.0
"""Seconds without audio after which a session that is ending has no more."""

log = structlog.get_logger(part="songs")


@dataclass(frozen=True, slots=True)
class Windows:
    """Length of a window, step between two, and audio that may wait, all in samples."""

    length: int
    step: int
    buffer: int

    @classmethod
    def of(cls, window_s: float, step_s: float, buffer_s: float) -> "Windows":
        """Windows given in seconds; a step is never longer than a window."""
        length = samples(round(window_s * 1000))
        step = min(samples(round(step_s * 1000)), length)
        return cls(length, step, max(samples(round(buffer_s * 1000)), length + step))


class Tail:
    """The newest audio of a session. `start`: position of its first sample."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._pcm: Pcm16 = np.empty(0, np.int16)
        self.start = 0

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self.start + len(self._pcm)

    def add(self, start: int, pcm: Pcm16) -> None:
        """Add audio that begins at `start`. After a gap, the audio before it is dropped."""
        if start > self.end:
            self._pcm, self.start = pcm, start
        elif start + len(pcm) > self.end:
            self._pcm = np.concatenate([self._pcm, pcm[self.end - start :]])
        if (extra := len(self._pcm) - self._windows.buffer) > 0:
            metrics.WINDOWS.labels("skipped").inc(extra // self._windows.step)
            self._drop(extra)

    def next_window(self) -> tuple[int, Pcm16] | None:
        """The next whole window and its position, if it has arrived."""
        if len(self._pcm) < self._windows.length:
            return None
        window = self.start, self._pcm[: self._windows.length]
        self._drop(self._windows.step)
        return window

    def _drop(self, count: int) -> None:
        self._pcm = self._pcm[count:].copy()
        self.start += count


class LiveSongs:
    """Recognises songs in a claimed session; see `session_reader.ReadingWork`.

    Redis keeps the last 60 s of audio that the transcriber has finished with, a minute longer than the
    session. Older audio is missing here: it's only ever so old when no recognizer was running, and the live
    path never waits.
    """

    def __init__(
        self, claim: SongClaim, claims: SongClaims, recogniser: Recogniser, windows: Windows
    ) -> None:
        self.claim = claim
        self.position = "0-0"
        self.wants_input = True
        self._claims = claims
        self._recogniser = recogniser
        self._tail = Tail(windows)
        self._changed = asyncio.Event()
        self._ending = False
        self._arrived = asyncio.get_running_loop().time()

    def feed(self, entries: Iterable[Entry]) -> None:
        """Keep the audio of entries of the session's stream."""
        for entry in entries:
            self.position = entry.id
            if not isinstance(entry, Control):
                self._tail.add(entry.start, np.frombuffer(entry.pcm, "<i2"))
        self._arrived = asyncio.get_running_loop().time()
        self._changed.set()

    def observe(self, renewal: SessionRenewal) -> None:
        """End when the session is ending and all its audio was read."""
        if renewal.ending and asyncio.get_running_loop().time() - self._arrived > LAST_S:
            self._ending = True
            self._changed.set()

    async def run(self) -> None:
        """Recognise songs until the session has ended. Raises `FencedError`, `UnavailableError`."""
        rule = NamedOnce(self._recogniser.rule, await self._claims.named(self.claim))
        while True:
            self._changed.clear()
            while (window := self._tail.next_window()) is not None:
                if not await self._recognise(rule, *window):
                    return
            if self._ending:
                await self._claims.leave(self.claim)
                return
            await self._changed.wait()

    async def _recognise(self, rule: NamedOnce, position: int, pcm: Pcm16) -> bool:
        """Process a window. Returns False if the session doesn't exist any more."""
        candidate = None
        if is_silent(pcm):
            metrics.WINDOWS.labels("silent").inc()
        else:
            candidate = await self._recogniser.candidate(pcm, start=position / SAMPLE_RATE)
        song = rule.consider(candidate)
        if song is None:
            return True
        log.info("song.named", session=self.claim.name, song=song.song_id, matches=song.matches)
        try:
            await self._claims.name(self.claim, song, by=NAME)
        except SessionNotFoundError:
            return False
        except ConflictError as error:  # the session has too many annotations
            log.warning("song.not_named", session=self.claim.name, error=error.message)
            return True
        metrics.NAMED.inc()
        return True
