"""The table of HTTP statuses and WebSocket close codes by error code. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from parlando.errors import LimitReachedError, ParlandoError


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """The HTTP status, WebSocket close code and title of an error."""

    status: int
    close: int
    title: str


INTERNAL: Final = ErrorMapping(500, 1011, "Internal error")
ERROR_MAPPINGS: Final[dict[str, ErrorMapping]] = {
    "invalid_request": ErrorMapping(400, 1003, "The request is invalid"),
    "invalid_audio": ErrorMapping(415, 1003, "The audio is invalid"),
    "no_speech": ErrorMapping(422, 1008, "There is no speech in the audio"),
    "not_allowed": ErrorMapping(401, 1008, "Not allowed"),
    "forbidden": ErrorMapping(403, 1008, "The key lacks a permission"),
    "key_not_found": ErrorMapping(404, 1008, "No such key"),
    "owner_not_found": ErrorMapping(404, 1008, "No such owner"),
    "session_taken": ErrorMapping(409, 1008, "The session id is in use"),
    "session_not_found": ErrorMapping(404, 1008, "No such session"),
    "viewer_not_found": ErrorMapping(404, 1008, "No such viewer"),
    "session_closed": ErrorMapping(409, 1008, "The session has ended"),
    "session_lost": ErrorMapping(503, 1011, "The session was lost"),
    "superseded": ErrorMapping(409, 1008, "A newer connection took over"),
    "too_many_controls": ErrorMapping(429, 1008, "Too many control messages are waiting"),
    "rate_limited": ErrorMapping(429, 1013, "Too many requests"),
    "too_many_sessions": ErrorMapping(429, 1013, "Too many live sessions"),
    "too_many_jobs": ErrorMapping(429, 1013, "Too many jobs are waiting"),
    "quota_exceeded": ErrorMapping(429, 1008, "The quota of audio is used up"),
    "job_not_found": ErrorMapping(404, 1008, "No such job"),
    "job_not_ready": ErrorMapping(409, 1008, "The job has no result"),
    "upload_not_found": ErrorMapping(404, 1008, "No such upload"),
    "delivery_not_found": ErrorMapping(404, 1008, "No such delivery"),
    "song_not_found": ErrorMapping(404, 1008, "No such song"),
    "known_speaker_not_found": ErrorMapping(404, 1008, "No such speaker"),
    "no_analyzer": ErrorMapping(503, 1013, "No analyzer can process the request"),
    "no_recognizer": ErrorMapping(503, 1013, "No song-recognizer can process the request"),
    "conflict": ErrorMapping(409, 1008, "The request contradicts what is stored"),
    "refused_address": ErrorMapping(400, 1008, "The URL is not allowed"),
    "storage_unavailable": ErrorMapping(507, 1011, "The blob store can't store the file"),
    "at_capacity": ErrorMapping(503, 1013, "No capacity for another session"),
    "unavailable": ErrorMapping(503, 1011, "Redis can't be reached"),
    "idle": ErrorMapping(408, 4408, "The client sent nothing for too long"),
    "timeout": ErrorMapping(408, 1008, "The request timed out"),
    "too_big": ErrorMapping(413, 1009, "The message is too big"),
}


RETRY_AFTER_S: Final = 5  # before clients should retry when there is no capacity, or no Redis


_WITH_RETRY: Final = ("at_capacity", "unavailable")


def retry_after_s(error: ParlandoError) -> int:
    """Seconds after which a client should try again."""
    return error.retry_after_s if isinstance(error, LimitReachedError) else RETRY_AFTER_S


def limited(error: ParlandoError) -> dict[str, str]:
    """Which limit is reached, and whose it is; empty for other errors."""
    return {"limit": error.limit, "of": error.of} if isinstance(error, LimitReachedError) else {}


def mapping_of(error: ParlandoError) -> ErrorMapping:
    """The mapping of an error; `INTERNAL` for unknown codes."""
    return ERROR_MAPPINGS.get(error.code, INTERNAL)


def event_of(error: ParlandoError) -> dict[str, Any]:
    """The `error` message of the native protocol."""
    retry = {"retry_after": retry_after_s(error)} if error.code in _WITH_RETRY or limited(error) else {}
    return {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        **limited(error),
        **retry,
    }
