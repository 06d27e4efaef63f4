"""Files that lie, break off or are no audio at all: sound or a clear error, and nothing left behind."""

import asyncio
import http.server
import json
import os
import random
import re
import struct
import subprocess
import threading
import zlib

import numpy as np
import psutil
import pytest

from audio_processor.ffmpeg import find
from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat
from parlando.store.connection import connect
from support.cluster import Cluster
from support.conversion import Converted, convert, ffmpegs
from support.encoding import encoded
from support.ffmpegs import FEW, path_with
from support.speech import JFK, rows

CONTAINER = AudioFormat(encoding=Encoding.CONTAINER)
KINDS = ("wav", "flac", "mp3", "ogg_opus", "webm_opus", "mp4_aac")
CONCURRENCY = 8
MAX_GROWTH = 60 << 20  # bytes by which the audio-processor may grow over all of it


@pytest.fixture(scope="module", params=FEW)
def cluster(request):
    path = path_with(request.param)
    with Cluster(transcribers=0, processors=1, PROCESSOR_BACKLOG_S="1000000", PATH=path) as cluster:
        yield cluster


@pytest.fixture
async def redis(cluster):
    client = connect(cluster.redis.url)
    yield client
    await client.aclose()


async def _convert_all(redis, inputs: dict[str, tuple[bytes, AudioFormat]]) -> dict[str, Converted]:
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(name: str) -> Converted:
        async with room:
            return await convert(redis, f"broken-{hash(name)}", *inputs[name], piece=40_000)

    return dict(zip(inputs, await asyncio.gather(*map(one, inputs)), strict=True))


def _error(converted: Converted) -> str | None:
    """What the client is told, None if nothing went wrong."""
    end = json.loads(converted.controls[-1])
    assert end["type"] == "end"
    if "error" not in end:
        return None
    assert end["reason"] == end["error"]["code"] == "invalid_audio"
    message = end["error"]["message"]
    assert 20 < len(message) < 250, message
    assert "\n" not in message
    assert not re.search(r"0x|/|pipe:|fd:|\dkB|filter|@", message), "none of FFmpeg's own words"
    return message


