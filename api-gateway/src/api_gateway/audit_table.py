"""The table of what the audit log notes: for each HTTP route an action, or that it isn't noted. Pure.

A test fails for a route without an entry. Live protocols aren't noted: the owner's own audio goes in, and its
own text comes out. Nor are requests without a valid key: anybody could fill the log with them.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Action:
    """What a route does. `about`: kind and name of its object, with parameters of the path.

    If the name is known only afterwards, the route says it (`Note.about`).
    """

    name: str
    about: str = ""


_READ_SESSION: Final = Action("transcript.read", "session:{sid}")
_READ_JOB: Final = Action("transcript.read", "job:{job_id}")
_DELETE_JOB: Final = Action("job.delete", "job:{job_id}")
_TOKEN: Final = Action("token.create")
_ADD_SONG: Final = Action("song.add")
_RENAME_SESSION: Final = Action("transcript.rename_speaker", "session:{sid}")
_CORRECT: Final = Action("transcript.correct", "session:{sid}")
_RENAME_JOB: Final = Action("transcript.rename_speaker", "job:{job_id}")

_NOTED: Final[dict[str, Action]] = {
    "GET /v1/stt/sessions/{sid}/transcript": _READ_SESSION,
    "GET /v1/stt/sessions/{sid}/events": _READ_SESSION,
    "POST /v1/stt/sessions/{sid}/digest": _READ_SESSION,
    "POST /v1/stt/sessions/{sid}/viewers": Action("session.share", "session:{sid}"),
    "DELETE /v1/stt/sessions/{sid}/viewers/{viewer_id}": Action(
        "session.unshare", "session:{sid} viewer:{viewer_id}"
    ),
    "PUT /v1/stt/sessions/{sid}/speakers/{label:path}": _RENAME_SESSION,
    "DELETE /v1/stt/sessions/{sid}/speakers/{label:path}": _RENAME_SESSION,
    "GET /v1/stt/sessions/{sid}/corrections": _READ_SESSION,
    "PUT /v1/stt/sessions/{sid}/corrections/{segment}": _CORRECT,
    "DELETE /v1/stt/sessions/{sid}/corrections/{segment}": _CORRECT,
    "GET /v1/stt/jobs/{job_id}": _READ_JOB,  # once it has a result
    "GET /v1/stt/jobs/{job_id}/events": _READ_JOB,
    "GET /v1/stt/jobs/{job_id}/result": _READ_JOB,
    "DELETE /v1/stt/jobs/{job_id}": _DELETE_JOB,
    "PUT /v1/stt/jobs/{job_id}/speakers/{label:path}": _RENAME_JOB,
    "DELETE /v1/stt/jobs/{job_id}/speakers/{label:path}": _RENAME_JOB,
    "GET /audio/tasks/{job_id}": _READ_JOB,  # once it has a result
    "GET /audio/tasks/{job_id}/events": _READ_JOB,
    "DELETE /audio/tasks/{job_id}": _DELETE_JOB,
    "POST /v1/speakers": Action("speaker.add"),
    "DELETE /v1/speakers/{name:path}": Action("speaker.remove", "speaker:{name}"),
    "DELETE /v1/uploads/{upload_id}": Action("upload.delete", "upload:{upload_id}"),
    "GET /transcripts/{uid}": Action("transcript.read", "user:{uid}"),
    "DELETE /transcripts/{uid}": Action("transcript.delete", "user:{uid}"),
    "DELETE /buffer/{uid}": Action("audio.delete", "user:{uid}"),
    "POST /songs": _ADD_SONG,
    "POST /register": _ADD_SONG,
    "DELETE /songs/{number}": Action("song.remove", "song:{number}"),
    "POST /v1/deliveries/{delivery_id}/retry": Action("delivery.retry", "delivery:{delivery_id}"),
    "DELETE /v1/deliveries/{delivery_id}": Action("delivery.drop", "delivery:{delivery_id}"),
    "POST /v1/tokens": _TOKEN,
    "POST /v1/realtime/client_secrets": _TOKEN,
    "POST /v1/realtime/transcription_sessions": _TOKEN,
    "POST /v1/auth/grant": _TOKEN,
    "GET /v3/token": _TOKEN,
    "POST /v1/keys": Action("key.create"),
    "POST /v1/keys/{key_id}/rotate": Action("key.rotate", "key:{key_id}"),
    "DELETE /v1/keys/{key_id}": Action("key.revoke", "key:{key_id}"),
    "PUT /v1/keys/{key_id}/limits": Action("key.limit", "key:{key_id}"),
    "PUT /v1/owners/{owner}/limits": Action("owner.limit", "owner:{owner}"),
    "DELETE /v1/owners/{owner}/limits": Action("owner.limit", "owner:{owner}"),
    "DELETE /v1/owners/{owner}": Action("owner.delete", "owner:{owner}"),
    "GET /v1/owners/{owner}/export": Action("owner.export", "owner:{owner}"),
    "PUT /v1/owners/{owner}/retention": Action("owner.retention", "owner:{owner}"),
    "GET /v1/audit": Action("audit.read"),  # its first page
}

_NOT_NOTED: Final = (
    # Public, or about the cluster.
    "GET /",
    "GET /sw.js",
    "GET /watch/{sid}",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /v1/models",
    "GET /v1/models/{model:path}",
    "GET /v1/cluster",
    "GET /v1/cluster/events",
    # States, lists and names without text.
    "GET /v1/stt/sessions/{sid}",
    "GET /v1/stt/sessions/{sid}/viewers",
    "GET /v1/stt/sessions/{sid}/speakers",
    "GET /v1/stt/jobs",
    "GET /v1/stt/jobs/{job_id}/speakers",
    "GET /v1/speakers",
    "GET /stats",
    "GET /stats/{uid}",
    "GET /songs",
    "GET /songs/{number}",
    "GET /v1/deliveries",
    "GET /v1/deliveries/{delivery_id}",
    "GET /v1/keys",
    "GET /v1/keys/{key_id}",
    "GET /v1/owners",
    "GET /v1/owners/{owner}",
    "GET /v1/owners/{owner}/retention",
    "GET /v1/owners/limits",
    "GET /v1/owners/{owner}/limits",
    "GET /v1/usage",
    # The caller's own audio or text, and what the same request answers of it.
    "POST /v1/stt/export",
    "POST /v1/stt/jobs",
    "OPTIONS /v1/uploads",
    "POST /v1/uploads",
    "HEAD /v1/uploads/{upload_id}",
    "PATCH /v1/uploads/{upload_id}",
    "POST /v1/detect-language",
    "POST /audio/process-stream-realtime",
    "POST /audio/process-stream",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "POST /v1/audio/transcriptions/stream",
    "POST /detect-language",
    "POST /whisper-asr/{key}/detect-language",
    "POST /asr",
    "POST /whisper-asr/{key}/asr",
    "POST /v1/listen",
    "POST /omi/{key}/streaming",
    "POST /streaming",
    "POST /omi/{key}/audio",
    "POST /audio",
    "POST /omi/{key}/inference",
    "POST /inference",
    "POST /twilio/{key}/voice",
    "POST /songs/recognise",
    # Set-up checks of Omi.
    "GET /omi/{key}/setup",
    "GET /omi/{key}/audio",
    "GET /omi/{key}/streaming",
    "GET /omi/setup",
    "GET /audio",
    "GET /streaming",
)

AUDITED: Final[dict[str, Action | None]] = {**_NOTED, **dict.fromkeys(_NOT_NOTED)}
"""`<method> <path>` of each HTTP route → its action, or None if it isn't noted."""
ACTIONS: Final = tuple(sorted({action.name for action in _NOTED.values()}))
"""The names of all actions."""
