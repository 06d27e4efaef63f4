"""Uploads that nobody finishes expire with their bytes, and no more are begun than there is room for."""

import asyncio

import pytest

from api_gateway.http import resumable_uploads
from parlando.blobs import Blobs, BlobSettings
from parlando.errors import AtCapacityError, StorageError, UploadNotFoundError
from parlando.store import upload_keys
from parlando.store.keys import LONG_TTL_S
from parlando.store.uploads import Uploads
from parlando.tasks import end
from support.lifetimes import ANSWER_S

MB = 1 << 20


@pytest.fixture
def uploads(redis):
    return Uploads(redis, ttl_s=100, limit=3, key_limit=2)


async def test_an_upload_without_writes_expires_with_its_bytes(redis, uploads, tmp_path, monkeypatch):
    monkeypatch.setattr(resumable_uploads, "EXPIRE_EVERY_S", 0.05)
    blobs = Blobs.of(BlobSettings(blob_url=str(tmp_path)))
    old = await uploads.create("k", length=MB, name="a.wav")
    new = await uploads.create("k", length=MB, name="b.wav")
    for record in (old, new):
        await blobs.growing.create(record.upload)
        await blobs.growing.append(record.upload, 0, b"abc")
        await uploads.written(record, "w", size=3, begins=True)
    await redis.zadd(upload_keys.ALL, {old.upload: 1})
    expiring = asyncio.create_task(resumable_uploads.expire_loop(uploads, blobs))
    async with asyncio.timeout(60 * ANSWER_S):
        while await blobs.growing.size(old.upload) is not None:
            await asyncio.sleep(0.05)
    await end(expiring)
    with pytest.raises(UploadNotFoundError, match="begin a new one"):
        await uploads.record(old.upload, "k")
    assert await blobs.growing.size(new.upload) == 3
    await uploads.create("k", length=1, name="")  # its place is free again


async def test_a_write_renews_the_lifetime_but_not_forever(redis, uploads):
    record = await uploads.create("k", length=MB, name="")
    soon = await uploads.written(record, "w", size=0, begins=True)
    key = f"{upload_keys.UPLOADS}{record.upload}"
    created = int(await redis.hget(key, "created"))
    assert created + 100_000 <= soon <= created + 200_000
    early = created - LONG_TTL_S * 1000 + 1000
    await redis.hset(key, "created", early)
    assert await uploads.written(record, "w", size=0) == early + LONG_TTL_S * 1000
    for name in upload_keys.keys(record.upload, record.owner):
        assert 0 < await redis.ttl(name) <= LONG_TTL_S


async def test_the_numbers_are_limited(uploads):
    for key in ("a", "a", "b"):
        await uploads.create(key, length=1, name="")
    with pytest.raises(AtCapacityError, match="MAX_UPLOADS_PER_KEY"):
        await uploads.create("a", length=1, name="")
    with pytest.raises(AtCapacityError, match=r"MAX_UPLOADS\)"):
        await uploads.create("c", length=1, name="")


async def test_no_more_bytes_are_promised_than_the_disk_has(uploads):
    """10 MB are free. What has been written counts no more: it isn't free any longer."""
    first = await uploads.create("a", length=6 * MB, name="", free=10 * MB)
    with pytest.raises(StorageError, match=rf"{6 * MB} of {10 * MB} that are free are promised"):
        await uploads.create("b", length=5 * MB, name="", free=10 * MB)
    await uploads.written(first, "w", size=5 * MB, begins=True)
    await uploads.create("b", length=4 * MB, name="", free=5 * MB)
