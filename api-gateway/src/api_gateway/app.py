"""The composition root: builds the services, mounts the routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from api_gateway.admission import Admission
from api_gateway.dependencies import Services
from api_gateway.description import DESCRIPTION
from api_gateway.errors import on_invalid, on_parlando_error
from api_gateway.routes import health, live, sessions
from api_gateway.settings import GatewaySettings
from parlando import __version__
from parlando.errors import ParlandoError
from parlando.redislog.connection import connect
from parlando.redislog.history import Channels, History
from parlando.redislog.writer import Sessions
from parlando.tasks import end

log = structlog.get_logger(part="app")


def create_app(settings: GatewaySettings) -> FastAPI:
    """The gateway as an ASGI app."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect(settings.redis_url)
        channels_redis = connect(settings.redis_url, connections=16)
        history = History(redis, partitions=settings.partitions)
        channels = Channels(channels_redis)
        app.state.services = Services(
            settings=settings,
            sessions=Sessions(redis, partitions=settings.partitions, ttl_s=settings.session_ttl_s),
            history=history,
            channels=channels,
            admission=Admission(history),
        )
        delivering = asyncio.create_task(channels.run())
        try:
            yield
        finally:
            await end(delivering)
            await channels.aclose()
            await redis.aclose()
            await channels_redis.aclose()

    app = FastAPIOffline(  # /docs without a content delivery network
        title="Parlando",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        exception_handlers={
            ParlandoError: on_parlando_error,
            RequestValidationError: on_invalid,
        },
    )
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), allow_headers=["*"])
    for routes in (live, sessions, health):
        app.include_router(routes.router)
    return app
