"""Where the transcripts of users go when their sessions have ended: a folder, or any S3.

One object per session, written once: `{uid}/{yyyy}/{mm}/{dd}/{session}.json`, by the day it began (UTC).
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import obstore
import orjson
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore

from api_gateway.settings import GatewaySettings
from parlando.objects import data_folder, open_store

AT_ONCE: Final = 16  # objects read at a time

Document = dict[str, Any]


def store_of(settings: GatewaySettings) -> ObjectStore:
    """The store that the settings name; R2 if only an account there is named."""
    url, endpoint = settings.archive_url, settings.archive_endpoint
    if settings.r2_account_id:
        url = url or f"s3://{settings.r2_bucket}"
        endpoint = endpoint or f"https://{settings.r2_account_id}.r2.cloudflarestorage.com"
    return open_store(
        url or str(data_folder("archive")),
        endpoint=endpoint,
        region=settings.archive_region,
        access_key_id=settings.archive_access_key_id,
        secret=settings.archive_secret_access_key,
    )


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
