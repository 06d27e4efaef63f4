"""The composition root: builds the services, mounts the routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from api_gateway.admission import Admission
from api_gateway.audit import Auditor
from api_gateway.auth import Access
from api_gateway.cluster import Cluster
from api_gateway.cluster_gauges import observe
from api_gateway.deliveries.archive import Archive, store_of
from api_gateway.deliveries.archiver import Archiver
from api_gateway.deliveries.callbacks import JobCallbacks
from api_gateway.deliveries.queues import Queues
from api_gateway.deliveries.song_notices import OmiNotices, SongWebhook
from api_gateway.deliveries.webhooks import TranscriptWebhook
from api_gateway.dependencies import Services, Songs
from api_gateway.doors.table import WebSocketDoor, load
from api_gateway.fair_shares import WAITS_S, FairShares
from api_gateway.http import (
    analysis,
    assemblyai,
    audit,
    corrections,
    deepgram,
    deliveries,
    export,
    health,
    known_speakers,
    language_detection,
    omniasr,
    owners,
    resumable_uploads,
    sessions,
    songs,
    speakers,
    tokens,
    twilio,
    users,
    viewers,
    web,
    whisper_asr,
)
from api_gateway.http import cluster as cluster_routes
from api_gateway.http import jobs as job_routes
from api_gateway.http import keys as key_routes
from api_gateway.http import limits as limit_routes
from api_gateway.http import omi_webhook as omi
from api_gateway.http import openai_realtime as realtime
from api_gateway.http import openai_transcriptions as transcriptions
from api_gateway.http import usage as usage_routes
from api_gateway.http.audit_trail import AuditTrail
from api_gateway.http.description import DESCRIPTION
from api_gateway.http.rate_headers import RateHeaders
from api_gateway.http.revocation import EndsWithKey
from api_gateway.limits.service import LimitService
from api_gateway.live.tcp import open_tcp_doors
from api_gateway.live.websocket import add_routes
from api_gateway.owners.owners import Owners
from api_gateway.owners.parts import Parts
from api_gateway.presenters.problem import (
    on_disconnect,
    on_failure,
    on_http_error,
    on_invalid,
    on_parlando_error,
)
from api_gateway.server.connections import connections_of
from api_gateway.server.doubled_query import DoubledQuery
from api_gateway.server.request_ids import add_request_ids
from api_gateway.server.request_limits import RequestLimits
from api_gateway.settings import GatewaySettings
from api_gateway.usage_retention import keep_usage
from parlando import __version__
from parlando.blobs import Blobs
from parlando.errors import ParlandoError
from parlando.outbound import Outbound
from parlando.store.analysis_tasks import DIGESTS, AnalysisTasks
from parlando.store.annotations import Annotations
from parlando.store.api_keys import ApiKeys
from parlando.store.audit import AuditLog
from parlando.store.connection import connect
from parlando.store.history import History
from parlando.store.http_audio import HttpAudio
from parlando.store.job_store import Jobs
from parlando.store.key_ring import KeyRing
from parlando.store.key_usage import AudioUsed
from parlando.store.known_speakers import KnownSpeakers
from parlando.store.live_places import LivePlaces
from parlando.store.owner_data import OwnerData
from parlando.store.pubsub import Channels
from parlando.store.requests import Requests
from parlando.store.retentions import Retentions
from parlando.store.sessions import Sessions
from parlando.store.song_index import SongIndex
from parlando.store.song_keys import QUEUE as SONG_REQUESTS
from parlando.store.token_secret import TokenSecret
from parlando.store.uploads import Uploads
from parlando.store.usage import Usage
from parlando.store.viewers import Viewers
from parlando.tasks import end

DIGEST_TIMEOUT_S: Final = 120.0
METHODS: Final = ("GET", "HEAD", "PATCH", "POST", "PUT", "DELETE")
EXPOSED: Final = (
    "Location",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Tus-Resumable",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Offset",
    "X-Request-ID",
    "X-Task-ID",
)
"""Response headers that pages of `CORS_ORIGINS` can read, besides those that CORS always allows."""


def create_app(settings: GatewaySettings) -> FastAPI:
    """Build the gateway as an ASGI app. `app.state.connections` counts its connections."""
    doors = load(settings.doors)
    connections = connections_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect(settings.redis_url)
        channels_redis = connect(settings.redis_url, connections=16)
        history = History(redis, partitions=settings.partitions)
        channels = Channels(channels_redis)
        sessions = Sessions(
            redis,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            window_s=settings.resume_window_s,
        )
        outbound = Outbound(
            allow_private=settings.omi_webhook_allow_private, setting="OMI_WEBHOOK_ALLOW_PRIVATE"
        )
        jobs_outbound = Outbound(allow_private=settings.allow_private_urls, setting="ALLOW_PRIVATE_URLS")
        jobs = Jobs(
            redis,
            partitions=settings.partitions,
            ttl_s=settings.job_ttl_s,
            limit=settings.max_jobs_waiting,
        )
        blobs = Blobs.of(settings)
        uploads = Uploads(
            redis,
            ttl_s=settings.upload_ttl_s,
            limit=settings.max_uploads,
            key_limit=settings.max_uploads_per_key,
        )
        usage = Usage(redis, partitions=settings.partitions)
        archive = Archive(store_of(settings))
        admission = Admission(history)
        cluster = Cluster(
            redis,
            admission,
            sessions,
            jobs,
            history,
            active_s=settings.omi_idle_s,
            needs=settings.ready_needs,
        )
        archiver = Archiver(redis, history, archive, outbound, settings, worker=cluster.id)
        callbacks = JobCallbacks(redis, jobs, jobs_outbound, settings, worker=cluster.id)
        webhook = TranscriptWebhook(redis, history, outbound, settings, worker=cluster.id)
        annotations = Annotations(redis, partitions=settings.partitions)
        notices = OmiNotices(redis, annotations, outbound, settings, worker=cluster.id)
        song_webhook = SongWebhook(redis, annotations, outbound, settings, worker=cluster.id)
        ring = KeyRing(ApiKeys(redis), channels)
        limits = LimitService.of(
            redis,
            channels,
            ring,
            AudioUsed(redis, partitions=settings.partitions),
            default=settings.limits,
            max_upload_mb=settings.max_upload_mb,
            waiting=jobs.still_waiting,
        )
        workers = [each.deliveries for each in (archiver, callbacks, webhook, notices, song_webhook)]
        auditor = Auditor(AuditLog(redis, days=settings.audit_days, limit=settings.audit_entries))
        queues = Queues(workers)
        known = KnownSpeakers(redis, partitions=settings.partitions)
        parts = Parts(
            data=OwnerData(redis, partitions=settings.partitions),
            history=history,
            annotations=annotations,
            jobs=jobs,
            uploads=uploads,
            blobs=blobs,
            archive=archive,
            queues=queues,
            known_speakers=known,
            ring=ring,
            retentions=Retentions(redis),
            usage=usage,
            limits=limits.owners,
        )
        whose = Owners(parts, settings, worker=cluster.id)
        app.state.services = Services(
            settings=settings,
            access=Access(settings, TokenSecret(redis), ring),
            auditor=auditor,
            sessions=sessions,
            history=history,
            channels=channels,
            admission=admission,
            shares=FairShares(
                LivePlaces(
                    redis,
                    partitions=settings.partitions,
                    ttl_s=settings.session_ttl_s,
                    kept_s=settings.share_reclaim_s + WAITS_S + settings.place_wait_s,
                ),
                reclaim_s=settings.share_reclaim_s,
                wait_s=settings.place_wait_s,
            ),
            http_audio=HttpAudio(sessions, max_s=settings.omi_buffer_max_s, idle_s=settings.omi_idle_s),
            archive=archive,
            archiver=archiver,
            queues=queues,
            owners=whose,
            blobs=blobs,
            jobs=jobs,
            uploads=uploads,
            usage=usage,
            outbound=jobs_outbound,
            viewers=Viewers(redis, partitions=settings.partitions),
            annotations=annotations,
            known_speakers=known,
            songs=Songs(SongIndex(redis), Requests(redis, SONG_REQUESTS, timeout_s=settings.song_timeout_s)),
            tasks=AnalysisTasks(redis, partitions=settings.partitions),
            digests=Requests(redis, DIGESTS, timeout_s=DIGEST_TIMEOUT_S),
            cluster=cluster,
            limits=limits,
            doors=tuple(door.name for door in doors),
        )
        loops = [
            channels.run(),
            ring.run(),
            limits.owners.run(),
            auditor.run(),
            archiver.deliveries.run(),
            callbacks.deliveries.run(),
            cluster.run(),
            resumable_uploads.expire_loop(uploads, blobs),
            observe(cluster),
            keep_usage(usage, settings.usage_days),
            whose.expiry.run(),
        ]
        servers = await open_tcp_doors(doors, app.state.services, connections)
        if settings.omi_transcript_webhook:
            loops.append(webhook.deliveries.run())
        if settings.omi_app_id and settings.omi_app_key:
            loops.append(notices.deliveries.run())
        if settings.song_webhook:
            loops.append(song_webhook.deliveries.run())
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for server in servers:
                await server.aclose()
            await end(*tasks)
            await auditor.aclose()
            await outbound.aclose()
            await jobs_outbound.aclose()
            await channels.aclose()
            await redis.aclose()
            await channels_redis.aclose()

    app = FastAPIOffline(  # /docs without a content delivery network
        title="Parlando",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses={
            403: {"description": "The key or token lacks the scope, or is limited to other protocols"},
            429: {"description": "Too many connections from this address, or a limit of the key or owner"},
        },
        exception_handlers={
            ParlandoError: on_parlando_error,
            RequestValidationError: on_invalid,
            HTTPException: on_http_error,
            ClientDisconnect: on_disconnect,
            Exception: on_failure,
        },
    )
    app.state.connections = connections
    add_routes(app, [door for door in doors if isinstance(door, WebSocketDoor)])
    app.add_middleware(EndsWithKey)
    app.add_middleware(RateHeaders)
    app.add_middleware(AuditTrail)
    app.add_middleware(RequestLimits, silent_s=settings.body_timeout_s)
    app.add_middleware(DoubledQuery)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=METHODS,
            allow_headers=["*"],  # OpenAI's library sends its own; safe, because no route uses cookies
            expose_headers=EXPOSED,
        )
    add_request_ids(app)
    for routes in (
        sessions,
        export,
        viewers,
        corrections,
        speakers,
        known_speakers,
        job_routes,
        resumable_uploads,
        transcriptions,
        realtime,
        omniasr,
        language_detection,
        whisper_asr,
        assemblyai,
        deepgram,
        omi,
        twilio,
        songs,
        analysis,
        users,
        usage_routes,
        deliveries,
        key_routes,
        limit_routes,
        audit,
        owners,
        tokens,
        cluster_routes,
        health,
    ):
        app.include_router(routes.router)
    web.mount(app)
    return app
