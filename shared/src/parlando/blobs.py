"""The blob store: the audio files of jobs, from the upload until all chunks are queued."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore
from pydantic import Field

from parlando.errors import StorageError
from parlando.objects import FAILURES, data_folder, open_store
from parlando.settings import ServiceSettings

FOLDER: Final = "jobs"
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
                _path(name),
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
                return os.open(Path(str(self._store.prefix)) / _path(name), os.O_RDONLY | os.O_CLOEXEC)
            answer = await obstore.get_async(self._store, _path(name))
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                async for part in answer.stream(min_chunk_size=COPIED):
                    await asyncio.to_thread(file.write, part)
                await asyncio.to_thread(file.flush)
                file.seek(0)
                return os.dup(file.fileno())
        except (NotFoundError, FileNotFoundError):
            return None
        except FAILURES as error:
            raise StorageError(f"The file can't be read: {error}") from error

    async def delete(self, name: str) -> None:
        """Delete a blob if it exists."""
        try:
            await obstore.delete_async(self._store, _path(name))
        except (NotFoundError, FileNotFoundError):
            pass
        except FAILURES as error:
            raise StorageError(f"The file can't be deleted: {error}") from error

    async def older_than(self, seconds: float) -> list[str]:
        """The names of the blobs stored more than `seconds` ago."""
        now = datetime.now(UTC)
        try:
            return [
                item["path"].removeprefix(f"{FOLDER}/")
                async for page in obstore.list(self._store, prefix=FOLDER)
                for item in page
                if (now - item["last_modified"]).total_seconds() > seconds
            ]
        except FAILURES as error:
            raise StorageError(f"The files can't be listed: {error}") from error


def _path(name: str) -> str:
    return f"{FOLDER}/{name}"
