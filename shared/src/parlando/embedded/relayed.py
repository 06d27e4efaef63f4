"""Relays the output of a process line by line, with a limit on the line length."""

import asyncio
import os
from collections.abc import Callable
from typing import Final, Self

BLOCK: Final = 1 << 16  # bytes read at a time
MAX_LINE: Final = 1 << 20  # bytes shown per line


class Output:
    """A pipe for the output of a process. With asyncio's own, `Process.wait` also waits for its end."""

    async def __aenter__(self) -> Self:
        readable, self.writable = os.pipe()
        self._stream = asyncio.StreamReader()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._stream), os.fdopen(readable, "rb", buffering=0)
        )
        return self

    def opened(self) -> asyncio.StreamReader:
        """The reading end. Call it after starting the process: closes this process's writing end."""
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
    """Call `show` with each line of `stream` until it ends. A line is cut off at `MAX_LINE` bytes."""
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

    while block := await stream.read(BLOCK):
        *ended, rest = block.split(b"\n")
        for part in ended:
            add(part)
            finish()
        add(rest)
    if line or left_out:
        finish()
