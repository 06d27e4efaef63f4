"""The table of what each route and live protocol asks of a key. Pure.

A route without an entry refuses every request.
"""

from dataclasses import dataclass
from typing import Final, Literal

from parlando.domain.access import Scope

Needs = Scope | Literal["any", "public"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a caller needs: a scope, `any` valid key or token, or nothing (`public`).

    `door`: the protocol that the route belongs to, if keys may be limited to some of them. `own`: the scope
    that is enough for what concerns the caller's own owner only, which the route checks.
    """

    needs: Needs
    door: str = ""
    own: Scope | None = None


NATIVE: Final = "native"
_PUBLIC: Final = Rule("public")
_READ: Final = Rule(Scope.READ)
_JOBS: Final = Rule(Scope.JOBS)
_SONGS: Final = Rule(Scope.SONGS)
_ADMIN: Final = Rule(Scope.ADMIN)
_ADMIN_OR_OWN: Final = Rule(Scope.ADMIN, own=Scope.READ)
_OMI: Final = Rule(Scope.OMI, "omi")
_UPLOAD: Final = Rule(Scope.JOBS, NATIVE)
_ASR: Final = Rule(Scope.JOBS, "whisper-asr")
_OPENAI: Final = Rule(Scope.JOBS, "openai")

ROUTES: Final[dict[str, Rule]] = {
    "GET /": _PUBLIC,
    "GET /watch/{sid}": _PUBLIC,
    "GET /sw.js": _PUBLIC,
    "GET /openapi.json": _PUBLIC,
    "GET /docs": _PUBLIC,
    "GET /docs/oauth2-redirect": _PUBLIC,
    "GET /redoc": _PUBLIC,
    "GET /health": _PUBLIC,
    "GET /ready": _PUBLIC,
    "GET /metrics": _READ,
    "GET /v1/stt/sessions/{sid}": _READ,
    "GET /v1/stt/sessions/{sid}/transcript": _READ,
    "GET /v1/stt/sessions/{sid}/events": _READ,
    "GET /v1/stt/sessions/{sid}/viewers": _READ,
    "POST /v1/stt/sessions/{sid}/viewers": _READ,  # who reads may let others read
    "DELETE /v1/stt/sessions/{sid}/viewers/{viewer_id}": _READ,
    "GET /v1/stt/sessions/{sid}/speakers": _READ,
    "PUT /v1/stt/sessions/{sid}/speakers/{label:path}": Rule(Scope.LIVE),
    "DELETE /v1/stt/sessions/{sid}/speakers/{label:path}": Rule(Scope.LIVE),
    "GET /v1/stt/sessions/{sid}/corrections": _READ,
    "PUT /v1/stt/sessions/{sid}/corrections/{segment}": Rule(Scope.LIVE),
    "DELETE /v1/stt/sessions/{sid}/corrections/{segment}": Rule(Scope.LIVE),
    "POST /v1/stt/sessions/{sid}/digest": _READ,
    "POST /v1/stt/export": _READ,
    "POST /v1/stt/jobs": _UPLOAD,
    "GET /v1/stt/jobs": _READ,
    "GET /v1/stt/jobs/{job_id}": _READ,
    "DELETE /v1/stt/jobs/{job_id}": _JOBS,
    "GET /v1/stt/jobs/{job_id}/events": _READ,
    "GET /v1/stt/jobs/{job_id}/result": _READ,
    "GET /v1/stt/jobs/{job_id}/speakers": _READ,
    "PUT /v1/stt/jobs/{job_id}/speakers/{label:path}": _JOBS,
    "DELETE /v1/stt/jobs/{job_id}/speakers/{label:path}": _JOBS,
    "GET /v1/speakers": _READ,
    "POST /v1/speakers": _UPLOAD,
    "DELETE /v1/speakers/{name:path}": _JOBS,
    "OPTIONS /v1/uploads": _PUBLIC,
    "POST /v1/uploads": _UPLOAD,
    "HEAD /v1/uploads/{upload_id}": _UPLOAD,
    "PATCH /v1/uploads/{upload_id}": _UPLOAD,
    "DELETE /v1/uploads/{upload_id}": _UPLOAD,
    "POST /v1/detect-language": _UPLOAD,
    "POST /audio/process-stream-realtime": _UPLOAD,
    "POST /audio/process-stream": _UPLOAD,
    "GET /audio/tasks/{job_id}": _READ,
    "GET /audio/tasks/{job_id}/events": _READ,
    "DELETE /audio/tasks/{job_id}": _JOBS,
    "POST /v1/audio/transcriptions": _OPENAI,
    "POST /v1/audio/translations": _OPENAI,
    "GET /v1/models": Rule("any"),
    "GET /v1/models/{model:path}": Rule("any"),
    "POST /v1/audio/transcriptions/stream": Rule(Scope.JOBS, "omniasr"),
    "POST /detect-language": _ASR,
    "POST /whisper-asr/{key}/detect-language": _ASR,
    "POST /asr": _ASR,
    "POST /whisper-asr/{key}/asr": _ASR,
    "POST /v1/listen": Rule(Scope.JOBS, "deepgram"),
    "GET /omi/{key}/setup": _OMI,
    "GET /omi/{key}/audio": _OMI,
    "GET /omi/{key}/streaming": _OMI,
    "GET /omi/setup": _OMI,
    "GET /audio": _OMI,
    "GET /streaming": _OMI,
    "POST /omi/{key}/streaming": _OMI,
    "POST /streaming": _OMI,
    "POST /omi/{key}/audio": _OMI,
    "POST /audio": _OMI,
    "POST /omi/{key}/inference": _OMI,
    "POST /inference": _OMI,
    "GET /transcripts/{uid}": _READ,
    "DELETE /transcripts/{uid}": _OMI,
    "GET /v1/usage": _READ,
    "GET /stats": _READ,
    "GET /stats/{uid}": _READ,
    "DELETE /buffer/{uid}": _OMI,
    "POST /twilio/{key}/voice": Rule(Scope.LIVE, "twilio"),
    "POST /songs": _SONGS,
    "POST /register": _SONGS,
    "GET /songs": _SONGS,
    "POST /songs/recognise": _SONGS,
    "GET /songs/{number}": _SONGS,
    "DELETE /songs/{number}": _SONGS,
    "GET /v1/deliveries": _READ,
    "GET /v1/deliveries/{delivery_id}": _READ,
    "POST /v1/deliveries/{delivery_id}/retry": _JOBS,
    "DELETE /v1/deliveries/{delivery_id}": _JOBS,
    "GET /v1/cluster": _READ,
    "GET /v1/cluster/events": _READ,
    "POST /v1/tokens": Rule("any"),
    "POST /v1/realtime/client_secrets": Rule(Scope.LIVE, "openai-realtime"),
    "POST /v1/realtime/transcription_sessions": Rule(Scope.LIVE, "openai-realtime"),
    "POST /v1/auth/grant": Rule("any", "deepgram"),
    "GET /v3/token": Rule(Scope.LIVE, "assemblyai"),
    "GET /v1/keys": _ADMIN,
    "POST /v1/keys": _ADMIN,
    "GET /v1/keys/{key_id}": _ADMIN,
    "POST /v1/keys/{key_id}/rotate": _ADMIN,
    "DELETE /v1/keys/{key_id}": _ADMIN,
    "PUT /v1/keys/{key_id}/limits": _ADMIN,
    "GET /v1/owners/limits": _ADMIN,
    "GET /v1/owners/{owner}/limits": _ADMIN,
    "PUT /v1/owners/{owner}/limits": _ADMIN,
    "DELETE /v1/owners/{owner}/limits": _ADMIN,
    "GET /v1/audit": _ADMIN_OR_OWN,
    "GET /v1/owners": _ADMIN,
    "GET /v1/owners/{owner}": _ADMIN_OR_OWN,
    "DELETE /v1/owners/{owner}": _ADMIN,
    "GET /v1/owners/{owner}/export": _ADMIN_OR_OWN,
    "GET /v1/owners/{owner}/retention": _ADMIN_OR_OWN,
    "PUT /v1/owners/{owner}/retention": Rule(Scope.ADMIN, own=Scope.JOBS),
}
"""`<method> <path>` of each HTTP route → its rule."""

DOORS: Final[dict[str, Rule]] = {"omi": _OMI}
"""Live protocols that need another scope than `live`, by name."""

UPLOADS: Final = tuple(sorted({rule.door for rule in ROUTES.values() if rule.door}))
"""Names of the protocols that have HTTP routes."""


_BODIES: Final = {f"POST {path}{name}" for path in ("/", "/omi/{key}/") for name in ("streaming", "audio")}
"""Routes whose bodies are pieces of a running session, as messages of a WebSocket are."""


def begins_work(route: str) -> bool:
    """Whether requests of a route (`<method> <path>`) count for the limit of requests a minute.

    Reading what exists, ending it, continuing an upload and administration are never limited.
    """
    needs = ROUTES[route].needs
    return (
        route.startswith("POST ")
        and needs not in ("public", Scope.READ, Scope.ADMIN)
        and route not in _BODIES
    )


def route_rule(method: str, path: str) -> Rule:
    """The rule of an HTTP route, whose `path` has its parameters' names. Raises KeyError without an entry."""
    return ROUTES[f"{method} {path}"]


def door_rule(door: str) -> Rule:
    """The rule of a live protocol."""
    return DOORS.get(door, Rule(Scope.LIVE, door))
