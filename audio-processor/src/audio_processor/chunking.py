"""Cuts a recording into chunks for the engines, at silences. Pure: samples and probabilities in, chunks out.

The chunks' turns follow one another without gap or overlap: each sample belongs to one chunk. What is silent
in front and behind isn't given to the engine. The same audio gives the same chunks however it is sliced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32, Pcm16, samples, to_float
from parlando.domain.audio_buffer import AudioBuffer
from parlando.domain.job_options import LONGEST_CHUNK_S
from parlando.vad import FRAME

ENTER: Final = 0.5  # probability at which silence becomes speech
LEAVE: Final = 0.35  # below it speech becomes silence
ONSET_FRAMES: Final = 2  # frames of speech that begin a stretch of it
GAP: Final = samples(96)  # silence that ends a stretch of speech
PADDING: Final = samples(500)  # that stay around a chunk's speech; the detector may be late
BLOCK: Final = samples(30)  # resolution of the search for the quietest place
LONGEST: Final = LONGEST_CHUNK_S * SAMPLE_RATE
LOOKBACK: Final = 5 * SAMPLE_RATE  # where speech without a pause may be cut, before a chunk's end


@dataclass(frozen=True, slots=True)
class Pauses:
    """Which silence ends a chunk: (samples first sound to last, silence needed), longest first."""

    steps: tuple[tuple[int, int], ...]

    def needed(self, length: int) -> int:
        """The silence that ends a chunk of that length."""
        return next(silence for at_least, silence in self.steps if length >= at_least)


LONG: Final = Pauses(
    (
        (20 * SAMPLE_RATE, samples(300)),
        (10 * SAMPLE_RATE, samples(1000)),
        (0, samples(3000)),
    )
)
"""Chunks that use an engine's window well."""
EAGER: Final = Pauses(((8 * SAMPLE_RATE, samples(200)), (3 * SAMPLE_RATE, samples(500)), (0, samples(1500))))
"""Chunks nearly as short as utterances, for those who wait for the first words; they cost some accuracy."""


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """A chunk. `pcm` begins at sample `start`; `speech`: where speech is; its turn ends at `turn_end`."""

    start: int
    pcm: Pcm16
    speech: tuple[tuple[int, int], ...]
    turn_start: int
    turn_end: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch of speech, in samples."""

    start: int
    end: int


class ChunkPlanner:
    """One channel of one recording."""

    def __init__(self, pauses: Pauses = LONG) -> None:
        self._pauses = pauses
        self._audio = AudioBuffer()
        self._heard = 0
        self._run = 0
        self._speaking = False
        self._stretches: list[_Stretch] = []
        self._turn = 0

    def push(self, pcm: Pcm16, probabilities: Float32) -> list[PlannedChunk]:
        """Take `pcm`, int16 of shape (k * FRAME,), with the frames' probabilities of speech, shape (k,)."""
        pieces: list[PlannedChunk] = []
        self._audio.append(pcm)
        for probability in probabilities.tolist():
            self._heard += FRAME
            self._hear(probability)
            if piece := self._next():
                pieces.append(piece)
        self._audio.trim(self._needed)
        return pieces

    def finish(self, rest: Pcm16) -> list[PlannedChunk]:
        """The last chunk, if there's speech in it; `rest` are the samples behind the last whole frame."""
        self._audio.append(rest)
        return [self._piece(self._stretches, self._audio.end)] if self._stretches else []

    @property
    def _needed(self) -> int:
        first = self._stretches[0].start if self._stretches else self._heard - self._run * FRAME
        return max(self._turn, first - PADDING)

    def _hear(self, probability: float) -> None:
        if self._speaking:
            last = self._stretches[-1]
            if probability >= (LEAVE if last.end == self._heard - FRAME else ENTER):
                self._stretches[-1] = replace(last, end=self._heard)
            elif self._heard - last.end >= GAP:
                self._speaking, self._run = False, 0
            return
        self._run = self._run + 1 if probability >= ENTER else 0
        if self._run >= ONSET_FRAMES:
            self._speaking = True
            start = max(self._heard - self._run * FRAME, self._turn)
            self._stretches.append(_Stretch(start, self._heard))

    def _next(self) -> PlannedChunk | None:
        """The chunk that ends here, if one does."""
        if not self._stretches:
            return None
        first, last = self._stretches[0], self._stretches[-1]
        silence = self._heard - last.end
        if silence >= self._pauses.needed(last.end - first.start) and not self._run:
            return self._cut(len(self._stretches), last.end + silence // 2)
        if self._heard - self._needed >= LONGEST - PADDING:
            return self._forced()
        return None

    def _forced(self) -> PlannedChunk:
        """Cut at the longest pause of the chunk's later part; in its quietest place if there's none."""
        earliest = self._needed + LONGEST // 3
        pauses = [
            (after.start - before.end, number)
            for number, (before, after) in enumerate(
                zip(self._stretches, self._stretches[1:], strict=False), start=1
            )
            if before.end >= earliest
        ]
        if self._heard - self._stretches[-1].end >= GAP:
            pauses.append((self._heard - self._stretches[-1].end, len(self._stretches)))
        if pauses:
            length, number = max(pauses)
            return self._cut(number, self._stretches[number - 1].end + length // 2)
        place = self._quietest(self._heard - LOOKBACK, self._heard)
        for number, stretch in enumerate(self._stretches):
            if stretch.start < place < stretch.end:
                self._stretches[number : number + 1] = [
                    _Stretch(stretch.start, place),
                    _Stretch(place, stretch.end),
                ]
        return self._cut(sum(stretch.end <= place for stretch in self._stretches), place)

    def _cut(self, count: int, place: int) -> PlannedChunk:
        """The chunk of the first `count` stretches, whose turn ends at `place`."""
        piece = self._piece(self._stretches[:count], place)
        del self._stretches[:count]
        self._speaking = bool(self._stretches) and self._speaking
        return piece

    def _piece(self, stretches: Sequence[_Stretch], place: int) -> PlannedChunk:
        start = max(self._turn, stretches[0].start - PADDING)
        end = min(place, stretches[-1].end + PADDING)
        piece = PlannedChunk(
            start,
            self._audio.slice(start, end).copy(),
            tuple((stretch.start, stretch.end) for stretch in stretches),
            self._turn,
            place,
        )
        self._turn = place
        return piece

    def _quietest(self, start: int, end: int) -> int:
        """The middle of the quietest block between `start` and `end`; the first of equals."""
        pcm = to_float(self._audio.slice(start, end))
        blocks = pcm[: len(pcm) // BLOCK * BLOCK].reshape(-1, BLOCK)
        return start + int(np.square(blocks).sum(axis=1).argmin()) * BLOCK + BLOCK // 2
