"""Embeds the voices of live sessions in a thread, and labels their finals.

While a segment is open, its complete windows are embedded already, so that a final waits for its last ones
only; under load for none, so that labels don't delay captions. A final whose windows aren't ready has the
speaker of those that are, or none; a revision follows.
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
from transcriber.speakers.known import NOBODY, KnownVoices
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
        ready = _ready(vectors)
        if not ready or "live" not in state:
            return partial
        if voices.loaded != state["live"]:
            voices.loaded, voices.speakers = state["live"], _speakers(state)
        speaker, cosine = voices.speakers.nearest(np.stack(ready[-1:]))
        if cosine < SURE:
            return partial.model_copy(update={"speaker": None})
        person = voices.speakers.people.get(speaker)
        found = {"speaker": name(speaker), "speaker_name": person.name if person else None}
        return partial.model_copy(update=found)

    async def final(self, final: FinalTranscript, audio: StageAudio, state: State) -> FinalTranscript:
        """The final with a speaker for each word, and for itself the one of most of its speech."""
        speakers = _speakers(state)
        voices = self._voices(final.session_id, final.start)
        known = _wanted(audio.known, audio.config)
        count = counted(audio.config)
        self._take_late(voices, speakers, count)
        windows = spans(final.start, final.end, hop=HOP_S * (COARSE if audio.hurried else 1))
        vectors = [self._vector(voices, window, audio) for window in windows]
        voices.vectors = {}
        if await _done(vectors, 0.0 if audio.hurried else self._wait_s):
            final = _labelled(final, audio, speakers, windows, _stacked(vectors), known)
        else:
            voices.late = [*voices.late[1 - LATE :], _Late(final.segment, windows, vectors)]
            speakers.recognise(known)
            final = _provisional(final, speakers, vectors)
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
        people = speakers.people
        return [
            SpeakerOfSegment.of(segment, name(speaker), None if speaker is None else people.get(speaker))
            for segment, speaker in found
        ]

    async def end(
        self, sid: str, state: State, config: SessionConfig, known: KnownVoices | None
    ) -> list[SpeakerOfSegment]:
        """The revisions at the end of a session, with those of late finals. `known`: see `StageAudio`."""
        voices = self._sessions.pop(sid, None)
        if voices is not None and voices.late:
            await _done([vector for late in voices.late for vector in late.vectors], self._wait_s)
            speakers = _speakers(state)
            self._take_late(voices, speakers, counted(config))
            speakers.recognise(_wanted(known, config))
            _keep(speakers, state)
        return self.revisions(state)

    # --- embeddings ---------------------------------------------------------------------------

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
        """The embedding of a window; computed at most once."""
        first, last = (round((at - audio.start) * SAMPLE_RATE) for at in (window.start, window.end))
        place = (round(window.start * SAMPLE_RATE), last - first)
        if place not in voices.vectors:
            clip = audio.pcm[max(0, first) : max(0, last)].copy()
            voices.vectors[place] = embedded(clip)
        return voices.vectors[place]

    def _take_late(self, voices: _Voices, speakers: LiveSpeakers, count: SpeakerCount) -> None:
        """Add the windows of late finals that are ready."""
        waiting = []
        for late in voices.late:
            if all(vector.done() for vector in late.vectors):
                try:
                    vectors = _stacked(late.vectors)
                except Exception:
                    log.exception("speakers.lost", segment=late.segment)
                    continue
                speakers.add(late.windows, vectors, count=count)
                speakers.belated(late.segment)
            else:
                waiting.append(late)
        voices.late = waiting


def _wanted(known: KnownVoices | None, config: SessionConfig) -> KnownVoices | None:
    """The voices to recognise: nobody's in a session that doesn't ask for it; None if they are unknown."""
    return known if config.known_speakers else NOBODY


def _ready(vectors: Sequence[Vector]) -> list[Float32]:
    """The embeddings that are computed."""
    return [vector.result() for vector in vectors if vector.done() and not vector.exception()]


def _stacked(vectors: Sequence[Vector]) -> Float32:
    return np.stack([vector.result() for vector in vectors])


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
    known: KnownVoices | None,
) -> FinalTranscript:
    """The final with its speakers, which are those of `speakers` with these windows."""
    found = speakers.add(windows, vectors, count=counted(audio.config))
    speakers.recognise(known)
    words = final.words or []
    of_words = attribute(words, found, changes(audio.pcm, audio.start, windows))
    totals = np.bincount(found, weights=[window.seconds for window in windows])
    labelled = [
        word.model_copy(update={"speaker": name(speaker)})
        for word, speaker in zip(words, of_words, strict=True)
    ]
    people = {str(name(number)): person for number, person in speakers.people.items()}
    update = {"speaker": name(int(totals.argmax())), "words": labelled, "recognised": people}
    final = final.model_copy(update=update)
    parts = divided(final)
    owners = np.searchsorted([part.end for part in parts[:-1]], [window.centre for window in windows])
    speakers.place([(part.segment, np.flatnonzero(owners == n).tolist()) for n, part in enumerate(parts)])
    return final


def _provisional(
    final: FinalTranscript, speakers: LiveSpeakers, vectors: Sequence[Vector]
) -> FinalTranscript:
    """The final with the known voice of the windows that are ready, if there are any. It may be revised."""
    ready = _ready(vectors)
    speaker, cosine = speakers.nearest(np.stack(ready)) if ready else (-1, 0.0)
    found = speaker if cosine >= SURE else None
    speakers.unplaced(final.segment, found)
    people = {str(name(number)): person for number, person in speakers.people.items()}
    return final.model_copy(update={"speaker": None if found is None else name(found), "recognised": people})


async def _done(vectors: Sequence[Vector], within_s: float) -> bool:
    """Wait until all vectors are computed, for at most `within_s`. Raises what a computation raised."""
    waiting = [asyncio.wrap_future(vector) for vector in vectors if not vector.done()]
    if waiting:
        _, unfinished = await asyncio.wait(waiting, timeout=within_s)
        return not unfinished
    return True
