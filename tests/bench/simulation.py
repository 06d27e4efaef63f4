"""One transcriber under load, in simulated time. Pure, except for the clock that `price` reads.

All sessions send the same recording, each from a different place; the real segmenter determines when segments
begin, pause and end. The real queue decides which window is decoded next, and the real `Cadence` how often
partials are.
"""

import heapq
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from parlando import vad
from parlando.domain.audio import SAMPLE_RATE, seconds, to_float
from parlando.vad import FRAME
from transcriber.engines.base import Engine, Window
from transcriber.pipeline.partial_timing import EARLY_PARTIAL, partial_due
from transcriber.pipeline.segmenter import Ended, Paused, Resumed, Segmenter, Started
from transcriber.pipeline.session_output import IMPROVED_BY_S, OVERDUE_S
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.deadlines import SLACK_S, Costs, Lane, Waiting
from transcriber.recognition.scheduler import ADAPT_EVERY_S

Happening = Callable[[float], None]

WARM_S = 20.0  # seconds before delays are counted
LENGTH_S = 80.0
IMPROVABLE = 0.5  # share of the finals of low confidence


@dataclass(frozen=True)
class Moment:
    """An event of the segmenter: its time, and the segment, whose decoding begins at `start`."""

    at: float
    what: str
    start: float
    speech_end: float


@dataclass(frozen=True)
class Prices:
    """Engine seconds of a window: a constant part, and a part for each second of audio."""

    partial: tuple[float, float]
    final: tuple[float, float]


@dataclass
class Load:
    """The results of one number of sessions on one transcriber. Delays in seconds.

    `first`: from the start of speech to the first partial. `shown`: from the end of a word until a partial
    that includes it. `final`: after the end of speech. `partials`: per second and session. `redecoded`:
    further decodes, per final.
    """

    sessions: int
    first_p50: float
    first_p95: float
    shown_mean: float
    final_p95: float
    partials: float
    redecoded: float
    busy: float


@dataclass
class _Segment:
    start: float
    onset: float
    decoded: float | None = None  # end of the last partial's window
    asked: bool = False  # whether a partial is queued
    pause: int = 0  # number of the pause that may end the segment; 0 during speech
    pauses: int = 0
    heard: bool = False  # whether the final of that pause has been decoded
    improving: bool = False  # whether it is decoded again
    resumed: float | None = None  # when speech went on after a pause, until the next partial
    speech_end: float | None = None  # set when the segment has ended


@dataclass(frozen=True)
class _Job:
    """A window. `length`: when it is cut; None if it isn't needed any more. `dropped`: it isn't decoded."""

    lane: Lane
    asked: float
    length: Callable[[float], float | None]
    done: Happening
    dropped: Happening


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


def price(engine: Engine, pcm: np.ndarray) -> Prices:
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

    return Prices(line(partials), line(finals))


