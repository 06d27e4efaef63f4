"""The blob store: the audio files of jobs, from the upload until all chunks are queued."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import obstore
from obstore import Bytes
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore
from pydantic import Field

from parlando.errors import StorageError
from parlando.growing_blobs import FOLDER, GrowingBlobs, is_growing, path_of, pieces_of, whole_pieces
from parlando.objects import FAILURES, data_folder, open_store
from parlando.settings import ServiceSettings

PART: Final = 5 << 20  # bytes per part of an upload: the minimum of S3
CONCURRENCY: Final = 2  # parts uploaded concurrently
COPIED: Final = 1 << 20  # minimum bytes per write when a blob is copied to a local file


class BlobSettings(ServiceSettings):
    """Location and limits of the job audio, for gateway and audio-processor."""

    blob_url: str = Field(
        "",
        description="Where the audio of jobs is stored until it is decoded: a folder shared by gateways and "
        "audio-processors, or `s3://bucket/prefix`; empty for `~/.local/share/parlando/blobs`",
    )
    blob_endpoint: str = Field(
        "", description="URL of an S3-compatible store (MinIO, R2 …); empty for Amazon S3"
    )
    blob_region: str = Field("auto", description="Region of the bucket")
    blob_access_key_id: str = Field("", description="Access key id for the bucket")
    blob_secret_access_key: str = Field("", description="Secret access key for the bucket")
    allow_url_fetch: bool = Field(
        False, description="Whether a job may specify a URL instead of uploading a file"
    )
    allow_private_urls: bool = Field(
        False,
        description="Whether URLs of jobs (`url`, `callback_url`) may point to private-network addresses",
    )
    max_upload_mb: int = Field(2048, ge=1, description="Maximum size of a job's file, in megabytes")


class Blobs:
    """Blobs by name. Every call raises `StorageError` if the store is unreachable or full."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def of(cls, settings: BlobSettings) -> "Blobs":
        """The store configured by `settings`."""
        return cls(
            open_store(
                settings.blob_url or str(data_folder("blobs")),
                endpoint=settings.blob_endpoint,
                region=settings.blob_region,
                access_key_id=settings.blob_access_key_id,
                secret=settings.blob_secret_access_key,
            )
        )

    @property
    def growing(self) -> GrowingBlobs:
        """The blobs of this store that are written piece by piece."""
        return GrowingBlobs(self._store)

    async def put(self, name: str, body: AsyncIterator[bytes]) -> None:
        """Store the bytes of `body` under `name`, streaming. Re-raises what `body` raises."""
        raised: list[BaseException] = []

        async def watched() -> AsyncIterator[bytes]:
            try:
                async for part in body:
                    yield part
            except GeneratorExit:  # the store failed and closed the generator: not an error of `body`
                raise
            except BaseException as error:
                raised.append(error)
                raise

        try:
            await obstore.put_async(
                self._store,
                path_of(name),
                watched(),
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=CONCURRENCY,
            )
        except Exception as error:
            if raised:
                raise raised[0] from None
            if isinstance(error, FAILURES):
                raise StorageError(f"The file can't be stored: {error}") from error
            raise

    async def open(self, name: str) -> int | None:
        """A seekable file descriptor of the blob; None if the blob does not exist.

        A blob of a remote store is copied to an anonymous temporary file, which is deleted when it is closed.
        """
        try:
            if isinstance(self._store, LocalStore):
                return os.open(Path(str(self._store.prefix)) / path_of(name), os.O_RDONLY | os.O_CLOEXEC)
            parts = self._parts(name)
            first = await anext(parts, None)
            if first is None:
                return None
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                await asyncio.to_thread(file.write, first)
                async for part in parts:
                    await asyncio.to_thread(file.write, part)
                await asyncio.to_thread(file.flush)
                file.seek(0)
                return os.dup(file.fileno())
        except (NotFoundError, FileNotFoundError):
            return None
        except FAILURES as error:
            raise StorageError(f"The file can't be read: {error}") from error

    async def _parts(self, name: str) -> AsyncIterator[bytes | Bytes]:
        """The bytes of a blob of a remote store."""
        if not is_growing(name):
            answer = await obstore.get_async(self._store, path_of(name))
            async for part in answer.stream(min_chunk_size=COPIED):
                yield part
            return
        at = 0
        for piece in whole_pieces(await pieces_of(self._store, name)):
            answer = await obstore.get_async(
                self._store, piece.path, options={"range": (at - piece.start, piece.end - piece.start)}
            )
            async for part in answer.stream(min_chunk_size=COPIED):
                yield part
            at = piece.end

    async def delete(self, name: str) -> None:
        """Delete a blob if it exists, also one that is incomplete."""
        try:
            if is_growing(name) and not isinstance(self._store, LocalStore):
                for piece in await pieces_of(self._store, name):
                    await obstore.delete_async(self._store, piece.path)
            else:
                await obstore.delete_async(self._store, path_of(name))
        except (NotFoundError, FileNotFoundError):
            pass
        except FAILURES as error:
            raise StorageError(f"The file can't be deleted: {error}") from error

    async def older_than(self, seconds: float) -> list[str]:
        """The names of the blobs to which nothing was written for `seconds`."""
        latest: dict[str, datetime] = {}
        try:
            async for page in obstore.list(self._store, prefix=FOLDER):
                for item in page:
                    name = item["path"].removeprefix(f"{FOLDER}/").partition("/")[0]
                    latest[name] = max(item["last_modified"], latest.get(name, item["last_modified"]))
            now = datetime.now(UTC)
            return [name for name, at in latest.items() if (now - at).total_seconds() > seconds]
        except FAILURES as error:
            raise StorageError(f"The files can't be listed: {error}") from error

    async def delete_interrupted(self, seconds: float) -> int:
        """Delete what uploads in forms left in a folder when their gateway was killed, `seconds` ago.

        Returns the number of deleted files. A bucket needs a lifecycle rule for incomplete multipart uploads.
        """
        if not isinstance(self._store, LocalStore):
            return 0
        folder = Path(str(self._store.prefix)) / FOLDER

        def delete() -> int:
            count, limit = 0, time.time() - seconds
            for file in folder.glob("*#*"):  # the names of files that obstore is writing
                if file.stat().st_mtime < limit:
                    file.unlink(missing_ok=True)
                    count += 1
            return count

        try:
            return await asyncio.to_thread(delete)
        except OSError as error:
            raise StorageError(f"The files can't be listed: {error}") from error
