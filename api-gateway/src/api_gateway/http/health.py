"""`/health`, `/ready` and `/metrics`: for operators, load balancers and Prometheus."""

from typing import Any

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.auth import check_local, handshake_of
from api_gateway.dependencies import Services, ServicesDep
from parlando import __version__
from parlando.errors import UnavailableError


async def _local(request: Request, services: ServicesDep) -> None:
    """Protects these routes against DNS rebinding too if no keys are configured."""
    check_local(handshake_of(request), services.settings)


_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "No API_KEYS are configured, and the client isn't on this machine"}
}
router = APIRouter(tags=["operation"], dependencies=[Depends(_local)], responses=_REFUSED)


async def _report(services: Services) -> dict[str, Any]:
    try:
        overview = await services.cluster.overview()
        archive = await services.archiver.report()
    except UnavailableError:
        return {
            "status": "unhealthy",
            "version": __version__,
            "services": {"redis": "unreachable", "whisper": "unknown"},
        }
    workers, processors = overview["transcribers"], overview["audio_processors"]
    engines = {(w["engine"], w["model"], w["why"]): w for w in workers}
    return {
        "status": "healthy" if workers else "degraded",
        "version": __version__,
        "services": {"redis": "connected", "whisper": "loaded" if workers else "no transcriber is running"},
        "engines": [{"engine": e, "model": m, "why": why} for e, m, why in engines],
        "pools": overview["pools"],
        "vad": sorted({f"{worker['vad']} ({worker['vad_why']})" for worker in workers}),
        "workers": {
            "alive": len(workers),
            "sessions": sum(worker["sessions"] for worker in workers),
            "capacity": overview["sessions"]["capacity"],
            "queue_delay_ms": overview["queue_delay_ms"],
        },
        "audio_processors": {
            "alive": len(processors),
            "sessions": sum(worker["sessions"] for worker in processors),
        },
        "song_recognizers": {
            "alive": len(overview["song_recognizers"]),
            "sessions": sum(worker["sessions"] for worker in overview["song_recognizers"]),
        },
        "analyzers": {
            "alive": len(overview["analyzers"]),
            "analyses": sum(worker["analyses"] for worker in overview["analyzers"]),
        },
        "jobs": overview["jobs"],
        "sessions": {name: overview["sessions"][name] for name in ("open", "unclaimed", "unassigned")},
        "lag_ms": overview["lag_ms"],
        "active_users": overview["active_users"],
        "archive": archive,
        "keys": "required" if services.settings.api_keys else "none configured: loopback only",
    }


@router.get("/health")
async def health(services: ServicesDep) -> dict[str, Any]:
    """The state of the cluster: Redis, engines and why they were chosen, workers, lag. Always 200."""
    return await _report(services)


@router.get("/ready", responses={503: {"description": "Not ready for sessions"}})
async def ready(services: ServicesDep) -> JSONResponse:
    """200 if Redis answers and at least one transcriber is alive, else 503."""
    report = await _report(services)
    ok = report["status"] == "healthy"
    return JSONResponse({"ready": ok, "services": report["services"]}, 200 if ok else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
