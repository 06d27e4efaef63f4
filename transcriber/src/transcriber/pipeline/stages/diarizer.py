"""Embeds the voices of live sessions in a thread, and labels their finals.

While a segment is open, its complete windows are embedded already, so that a final waits for its last ones
only. A final whose windows aren't ready in time is published without a speaker; a revision adds it later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson
import structlog

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial, SpeakerOfSegment
from transcriber.pipeline.speaker_runs import divided
from transcriber.pipeline.stages.base import StageAudio, State
from transcriber.speakers.attribution import attribute
from transcriber.speakers.clustering import SpeakerCount, name
from transcriber.speakers.embedding import VoiceModel, is_narrow, voice_model
from transcriber.speakers.live import LiveSpeakers
from transcriber.speakers.thread import embedded
from transcriber.speakers.windows import HOP_S, Span, changes, spans

SESSIONS: Final = 1000  # sessions of which embeddings are kept
LATE: Final = 20  # finals of a session that wait for their windows
SURE: Final = 0.3  # cosine from which on a partial has a speaker
COARSE: Final = 2  # under load, windows are so many times as far apart

log = structlog.get_logger(part="speakers")
Vector = Future[Float32]


@dataclass(slots=True)
class _Late:
    """A final that was published without a speaker."""

    segment: int
    windows: list[Span]
    vectors: list[Vector]
    narrow: bool


@dataclass(slots=True)
class _Voices:
    """Embeddings of a session's open segment, by the place of their window, and its late finals.

    `speakers`: those in the state `loaded`, for partials.
    """

    start: float = -1.0
    vectors: dict[tuple[int, int], Vector] = field(default_factory=dict)
    late: list[_Late] = field(default_factory=list)
    loaded: str = ""
    speakers: LiveSpeakers = field(default_factory=LiveSpeakers)


def counted(config: SessionConfig) -> SpeakerCount:
    """The number of speakers that a session's config tells."""
    return SpeakerCount.of(config.speaker_count, config.min_speakers, config.max_speakers)


