"""Message framing on TCP connections. Pure."""

from typing import Protocol

from api_gateway.doors.base import Message


class Framing(Protocol):
    """Splits a client's bytes into messages. One object per connection, constructed without arguments."""

    def push(self, data: bytes) -> list[Message]:
        """The messages that `data` completes.

        Raises
        ------
        InvalidRequestError
            if the bytes can't be a message.

        """
        ...

    @property
    def pending(self) -> int:
        """Bytes of an incomplete message. The connection limits them."""
        ...

    def pack(self, message: Message) -> bytes:
        """The bytes of a message."""
        ...


class Lines:
    """One UTF-8 text message per line."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, data: bytes) -> list[Message]:
        """See `Framing`. Bytes that aren't UTF-8 are replaced; the protocol then refuses the message."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines if line.strip()]

    @property
    def pending(self) -> int:
        """See `Framing`."""
        return len(self._rest)

    def pack(self, message: Message) -> bytes:
        """See `Framing`."""
        return (message.encode() if isinstance(message, str) else message) + b"\n"
