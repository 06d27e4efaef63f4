"""HTTP on a plain socket, for requests that no library sends."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

PATIENCE_S = 60  # seconds; longer than any time-out of the gateways under test


class Answer(NamedTuple):
    """The first answer on a connection; `status` is 0 if none came."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool
    raw: bytes


def answer_of(raw: bytes, *, closed: bool) -> Answer:
    """Parse the bytes received on a connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Answer(0, {}, b"", closed, raw)
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return Answer(int(first.split()[1]), headers, body, closed, raw)


class Raw:
    """One connection. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Raw":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> bool:
        """Send; False if the server has closed the connection."""
        try:
            self.writer.write(data)
            await asyncio.wait_for(self.writer.drain(), PATIENCE_S)
        except OSError:
            return False
        return True

    async def until_closed(self, within_s: float = PATIENCE_S) -> Answer:
        """The answer, read until the server closes the connection; fails if the server doesn't."""
        got = bytearray()
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    got += data
        return answer_of(bytes(got), closed=True)

    async def answer(self) -> Answer:
        """One answer with a `Content-Length`, on a connection that may stay open."""
        got = bytearray()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                data = await self.reader.read(1 << 16)
                got += data
                found = answer_of(bytes(got), closed=not data)
                if not data or len(found.body) >= int(found.headers.get("content-length", 1 << 60)):
                    return found


async def ask(port: int, *pieces: bytes) -> Answer:
    """Send pieces on a new connection. Returns the answer when the server has closed the connection."""
    async with Raw(port) as raw:
        for piece in pieces:
            if not await raw.send(piece):
                break
        return await raw.until_closed()


def head(method: str, path: str, *lines: str) -> bytes:
    """The head of a request to this machine."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode("latin-1")
