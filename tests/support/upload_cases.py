"""One case for each Lua script on resumable uploads, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from parlando.store import upload_keys
from parlando.store.connection import Redis
from parlando.store.uploads import UploadRecord, Uploads


class Stage(Protocol):
    redis: Redis

    def arm(self) -> None: ...


async def _begun(stage: Stage) -> tuple[Uploads, UploadRecord]:
    uploads = _uploads(stage)
    return uploads, await uploads.create("k", length=10, name="a.wav", metadata="filename YQ==")


def _uploads(stage: Stage) -> Uploads:
    return Uploads(stage.redis, ttl_s=100, limit=1, key_limit=1)  # a second one would be refused


async def _create_upload(stage: Stage) -> Any:
    stage.arm()
    _, record = await _begun(stage)
    return record.upload, record.length


async def _write_upload(stage: Stage) -> Any:
    uploads, record = await _begun(stage)
    stage.arm()
    await uploads.written(record, "w", size=3, begins=True)
    return (await uploads.record(record.upload, "k")).length


async def _claim_upload(stage: Stage) -> Any:
    uploads, record = await _begun(stage)
    stage.arm()
    await uploads.claim(record, "j")
    return (await uploads.record(record.upload, "k")).job


async def _remove_upload(stage: Stage) -> Any:
    uploads, record = await _begun(stage)
    await uploads.claim(record, "j")
    stage.arm()
    return await uploads.remove(record)


async def _expire_uploads(stage: Stage) -> Any:
    uploads, record = await _begun(stage)
    await stage.redis.zadd(upload_keys.ALL, {record.upload: 1})
    stage.arm()
    return await uploads.expired(), await uploads.expired()


CASES: Final[dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "create_upload": _create_upload,
    "write_upload": _write_upload,
    "claim_upload": _claim_upload,
    "remove_upload": _remove_upload,
    "expire_uploads": _expire_uploads,
}
