"""The head of a WebSocket frame (RFC 6455, section 5.2)."""

from typing import Final, NamedTuple

TEXT: Final = 0x81
BINARY: Final = 0x82
"""First bytes of whole messages that no extension has changed."""
MASKED: Final = 0x80
MASK_BYTES: Final = 4
_TWO_BYTES: Final = 126
"""A length that says that the next two bytes have it; 127: the next eight."""


class Head(NamedTuple):
    """`first`: the byte with the kind. `start`, `end`: of the payload, from the first byte of the frame."""

    first: int
    masked: bool
    start: int
    end: int


def head_of(data: bytes | bytearray) -> Head | None:
    """The head with which `data` begins; None as long as it isn't complete."""
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    length, start = second & 0x7F, 2
    if length >= _TWO_BYTES:
        start = 4 if length == _TWO_BYTES else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
    masked = second >= MASKED
    if masked:
        start += MASK_BYTES
    return Head(first, masked, start, start + length)
