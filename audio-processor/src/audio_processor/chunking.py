"""Cuts a recording into chunks for the engines, at silences. Pure: samples and probabilities in, chunks out.

Each sample belongs to the span of one chunk: spans follow one another without gap or overlap. The engine
gets a chunk's speech with some padding, not its whole span. The same audio gives the same chunks however it
is sliced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from parlando.domain.audio import SAMPLE_RATE, Float32, Pcm16, samples
from parlando.domain.audio_buffer import AudioBuffer
from parlando.domain.job_options import LONGEST_CHUNK_S
from parlando.domain.speech import ONSET_FRAMES, is_speech, onset_frames, quietest
from parlando.vad import FRAME

GAP: Final = samples(96)  # silence that ends a stretch of speech
PADDING: Final = samples(500)  # kept before and after a chunk's speech; the detector may be late
LONGEST: Final = LONGEST_CHUNK_S * SAMPLE_RATE
LOOKBACK: Final = 5 * SAMPLE_RATE  # samples before a chunk's end where speech without a pause may be cut


@dataclass(frozen=True, slots=True)
class Pauses:
    """The silence that ends a chunk, by the chunk's length.

    `steps`: (minimum length from the first to the last sample of speech, silence needed) in samples,
    longest first.
    """

    steps: tuple[tuple[int, int], ...]

    def needed(self, length: int) -> int:
        """The samples of silence that end a chunk of `length` samples."""
        return next(silence for at_least, silence in self.steps if length >= at_least)


LONG_CHUNKS: Final = Pauses(((0, samples(3000)),))
"""Chunks that end at the longest pause within the longest window of an engine: there a sentence ends most
probably, and the accuracy is best.
"""
SHORT_CHUNKS: Final = Pauses(
    ((8 * SAMPLE_RATE, samples(200)), (3 * SAMPLE_RATE, samples(500)), (0, samples(1500)))
)
"""Chunks nearly as short as utterances: the first words come sooner, at some cost in accuracy."""

DETECTION_CHUNKS: Final = Pauses(((0, LONGEST),))
"""Chunks that pauses don't end, to detect the language from the first half minute of speech."""


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """A chunk, in samples of the recording.

    `pcm` begins at `start`. `speech`: (start, end) of each stretch of speech. The chunk's span is
    [turn_start, turn_end).
    """

    start: int
    pcm: Pcm16
    speech: tuple[tuple[int, int], ...]
    span_start: int
    span_end: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch of speech, in samples."""

    start: int
    end: int


class ChunkPlanner:
    """Plans the chunks of one channel of one recording."""

    def __init__(self, pauses: Pauses = LONG_CHUNKS) -> None:
        self._pauses = pauses
        self._audio = AudioBuffer()
        self._detected = 0  # samples whose probabilities have been processed
        self._run = 0  # consecutive frames of speech, outside stretches of speech
        self._speaking = False
        self._stretches: list[_Stretch] = []
        self._span_start = 0

    def push(self, pcm: Pcm16, probabilities: Float32) -> list[PlannedChunk]:
        """The chunks completed by `pcm`, int16 of shape (k * FRAME,), with their speech probabilities."""
        chunks: list[PlannedChunk] = []
        self._audio.append(pcm)
        for probability in probabilities.tolist():
            self._detected += FRAME
            self._detect(probability)
            if chunk := self._next():
                chunks.append(chunk)
        self._audio.trim(self._needed)
        return chunks

    def finish(self, rest: Pcm16) -> list[PlannedChunk]:
        """The last chunk, if there's speech in it. `rest`: the samples behind the last whole frame."""
        self._audio.append(rest)
        return [self._chunk(self._stretches, self._audio.end)] if self._stretches else []

    @property
    def _needed(self) -> int:
        first = self._stretches[0].start if self._stretches else self._detected - self._run * FRAME
        return max(self._span_start, first - PADDING)

    def _detect(self, probability: float) -> None:
        if self._speaking:
            last = self._stretches[-1]
            if is_speech(probability, after_speech=last.end == self._detected - FRAME):
                self._stretches[-1] = replace(last, end=self._detected)
            elif self._detected - last.end >= GAP:
                self._speaking, self._run = False, 0
            return
        self._run = onset_frames(self._run, probability)
        if self._run >= ONSET_FRAMES:
            self._speaking = True
            start = max(self._detected - self._run * FRAME, self._span_start)
            self._stretches.append(_Stretch(start, self._detected))

    def _next(self) -> PlannedChunk | None:
        """The chunk that ends at the last frame; None if none does."""
        if not self._stretches:
            return None
        first, last = self._stretches[0], self._stretches[-1]
        silence = self._detected - last.end
        if silence >= self._pauses.needed(last.end - first.start) and not self._run:
            return self._cut(len(self._stretches), last.end + silence // 2)
        if self._detected - self._needed >= LONGEST - PADDING:
            return self._forced()
        return None

    def _forced(self) -> PlannedChunk:
        """Cut at the longest pause of the chunk's last two thirds; without one, at the quietest place."""
        earliest = self._needed + LONGEST // 3
        pauses = [
            (after.start - before.end, number)
            for number, (before, after) in enumerate(
                zip(self._stretches, self._stretches[1:], strict=False), start=1
            )
            if before.end >= earliest
        ]
        if self._detected - self._stretches[-1].end >= GAP:
            pauses.append((self._detected - self._stretches[-1].end, len(self._stretches)))
        if pauses:
            length, number = max(pauses)
            return self._cut(number, self._stretches[number - 1].end + length // 2)
        place = quietest(self._audio, self._detected - LOOKBACK, self._detected)
        for number, stretch in enumerate(self._stretches):
            if stretch.start < place < stretch.end:
                self._stretches[number : number + 1] = [
                    _Stretch(stretch.start, place),
                    _Stretch(place, stretch.end),
                ]
        return self._cut(sum(stretch.end <= place for stretch in self._stretches), place)

    def _cut(self, count: int, place: int) -> PlannedChunk:
        """The chunk of the first `count` stretches, whose span ends at `place`."""
        chunk = self._chunk(self._stretches[:count], place)
        del self._stretches[:count]
        self._speaking = bool(self._stretches) and self._speaking
        return chunk

    def _chunk(self, stretches: Sequence[_Stretch], place: int) -> PlannedChunk:
        start = max(self._span_start, stretches[0].start - PADDING)
        end = min(place, stretches[-1].end + PADDING)
        chunk = PlannedChunk(
            start,
            self._audio.slice(start, end).copy(),
            tuple((stretch.start, stretch.end) for stretch in stretches),
            self._span_start,
            place,
        )
        self._span_start = place
        return chunk
