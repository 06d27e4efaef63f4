"""What can go wrong, each with a code; the borders map codes to HTTP statuses and close codes."""


class ParlandoError(Exception):
    """Base of all errors a caller may handle.

    `code` names the error on the wire; `retryable` says whether the same call may work later.
    """

    code = "internal"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequestError(ParlandoError):
    """Raised when a message or parameter isn't understood."""

    code = "invalid_request"


class InvalidAudioError(ParlandoError):
    """Raised when audio can't be taken as it is."""

    code = "invalid_audio"


class TooBigError(ParlandoError):
    """Raised when a body or file is larger than the limit."""

    code = "too_big"


class NotAllowedError(ParlandoError):
    """Raised when a key or token is missing, wrong, or not enough."""

    code = "not_allowed"


class SessionTakenError(ParlandoError):
    """Raised when a session id belongs to somebody else."""

    code = "session_taken"


class SessionNotFoundError(ParlandoError):
    """Raised when no session of that id is known (never opened, or expired)."""

    code = "session_not_found"


class ViewerNotFoundError(ParlandoError):
    """Raised when a session has no viewer of that id."""

    code = "viewer_not_found"


class SessionClosedError(ParlandoError):
    """Raised when audio is sent to a session that has ended."""

    code = "session_closed"


class SessionLostError(ParlandoError):
    """Raised when Redis no longer knows an open session: it restarted without its data."""

    code = "session_lost"
    retryable = True


class SupersededError(ParlandoError):
    """Raised when a newer connection has taken the session over."""

    code = "superseded"


class TooManyControlsError(ParlandoError):
    """Raised when too many flush or config messages of a session wait to be processed."""

    code = "too_many_controls"
    retryable = True


class AtCapacityError(ParlandoError):
    """Raised when no worker has room for one more session."""

    code = "at_capacity"
    retryable = True


class JobNotFoundError(ParlandoError):
    """Raised when no job of that id is known (never submitted, deleted, or expired)."""

    code = "job_not_found"


class JobNotReadyError(ParlandoError):
    """Raised when the result of a job is asked for that hasn't got one."""

    code = "job_not_ready"
    retryable = True


class JobEndedError(ParlandoError):
    """Raised when something is done to a job that has ended."""

    code = "job_ended"


class ConflictError(ParlandoError):
    """Raised when an idempotency key is used again for something else."""

    code = "conflict"


class DeliveryNotFoundError(ParlandoError):
    """Raised when no delivery of that id is known (done, dropped, or expired)."""

    code = "delivery_not_found"


class DeliveryFailedError(ParlandoError):
    """Raised when an attempt at a delivery has failed; `permanent` if no other attempt can succeed."""

    def __init__(self, code: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.permanent = permanent


class StorageError(ParlandoError):
    """Raised when the blob store can't be reached, or is full."""

    code = "storage_unavailable"
    retryable = True


class FencedError(ParlandoError):
    """Raised when a worker writes for a session that another worker owns by now."""

    code = "fenced"


class UnavailableError(ParlandoError):
    """Raised when Redis can't be reached in time."""

    code = "unavailable"
    retryable = True


class EngineError(ParlandoError):
    """Raised when an engine can't be loaded or fails on a window."""

    code = "engine_failed"


class ModelError(ParlandoError):
    """Raised when model weights can't be found, fetched or verified."""

    code = "model_unavailable"
