"""The archive of users' transcripts after the end of their sessions: a folder, or any S3.

It has one object per session, by owner, user and day of its start (see `archive_paths`). Documents from
before paths contained the owner are read from their old paths, and filtered by the owner inside.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import obstore
import orjson
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore

from api_gateway.deliveries.archive_paths import (
    OWNER,
    document_path,
    is_of,
    old_user_folder,
    owner_folder,
    owner_of,
    user_folder,
)
from api_gateway.presenters.session import place_of
from api_gateway.settings import GatewaySettings
from parlando.errors import UnavailableError
from parlando.objects import data_folder, open_store

MAX_READS: Final = 16  # concurrent

Document = dict[str, Any]

log = structlog.get_logger(part="archive")


def store_of(settings: GatewaySettings) -> ObjectStore:
    """The object store of the settings; Cloudflare R2 if an account there is set."""
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
        tidy=True,  # their names contain owners and users
    )


@contextmanager
def explained() -> Iterator[None]:
    """Raises `UnavailableError` for the store's errors in the block, which are logged."""
    try:
        yield
    except (BaseError, OSError) as error:
        # The log alone has the reason: it contains paths and hosts.
        log.warning("archive.unreachable", error=str(error)[:500])
        raise UnavailableError("The archive can't be reached; the gateway's log has the reason") from error


class Archive:
    """Transcripts of users, by user and day."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, document: Document) -> None:
        """Store a session's document. Raises the store's errors."""
        day = _day(document["started_ms"])
        path = document_path(document["owner"], document["uid"], day, document["session_id"])
        await obstore.put_async(self._store, path, orjson.dumps(document))

    async def newest_first(self, uid: str, *, owner: str, until_ms: int) -> AsyncIterator[Document]:
        """A user's documents of `owner` whose sessions began at `until_ms` or before, newest first."""
        last_day = _day(until_ms)
        async for day, folders in self._days(uid, owner):
            if day > last_day:
                continue
            documents = [document for _, document in await self._documents(folders, owner)]
            for document in sorted(documents, key=place_of, reverse=True):
                if document["started_ms"] <= until_ms:
                    yield document

    async def delete(self, uid: str, *, owner: str) -> int:
        """Delete a user's documents. Returns their number."""
        count = 0
        async for _, folders in self._days(uid, owner):
            for path, _ in await self._documents(folders, owner):
                await obstore.delete_async(self._store, path)
                count += 1
        return count

    async def owners(self) -> list[str]:
        """The owners that have documents, "" without keys."""
        folders, old = await self._folders()
        owners = {owner_of(folder) for folder in folders}
        async for path in self._below_all(old):
            document = await self._read(path)
            owners |= {document["owner"]} if document and "owner" in document else set()
        return sorted(owners)

    async def owned(self, owner: str) -> AsyncIterator[tuple[str, Document]]:
        """All documents of an owner, with their paths, in no order."""
        async for path in self._paths(owner):
            if (document := await self._read(path)) is not None and document.get("owner") == owner:
                yield path, document

    async def delete_owned(self, owner: str, *, before_ms: int | None = None) -> int:
        """Delete an owner's documents: all, or of sessions that began before a time. Returns how many."""
        count, last_day = 0, "" if before_ms is None else _day(before_ms)
        async for path in self._paths(owner):
            certain = is_of(path, owner)
            day = "/".join(path.split("/")[-4:-1])
            if before_ms is not None and day > last_day:
                continue
            if not certain or (before_ms is not None and day == last_day):
                document = await self._read(path)
                if document is None or document.get("owner") != owner:
                    continue
                if before_ms is not None and document["started_ms"] >= before_ms:
                    continue
            await obstore.delete_async(self._store, path)
            count += 1
        return count

    async def _paths(self, owner: str) -> AsyncIterator[str]:
        """The paths of an owner's documents, and the old paths, which contain no owner."""
        _, old = await self._folders()
        async for path in self._below_all([owner_folder(owner), *old]):
            yield path

    async def _folders(self) -> tuple[list[str], list[str]]:
        """The folders of owners, and the old ones of users."""
        listed = await obstore.list_with_delimiter_async(self._store)
        folders = [*listed["common_prefixes"]]
        of_owners = [folder for folder in folders if folder.startswith(OWNER)]
        return of_owners, [folder for folder in folders if folder not in of_owners]

    async def _below_all(self, folders: list[str]) -> AsyncIterator[str]:
        for folder in folders:
            async for page in obstore.list(self._store, prefix=folder):
                for item in page:
                    yield item["path"]

    async def _days(self, uid: str, owner: str) -> AsyncIterator[tuple[str, list[str]]]:
        """The days of a user as `yyyy/mm/dd`, newest first, each with its folders (new and old paths)."""
        for year, in_year in await self._below([user_folder(owner, uid), old_user_folder(uid)]):
            for month, in_month in await self._below(in_year):
                for day, folders in await self._below(in_month):
                    yield f"{year}/{month}/{day}", folders

    async def _below(self, folders: list[str]) -> list[tuple[str, list[str]]]:
        """The names of the subfolders of `folders` in descending order, each with its paths."""
        found: dict[str, list[str]] = {}
        for folder in folders:
            listed = await obstore.list_with_delimiter_async(self._store, prefix=folder)
            for path in listed["common_prefixes"]:
                found.setdefault(path.rpartition("/")[2], []).append(path)
        return sorted(found.items(), reverse=True)

    async def _documents(self, folders: list[str], owner: str) -> list[tuple[str, Document]]:
        """The documents of an owner in `folders`, with their paths."""
        slots = asyncio.Semaphore(MAX_READS)
        paths: list[str] = []
        for folder in folders:
            found = await obstore.list_with_delimiter_async(self._store, prefix=folder)
            paths += [item["path"] for item in found["objects"]]

        async def read(path: str) -> Document | None:
            async with slots:
                document = await self._read(path)
            return document if document is not None and document.get("owner") == owner else None

        documents = await asyncio.gather(*(read(path) for path in paths))
        return [(path, each) for path, each in zip(paths, documents, strict=True) if each is not None]

    async def _read(self, path: str) -> Document | None:
        """A document; None if it is gone or unreadable."""
        try:
            answer = await obstore.get_async(self._store, path)
            document = orjson.loads(bytes(await answer.bytes_async()))
        except (NotFoundError, FileNotFoundError):
            return None
        except orjson.JSONDecodeError:
            log.warning("archive.unreadable", path=path)
            return None
        return document if isinstance(document, dict) else None


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y/%m/%d")
