"""Times in queries."""

from datetime import datetime

from parlando.errors import InvalidRequestError


def moment_of(text: str) -> int:
    """The unix milliseconds of an ISO 8601 time or of unix seconds. Raises `InvalidRequestError`."""
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"Expected an ISO 8601 time or a unix time, but got {text[:40]!r}"
        ) from error