class Worker:
    """One engine and its sessions. `slower`: factor of the windows' prices."""

    def __init__(self, prices: Prices, slower: float) -> None:
        self._prices = prices
        self._slower = slower
        self._cadence = Cadence(SAMPLE_RATE // 2)
        self._costs = Costs()
        self._queue: Waiting[_Job] = Waiting(self._costs)
        self._events: list[tuple[float, int, Happening]] = []
        self._chance = random.Random(1)
        self._count, self._free_at, self._worked, self._busy = 0, 0.0, 0.0, 0.0
        self._partials = self._finals = self._redecoded = 0
        self._first: list[float] = []
        self._shown: list[float] = []
        self._delays: list[float] = []

    def run(self, script: list[Moment], length: float, sessions: int) -> Load:
        """Simulate `sessions` that repeat `script`, which lasts `length` seconds."""
        for number in range(sessions):
            self._schedule(script, length, length * number / sessions)
        self._adapt(0.0)
        while self._events and self._events[0][0] < LENGTH_S:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        return Load(
            sessions,
            *(float(np.quantile(self._first, share)) for share in (0.5, 0.95)),
            float(np.mean(self._shown)),
            float(np.quantile(self._delays, 0.95)),
            self._partials / sessions / (LENGTH_S - WARM_S),
            self._redecoded / max(self._finals, 1),
            self._worked / LENGTH_S,
        )

    def _adapt(self, now: float) -> None:
        self._cadence.observe(self._busy, now)
        self._busy = 0.0
        self._at(now + ADAPT_EVERY_S, self._adapt)

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
            segments[:] = [_Segment(moment.start, now)]
            self._at(now + seconds(EARLY_PARTIAL), lambda at, it=segments[0]: self._want_partial(it, at))
        elif segments:
            self._goes_on(segments[0], moment, now)

    def _goes_on(self, segment: _Segment, moment: Moment, now: float) -> None:
        match moment.what:
            case "Paused":
                segment.pauses += 1
                segment.pause, segment.heard, segment.improving = segment.pauses, False, False
                self._final(segment, now, now + SLACK_S[Lane.FINAL])
            case "Resumed":
                segment.pause, segment.resumed = 0, now
                self._want_partial(segment, now)
            case "Ended":
                segment.speech_end = moment.speech_end
                if segment.pause and segment.heard and not segment.improving:
                    self._note(segment, now)
                elif not segment.pause:
                    self._final(segment, now, now + OVERDUE_S)

    def _note(self, segment: _Segment, now: float) -> None:
        assert segment.speech_end is not None
        if now > WARM_S:
            self._delays.append(now - segment.speech_end)

    def _final(self, segment: _Segment, now: float, deadline: float) -> None:
        pause, length = segment.pause, now - segment.start

        def needed(_: float) -> float | None:
            return length if segment.pause == pause else None

        def done(at: float) -> None:
            if segment.pause != pause:
                return
            segment.heard = True
            self._show(segment, now)
            self._finals += at > WARM_S
            self._improve(segment, length, max(deadline, at) + IMPROVED_BY_S, at)

        self._submit(_Job(Lane.FINAL, now, needed, done, done), deadline, length)

    def _improve(self, segment: _Segment, length: float, deadline: float, now: float) -> None:
        """Decode a final again, if its confidence is low."""
        pause = segment.pause
        segment.improving = self._chance.random() < IMPROVABLE
        if not segment.improving:
            if segment.speech_end is not None:
                self._note(segment, now)
            return

        def needed(_: float) -> float | None:
            return length if segment.pause == pause else None

        def ended(at: float) -> None:
            if segment.pause == pause:
                segment.improving = False
                if segment.speech_end is not None:
                    self._note(segment, at)

        def done(at: float) -> None:
            self._redecoded += at > WARM_S
            ended(at)

        self._submit(_Job(Lane.REDECODE, now, needed, done, ended), deadline, length)

    def _want_partial(self, segment: _Segment, now: float) -> None:
        if segment.asked or segment.pause or segment.speech_end is not None:
            return
        place, urgent = partial_due(
            _samples(segment.onset),
            _samples(segment.decoded or 0.0),
            None if segment.resumed is None else _samples(segment.resumed),
            interval=self._cadence.interval,
            words=segment.decoded is not None,
            hurried=self._cadence.hurried,
        )
        if _samples(now) < place:
            self._at(place / SAMPLE_RATE, lambda at: self._want_partial(segment, at))
            return
        segment.resumed = None
        first, cut = segment.decoded is None, now

        def needed(at: float) -> float | None:
            nonlocal cut
            cut = at
            return None if segment.pause or segment.speech_end is not None else at - segment.start

        def forgotten(_: float) -> None:
            segment.asked = False

        def shown(at: float) -> None:
            segment.asked = False
            if first and at > WARM_S:
                self._first.append(at - segment.onset)
            self._partials += at > WARM_S
            self._show(segment, cut, at)
            self._want_partial(segment, at)

        segment.asked = True
        lane = Lane.FIRST_PARTIAL if urgent else Lane.PARTIAL
        job = _Job(lane, now, needed, shown, forgotten)
        self._submit(job, now + SLACK_S[lane], now - segment.start)

    def _show(self, segment: _Segment, end: float, at: float | None = None) -> None:
        """The words up to `end` are shown at `at`; they were spoken since the last time."""
        before, at = segment.decoded or segment.onset, end if at is None else at
        if at > WARM_S and end > before:
            words = max(1, round(3 * (end - before)))
            self._shown += [at - end + (end - before) * (n + 0.5) / words for n in range(words)]
        segment.decoded = max(end, before)

    def _submit(self, job: _Job, deadline: float, length: float) -> None:
        self._queue.add(job, job.lane, deadline, length)
        if self._free_at <= job.asked:
            self._next(job.asked)

    def _next(self, now: float) -> None:
        if self._free_at > now:
            return
        while True:
            late: list[_Job] = []
            job = self._queue.next(now, redecode=self._cadence.allows_redecode, drop=late.append)
            for each in late:
                each.dropped(now)
            if job is None:
                return
            length = job.length(now)
            if length is not None:
                break
            job.dropped(now)
        fixed, each_s = self._prices.partial if "PARTIAL" in job.lane.name else self._prices.final
        cost = (fixed + each_s * length) * self._slower
        self._costs.observe(job.lane, length, cost)
        self._worked += cost
        self._free_at = now + cost

        def finished(at: float) -> None:
            self._busy += cost
            job.done(at)
            self._next(at)

        self._at(self._free_at, finished)


def _samples(at: float) -> int:
    return round(at * SAMPLE_RATE)


def fits(prices: Prices, slower: float, script: list[Moment], length: float, *, late_s: float) -> Load:
    """The greatest number of sessions whose words and finals come in time."""
    best = Worker(prices, slower).run(script, length, 2)
    for sessions in range(4, 120, 2):
        load = Worker(prices, slower).run(script, length, sessions)
        if load.final_p95 > late_s or load.first_p95 > 1.5 or load.shown_mean > 0.6:
            return best
        best = load
    return best