class Diarizer:
    """The speakers of all sessions of a process. What it needs of a session is in the session's state."""

    def __init__(self, wait_s: float) -> None:
        """`wait_s`: how long a final, and the end of a session, wait for embeddings."""
        self._wait_s = wait_s
        self._sessions: OrderedDict[str, _Voices] = OrderedDict()

    async def partial(self, partial: Partial, audio: StageAudio, state: State) -> Partial:
        """The partial with its speaker, if its newest complete window has a known voice."""
        voices = self._voices(partial.session_id, partial.start)
        if audio.hurried:
            return partial
        windows = spans(partial.start, partial.end, complete=False)
        vectors = [self._vector(voices, window, audio) for window in windows]
        ready = [vector.result() for vector in vectors if vector.done() and not vector.exception()]
        if not ready or "live" not in state:
            return partial
        newest = self._model.centred(np.stack(ready[-1:]), narrow=is_narrow(audio.pcm))
        if voices.loaded != state["live"]:
            voices.loaded, voices.speakers = state["live"], _speakers(state)
        speaker, cosine = voices.speakers.nearest(newest)
        return partial.model_copy(update={"speaker": name(speaker) if cosine >= SURE else None})

    async def final(self, final: FinalTranscript, audio: StageAudio, state: State) -> FinalTranscript:
        """The final with a speaker for each word, and for itself the one of most of its speech."""
        speakers = _speakers(state)
        voices = self._voices(final.session_id, final.start)
        count = counted(audio.config)
        self._take_late(voices, speakers, count)
        windows = spans(final.start, final.end, hop=HOP_S * (COARSE if audio.hurried else 1))
        vectors = [self._vector(voices, window, audio) for window in windows]
        narrow = is_narrow(audio.pcm)
        voices.vectors = {}
        if await _done(vectors, self._wait_s):
            final = _labelled(final, audio, speakers, windows, self._centred(vectors, narrow))
        else:
            voices.late = [*voices.late[1 - LATE :], _Late(final.segment, windows, vectors, narrow)]
            speakers.unplaced(final.segment)
            final = final.model_copy(update={"speaker": None})
        _keep(speakers, state)
        return final

    def revisions(self, state: State) -> list[SpeakerOfSegment]:
        """Segments whose speakers have changed since clients were told them."""
        if "live" not in state:
            return []
        speakers = _speakers(state)
        found = speakers.revisions()
        if found:
            _keep(speakers, state)
        return [SpeakerOfSegment(segment=segment, speaker=name(speaker)) for segment, speaker in found]

    async def end(self, sid: str, state: State, config: SessionConfig) -> list[SpeakerOfSegment]:
        """The revisions at the end of a session, with those of late finals."""
        voices = self._sessions.pop(sid, None)
        if voices is not None and voices.late:
            await _done([vector for late in voices.late for vector in late.vectors], self._wait_s)
            speakers = _speakers(state)
            self._take_late(voices, speakers, counted(config))
            _keep(speakers, state)
        return self.revisions(state)

    # --- embeddings ---------------------------------------------------------------------------

    @property
    def _model(self) -> VoiceModel:
        return voice_model()

    def _voices(self, sid: str, start: float) -> _Voices:
        """The embeddings of a session whose open segment begins at `start`."""
        voices = self._sessions.setdefault(sid, _Voices())
        self._sessions.move_to_end(sid)
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        if voices.start != start:
            voices.start, voices.vectors = start, {}
        return voices

    def _vector(self, voices: _Voices, window: Span, audio: StageAudio) -> Vector:
        """The embedding of a window, not centred yet; computed at most once."""
        first, last = (round((at - audio.start) * SAMPLE_RATE) for at in (window.start, window.end))
        place = (round(window.start * SAMPLE_RATE), last - first)
        if place not in voices.vectors:
            clip = audio.pcm[max(0, first) : max(0, last)].copy()
            voices.vectors[place] = embedded(clip)
        return voices.vectors[place]

    def _centred(self, vectors: Sequence[Vector], narrow: bool) -> Float32:
        return self._model.centred(np.stack([vector.result() for vector in vectors]), narrow=narrow)

    def _take_late(self, voices: _Voices, speakers: LiveSpeakers, count: SpeakerCount) -> None:
        """Add the windows of late finals that are ready."""
        waiting = []
        for late in voices.late:
            if all(vector.done() for vector in late.vectors):
                try:
                    vectors = self._centred(late.vectors, late.narrow)
                except Exception:
                    log.exception("speakers.lost", segment=late.segment)
                    continue
                speakers.add(late.windows, vectors, count=count)
                speakers.belated(late.segment)
            else:
                waiting.append(late)
        voices.late = waiting


def _speakers(state: State) -> LiveSpeakers:
    return LiveSpeakers.load(orjson.loads(state["live"]) if "live" in state else {})


def _keep(speakers: LiveSpeakers, state: State) -> None:
    """Store the speakers as text, of which copies cost nothing."""
    state["live"] = orjson.dumps(speakers.dump()).decode()


def _labelled(
    final: FinalTranscript,
    audio: StageAudio,
    speakers: LiveSpeakers,
    windows: list[Span],
    vectors: Float32,
) -> FinalTranscript:
    """The final with its speakers, which are those of `speakers` with these windows."""
    found = speakers.add(windows, vectors, count=counted(audio.config))
    words = final.words or []
    of_words = attribute(words, found, changes(audio.pcm, audio.start, windows))
    totals = np.bincount(found, weights=[window.seconds for window in windows])
    labelled = [
        word.model_copy(update={"speaker": name(speaker)})
        for word, speaker in zip(words, of_words, strict=True)
    ]
    final = final.model_copy(update={"speaker": name(int(totals.argmax())), "words": labelled})
    parts = divided(final)
    owners = np.searchsorted([part.end for part in parts[:-1]], [window.centre for window in windows])
    speakers.place([(part.segment, np.flatnonzero(owners == n).tolist()) for n, part in enumerate(parts)])
    return final


async def _done(vectors: Sequence[Vector], within_s: float) -> bool:
    """Wait until all vectors are computed, for at most `within_s`. Raises what a computation raised."""
    waiting = [asyncio.wrap_future(vector) for vector in vectors if not vector.done()]
    if waiting:
        _, unfinished = await asyncio.wait(waiting, timeout=within_s)
        return not unfinished
    return True