async def test_every_container_and_every_odd_file_sounds_or_says_why(redis):
    """The 47 files of `e_containers` and the 29 of `h_odd_or_corrupt`, as their manifest lets expect."""
    wanted = {}
    for category in ("e_containers", "h_odd_or_corrupt"):
        for path, row in rows(category):
            raw = AudioFormat() if "raw" in row else CONTAINER
            wanted[path.name] = (row, (path.read_bytes(), raw))
    plain = {name: of for name, (_, of) in wanted.items() if of[1].direct}
    found = await _convert_all(redis, {n: of for n, (_, of) in wanted.items() if n not in plain})

    for name, converted in found.items():
        row, error = wanted[name][0], _error(converted)
        length = len(converted.samples) / 16_000
        if not row.get("decodes", True):
            print(f"{name}: {f'{length:.2f} s' if error is None else error}")
            assert error is not None or length <= row["duration_s"] + 5.0
        else:
            assert error is None, (name, error)
            assert length == pytest.approx(row["duration_s"], rel=0.02, abs=0.15), name


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def _wav(rate: int, channels: int, bits: int, *, tag: int = 1, data: bytes = b"\0" * 64) -> bytes:
    form = struct.pack("<HHIIHH", tag, channels, rate, 0, 0, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _ffmpeg(*arguments: str) -> bytes:
    return subprocess.run([find(), "-v", "error", *arguments, "-"], check=True, capture_output=True).stdout


def _hls(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode()


def _broken(secret: str, url: str) -> dict[str, bytes]:
    """Inputs of which no sound can come."""
    chance = random.Random(7)
    inputs = {"nothing": b"", "one byte": b"R", "one zero": b"\0"}
    for kind in KINDS:
        good = encoded(JFK, kind)
        inputs |= {
            f"{kind} of 12 bytes": good[:12],
            f"{kind} of 40 bytes": good[:40],
            f"{kind} with random bytes behind its head": good[:36] + chance.randbytes(5000)
            if kind != "wav"
            else b"RIFF\xff\xff\xff\xffWAVE" + chance.randbytes(5000),
            f"{kind} without its head": bytes(2000) + good[-300:]
            if kind not in ("mp3", "ogg_opus")
            else bytes(99),
        }
    inputs |= {
        "zeros": bytes(100_000),
        "text": b"And so, my fellow Americans: ask not what your country can do for you." * 50,
        "JSON": b'{"audio": [1, 2, 3]}',
        "HTML": b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        "PNG": _png(),
        "gzip": zlib.compress(bytes(10_000)),
        "ZIP": b"PK\x03\x04" + chance.randbytes(3000),
        "ELF": b"\x7fELF\x02\x01\x01" + chance.randbytes(3000),
        "PDF": b"%PDF-1.7\n" + chance.randbytes(3000),
        "HLS naming a URL": _hls(f"{url}/a.mp3"),
        "HLS naming a file": _hls(f"file://{secret}"),
        "playlist naming a file": f"{secret}\n".encode(),
        "ffconcat naming a file": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "concat protocol": f"concat:{secret}|{secret}".encode(),
        "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "DASH naming a URL": f"<?xml version='1.0'?><MPD><BaseURL>{url}/</BaseURL></MPD>".encode(),
        "AVI-like": b"RIFF\x10\0\0\0AVI LIST" + chance.randbytes(2000),
        "WAV at an absurd rate": _wav(1_092_676, 1, 16),
        "WAV at no rate": _wav(0, 1, 16),
        "WAV of no channels": _wav(16_000, 0, 16),
        "WAV of 65535 channels": _wav(16_000, 65_535, 16),
        "WAV of an unknown codec": _wav(16_000, 1, 16, tag=0x1234),
        "WAV without data": _wav(16_000, 1, 16)[:36],
        "WAV without format": b"RIFF\x24\0\0\0WAVEdata\x04\0\0\0\0\0\0\0",
        "WAV with an endless chunk": b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\x7f" + bytes(90_000),
        "film without sound": _ffmpeg("-f", "lavfi", "-i", "color=size=32x32:duration=1", "-f", "matroska"),
        "bomb of silence": _ffmpeg(
            "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "60000",
            "-c:a", "flac", "-frame_size", "65535", "-f", "flac",
        ),
    }  # fmt: skip
    return inputs


async def test_what_is_no_audio_is_refused_and_leaves_nothing_behind(cluster, redis, tmp_path):
    """More than 50 inputs: a clear error each, no file or URL opened, no process left, memory flat."""
    asked: list[str] = []

    class Bait(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    bait = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bait)
    threading.Thread(target=bait.serve_forever, daemon=True).start()
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(encoded(JFK, "mp3"))
    read_at = os.stat(secret).st_atime_ns
    processor = psutil.Process(cluster.processors[0].process.pid)
    before = processor.memory_info().rss
    inputs = {
        name: (data, CONTAINER)
        for name, data in _broken(str(secret), f"http://127.0.0.1:{bait.server_port}").items()
    }

    found = await _convert_all(redis, inputs)
    bait.shutdown()

    sounded = {name: len(c.samples) / 16_000 for name, c in found.items() if _error(c) is None}
    for name, converted in found.items():
        print(f"{name}: {_error(converted) or f'{len(converted.samples)} samples'}")
    assert len(inputs) >= 50
    assert sounded == {}
    assert all(not c.samples.any() for name, c in found.items() if "naming" in name)
    assert asked == []
    assert os.stat(secret).st_atime_ns == read_at
    assert ffmpegs() == []
    grown = processor.memory_info().rss - before
    print(f"the audio-processor grew by {grown >> 20} MB")
    assert grown < MAX_GROWTH


async def test_what_breaks_off_or_is_damaged_sounds_as_far_as_it_goes(redis):
    """Truncated in the middle, or with bytes flipped: sound or an error, never more than there was."""
    chance = random.Random(3)
    inputs = {}
    for kind in KINDS:
        good = encoded(JFK, kind)
        flipped = bytearray(good)
        for _ in range(20):
            flipped[chance.randrange(len(good) // 3, len(good))] ^= 0xFF
        inputs[f"{kind} broken off"] = (good[: len(good) // 2], CONTAINER)
        inputs[f"{kind} damaged"] = (bytes(flipped), CONTAINER)

    for name, converted in (await _convert_all(redis, inputs)).items():
        _error(converted)
        length = len(converted.samples) / 16_000
        assert 2.5 < length < 11.5, name
        assert np.abs(converted.samples).max() > 1000, name
    assert ffmpegs() == []
