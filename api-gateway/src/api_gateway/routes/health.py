"""`/health`, `/ready` and `/metrics`: for people, load balancers and Prometheus."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from api_gateway.dependencies import Services, ServicesDep
from parlando import __version__
from parlando.errors import UnavailableError

router = APIRouter(tags=["operation"])


async def _report(found: Services) -> dict[str, Any]:
    try:
        workers = await found.admission.transcribers()
        processors = await found.admission.processors()
        waiting = await found.sessions.waiting()
        active = await found.history.active_users(found.settings.omi_idle_s)
        archive = await found.archivist.report()
        jobs = await found.jobs.waiting()
    except UnavailableError as error:
        return {
            "status": "unhealthy",
            "version": __version__,
            "services": {"redis": f"unreachable: {error.message}", "whisper": "unknown"},
        }
    owned = sum(worker["sessions"] for worker in workers)
    engines = {(w["engine"], w["model"], w["why"]): w for w in workers}
    return {
        "status": "healthy" if workers else "degraded",
        "version": __version__,
        "services": {"redis": "connected", "whisper": "loaded" if workers else "no transcriber is running"},
        "engines": [{"engine": e, "model": m, "why": why} for e, m, why in engines],
        "vad": sorted({f"{worker['vad']} ({worker['vad_why']})" for worker in workers}),
        "workers": {
            "alive": len(workers),
            "sessions": owned,
            "capacity": sum(worker["capacity"] for worker in workers),
            "queue_delay_ms": max((worker["queue_delay_ms"] for worker in workers), default=0),
        },
        "audio_processors": {
            "alive": len(processors),
            "sessions": sum(worker["sessions"] for worker in processors),
        },
        "jobs": {
            "waiting": jobs,
            "being_cut": sum(worker["jobs"] for worker in processors),
            "chunks_being_heard": sum(worker["chunks"] for worker in workers),
        },
        "sessions": {"open": waiting, "unclaimed": max(0, waiting - owned)},
        "lag_ms": max((worker["lag_ms"] for worker in workers), default=0),
        "active_users": active,
        "archive": archive,
        "keys": "required" if found.settings.api_keys else "none configured: loopback only",
    }


@router.get("/health")
async def health(found: ServicesDep) -> dict[str, Any]:
    """How the cluster is: Redis, engine and why it was chosen, workers, lag. Always 200."""
    return await _report(found)


@router.get("/ready", responses={503: {"description": "Not ready to take sessions"}})
async def ready(found: ServicesDep) -> JSONResponse:
    """200 when Redis answers and at least one transcriber lives, else 503."""
    report = await _report(found)
    ok = report["status"] == "healthy"
    return JSONResponse({"ready": ok, "services": report["services"]}, 200 if ok else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
