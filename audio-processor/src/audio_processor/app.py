"""The HTTP API of the audio-processor; it also runs the worker."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from audio_processor.ffmpeg import MIN_VERSION, Ffmpeg
from audio_processor.files import Files
from audio_processor.process import FfmpegStartError
from audio_processor.settings import ProcessorSettings
from audio_processor.worker import ProcessorWorker
from parlando import __version__
from parlando.errors import InvalidAudioError, ParlandoError, TooBigError
from parlando.worker.service import log_failure

MISSING: Final = f"FFmpeg {MIN_VERSION} or newer is needed, on the PATH or by `pip install imageio-ffmpeg`"

log = structlog.get_logger(part="app")

_REFUSED: dict[int | str, dict[str, Any]] = {
    413: {"description": "The file is too big"},
    415: {"description": "The file can't be decoded; `detail` says why"},
    503: {"description": "FFmpeg can't be started; `detail` says what to do"},
}


def _problem(status: int, title: str, detail: str, code: str) -> JSONResponse:
    """An error as RFC 9457 describes it."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return JSONResponse(body, status, media_type="application/problem+json")


def create_app(settings: ProcessorSettings, ffmpeg: Ffmpeg | None) -> FastAPI:
    """The service as an ASGI app. Without FFmpeg it only answers requests, with an error or its health."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if ffmpeg is None:
            yield
            return
        app.state.worker = worker = ProcessorWorker(settings, ffmpeg)
        task = asyncio.create_task(worker.run())
        task.add_done_callback(partial(_end_process_on_failure, app))
        try:
            yield
        finally:
            worker.drain()
            await asyncio.wait([task])

    app = FastAPI(title="Parlando audio-processor", version=__version__, lifespan=lifespan)
    app.state.worker = None
    app.state.failed = False
    decoder = Files(ffmpeg, settings.convert_max_mb << 20) if ffmpeg else None

    @app.exception_handler(InvalidAudioError)
    @app.exception_handler(TooBigError)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ParlandoError)
        status = 413 if isinstance(error, TooBigError) else 415
        title = "The file is too big" if status == 413 else "The audio can't be taken"
        return _problem(status, title, error.message, error.code)

    @app.exception_handler(FfmpegStartError)
    async def not_started(request: Request, error: FfmpegStartError) -> JSONResponse:
        log.error("ffmpeg.not_started", why=str(error))
        return _problem(503, "FFmpeg can't be started", str(error), "unavailable")

    def report() -> dict[str, Any]:
        worker: ProcessorWorker | None = app.state.worker
        connected = worker is not None and worker.connected
        return {
            "status": "healthy" if connected else "degraded",
            "version": __version__,
            "services": {
                "redis": "connected" if connected else "unreachable",
                "ffmpeg": ffmpeg.version if ffmpeg else MISSING,
            },
            "sessions": worker.sessions if worker else 0,
            "jobs": worker.jobs if worker else 0,
        }

    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, Any]:
        """The state of the service. The status is always 200."""
        return report()

    @app.get("/ready", tags=["operation"], responses={503: {"description": "Redis or FFmpeg is missing"}})
    async def ready() -> JSONResponse:
        """200 when Redis is connected and FFmpeg was found, else 503."""
        found = report()
        return JSONResponse(found, 200 if found["status"] == "healthy" else 503)

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/v1/audio/probe", tags=["audio"], responses=_REFUSED)
    async def probe(request: Request) -> dict[str, Any]:
        """Codec, sample rate, channels and duration of the file in the request's body."""
        return await _needed(decoder).probe(request.stream())

    @app.post(
        "/v1/audio/convert",
        tags=["audio"],
        responses={**_REFUSED, 200: {"content": {"audio/wav": {}}}},
        response_class=StreamingResponse,
    )
    async def convert(request: Request) -> StreamingResponse:
        """The file in the request's body as a 16 kHz mono WAV, streamed while it is decoded."""
        pieces = _needed(decoder).convert(request.stream())
        return _Pieces(await anext(pieces), pieces)

    return app


class _Pieces(StreamingResponse):
    """A WAV sent while it is decoded. The generator is closed at the end, or when the client disconnects."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._rest = rest

        async def pieces() -> AsyncIterator[bytes]:
            yield first
            async for piece in rest:
                yield piece

        super().__init__(pieces(), media_type="audio/wav")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await super().__call__(scope, receive, send)


def _end_process_on_failure(app: FastAPI, task: "asyncio.Task[None]") -> None:
    """End the process if the worker has failed, so that the supervisor restarts it."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log_failure(error)
        app.state.failed = True
        os.kill(os.getpid(), signal.SIGINT)


def _needed(decoder: Files | None) -> Files:
    if decoder is None:
        raise InvalidAudioError(f"Nothing can be decoded: {MISSING}")
    return decoder
