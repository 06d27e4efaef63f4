"""The output of a process, line by line, however long its lines are."""

import asyncio
import os
from collections.abc import Callable
from typing import Final, Self

PIECE: Final = 1 << 16  # bytes read at a time
MAX_LINE: Final = 1 << 20  # bytes of a line that are shown


class Output:
    """A pipe for the output of a process. With asyncio's own, `wait` would wait for the pipe's end too."""

    async def __aenter__(self) -> Self:
        readable, self.writable = os.pipe()
        self._stream = asyncio.StreamReader()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._stream), os.fdopen(readable, "rb", buffering=0)
        )
        return self

    def opened(self) -> asyncio.StreamReader:
        """The end to read from, once the process has the other one, which is closed here."""
        self._close_writable()
        return self._stream

    def _close_writable(self) -> None:
        if self.writable >= 0:
            os.close(self.writable)
            self.writable = -1

    async def __aexit__(self, *_: object) -> None:
        self._close_writable()
        self._transport.close()


async def relay(stream: asyncio.StreamReader, show: Callable[[str], None]) -> None:
    """Call `show` with each line of `stream` until it ends. What is over `MAX_LINE` is left out."""
    line, left_out = bytearray(), 0

    def add(part: bytes) -> None:
        nonlocal left_out
        room = MAX_LINE - len(line)
        line.extend(part[:room])
        left_out += max(0, len(part) - room)

    def finish() -> None:
        nonlocal left_out
        text = line.decode("utf-8", "replace").rstrip()
        show(f"{text} [… {left_out} bytes left out]" if left_out else text)
        line.clear()
        left_out = 0

    while piece := await stream.read(PIECE):
        *ended, rest = piece.split(b"\n")
        for part in ended:
            add(part)
            finish()
        add(rest)
    if line or left_out:
        finish()
