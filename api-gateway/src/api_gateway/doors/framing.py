"""How messages lie in the bytes of a TCP connection. Pure."""

from typing import Protocol

from api_gateway.doors.base import Message


class Framing(Protocol):
    """Cuts a client's bytes into messages. One object per connection, made without arguments."""

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
        """Bytes that wait for the rest of their message; the connection limits them."""
        ...

    def pack(self, message: Message) -> bytes:
        """A message as the client reads it."""
        ...


class Lines:
    """One UTF-8 text message per line."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, data: bytes) -> list[Message]:
        """See `Framing`. Bytes that aren't UTF-8 are replaced: the protocol will refuse the message."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines if line.strip()]

    @property
    def pending(self) -> int:
        """See `Framing`."""
        return len(self._rest)

    def pack(self, message: Message) -> bytes:
        """See `Framing`."""
        return (message.encode() if isinstance(message, str) else message) + b"\n"
