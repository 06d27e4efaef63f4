"""Cuts a session's audio into utterances. Pure: samples in, events out, no clock, no I/O.

The same audio gives the same events however it is sliced. A segmenter restored from a snapshot gives the
same further events as the one that made it. All positions are samples of the session.

A segment begins at two consecutive frames of speech, with padding in front; it ends after `silence`.
From length `soft` on it is cut at the first dip, at length `hard` at the quietest place of the last
`lookback` samples.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from parlando.domain.audio import SAMPLE_RATE, Float32, Pcm16, samples, to_float
from parlando.domain.audio_buffer import AudioBuffer
from parlando.domain.speech import ONSET_FRAMES, is_speech, onset_frames, quietest
from parlando.vad import FRAME, VadStream

DIP: Final = samples(60)  # shortest silence at which a long segment may be cut
PAUSE: Final = samples(192)  # silence at which the segment is decoded as if it had ended
QUIET_EVERY: Final = SAMPLE_RATE  # samples of silence between two checkpoints


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """Lengths in samples."""

    silence: int = samples(500)
    padding: int = samples(500)
    soft: int = 8 * SAMPLE_RATE
    hard: int = 15 * SAMPLE_RATE

    @property
    def lookback(self) -> int:
        """Samples before the end within which a hard cut may fall; words there aren't committed early."""
        return self.hard // 3


@dataclass(frozen=True, slots=True)
class Utterance:
    """A segment, open or ended.

    Positions in samples. `start`: where decoding begins (padding included); `onset`: where speech begins;
    `speech_end`: where the last frame of speech ends; `end`: where decoding ends; `voiced`: number of
    samples detected as speech; `paused`: a `Paused` event was sent for the present silence; `cut`: it has
    ended because of its length, with less silence than an end needs.
    """

    index: int
    start: int
    onset: int
    speech_end: int
    voiced: int
    end: int = 0
    paused: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """Speech began."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class SpeechFrame:
    """One more frame of an open segment. `silence`: samples since the last frame of speech."""

    utterance: Utterance
    end: int
    silence: int


@dataclass(frozen=True, slots=True)
class Paused:
    """Silence that may become the endpoint. If it does, the segment ends at this utterance's `end`."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech continued after `Paused`."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Ended:
    """The segment is complete. A new owner continues from sample `checkpoint` with `snapshot`."""

    utterance: Utterance
    checkpoint: int
    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quiet:
    """Silence outside segments. Audio before sample `checkpoint` is no longer needed."""

    checkpoint: int
    snapshot: dict[str, Any]


SegmentEvent = Started | SpeechFrame | Paused | Resumed | Ended | Quiet


