"""The HTTP side of the audio-processor, and the owner of its worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from audio_processor.ffmpeg import find
from audio_processor.settings import ProcessorSettings
from audio_processor.worker import ProcessorWorker
from parlando import __version__
from parlando.redislog.connection import connect
from parlando.tasks import end


def create_app(settings: ProcessorSettings) -> FastAPI:
    """The service as an ASGI app."""
    redis = connect(settings.redis_url, connections=16)
    ffmpeg = find()
    worker = ProcessorWorker(redis, ffmpeg)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            await end(working)
            await redis.aclose()

    app = FastAPI(title="Parlando audio-processor", version=__version__, lifespan=lifespan)

    def report() -> dict[str, Any]:
        healthy = worker.connected and ffmpeg is not None
        return {
            "status": "healthy" if healthy else "degraded",
            "version": __version__,
            "services": {
                "redis": "connected" if worker.connected else "unreachable",
                "ffmpeg": ffmpeg or "not found: put ffmpeg on the PATH or install imageio-ffmpeg",
            },
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

    return app
