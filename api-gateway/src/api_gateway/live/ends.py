"""How a live connection ends: the exceptions of its tasks, and which of several explains the end."""

from collections.abc import Iterator

from api_gateway.live.transport import ClientDisconnected
from parlando.errors import ParlandoError


class IdleError(ParlandoError):
    """Raised when a client has sent nothing for its idle time-out."""

    code = "idle"
    retryable = True


class SessionFinished(Exception):
    """Raised in a connection's tasks when the session has closed. `code`, `reason`: of the close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def primary_error(group: ExceptionGroup[Exception]) -> Exception:
    """The exception that explains best why a connection ended: an unexpected one, else by rank of `kinds`."""
    kinds = (SessionFinished, ClientDisconnected, ParlandoError)
    if group.split(kinds)[1] is not None:
        return group
    return min(_leaves(group), key=lambda error: [isinstance(error, kind) for kind in kinds].index(True))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
