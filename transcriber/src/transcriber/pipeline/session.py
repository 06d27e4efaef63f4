"""One live session in its owner: audio in, events out, in the order of the audio.

It runs two tasks: `audio_input` passes the audio through the segmenter and queues steps, `session_output`
executes them.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

from parlando import tracing
from parlando.domain.audio import samples
from parlando.store.audio_streams import Entry
from parlando.store.session_claims import SessionRenewal
from parlando.store.session_log import RecognitionClaim, SessionLog
from parlando.tasks import end
from parlando.vad import VadStream
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.audio_input import AudioInput
from transcriber.pipeline.batching import BatchOptions
from transcriber.pipeline.context import SettledContext
from transcriber.pipeline.language import LanguageTracker
from transcriber.pipeline.segmenter import SegmenterOptions
from transcriber.pipeline.session_output import SessionOutput
from transcriber.pipeline.stages.base import Stage
from transcriber.pipeline.stages.chain import StageChain
from transcriber.recognition.recognizer import Recognizer
from transcriber.recognition.scheduler import Scheduler


class LiveSession:
    """A claimed session. `run` returns when the session is closed, and raises `FencedError` when another
    worker has claimed it.
    """

    def __init__(
        self,
        claim: RecognitionClaim,
        session_log: SessionLog,
        *,
        vad: VadStream,
        scheduler: Scheduler,
        options: SegmenterOptions,
        batch: BatchOptions,
        stages: Sequence[Stage] = (),
        known: KnownSpeakersCache | None = None,
        fixed_interval: int | None = None,
    ) -> None:
        self.claim = claim
        self.sid = claim.keys.sid
        self._fed_at = time.monotonic()
        info = scheduler.engine.info
        reach = samples(info.context_s * 1000)
        snapshot = claim.checkpoint.snapshot if claim.checkpoint is not None else {}
        self._input = AudioInput(
            claim,
            vad,
            options=options,
            batch=batch,
            context=reach,
            fixed_interval=fixed_interval,
            metered=info.metered,
            hurried=lambda: scheduler.cadence.hurried,
            on_received=scheduler.note_received,
            on_drained=lambda: self._output.request_partial(),
            on_endpoint=lambda: self._output.cancel_partial(),
            on_resumed=lambda sample: self._output.resume(sample),
        )
        recognizer = Recognizer(
            scheduler,
            self._input.segmenter,
            SettledContext(reach, snapshot.get("context", ())),
            LanguageTracker(snapshot.get("languages")),
            reproducible=fixed_interval is not None,
        )
        self._output = SessionOutput(
            claim,
            session_log,
            self._input,
            scheduler=scheduler,
            recognizer=recognizer,
            stages=StageChain(self.sid, stages, snapshot.get("stages")),
            known=known,
            hold_from=options.hard - options.lookback,
            fixed_interval=fixed_interval,
            divided_before=snapshot.get("divided", 0),
        )

    @property
    def position(self) -> str:
        """See `session_reader.ReadingWork`."""
        return self._input.position

    @property
    def wants_input(self) -> bool:
        """See `session_reader.ReadingWork`."""
        return self._input.wants_input

    @property
    def lag(self) -> int:
        """Samples read but not decoded yet; 0 outside segments."""
        open_work = self._input.unfinished or self._output.is_open
        return self._input.segmenter.received - self._output.decoded if open_work else 0

    @property
    def idle_s(self) -> float:
        """Seconds since the last entry of its stream."""
        return time.monotonic() - self._fed_at

    @property
    def speaking(self) -> bool:
        """Whether a segment is open."""
        return self._input.segmenter.open is not None

    def observe(self, renewal: SessionRenewal, now: float) -> None:
        """Process the amount of audio in Redis, as reported by a lease renewal; `now` in seconds."""
        self._input.observe(renewal, now)

    def feed(self, entries: Iterable[Entry]) -> None:
        """Queue entries of the session's stream, in order."""
        self._fed_at = time.monotonic()
        self._input.feed(entries)

    async def run(self) -> None:
        """Process the session until it is closed.

        Raises
        ------
        FencedError, UnavailableError

        """
        with tracing.session(self.sid):
            reading = asyncio.create_task(self._input.run())
            working = asyncio.create_task(self._output.run())
        try:
            await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
            (working if working.done() else reading).result()
        finally:
            await end(reading, working)
