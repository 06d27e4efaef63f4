"""Events of the Wyoming protocol as bytes on a TCP connection. Pure.

An event is a line of JSON, then `data_length` bytes of JSON and `payload_length` bytes of payload.
"""

from typing import Any, Final

import orjson

from api_gateway.doors.base import Message
from parlando import __version__
from parlando.errors import InvalidRequestError

MAX_LINE: Final = 1 << 16  # bytes
MAX_LENGTH: Final = 1 << 28  # bytes of data or payload; the connection's own limit is lower


class WyomingFraming:
    """Splits bytes into events. A message is one line of JSON with `type` and `data`, then the payload."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._header: dict[str, Any] | None = None
        self._lengths = (0, 0)

    def push(self, data: bytes) -> list[Message]:
        """See `Framing`."""
        self._rest += data
        messages: list[Message] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        if self._header is None and not self._read_header():
            return None
        data, payload = self._lengths
        if self._header is None or len(self._rest) < data + payload:
            return None
        body = self._header.get("data") or {}
        if data:
            body = body | _object(bytes(self._rest[:data]))
        event = orjson.dumps({"type": self._header.get("type"), "data": body})
        message = event + b"\n" + bytes(self._rest[data : data + payload])
        del self._rest[: data + payload]
        self._header = None
        return message

    def _read_header(self) -> bool:
        """Take a line from the bytes. Returns False if it isn't complete."""
        end = self._rest.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._rest) >= MAX_LINE:
                raise InvalidRequestError(f"Expected a line of at most {MAX_LINE >> 10} KB")
            return False
        header = _object(bytes(self._rest[:end]))
        del self._rest[: end + 1]
        self._lengths = (_length(header, "data_length"), _length(header, "payload_length"))
        if not isinstance(header.get("data") or {}, dict):
            raise InvalidRequestError("Expected a JSON object in data")
        self._header = header
        return True

    @property
    def pending(self) -> int:
        """See `Framing`."""
        return len(self._rest)

    def pack(self, message: Message) -> bytes:
        """See `Framing`. `message`: JSON with `type` and `data`."""
        event = orjson.loads(message)
        header: dict[str, Any] = {"type": event["type"], "version": __version__}
        data = orjson.dumps(event["data"]) if event.get("data") else b""
        if data:
            header["data_length"] = len(data)
        return orjson.dumps(header) + b"\n" + data


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Expected a JSON object, but got {text[:80]!r}") from error
    if not isinstance(found, dict):
        raise InvalidRequestError(f"Expected a JSON object, but got {text[:80]!r}")
    return found


def _length(header: dict[str, Any], name: str) -> int:
    length = header.get(name) or 0
    if not isinstance(length, int) or not 0 <= length <= MAX_LENGTH:
        raise InvalidRequestError(f"Expected a number of bytes in {name}, but got {str(length)[:20]}")
    return length
