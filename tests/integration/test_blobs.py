"""Uploads on their way into the blob store: whole or not at all, never whole in memory."""

import asyncio
import os
import resource
import sys
import tempfile
import threading
import tracemalloc
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from api_gateway.http.job_uploads import receive
from api_gateway.server.request_limits import Body
from parlando import blobs as blobs_module
from parlando.blobs import Blobs, BlobSettings
from parlando.errors import InvalidRequestError, StorageError, TooBigError
from support.bucket import bucket
from support.ports import free_port

MB = 1 << 20
AUDIO = bytes(range(256)) * 4096 * 12  # 12 MB: more parts than one


@pytest.fixture
def local(tmp_path):
    return Blobs.of(BlobSettings(blob_url=str(tmp_path / "blobs")))


@pytest.fixture
def s3():
    with bucket() as blobs:
        yield blobs


@pytest.fixture(params=["local", "s3"])
def blobs(request):
    return request.getfixturevalue(request.param)


async def pieces(data: bytes, size: int = 100_000):
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def test_what_is_stored_can_be_read_and_deleted(blobs):
    await blobs.put("a", pieces(AUDIO))
    descriptor = await blobs.open("a")
    assert os.lseek(descriptor, 0, os.SEEK_END) == len(AUDIO)  # it can seek
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert read(descriptor) == AUDIO
    assert await blobs.older_than(-60) == ["a"]
    assert await blobs.older_than(3600) == []
    await blobs.delete("a")
    await blobs.delete("a")
    assert await blobs.open("a") is None


async def test_a_copy_from_an_s3_is_not_written_by_the_event_loop(s3, monkeypatch):
    """A slow disk holds up a thread only."""
    writers = set()

    class Noting:
        def __init__(self) -> None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def __getattr__(self, name):
            writers.add((name, threading.get_ident()))
            return getattr(self._file, name)

        def write(self, data):
            writers.add(("write", threading.get_ident()))
            return self._file.write(data)

    monkeypatch.setattr(blobs_module, "tempfile", SimpleNamespace(TemporaryFile=Noting))
    await s3.put("a", pieces(AUDIO))
    assert read(await s3.open("a")) == AUDIO
    await s3.delete("a")  # the server's memory outlives it
    threads = {thread for name, thread in writers if name == "write"}
    assert threads
    assert threading.get_ident() not in threads


async def test_an_upload_that_breaks_leaves_nothing(blobs, tmp_path):
    async def breaking():
        async for piece in pieces(AUDIO):
            yield piece
        raise ConnectionResetError("the client has gone")

    with pytest.raises(ConnectionResetError):
        await blobs.put("a", breaking())
    assert await blobs.open("a") is None
    assert await blobs.older_than(-60) == []
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_a_store_that_cannot_be_reached_is_said():
    away = Blobs.of(BlobSettings(blob_url="s3://audio", blob_endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StorageError, match="can't be stored"):
        await away.put("a", pieces(b"x"))
    with pytest.raises(StorageError, match="can't be read"):
        await away.open("a")


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
async def test_a_full_disk_is_said_and_leaves_nothing(local, tmp_path):
    """The limit on file sizes stands for the disk: the write fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MB, before[1]))
    try:
        with pytest.raises(StorageError, match="can't be stored"):
            await local.put("a", pieces(AUDIO))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await local.open("a") is None
    await local.put("a", pieces(AUDIO))


async def test_a_store_that_drops_the_body_and_then_fails_is_a_full_store(local, monkeypatch):
    """The body's end must not be taken for its failure: which comes first is the collector's choice."""

    async def put_async(_store, _path, body, **_options):
        await anext(body)
        await body.aclose()
        raise OSError("File too large")

    monkeypatch.setattr("parlando.blobs.obstore.put_async", put_async)
    with pytest.raises(StorageError, match="can't be stored: File too large"):
        await local.put("a", pieces(AUDIO))


# --- forms ------------------------------------------------------------------------------------------

BOUNDARY = "parlandoboundary"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A form of (name, filename or None, value)."""
    body = b""
    for name, filename, value in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += value + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def request(receive_part, *, kind: str = f"multipart/form-data; boundary={BOUNDARY}") -> Request:
    headers = [(b"content-type", kind.encode()), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "headers": headers}
    return Request(scope, Body(scope, receive_part, silent_s=60).receive)


def sent(body: bytes, *, size: int = 1000):
    """ASGI's `receive` for a body that comes in pieces of `size` bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]

    async def receive_part():
        return {"type": "http.request", "body": parts.pop(0) if parts else b"", "more_body": bool(parts)}

    return receive_part


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
async def test_a_form_in_pieces_of_any_size(local, size):
    audio = b"\r\n--parlando\r\n-" * 50
    body = form(
        ("language", None, b"en"),
        ("file", "a b.wav", audio),
        ("include[]", None, b"x"),
        ("include", None, b"y"),
    )
    upload = await receive(request(sent(body, size=size)), local, limit=MB)
    assert read(await local.open(upload.source.blob)) == audio
    assert (upload.source.name, upload.source.size) == ("a b.wav", len(audio))
    assert upload.one("language") == "en"
    assert sorted(upload.many("include")) == ["x", "y"]
    assert upload.one("nothing") is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (form(("file", "a", b"x" * (2 * MB))), TooBigError),
        (form(("file", "a", b"x"), ("prompt", None, b"x" * (1 << 17))), TooBigError),
        (form(("file", "a", b"x"), ("file", "b", b"y")), InvalidRequestError),
        (form(("file", "a", b"x"), *[(f"f{n}", None, b"") for n in range(80)]), InvalidRequestError),
        (form(("file", "a", b"x" * 5000))[:-20], InvalidRequestError),
        (b"no form at all" * 100, InvalidRequestError),
    ],
)
async def test_forms_that_do_not_fit_are_refused_and_leave_nothing(local, body, error, tmp_path):
    with pytest.raises(error):
        await receive(request(sent(body)), local, limit=MB)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_a_form_without_a_file_stores_nothing(local, tmp_path):
    for parts in (
        [("language", None, b"en")],
        [("file", "empty.wav", b"")],
        [("file", None, b"no filename")],
    ):
        upload = await receive(request(sent(form(*parts))), local, limit=MB)
        assert upload.source is None
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_another_kind_of_body_is_refused(local):
    with pytest.raises(InvalidRequestError):
        await receive(request(sent(b"{}"), kind="application/json"), local, limit=MB)


async def test_an_upload_is_never_whole_in_memory(local):
    head, tail = form(("file", "a", b"\0")).split(b"\0")
    left = 300

    async def receive_part():
        nonlocal left
        left -= 1
        await asyncio.sleep(0)
        body = head if left == 299 else tail if left == 0 else b"\1" * MB
        return {"type": "http.request", "body": body, "more_body": left > 0}

    tracemalloc.start()
    try:
        upload = await receive(request(receive_part), local, limit=500 * MB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert upload.source.size == 298 * MB
    assert peak < 40 * MB
