"""Pipecat's Deepgram services in a pipeline, whose frames are printed.

python deepgram_pipecat.py <http://host:port> <raw pcm> <service> <words> [<bytes>]. `service`: `stt`, `flux`.
`words`: how many words to wait for before the pipeline is stopped. `bytes`: after so many it prints `paused`
and waits for a line on its standard input.
"""

import asyncio
import json
import sys
from pathlib import Path

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
FRAME = 640  # bytes: 20 ms


class Printer(FrameProcessor):
    """Prints transcriptions; `heard` is set when there are enough words."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.left = words
        self.heard = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
            kind = "final" if isinstance(frame, TranscriptionFrame) else "interim"
            shown = {"type": kind, "text": frame.text, "language": frame.language}
            print(json.dumps({**shown, "finalized": getattr(frame, "finalized", False)}))
            if kind == "final":
                self.left -= len(frame.text.split())
                if self.left <= 0:
                    self.heard.set()
        elif isinstance(frame, ErrorFrame):
            print(json.dumps({"type": "error", "error": str(frame)}))
        elif "UserSt" in type(frame).__name__:
            print(json.dumps({"type": type(frame).__name__}))
        await self.push_frame(frame, direction)


def service_for(base: str, name: str) -> FrameProcessor:
    live = base.replace("http", "ws", 1)
    if name == "flux":
        return DeepgramFluxSTTService(api_key="key", url=f"{live}/v2/listen", sample_rate=RATE)
    return DeepgramSTTService(api_key="key", base_url=live, sample_rate=RATE)


async def main(base: str, pcm: bytes, name: str, words: int, pause_at: int = -1) -> None:
    printer = Printer(words)
    worker = PipelineWorker(
        Pipeline([service_for(base, name), printer]),
        params=PipelineParams(audio_in_sample_rate=RATE),
        cancel_on_idle_timeout=False,
    )
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    async def talk() -> None:
        await started.wait()
        for at in range(0, len(pcm), FRAME):
            if at == pause_at:
                print(json.dumps({"type": "paused"}))
                await asyncio.to_thread(sys.stdin.readline)
            audio = InputAudioRawFrame(audio=pcm[at : at + FRAME], sample_rate=RATE, num_channels=1)
            await worker.queue_frame(audio)
            await asyncio.sleep(0.006)
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await asyncio.wait_for(printer.heard.wait(), 300)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner()
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())


logger.remove()
numbers = [int(argument) for argument in sys.argv[4:]]
asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), sys.argv[3], *numbers))
