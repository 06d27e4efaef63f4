"""Resumable uploads: whose they are, how long they live, which request writes, and which job has the file.

The bytes are in the blob store, which alone says how many are there (`growing_blobs.py`).
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from parlando.errors import (
    AtCapacityError,
    ConflictError,
    StorageError,
    SupersededError,
    UploadNotFoundError,
)
from parlando.growing_blobs import PREFIX
from parlando.store import upload_keys as names
from parlando.store.connection import Redis, Scripts, retried

EXPIRED_AT_A_TIME: Final = 100


def unknown_upload(upload: str) -> UploadNotFoundError:
    """The error for an upload that does not exist."""
    return UploadNotFoundError(
        f"No upload {upload} is known: it was deleted, it has expired, or Redis restarted without its data; "
        "begin a new one"
    )


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload. `length`: bytes of the whole file. `owner`: see `Principal`.

    `metadata`: as the client sent it. `expires_ms`: unix time. `job`: the job that has the file, or "".
    """

    upload: str
    owner: str
    length: int
    name: str
    metadata: str
    expires_ms: int
    job: str


class Uploads:
    """The uploads of a keyspace. `ttl_s`: seconds that one lives without a write.

    `limit`, `key_limit`: maximum numbers of unfinished ones, of all owners and of one. Every call raises
    `UnavailableError`.
    """

    def __init__(self, redis: Redis, *, ttl_s: int, limit: int, key_limit: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._ttl_s = ttl_s
        self._limit = limit
        self._key_limit = key_limit

    async def create(
        self, owner: str, *, length: int, name: str, metadata: str = "", free: int | None = None
    ) -> UploadRecord:
        """Begin an upload of `length` bytes. `free`: bytes that uploads may take; None for any.

        Raises
        ------
        AtCapacityError
            if there are too many.
        StorageError
            if the bytes that are promised to all of them exceed `free`.

        """
        upload = f"{PREFIX}{secrets.token_hex(15)}"
        fields = {"length": length, "owner": owner, "name": name, "metadata": metadata}
        answer: Any = await self._scripts.run(
            "create_upload",
            [*names.keys(upload, owner), names.UPLOADS],
            [
                upload,
                self._key_limit,
                self._limit,
                "" if free is None else max(0, free),
                self._ttl_s,
                *(part for field in fields.items() for part in field),
            ],
        )
        match answer[0]:
            case b"ok":
                return UploadRecord(upload, owner, length, name, metadata, int(answer[1]), "")
            case b"key_full":
                raise AtCapacityError(
                    f"{self._key_limit} uploads of this owner are unfinished, which is the maximum "
                    "(MAX_UPLOADS_PER_KEY); finish or delete one first"
                )
            case b"disk":
                raise StorageError(
                    f"The disk has no room for {length} bytes: {int(answer[1])} of {free} that are free are "
                    "promised to other uploads; try again later"
                )
            case _:
                raise AtCapacityError(
                    f"{self._limit} uploads are unfinished, which is the maximum (MAX_UPLOADS); "
                    "try again later"
                )

    async def record(self, upload: str, owner: str) -> UploadRecord:
        """An upload of an owner. Raises `UploadNotFoundError`, also for those of others."""
        found = await self.of(upload)
        if found is None or found.owner != owner:
            raise unknown_upload(upload)
        return found

    async def of(self, upload: str) -> UploadRecord | None:
        """An upload of any owner; None if there is none with this id."""
        found: Any = await retried(lambda: self._redis.hgetall(f"{names.UPLOADS}{upload}"))
        if not found:
            return None
        h = {name.decode(): value.decode() for name, value in found.items()}
        return UploadRecord(
            upload, h["owner"], int(h["length"]), h["name"], h["metadata"], int(h["expires"]), h["job"]
        )

    async def written(self, record: UploadRecord, writer: str, *, size: int, begins: bool = False) -> int:
        """Note that `size` bytes are there, and renew the lifetime. Returns the time of expiry, unix ms.

        `writer`: the request that writes. `begins`: it takes over from any other request.

        Raises
        ------
        SupersededError
            if another request has taken over.
        UploadNotFoundError, ConflictError

        """
        answer: Any = await self._scripts.run(
            "write_upload",
            names.keys(record.upload, record.owner),
            [record.upload, writer, int(begins), size, self._ttl_s],
        )
        match answer[0]:
            case b"ok":
                return int(answer[1])
            case b"gone":
                raise unknown_upload(record.upload)
            case b"used":
                raise ConflictError(f"The upload {record.upload} is complete, and a job has it")
            case _:
                raise SupersededError(f"Another request continues the upload {record.upload}")

    async def claim(self, record: UploadRecord, job: str) -> None:
        """Give the file to a job, also repeatedly. Raises `ConflictError` if another job has it."""
        found = await self._claim(record, job, claimed=True)
        if found is None:
            raise unknown_upload(record.upload)
        if found != job:
            raise ConflictError(f"The upload {record.upload} was used before, for the job {found}")

    async def release(self, record: UploadRecord, job: str) -> None:
        """Take the file back from a job that was refused."""
        await self._claim(record, job, claimed=False)

    async def _claim(self, record: UploadRecord, job: str, *, claimed: bool) -> str | None:
        answer: Any = await self._scripts.run(
            "claim_upload", names.keys(record.upload, record.owner), [record.upload, job, int(claimed)]
        )
        return None if answer is None else answer.decode()

    async def remove(self, record: UploadRecord) -> bool:
        """Remove an upload. Returns whether its file is to be deleted: no job has it."""
        answer: Any = await self._scripts.run(
            "remove_upload", names.keys(record.upload, record.owner), [record.upload]
        )
        return not answer

    async def expired(self) -> list[str]:
        """Remove the uploads that have expired. Returns their ids; the caller deletes their files."""
        found: Any = await self._scripts.run(
            "expire_uploads", [names.ALL, names.UPLOADS, names.OWNERS], [EXPIRED_AT_A_TIME]
        )
        return [upload.decode() for upload in found]
