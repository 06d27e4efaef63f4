"""Pipecat's OpenAI transcription service in a pipeline: each file of 16 kHz PCM is one utterance.

Arguments: the base URL, the files. Its defaults decide what is sent. It prints each transcript.
"""

import asyncio
import json
import sys
from pathlib import Path

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
FRAME = RATE // 50 * 2  # bytes of 20 ms


class Printer(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            print(json.dumps({"text": frame.text, "finalized": frame.finalized}), flush=True)
        await self.push_frame(frame, direction)


class ErrorPrinter(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            print(json.dumps({"error": frame.error}), flush=True)
        await self.push_frame(frame, direction)


async def main(base_url: str, utterances: list[bytes]) -> None:
    stt = OpenAISTTService(base_url=base_url, api_key="not-needed")
    pipeline = Pipeline([ErrorPrinter(), stt, Printer()])
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=RATE), idle_timeout_secs=None, enable_rtvi=False
    )
    for audio in utterances:
        frames = [InputAudioRawFrame(audio[at : at + FRAME], RATE, 1) for at in range(0, len(audio), FRAME)]
        await worker.queue_frames([VADUserStartedSpeakingFrame(), *frames, VADUserStoppedSpeakingFrame()])
    await worker.queue_frame(EndFrame())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


asyncio.run(main(sys.argv[1], [Path(name).read_bytes() for name in sys.argv[2:]]))
