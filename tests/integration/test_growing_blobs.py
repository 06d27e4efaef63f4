"""Blobs that are written piece by piece, in a folder and in a bucket."""

import os

import pytest

from parlando import growing_blobs
from parlando.blobs import Blobs, BlobSettings
from parlando.errors import TooBigError
from support.bucket import bucket

NAME = "u_" + "a" * 30
BYTES = bytes(range(256)) * 400


@pytest.fixture
def local(tmp_path):
    return Blobs.of(BlobSettings(blob_url=str(tmp_path)))


@pytest.fixture(scope="module")
def s3():
    with bucket() as blobs:
        yield blobs


@pytest.fixture(params=["local", "s3"])
def blobs(request):
    return request.getfixturevalue(request.param)


async def read(blobs: Blobs) -> bytes | None:
    descriptor = await blobs.open(NAME)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def test_pieces_make_one_blob(blobs):
    await blobs.growing.create(NAME)
    assert await blobs.growing.size(NAME) == 0
    for at in range(0, len(BYTES), 30_000):
        await blobs.growing.append(NAME, at, BYTES[at : at + 30_000])
        assert await blobs.growing.resume(NAME) == min(at + 30_000, len(BYTES))
    assert await read(blobs) == BYTES
    assert await blobs.older_than(-60) == [NAME]
    await blobs.delete(NAME)
    await blobs.delete(NAME)
    assert await blobs.older_than(-60) == []
    assert await read(blobs) is None


async def test_two_writers_of_the_same_bytes_make_one_blob(blobs):
    """A request of which nothing was heard is taken over, and writes once more."""
    await blobs.growing.create(NAME)
    await blobs.growing.append(NAME, 0, BYTES[:1000])
    await blobs.growing.append(NAME, 1000, BYTES[1000:5000])
    await blobs.growing.append(NAME, 1000, BYTES[1000:3000])
    await blobs.growing.append(NAME, 3000, BYTES[3000:9000])
    assert await blobs.growing.size(NAME) == 9000
    assert await read(blobs) == BYTES[:9000]
    await blobs.delete(NAME)


async def test_a_gap_ends_what_is_there(s3):
    await s3.growing.append(NAME, 0, BYTES[:1000])
    await s3.growing.append(NAME, 2000, BYTES[2000:3000])
    assert await s3.growing.size(NAME) == 1000
    await s3.delete(NAME)


async def test_the_number_of_objects_is_limited(s3, monkeypatch):
    monkeypatch.setattr(growing_blobs, "MAX_PIECES", 2)
    for at in range(2):
        await s3.growing.resume(NAME)
        await s3.growing.append(NAME, at, b"x")
    with pytest.raises(TooBigError, match="send at least 8 MB per request"):
        await s3.growing.resume(NAME)
    await s3.delete(NAME)


async def test_what_a_killed_gateway_was_writing_is_deleted(local, tmp_path):
    """obstore writes to a file with a number behind its name, which it renames when it is complete."""
    await local.growing.create(NAME)
    staged = tmp_path / "jobs" / "a#1"
    staged.write_bytes(BYTES)
    assert await local.older_than(-60) == [NAME], "obstore doesn't list it"
    assert await local.delete_interrupted(60) == 0
    os.utime(staged, (1, 1))
    assert await local.delete_interrupted(60) == 1
    assert not staged.exists()
    assert await local.growing.size(NAME) == 0
