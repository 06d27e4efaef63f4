"""Blobs that are written piece by piece: resumable uploads, which several gateways may continue in turn.

In a folder such a blob is one file that grows; its size says how much of it is there. In a bucket it is one
object per piece, because objects can't be appended to; `Blobs.open` joins them as it copies them. Either way
each byte is stored once.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import obstore
from obstore.store import LocalStore, ObjectStore

from parlando.errors import StorageError, TooBigError
from parlando.objects import FAILURES

FOLDER: Final = "jobs"
PREFIX: Final = "u_"  # of the names of blobs that grow
LOCAL_PIECE: Final = 1 << 20  # bytes per write to a file
REMOTE_PIECE: Final = 8 << 20  # bytes per object; the last one of a request may be shorter
MAX_PIECES: Final = 10_000  # objects of one blob


def path_of(name: str) -> str:
    """The path of a blob in its store."""
    return f"{FOLDER}/{name}"


def is_growing(name: str) -> bool:
    """Whether a blob of this name is written piece by piece."""
    return name.startswith(PREFIX)


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """An object of a blob: its bytes [start, end)."""

    start: int
    end: int
    path: str

    @classmethod
    def of(cls, path: str) -> "Piece":
        """The piece at a path, whose name has both numbers."""
        start, _, end = path.rpartition("/")[2].partition("-")
        return cls(int(start), int(end), path)


def whole_pieces(pieces: Iterable[Piece]) -> list[Piece]:
    """Those that make the blob without a gap; they may overlap, if two gateways wrote at a time."""
    kept: list[Piece] = []
    end = 0
    for piece in sorted(pieces):
        if piece.start > end:
            break
        if piece.end > end:
            kept.append(piece)
            end = piece.end
    return kept


async def pieces_of(store: ObjectStore, name: str) -> list[Piece]:
    """All pieces of a blob in a bucket. Raises the store's exceptions."""
    found = obstore.list(store, prefix=path_of(name))
    return [Piece.of(item["path"]) async for page in found for item in page]


class GrowingBlobs:
    """Access to the blobs of a store that grow. Every call raises `StorageError`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._folder = Path(str(store.prefix)) if isinstance(store, LocalStore) else None

    @property
    def piece(self) -> int:
        """Bytes that are best appended at a time."""
        return LOCAL_PIECE if self._folder else REMOTE_PIECE

    async def free(self) -> int | None:
        """Free bytes of the disk; None for a bucket."""
        folder = self._folder
        try:
            return None if folder is None else (await asyncio.to_thread(shutil.disk_usage, folder)).free
        except OSError as error:
            raise StorageError(f"The folder of the files can't be read: {error}") from error

    async def create(self, name: str) -> None:
        """Create an empty blob, unless it exists."""
        if self._folder is None:
            return
        file = self._folder / path_of(name)

        def create() -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

        try:
            await asyncio.to_thread(create)
        except OSError as error:
            raise StorageError(f"The file can't be stored: {error}") from error

    async def size(self, name: str) -> int | None:
        """The bytes of a blob that are there; None if it does not exist (in a folder only)."""
        try:
            if self._folder is not None:
                return (await asyncio.to_thread(os.stat, self._folder / path_of(name))).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"The file can't be read: {error}") from error
        return _end(await self._pieces(name))

    async def resume(self, name: str) -> int | None:
        """`size`, before more is written. Raises `TooBigError` if a bucket has too many of its pieces."""
        if self._folder is not None:
            return await self.size(name)
        pieces = await self._pieces(name)
        if len(pieces) >= MAX_PIECES:
            raise TooBigError(
                f"The upload has {MAX_PIECES} pieces, which is the maximum; begin anew, and send at least "
                f"{REMOTE_PIECE >> 20} MB per request"
            )
        return _end(pieces)

    async def _pieces(self, name: str) -> list[Piece]:
        try:
            return await pieces_of(self._store, name)
        except FAILURES as error:
            raise StorageError(f"The file can't be read: {error}") from error

    async def append(self, name: str, at: int, data: bytes) -> None:
        """Write `data` behind the first `at` bytes of a blob, which exists."""
        try:
            if self._folder is not None:
                await asyncio.to_thread(_write, self._folder / path_of(name), at, data)
                return
            path = f"{path_of(name)}/{at:020d}-{at + len(data):020d}"
            await obstore.put_async(self._store, path, data, use_multipart=False)
        except FAILURES as error:
            raise StorageError(f"The file can't be stored: {error}") from error


def _end(pieces: Iterable[Piece]) -> int:
    kept = whole_pieces(pieces)
    return kept[-1].end if kept else 0


def _write(file: Path, at: int, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, at)
            at, view = at + written, view[written:]
    finally:
        os.close(descriptor)
