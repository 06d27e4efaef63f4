"""The table of HTTP statuses and WebSocket close codes by error code. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from parlando.errors import ParlandoError


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
    "key_not_found": ErrorMapping(404, 1008, "No such key"),
    "session_taken": ErrorMapping(409, 1008, "The session id is in use"),
    "session_not_found": ErrorMapping(404, 1008, "No such session"),
    "viewer_not_found": ErrorMapping(404, 1008, "No such viewer"),
    "session_closed": ErrorMapping(409, 1008, "The session has ended"),
    "session_lost": ErrorMapping(503, 1011, "The session was lost"),
    "superseded": ErrorMapping(409, 1008, "A newer connection took over"),
    "too_many_controls": ErrorMapping(429, 1008, "Too many control messages are waiting"),
    "job_not_found": ErrorMapping(404, 1008, "No such job"),
    "job_not_ready": ErrorMapping(409, 1008, "The job has no result"),
    "delivery_not_found": ErrorMapping(404, 1008, "No such delivery"),
    "song_not_found": ErrorMapping(404, 1008, "No such song"),
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


def mapping_of(error: ParlandoError) -> ErrorMapping:
    """The mapping of an error; `INTERNAL` for unknown codes."""
    return ERROR_MAPPINGS.get(error.code, INTERNAL)


def event_of(error: ParlandoError) -> dict[str, Any]:
    """The `error` message of the native protocol."""
    retry = {"retry_after": RETRY_AFTER_S} if error.code in ("at_capacity", "unavailable") else {}
    return {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        **retry,
    }
