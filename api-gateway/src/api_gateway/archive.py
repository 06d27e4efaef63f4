"""Where the transcripts of users go when their sessions have ended: a folder, or any S3.

One object per session, written once: `{uid}/{yyyy}/{mm}/{dd}/{session}.json`, by the day it began (UTC).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import obstore
import orjson
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, S3Store

from api_gateway.settings import GatewaySettings
from parlando.errors import ParlandoError

AT_ONCE: Final = 16  # objects read at a time
TIMEOUT: Final = "10s"

Document = dict[str, Any]


def open_store(settings: GatewaySettings) -> ObjectStore:
    """The store that the settings name. Nothing is connected to yet."""
    url = settings.archive_url
    if not url and settings.r2_account_id:
        url = f"s3://{settings.r2_bucket}"
    if not url.startswith("s3://"):
        folder = Path(url.removeprefix("file://")) if url else _default_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParlandoError(
                f"The archive's folder can't be made ({error}); set ARCHIVE_URL to one that can, or to an S3"
            ) from error
        return LocalStore(folder)
    parts = urlsplit(url)
    endpoint = settings.archive_endpoint
    if not endpoint and settings.r2_account_id:
        endpoint = f"https://{settings.r2_account_id}.r2.cloudflarestorage.com"
    options: dict[str, Any] = {"region": settings.archive_region}
    if endpoint:
        options |= {"endpoint": endpoint}
    if settings.archive_access_key_id:
        options |= {
            "access_key_id": settings.archive_access_key_id,
            "secret_access_key": settings.archive_secret_access_key,
        }
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": TIMEOUT},
        retry_config={"max_retries": 1},
        **options,
    )


def _default_folder() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "parlando" / "archive"


class Archive:
    """Transcripts of users, by user and day."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, document: Document) -> None:
        """Store a session's document. Raises the store's errors."""
        day = datetime.fromtimestamp(document["started_ms"] / 1000, UTC).strftime("%Y/%m/%d")
        path = f"{document['uid']}/{day}/{document['session_id']}.json"
        await obstore.put_async(self._store, path, orjson.dumps(document))

    async def newest_first(self, uid: str, *, owner: str, until_ms: int) -> AsyncIterator[Document]:
        """A user's documents that began at `until_ms` or before, newest first; those of `owner` only."""
        last_day = datetime.fromtimestamp(until_ms / 1000, UTC).strftime("%Y/%m/%d")
        async for day in self._days(uid):
            if day > f"{uid}/{last_day}":
                continue
            documents = await self._documents(day)
            for document in sorted(documents, key=lambda d: int(d["started_ms"]), reverse=True):
                if document["owner"] == owner and document["started_ms"] <= until_ms:
                    yield document

    async def _days(self, uid: str) -> AsyncIterator[str]:
        """The folders of a user's days, newest first."""
        for year in await self._folders(uid):
            for month in await self._folders(year):
                for day in await self._folders(month):
                    yield day

    async def _folders(self, path: str) -> list[str]:
        found = await obstore.list_with_delimiter_async(self._store, prefix=path)
        return sorted(found["common_prefixes"], reverse=True)

    async def _documents(self, folder: str) -> list[Document]:
        found = await obstore.list_with_delimiter_async(self._store, prefix=folder)
        room = asyncio.Semaphore(AT_ONCE)

        async def read(path: str) -> Document | None:
            async with room:
                try:
                    answer = await obstore.get_async(self._store, path)
                    document: Document = orjson.loads(bytes(await answer.bytes_async()))
                except (NotFoundError, FileNotFoundError):
                    return None
                return document

        read_all = await asyncio.gather(*(read(item["path"]) for item in found["objects"]))
        return [document for document in read_all if document is not None]

    async def delete(self, uid: str, *, owner: str) -> int:
        """Delete a user's documents; how many there were."""
        count = 0
        async for day in self._days(uid):
            for document in await self._documents(day):
                if document["owner"] == owner:
                    await obstore.delete_async(self._store, f"{day}/{document['session_id']}.json")
                    count += 1
        return count