class Segmenter:
    """One session's audio, its voice activity and its open segment.

    `start`: the first sample of the audio. `index`: number of the next segment. `floor`: no segment begins
    before this sample.
    """

    def __init__(
        self,
        vad: VadStream,
        options: SegmenterOptions | None = None,
        *,
        start: int = 0,
        index: int = 0,
        floor: int = 0,
    ) -> None:
        self._vad = vad
        self.options = options or SegmenterOptions()
        self.audio = AudioBuffer(start)
        self._detected = start
        self._floor = max(start, floor)
        self._run = 0  # consecutive frames of speech, outside segments
        self._index = index
        self._checkpoint = start
        self.open: Utterance | None = None

    @property
    def received(self) -> int:
        """Samples pushed so far."""
        return self.audio.end

    @property
    def detected(self) -> int:
        """Samples that the voice detector has processed."""
        return self._detected

    def push(self, pcm: Pcm16) -> list[SegmentEvent]:
        """Process int16 samples of shape (n,) that follow the previous ones."""
        self.audio.append(pcm)
        whole = (self.audio.end - self._detected) // FRAME * FRAME
        if whole <= 0:
            return []
        frames: Float32 = to_float(self.audio.slice(self._detected, self._detected + whole))
        events: list[SegmentEvent] = []
        # The rules take one frame at a time, but one call of the detector takes many frames. A snapshot must
        # hold the detector's state at its frame, so frames that may cause a snapshot get a call each.
        start = 0
        while start < len(frames):
            stop = len(frames) if self._far_from_snapshot(len(frames) - start) else start + FRAME
            for probability in self._vad.push(frames[start:stop]).tolist():
                self._frame(probability, events)
            start = stop
        return events

    def settle(self) -> list[SegmentEvent]:
        """End the open segment at the end of the received audio (a flush, or the end of the stream)."""
        self._run = 0
        if self.open is None:
            return [self._quiet()]
        events: list[SegmentEvent] = []
        self._end(self.open, self.received, events)
        return events

    def release(self, keep_from: int) -> None:
        """Free audio before sample `keep_from` that the segmenter doesn't need itself."""
        self.audio.trim(min(keep_from, self.needed))

    def snapshot(self) -> dict[str, Any]:
        """The state, JSON-able, without the audio."""
        return {
            "detected": self._detected,
            "floor": self._floor,
            "run": self._run,
            "index": self._index,
            "open": asdict(self.open) if self.open else None,
            "vad": self._vad.state(),
        }

    def restore(self, start: int, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot; the next samples pushed begin at `start`.

        `start` must not lie behind the checkpoint that came with the snapshot.
        """
        self._detected = snapshot["detected"]
        self._floor = snapshot["floor"]
        self._run = snapshot["run"]
        self._index = snapshot["index"]
        self.open = Utterance(**snapshot["open"]) if snapshot["open"] else None
        self._vad.restore(snapshot["vad"])
        self.audio = AudioBuffer(start)
        self._checkpoint = self.needed

    def _far_from_snapshot(self, ahead: int) -> bool:
        """Whether `ahead` more samples can neither end a segment nor cause a checkpoint in silence."""
        after = self._detected + ahead
        if self.open is None:
            return (
                after - self.options.padding - self._checkpoint < QUIET_EVERY
                and ahead + FRAME <= self.options.silence
            )
        could_dip = after - self.open.start >= self.options.soft
        return not could_dip and after - self.open.speech_end + FRAME <= self.options.silence

    def _frame(self, probability: float, events: list[SegmentEvent]) -> None:
        self._detected += FRAME
        if self.open is None:
            self._outside(probability, events)
        else:
            self._inside(self.open, probability, events)

    def _outside(self, probability: float, events: list[SegmentEvent]) -> None:
        self._run = onset_frames(self._run, probability)
        if self._run < ONSET_FRAMES:
            if not self._run and self.needed - self._checkpoint >= QUIET_EVERY:
                events.append(self._quiet())
            return
        onset = max(self._detected - self._run * FRAME, self._floor)
        start = max(onset - self.options.padding, self._floor)
        self.open = Utterance(
            self._index, start, onset, speech_end=self._detected, voiced=self._run * FRAME, end=self._detected
        )
        self._index += 1
        self._run = 0
        events += [Started(self.open), SpeechFrame(self.open, self._detected, 0)]

    def _inside(self, before: Utterance, probability: float, events: list[SegmentEvent]) -> None:
        if is_speech(probability, after_speech=before.speech_end >= self._detected - FRAME):
            utterance = replace(
                before,
                speech_end=self._detected,
                voiced=before.voiced + FRAME,
                end=self._detected,
                paused=False,
            )
            if before.paused:
                events.append(Resumed(utterance))
        else:
            utterance = replace(before, end=self._detected)
        self.open = utterance
        silence = self._detected - utterance.speech_end
        length = self._detected - utterance.start
        if silence + FRAME > self.options.silence:  # the next frame would exceed the allowed silence
            self._end(utterance, min(utterance.speech_end + PAUSE, self._detected), events)
        elif length >= self.options.soft and silence >= self._dip(length):
            self._end(replace(utterance, cut=True), utterance.speech_end + silence // 2, events)
        elif length >= self.options.hard:
            self._cut(utterance, events)
        elif silence >= PAUSE and not utterance.paused:
            self.open = replace(utterance, end=utterance.speech_end + PAUSE, paused=True)
            events.append(Paused(self.open))
        else:
            events.append(SpeechFrame(utterance, self._detected, silence))

    def _dip(self, length: int) -> int:
        """The silence at which a segment of `length` samples is cut; shorter for longer segments."""
        factor = (self.options.hard - self.options.lookback // 2 - length) / (5 * SAMPLE_RATE)
        return max(DIP, min(PAUSE, int(PAUSE * factor)))

    def _end(self, utterance: Utterance, end: int, events: list[SegmentEvent]) -> None:
        self.open = None
        self._floor = end
        self._ended(replace(utterance, end=end), events)

    def _cut(self, utterance: Utterance, events: list[SegmentEvent]) -> None:
        """End a segment in the middle of speech; the next one begins at the cut."""
        place = quietest(self.audio, self._detected - self.options.lookback, self._detected)
        self._floor = place
        self.open = Utterance(
            self._index,
            place,
            place,
            speech_end=utterance.speech_end,
            voiced=self._detected - place,
            end=self._detected,
        )
        self._index += 1
        self._ended(replace(utterance, end=place, speech_end=place, cut=True), events)
        events.append(Started(self.open))

    def _ended(self, utterance: Utterance, events: list[SegmentEvent]) -> None:
        self._checkpoint = self.needed
        events.append(Ended(utterance, self._checkpoint, self.snapshot()))

    def _quiet(self) -> Quiet:
        self._checkpoint = self.needed
        return Quiet(self._checkpoint, self.snapshot())

    @property
    def needed(self) -> int:
        """The first sample that a later segment may include or that the detector hasn't processed."""
        if self.open is not None:
            return min(self.open.start, self._detected)
        return min(
            self._detected, max(self._floor, self._detected - self.options.padding - self._run * FRAME)
        )
