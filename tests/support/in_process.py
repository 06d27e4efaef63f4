"""A live session without Redis: the real session, segmenter, scheduler and engine, with a recording log."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from parlando.domain.commands import End, SessionCommand, encode
from parlando.store.audio_streams import Control, Frame
from parlando.store.keys import SessionKeys
from parlando.store.session_log import Checkpoint, RecognitionClaim
from parlando.vad import VadModel
from transcriber.engines.base import Engine
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline.batching import BatchOptions
from transcriber.pipeline.segmenter import SegmenterOptions
from transcriber.pipeline.session import LiveSession
from transcriber.pipeline.stages.base import Stage
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.scheduler import Scheduler


class RecordingLog:
    """A stand-in for `SessionLog` that records what is published and stored."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.checkpoint: Checkpoint | None = None
        self.open_segment: dict[str, Any] | None = None
        self.seq = 0

    async def publish(self, event: bytes, *, state: dict[str, Any], decoded: int | None = None) -> None:
        self.open_segment = orjson.loads(orjson.dumps(state))
        if event:
            self.events.append(orjson.loads(event))

    async def commit(self, events, *, decoded, segments, checkpoint=None, close=False, counted=None) -> None:
        for event in events:
            self.seq += 1
            self.events.append(orjson.loads(event.model_copy(update={"seq": self.seq}).model_dump_json()))
        if checkpoint is not None:
            snapshot = orjson.loads(orjson.dumps(checkpoint.snapshot))
            self.checkpoint = Checkpoint(checkpoint.offset, snapshot, checkpoint.control)
            if events:
                self.open_segment = None

    @property
    def finals(self) -> list[str]:
        return [event["text"] for event in self.events if event["type"] == "final"]

    @property
    def text(self) -> str:
        return " ".join(text for text in self.finals if text)


def claim(session_log: RecordingLog | None = None, **config: Any) -> RecognitionClaim:
    """The claim of a new session, or of a worker that takes over from `session_log`."""
    return RecognitionClaim(
        keys=SessionKeys("s", 0),
        entry="1-0",
        epoch=1,
        config=config,
        checkpoint=session_log.checkpoint if session_log else None,
        open_segment=session_log.open_segment if session_log else None,
        seq=session_log.seq if session_log else 0,
        segments=sum(event["type"] == "final" for event in session_log.events) if session_log else 0,
        decoded=0,
        taken_over=session_log is not None,
    )


class Killed(Exception):
    """Raised by `FailingLog` to simulate the death of its worker."""


class FailingLog(RecordingLog):
    """Raises `Killed` instead of its n-th write."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def _write(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    async def publish(self, event: bytes, **more: Any) -> None:
        self._write()
        await super().publish(event, **more)

    async def commit(self, events, **more: Any) -> None:
        self._write()
        await super().commit(events, **more)


async def with_takeovers(
    pcm: np.ndarray, engine: Engine, vad: VadModel, *, every: int, frame_ms: int = 20, **config: Any
) -> RecordingLog:
    """The output of a session with audio `pcm` whose worker dies at every `every`-th write."""
    session_log = FailingLog(every)
    pen_claim = claim(**config)
    step = frame_ms * 16
    while True:
        scheduler = Scheduler(engine, Cadence(8000))
        serving = asyncio.create_task(scheduler.run())
        session = LiveSession(
            pen_claim,
            session_log,  # type: ignore[arg-type]
            vad=vad.stream(),
            scheduler=scheduler,
            options=SegmenterOptions(),
            batch=BatchOptions(120, 10_000_000),
            fixed_interval=8000,
        )
        running = asyncio.create_task(session.run())
        start = int(session.position.partition("-")[0])
        for at in range(start // step * step, len(pcm), step):
            frame = pcm[at : at + step]
            session.feed([Frame(at, frame.astype("<i2").tobytes(), f"{at + len(frame)}-0")])
            while not session.wants_input and not running.done():
                await asyncio.sleep(0)
        session.feed([Control(len(pcm), 1, encode(End()), f"{len(pcm)}-1")])
        await asyncio.wait([running])
        serving.cancel()
        scheduler.close()
        if not isinstance(running.exception(), Killed):
            running.result()
            return session_log
        session_log.left = every
        pen_claim = claim(session_log, **config)


async def recognise(
    pcm: np.ndarray,
    engine: Engine,
    vad: VadModel,
    *,
    frame_ms: int = 20,
    interval_ms: int = 500,
    options: SegmenterOptions | None = None,
    controls: dict[int, SessionCommand] | None = None,
    stages: Sequence[Stage] = (),
    known: KnownSpeakersCache | None = None,
    **config: Any,
) -> RecordingLog:
    """The output of a session with audio `pcm` and fixed cadence. `controls`: sample → command."""
    session_log = RecordingLog()
    scheduler = Scheduler(engine, Cadence(interval_ms * 16))
    serving = asyncio.create_task(scheduler.run())
    session = LiveSession(
        claim(**config),
        session_log,  # type: ignore[arg-type]
        vad=vad.stream(),
        scheduler=scheduler,
        options=options or SegmenterOptions(),
        batch=BatchOptions(120, 10_000_000),
        stages=stages,
        known=known,
        fixed_interval=interval_ms * 16,
    )
    running = asyncio.create_task(session.run())
    step = frame_ms * 16
    said = dict(controls or {})
    number = 0
    for at in range(0, len(pcm), step):
        frame = pcm[at : at + step]
        session.feed([Frame(at, frame.astype("<i2").tobytes(), f"{at + len(frame)}-0")])
        for place in [place for place in said if place <= at + len(frame)]:
            number += 1
            session.feed(
                [Control(at + len(frame), number, encode(said.pop(place)), f"{at + len(frame)}-{number}")]
            )
        while not session.wants_input and not running.done():
            await asyncio.sleep(0.001)
    end = Control(len(pcm), number + 1, encode(End()), f"{len(pcm)}-{number + 1}")
    session.feed([end])
    await running
    serving.cancel()
    scheduler.close()
    return session_log
