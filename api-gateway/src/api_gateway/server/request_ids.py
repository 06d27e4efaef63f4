"""Request ids: every HTTP response carries `x-request-id`, and so does every log line of its request.

The id is the one of the request's own header, or a new one.
"""

import logging
import re
import secrets
from collections.abc import MutableMapping
from typing import Any, Final

from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI

_VALID: Final = re.compile(r"[\x21-\x7e]{1,128}")

logging.getLogger("asgi_correlation_id").setLevel(logging.ERROR)  # else each invalid header is a log line


def add_request_ids(app: FastAPI) -> None:
    """Add the middleware that reads or makes the id."""
    app.add_middleware(
        CorrelationIdMiddleware,
        generator=lambda: f"req_{secrets.token_hex(12)}",
        validator=lambda given: _VALID.fullmatch(given) is not None,
    )


def log_request_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: adds the id of the running request, if there is one."""
    if request_id := correlation_id.get():
        event["request"] = request_id
    return event
