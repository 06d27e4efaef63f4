"""Errors, each with a code. The gateway maps the codes to HTTP statuses and WebSocket close codes."""


class ParlandoError(Exception):
    """Base class of all errors that a caller may handle.

    `code`: the error's name on the wire. `retryable`: whether the same call may succeed later.
    """

    code = "internal"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequestError(ParlandoError):
    """Raised when a message or parameter is invalid."""

    code = "invalid_request"


class InvalidAudioError(ParlandoError):
    """Raised when audio is invalid or can't be decoded."""

    code = "invalid_audio"


class NoSpeechError(ParlandoError):
    """Raised when a result needs speech, and there is none in the audio."""

    code = "no_speech"


class TooBigError(ParlandoError):
    """Raised when a body or file is larger than the limit."""

    code = "too_big"


class NotAllowedError(ParlandoError):
    """Raised when a key or token is missing, wrong, or lacks the permission."""

    code = "not_allowed"


class ForbiddenError(ParlandoError):
    """Raised when a valid key or token lacks the scope or the door that a call needs."""

    code = "forbidden"


class KeyEndedError(NotAllowedError):
    """Raised in what a key has opened when it is revoked, expires, or gets another secret."""


class ApiKeyNotFoundError(ParlandoError):
    """Raised when no API key with this id is stored."""

    code = "key_not_found"


class OwnerNotFoundError(ParlandoError):
    """The owner is not the caller's own."""

    code = "owner_not_found"


class SessionTakenError(ParlandoError):
    """Raised when a session id is in use by another client."""

    code = "session_taken"


class SessionNotFoundError(ParlandoError):
    """Raised when the session does not exist (never opened, or expired)."""

    code = "session_not_found"


class ViewerNotFoundError(ParlandoError):
    """Raised when the session has no viewer with this id."""

    code = "viewer_not_found"


class SessionClosedError(ParlandoError):
    """Raised when audio is sent to a session that has ended."""

    code = "session_closed"


class SessionLostError(ParlandoError):
    """Raised when Redis has lost an open session, after a restart without its data."""

    code = "session_lost"
    retryable = True


class SupersededError(ParlandoError):
    """Raised when a newer connection has taken over the session."""

    code = "superseded"


class TooManyControlsError(ParlandoError):
    """Raised when too many flush or config messages of a session are unprocessed."""

    code = "too_many_controls"
    retryable = True


class AtCapacityError(ParlandoError):
    """Raised when no worker has capacity for another session, or a queue is full."""

    code = "at_capacity"
    retryable = True


class LimitReachedError(ParlandoError):
    """Base class of the errors of limits. `retry_after_s`: seconds after which the call may succeed.

    `limit`: name of the limit, a field of `Limits`; `of`: `key` or `owner`.
    """

    def __init__(self, message: str, *, limit: str, of: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.of = of
        self.retry_after_s = retry_after_s


class RateLimitedError(LimitReachedError):
    """Raised when a key or owner has made too many requests in the last minute."""

    code = "rate_limited"
    retryable = True


class TooManySessionsError(LimitReachedError):
    """Raised when a key or owner has as many live sessions open as it may have."""

    code = "too_many_sessions"
    retryable = True


class TooManyJobsError(LimitReachedError):
    """Raised when as many jobs of a key or owner wait as may wait."""

    code = "too_many_jobs"
    retryable = True


class QuotaExceededError(LimitReachedError):
    """Raised when the audio of a day or a month is used up. A live session ends, with all of its text."""

    code = "quota_exceeded"


class JobNotFoundError(ParlandoError):
    """Raised when the job does not exist (never submitted, deleted, or expired)."""

    code = "job_not_found"


class JobNotReadyError(ParlandoError):
    """Raised when the result of a job is requested before the job is completed."""

    code = "job_not_ready"
    retryable = True


class JobEndedError(ParlandoError):
    """Raised when an operation requires a running job and the job has ended."""

    code = "job_ended"


class UploadNotFoundError(ParlandoError):
    """Raised when the resumable upload does not exist (never begun, deleted, or expired)."""

    code = "upload_not_found"


class ConflictError(ParlandoError):
    """Raised when a request contradicts what is stored, such as a key used twice, or a limit reached."""

    code = "conflict"


class DeliveryNotFoundError(ParlandoError):
    """Raised when the delivery does not exist (done, dropped, or expired)."""

    code = "delivery_not_found"


class DeliveryFailedError(ParlandoError):
    """Raised when an attempt at a delivery has failed. `permanent`: further attempts would fail too."""

    def __init__(self, code: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.permanent = permanent


class SongNotFoundError(ParlandoError):
    """Raised when no song with this number is registered."""

    code = "song_not_found"


class KnownSpeakerNotFoundError(ParlandoError):
    """Raised when the key has no known speaker with this name."""

    code = "known_speaker_not_found"


class NoRecognizerError(ParlandoError):
    """Raised when a request needs a song recognizer, and none is running or replies."""

    code = "no_recognizer"
    retryable = True


class NoAnalyzerError(ParlandoError):
    """Raised when a request needs an analyzer, and none is running or replies."""

    code = "no_analyzer"
    retryable = True


class StorageError(ParlandoError):
    """Raised when the blob store is unreachable or full."""

    code = "storage_unavailable"
    retryable = True


class FencedError(ParlandoError):
    """Raised when a worker writes to work that another worker now owns."""

    code = "fenced"


class UnavailableError(ParlandoError):
    """Raised when Redis is unreachable within the time limit, or is full."""

    code = "unavailable"
    retryable = True


class EngineError(ParlandoError):
    """Raised when an engine can't be loaded, or fails to decode a window."""

    code = "engine_failed"


class ModelError(ParlandoError):
    """Raised when model weights can't be found, fetched or verified."""

    code = "model_unavailable"


class NotInstalledError(ParlandoError):
    """Raised when a command needs a package that isn't installed."""

    code = "not_installed"
