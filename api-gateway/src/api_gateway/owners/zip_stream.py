"""A zip archive that is written to a stream: only the file that is being added is in memory.

Besides, `zipfile` keeps the directory that ends the archive, less than a kilobyte per file.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

MODE: Final = 0o600 << 16


class _Sink:
    """Collects what `zipfile` writes; without `tell` and `seek` it writes a stream."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered elsewhere."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class ZipStream:
    """Makes the bytes of a zip archive, file by file."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = ZipFile(self._sink, "w", ZIP_DEFLATED)
        self._now = datetime.now(UTC).timetuple()[:6]
        self.names: set[str] = set()

    async def add(self, name: str, content: bytes) -> bytes:
        """Add a file; returns the bytes to send. Compresses in a thread."""
        self.names.add(name)
        entry = ZipInfo(name, self._now)
        entry.compress_type, entry.external_attr = ZIP_DEFLATED, MODE
        await asyncio.to_thread(self._zip.writestr, entry, content)
        return self._sink.take()

    def end(self) -> bytes:
        """The directory, which ends the archive."""
        self._zip.close()
        return self._sink.take()
