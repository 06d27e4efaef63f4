"""`/health`, `/ready` and `/metrics`: for operators, load balancers and Prometheus."""

from typing import Any

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api_gateway.auth import check_local, handshake_of, is_in
from api_gateway.dependencies import Services, ServicesDep, authenticated
from api_gateway.permissions import Rule
from parlando import __version__
from parlando.domain.access import Scope
from parlando.errors import ForbiddenError, NotAllowedError, UnavailableError


async def _local(request: Request, services: ServicesDep) -> None:
    """Protects these routes against DNS rebinding too if no keys are configured."""
    check_local(handshake_of(request), services.settings)


_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key, or no API_KEYS are configured and the client isn't on this machine"}
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
    needed = services.cluster.needed(overview)
    missing = [kind for kind, count in needed.items() if not count]
    return {
        "status": "degraded" if missing else "healthy",
        "version": __version__,
        "services": {"redis": "connected", "whisper": "loaded" if workers else "no transcriber is running"},
        "needed": needed,
        "missing": missing,
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


def _monitors(request: Request, services: Services) -> bool:
    """Whether the client's address may read everything without a key."""
    settings = services.settings
    return not settings.api_keys or is_in(handshake_of(request).peer, settings.monitor_networks)


async def _reads(request: Request, services: Services) -> bool:
    if _monitors(request, services):
        return True
    try:
        await services.access.authenticate(handshake_of(request), Rule(Scope.READ))
    except (NotAllowedError, ForbiddenError, UnavailableError):
        return False
    return True


@router.get("/health")
async def health(request: Request, services: ServicesDep) -> dict[str, Any]:
    """The state of the cluster: Redis, engines and why they were chosen, workers, lag. Always 200.

    Without the scope `read`, clients outside `MONITOR_NETWORKS` get `status` only.
    """
    report = await _report(services)
    return report if await _reads(request, services) else {"status": report["status"]}


@router.get("/ready", responses={503: {"description": "Not ready for sessions"}})
async def ready(request: Request, services: ServicesDep) -> JSONResponse:
    """200 if Redis answers and one worker of each kind that `READY_NEEDS` names is alive, else 503.

    Details as in `/health`.
    """
    report = await _report(services)
    ok = report["status"] == "healthy"
    shown: dict[str, Any] = {}
    if await _reads(request, services):
        shown = {name: report[name] for name in ("services", "needed", "missing") if name in report}
    return JSONResponse({"ready": ok, **shown}, 200 if ok else 503)


@router.get("/metrics")
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Prometheus text format. Needs the scope `read`, or an address of `MONITOR_NETWORKS`."""
    if not _monitors(request, services):
        await authenticated(request)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
