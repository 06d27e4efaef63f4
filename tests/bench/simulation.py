"""One transcriber under load, in simulated time. Pure, except for the clock that `price` reads.

All sessions send the same recording, each from a different place; the real segmenter determines when segments
begin, pause and end. Windows wait for one engine, finals first, and the real `PartialInterval` adapts the
interval of partials to the queue delay.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from parlando import vad
from parlando.domain.audio import SAMPLE_RATE, seconds, to_float
from parlando.vad import FRAME
from transcriber.engines.base import Engine, Window
from transcriber.pipeline.audio_input import FIRST_PARTIAL
from transcriber.pipeline.segmenter import Ended, Paused, Resumed, Segmenter, Started
from transcriber.recognition.partial_interval import PartialInterval
from transcriber.recognition.scheduler import LIVE, Lane

Happening = Callable[[float], None]
Work = Callable[[float], tuple[float, Happening]]  # start → (cost, what happens then); in seconds

WARM_S = 20.0  # seconds before delays are counted
LENGTH_S = 80.0


@dataclass(frozen=True)
class Moment:
    """An event of the segmenter: its time, and the segment, whose decoding begins at `start`."""

    at: float
    what: str
    start: float
    speech_end: float


@dataclass(frozen=True)
class Costs:
    """Engine seconds of a window: a constant part, and a part for each second of audio."""

    partial: tuple[float, float]
    final: tuple[float, float]


@dataclass
class Load:
    """The results of one number of sessions on one transcriber."""

    sessions: int
    final_p95: float
    partials: float  # per second and session
    busy: float


@dataclass
class _Segment:
    start: float
    decoded: float | None = None  # end of the last partial's window
    asked: bool = False  # whether a partial is queued
    pause: int = 0  # number of the pause that may end the segment; 0 during speech
    pauses: int = 0
    heard: bool = False  # whether the final of that pause has been decoded
    speech_end: float | None = None  # set when the segment has ended


def moments(pcm: np.ndarray) -> list[Moment]:
    """All events of the segmenter for `pcm`."""
    segmenter, found = Segmenter(vad.load("silero").stream()), []
    for at in range(0, len(pcm), FRAME):
        for event in segmenter.push(pcm[at : at + FRAME]):
            if isinstance(event, Started | Paused | Resumed | Ended):
                detected, of = seconds(segmenter.detected), event.utterance
                found.append(
                    Moment(detected, type(event).__name__, seconds(of.start), seconds(of.speech_end))
                )
    return found


def price(engine: Engine, pcm: np.ndarray) -> Costs:
    """The CPU time of windows of a growing segment, and of finals decoded once."""
    samples, draft = to_float(pcm), ()
    lengths, partials, finals = np.arange(1.0, 9.0, 0.5), [], []
    for length in lengths:
        window = samples[: int(length * SAMPLE_RATE)]
        started = time.process_time()
        [heard] = engine.transcribe([Window(window, draft=draft, redecode=False)])
        partials.append(time.process_time() - started)
        draft, started = heard.words, time.process_time()
        engine.transcribe([Window(window, draft=draft, final=True, redecode=False)])
        finals.append(time.process_time() - started)

    def line(costs: list[float]) -> tuple[float, float]:
        slope, fixed = np.polyfit(lengths, costs, 1)
        return max(float(fixed), 0.0), float(slope)

    return Costs(line(partials), line(finals))


class Worker:
    """One engine and its sessions. `slower`: factor of the windows' costs."""

    def __init__(self, costs: Costs, slower: float) -> None:
        self._costs = costs
        self._slower = slower
        self._cadence = PartialInterval(SAMPLE_RATE // 2)
        self._events: list[tuple[float, int, Happening]] = []
        self._lanes: dict[Lane, deque[tuple[float, Work]]] = {lane: deque() for lane in LIVE}
        self._count, self._free_at, self._worked, self._shown = 0, 0.0, 0.0, 0
        self._delays: list[float] = []

    def run(self, script: list[Moment], length: float, sessions: int) -> Load:
        """Simulate `sessions` that repeat `script`, which lasts `length` seconds."""
        for number in range(sessions):
            self._schedule(script, length, length * number / sessions)
        while self._events and self._events[0][0] < LENGTH_S:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        return Load(
            sessions,
            float(np.quantile(self._delays, 0.95)),
            self._shown / sessions / (LENGTH_S - WARM_S),
            self._worked / LENGTH_S,
        )

    def _schedule(self, script: list[Moment], length: float, phase: float) -> None:
        segments: list[_Segment] = []
        for turn in range(int((LENGTH_S + phase) / length) + 1):
            for moment in script:
                moved = replace(
                    moment,
                    at=moment.at + turn * length - phase,
                    start=moment.start + turn * length - phase,
                    speech_end=moment.speech_end + turn * length - phase,
                )
                if moved.at >= 0:
                    self._at(moved.at, lambda now, moment=moved: self._happens(segments, moment, now))

    def _at(self, when: float, happen: Happening) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, happen))

    def _happens(self, segments: list[_Segment], moment: Moment, now: float) -> None:
        if moment.what == "Started":
            segments[:] = [_Segment(moment.start)]
            self._at(now + seconds(FIRST_PARTIAL), lambda at, it=segments[0]: self._want_partial(it, at))
        elif segments:
            self._goes_on(segments[0], moment, now)

    def _goes_on(self, segment: _Segment, moment: Moment, now: float) -> None:
        match moment.what:
            case "Paused":
                segment.pauses += 1
                segment.pause, segment.heard = segment.pauses, False
                self._final(segment, now)
            case "Resumed":
                segment.pause = 0
                self._want_partial(segment, now)
            case "Ended":
                segment.speech_end = moment.speech_end
                if segment.pause and segment.heard:
                    self._note(segment, now)
                elif not segment.pause:
                    self._final(segment, now)

    def _note(self, segment: _Segment, now: float) -> None:
        assert segment.speech_end is not None
        if now > WARM_S:
            self._delays.append(now - segment.speech_end)

    def _final(self, segment: _Segment, now: float) -> None:
        pause, (fixed, each) = segment.pause, self._costs.final

        def work(_: float) -> tuple[float, Happening]:
            if segment.pause != pause:
                return 0.0, lambda _: None
            return fixed + each * (now - segment.start), done

        def done(at: float) -> None:
            if segment.speech_end is not None and segment.pause == pause:
                self._note(segment, at)
            segment.heard = segment.pause == pause

        self._submit(Lane.FINAL, now, work)

    def _want_partial(self, segment: _Segment, now: float) -> None:
        if segment.asked or segment.pause or segment.speech_end is not None:
            return
        interval, again = self._cadence.interval, lambda at: self._want_partial(segment, at)
        if interval is None:
            self._at(now + 1.0, again)
            return
        due = now if segment.decoded is None else segment.decoded + seconds(interval)
        if due > now:
            self._at(due, again)
            return
        fixed, each = self._costs.partial

        def work(at: float) -> tuple[float, Happening]:
            if segment.pause or segment.speech_end is not None:
                return 0.0, forgotten
            segment.decoded = at
            return fixed + each * (at - segment.start), shown

        def forgotten(_: float) -> None:
            segment.asked = False

        def shown(at: float) -> None:
            segment.asked = False
            self._shown += at > WARM_S
            self._want_partial(segment, at)

        segment.asked = True
        self._submit(Lane.PARTIAL if segment.decoded else Lane.FIRST_PARTIAL, now, work)

    def _submit(self, lane: Lane, now: float, work: Work) -> None:
        self._lanes[lane].append((now, work))
        if self._free_at <= now:
            self._next(now)

    def _next(self, now: float) -> None:
        queue = next((queue for queue in self._lanes.values() if queue), None)
        if queue is None or self._free_at > now:
            return
        asked, work = queue.popleft()
        self._cadence.observe(now - asked)
        cost, done = work(now)
        self._worked += cost * self._slower
        self._free_at = now + cost * self._slower

        def finished(at: float) -> None:
            done(at)
            self._next(at)

        self._at(self._free_at, finished)


def fits(costs: Costs, slower: float, script: list[Moment], length: float, *, late_s: float) -> Load:
    """The greatest number of sessions whose finals are not too late."""
    best = Worker(costs, slower).run(script, length, 2)
    for sessions in range(4, 120, 2):
        load = Worker(costs, slower).run(script, length, sessions)
        if load.final_p95 > late_s:
            return best
        best = load
    return best
