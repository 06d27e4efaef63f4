"""Pipecat's OpenAIRealtimeSTTService in a pipeline.

pipecat_openai_realtime.py <WebSocket base url> <key> <raw 16 kHz PCM> <local or server> <words>. `local`: the
pipeline says where speech ends, and the service commits; `server`: turn detection by the server. Prints the
pipeline's frames, until `words` words are final.
"""

import asyncio
import json
import sys
from pathlib import Path

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
FRAME = RATE // 50 * 2  # bytes of 20 ms


class Printer(FrameProcessor):
    """Prints what is heard; `enough` is set when there are enough words."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.left = words
        self.enough = asyncio.Event()

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TranscriptionFrame():
                print(json.dumps({"type": "final", "text": frame.text}), flush=True)
                self.left -= len(frame.text.split())
                if self.left <= 0:
                    self.enough.set()
            case InterimTranscriptionFrame():
                print(json.dumps({"type": "interim", "text": frame.text}), flush=True)
        if type(frame).__name__.startswith("Proposed"):
            print(json.dumps({"type": type(frame).__name__}), flush=True)
        await self.push_frame(frame, direction)


class ErrorPrinter(FrameProcessor):
    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            print(json.dumps({"type": "error", "error": frame.error}), flush=True)
        await self.push_frame(frame, direction)


async def main(base: str, key: str, pcm: bytes, turns: str, words: int) -> None:
    detection = {"type": "server_vad"} if turns == "server" else False
    service = OpenAIRealtimeSTTService(api_key=key, base_url=f"{base}/realtime", turn_detection=detection)
    printer = Printer(words)
    worker = PipelineWorker(
        Pipeline([ErrorPrinter(), service, printer]),
        params=PipelineParams(audio_in_sample_rate=RATE),
        cancel_on_idle_timeout=False,
    )
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker, frame) -> None:
        started.set()

    async def talk() -> None:
        await started.wait()
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        for at in range(0, len(pcm), FRAME):
            await worker.queue_frame(InputAudioRawFrame(pcm[at : at + FRAME], RATE, 1))
            await asyncio.sleep(0.006)
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await asyncio.wait_for(printer.enough.wait(), 300)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())


logger.remove()
asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes(), sys.argv[4], int(sys.argv[5])))
