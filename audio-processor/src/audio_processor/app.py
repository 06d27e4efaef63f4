"""The HTTP side of the audio-processor, and the owner of its worker."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from audio_processor.ffmpeg import OLDEST, Ffmpeg
from audio_processor.files import Files
from audio_processor.settings import ProcessorSettings
from audio_processor.worker import ProcessorWorker
from parlando import __version__
from parlando.errors import InvalidAudioError, ParlandoError, TooBigError

MISSING: Final = f"FFmpeg {OLDEST} or newer is needed, on the PATH or by `pip install imageio-ffmpeg`"

log = structlog.get_logger(part="app")

_REFUSED: dict[int | str, dict[str, Any]] = {
    413: {"description": "The file is too big"},
    415: {"description": "The file can't be decoded; `detail` says why"},
}


def create_app(settings: ProcessorSettings, ffmpeg: Ffmpeg | None) -> FastAPI:
    """The service as an ASGI app. Without an FFmpeg it only says so."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if ffmpeg is None:
            yield
            return
        app.state.worker = worker = ProcessorWorker(settings, ffmpeg)
        working = asyncio.create_task(worker.run())
        working.add_done_callback(_end_with)
        try:
            yield
        finally:
            worker.drain()
            await asyncio.wait([working])

    app = FastAPI(title="Parlando audio-processor", version=__version__, lifespan=lifespan)
    app.state.worker = None
    decoder = Files(ffmpeg, settings.convert_max_mb << 20) if ffmpeg else None

    @app.exception_handler(InvalidAudioError)
    @app.exception_handler(TooBigError)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ParlandoError)
        status = 413 if isinstance(error, TooBigError) else 415
        title = "The file is too big" if status == 413 else "The audio can't be taken"
        body = {"type": "about:blank", "title": title, "status": status}
        return JSONResponse(
            {**body, "detail": error.message, "code": error.code},
            status,
            media_type="application/problem+json",
        )

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
        """How the service is. Always 200."""
        return report()

    @app.get("/ready", tags=["operation"], responses={503: {"description": "Redis or FFmpeg is missing"}})
    async def ready() -> JSONResponse:
        """200 when Redis answers and FFmpeg is there, else 503."""
        found = report()
        return JSONResponse(found, 200 if found["status"] == "healthy" else 503)

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/v1/audio/probe", tags=["audio"], responses=_REFUSED)
    async def probe(request: Request) -> dict[str, Any]:
        """Codec, sample rate, channels and duration of the file that is the request's body."""
        return await _needed(decoder).probe(request.stream())

    @app.post(
        "/v1/audio/convert",
        tags=["audio"],
        responses={**_REFUSED, 200: {"content": {"audio/wav": {}}}},
        response_class=StreamingResponse,
    )
    async def convert(request: Request) -> StreamingResponse:
        """The file that is the request's body as a 16 kHz mono WAV, as it's decoded."""
        pieces = _needed(decoder).convert(request.stream())
        return _Pieces(await anext(pieces), pieces)

    return app


class _Pieces(StreamingResponse):
    """A WAV that is sent as it's decoded. The generator is closed when the client has it all, or has left."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._rest = rest

        async def every() -> AsyncIterator[bytes]:
            yield first
            async for piece in rest:
                yield piece

        super().__init__(every(), media_type="audio/wav")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await super().__call__(scope, receive, send)


def _end_with(working: "asyncio.Task[None]") -> None:
    """A process whose worker has failed must not look alive: it ends, for its supervisor to start it anew."""
    if not working.cancelled() and working.exception() is not None:
        log.critical("worker.failed", exc_info=working.exception())
        os.kill(os.getpid(), signal.SIGINT)


def _needed(decoder: Files | None) -> Files:
    if decoder is None:
        raise InvalidAudioError(f"Nothing can be decoded: {MISSING}")
    return decoder
