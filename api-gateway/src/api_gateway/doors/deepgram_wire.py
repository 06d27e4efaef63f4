"""What Deepgram's live protocols have in common: keys, limits, errors. Pure."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from api_gateway.doors.base import ConnectionProtocol, Denial, Refusal
from api_gateway.doors.deepgram_options import ListenOptions
from api_gateway.handshake import Handshake
from api_gateway.presenters import deepgram
from api_gateway.presenters.deepgram import err_code, status_of
from parlando.domain.events import Failure
from parlando.errors import ParlandoError
from parlando.ids import new_session_id

IDLE_S: Final = 10.0
WINDOW_S: Final = 5  # clients never resume: they open a new session
POLICY: Final = ("not_allowed", "forbidden", "invalid_request", "quota_exceeded")
"""Errors after which the close code is 1008; after others it is 1011."""
WARNINGS_HEADER: Final = "dg-warnings"


class DeepgramConnection(ConnectionProtocol):
    """The handshake of Deepgram's live protocols."""

    refuses_handshake = True
    opens_before_answer = True

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._request_id = new_session_id()

    @property
    def selected_subprotocol(self) -> str | None:
        """`token` or `bearer`, if the client offers it: browsers need one of theirs to be selected."""
        offered = self.handshake.subprotocols
        return offered[0] if offered and offered[0].lower() in ("token", "bearer") else None

    @property
    def key(self) -> str | None:
        """The key in a header, in the query, or in the subprotocols `token, <key>` or `bearer, <token>`."""
        offered = self.handshake.subprotocols
        if len(offered) == 2 and offered[0].lower() in ("token", "bearer"):
            return offered[1]
        return self.handshake.token

    def denial(self, error: ParlandoError) -> Denial:
        """The HTTP response to a handshake that is refused."""
        body = deepgram.error(err_code(error), error.message, self._request_id)
        return Denial(status_of(error), orjson.dumps(body))


def dump(message: dict[str, Any]) -> str:
    """A message as JSON."""
    return orjson.dumps(message).decode()


def failure_code(code: str) -> str:
    """Deepgram's name of the error that has ended a session."""
    return deepgram.CODES[code] if code == "quota_exceeded" else code.upper()


def failure_message(failure: Failure) -> dict[str, Any]:
    """The `Error` message about a session that has failed."""
    code = "DATA-0000" if failure.code == "invalid_audio" else failure_code(failure.code)
    return {"type": "Error", "variant": code, "description": failure.message, "message": failure.message}


def schema_error(error: ParlandoError) -> dict[str, Any]:
    """The `Error` message about a message of the client."""
    return {"type": "Error", "variant": "SchemaError", "description": error.message, "message": error.message}


def refusal_of(error: ParlandoError) -> Refusal:
    """The end of a connection: `NET-0001` for an idle client, else an `Error` message and a close code."""
    if error.code == "idle":
        return Refusal((), 1011, "NET-0001")
    message = {
        "type": "Error",
        "variant": err_code(error),
        "description": error.message,
        "message": error.message,
    }
    code = 1008 if error.code in POLICY else 1011
    return Refusal([dump(message)], code, err_code(error))


@dataclass(slots=True)
class Stream:
    """What the channels of one connection have in common. `open`: channels whose session hasn't closed."""

    options: ListenOptions
    request_id: str
    open: int
    created: str = ""
    duration: float = 0.0
    digest: Any = field(default_factory=hashlib.sha256)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def metadata(self) -> dict[str, Any]:
        """The `Metadata` message, the last one of a connection."""
        message: dict[str, Any] = {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": self.digest.hexdigest(),
            "created": self.created,
            "duration": self.duration,
            "channels": self.options.channels,
        }
        if warnings := deepgram.warnings([*self.options.not_honoured, *self.lost]):
            message["warnings"] = warnings
        return message
