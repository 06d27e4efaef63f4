"""Every version of FFmpeg gives the same samples and the same errors, and an old one is refused."""

import asyncio
import gc
import os
import struct
from contextlib import aclosing
from pathlib import Path

import numpy as np
import psutil
import pytest

from audio_processor import ffmpeg
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.files import Files
from audio_processor.layout import sniff
from audio_processor.recording import Recording
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidAudioError
from support.conversion import form_of
from support.encoding import RECIPES, encoded
from support.ffmpegs import INSTALLED, VERSIONS, ffmpeg_of
from support.speech import JFK, fixture
from support.taken import CONTAINER, Taken

LOSSLESS = [name for name in RECIPES if name.startswith(("s16le", "f32le", "mulaw", "alaw", "wav", "flac"))]
LOSSY = [name for name in RECIPES if name not in LOSSLESS]
LOUD = (fixture("jfk.flac").astype(int) * 3).clip(-32_768, 32_767).astype("<i2").tobytes()
SECONDS = 11


@pytest.fixture(scope="module", params=VERSIONS)
def version(request) -> Ffmpeg:
    found = ffmpeg_of(request.param)
    print(found)
    return found


@pytest.fixture(scope="module")
def installed() -> Ffmpeg:
    return ffmpeg_of(INSTALLED)


async def _pcm(program: Ffmpeg, data: bytes, form: AudioFormat, emitted: int = 0) -> bytes:
    async with asyncio.timeout(600):
        return await Taken(program, data, form, emitted).all()


@pytest.mark.parametrize("name", LOSSLESS)
async def test_every_version_gives_the_same_samples(version, installed, name):
    data, form = encoded(JFK, name), form_of(name)
    found = await _pcm(version, data, form)

    assert len(found) == 2 * 16_000 * SECONDS
    assert found == await _pcm(installed, data, form)


@pytest.mark.parametrize("name", LOSSY)
async def test_every_version_decodes_to_the_same_samples_but_for_rounding(version, installed, name):
    """Decoders of MP3, Opus and AAC compute in float, and not in the same order in every version."""
    data, form = encoded(JFK, name), form_of(name)
    found = np.frombuffer(await _pcm(version, data, form), "<i2")
    expected = np.frombuffer(await _pcm(installed, data, form), "<i2")

    assert len(found) == len(expected)
    assert np.abs(found.astype(int) - expected).max() <= 2


async def test_every_version_normalizes_alike(version, installed):
    form = AudioFormat(normalize=True)
    found = await _pcm(version, LOUD, form)

    assert len(found) == len(LOUD)
    assert np.abs(np.frombuffer(found, "<i2").astype(int)).max() <= 0.9 * 32_768 + 1
    assert found == await _pcm(installed, LOUD, form)


def _head(tag: int, channels: int, rate: int, bits: int) -> bytes:
    form = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"data\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("tag", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)]
)
async def test_every_version_reads_every_kind_of_wav(version, installed, tag, bits):
    """One, three and eight channels, rates below and above 16 kHz; as long as its samples say."""
    for channels, rate in ((1, 11_025), (3, 44_100), (8, 8000)):
        frames = rate + 7
        noise = np.random.default_rng(bits).normal(0, 0.1, frames * channels)
        samples = noise.astype(f"<f{bits // 8}").tobytes() if tag == 3 else os.urandom(len(noise) * bits // 8)
        data = _head(tag, channels, rate, bits) + samples
        found = await _pcm(version, data, CONTAINER)

        assert abs(len(found) // 2 - frames * 16_000 / rate) <= 1, (channels, rate)
        assert found == await _pcm(installed, data, CONTAINER), (channels, rate)


@pytest.mark.parametrize("name", ["s16le_8000_1", "s16le_44100_2", "f32le_48000_2", "wav", "normalized"])
async def test_a_conversion_is_taken_over_to_the_sample_even_by_another_version(version, installed, name):
    """As in a rolling update: the new owner begins two seconds before the first sample that is missing."""
    data, form = (
        (LOUD, AudioFormat(normalize=True)) if name == "normalized" else (encoded(JFK, name), form_of(name))
    )
    whole = await _pcm(installed, data, form)

    for emitted in (1, 15_999, 61_234, 150_000):
        assert await _pcm(version, data, form, emitted) == whole[2 * emitted :], emitted


@pytest.mark.parametrize("name", ["s16le_8000_1", "s16le_44100_1", "f32le_48000_2", "normalized"])
async def test_a_flush_brings_every_sample_out(version, name):
    data, form = (
        (LOUD, AudioFormat(normalize=True)) if name == "normalized" else (encoded(JFK, name), form_of(name))
    )
    calm = np.frombuffer(await _pcm(version, data, form), "<i2")
    frame = len(data) // (SECONDS * form.sample_rate)
    taken = Taken(version, data, form)
    done = 0
    try:
        for seconds in (1.0, 1.02, 4.5, 4.501, 10.9):
            stop = int(seconds * form.sample_rate) * frame
            await taken.feed(done, stop)
            await taken.conversion.cut()
            done = stop

            assert abs(len(taken.pcm) // 2 - seconds * 16_000) <= 1, seconds
        await taken.feed(done, len(data))
        await taken.conversion.finish()
    finally:
        await taken.conversion.close()

    flushed = np.frombuffer(taken.pcm, "<i2")
    assert len(flushed) == len(calm)
    assert np.count_nonzero(flushed != calm) < 5 * 200, "only the last samples before a flush lack a future"


# --- what is no audio, or damaged -------------------------------------------------------------------


def _mp3_of_errors() -> bytes:
    """An MP3 with more frames that can't be decoded than frames that can."""
    data = bytearray(encoded(JFK, "mp3"))
    chance = np.random.default_rng(5)
    for at in chance.integers(4000, len(data), 20_000):
        data[at] ^= 0xFF
    return bytes(data)


KNOWN = {
    "text": (b"And so, my fellow Americans" * 500, "it is no known audio format, or damaged"),
    "flac of its first bytes": (b"fLaC\0\0\0\x22\x10\0\x10\0", "it is no known audio format, or damaged"),
    "mp3 of two bytes": (b"\xff\xfb" + bytes(90), "it is no known audio format, or damaged"),
    "a header of Ogg": (b"OggS" + bytes(36), "it ends before its first audio"),
    "an MP4 without index": (
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x88mdat" + bytes(128),
        "its index (moov) is missing",
    ),
    "an AVI of zeros": (
        b"RIFF\x10\0\0\0AVI LIST" + bytes(2000),
        "it is no known audio format, or damaged",
    ),
    "subtitles": (
        b"1\n00:00:01,000 --> 00:00:02,000\nAnd so\n\n" * 20,
        "its format is not one of those that are decoded; convert it to WAV, FLAC, MP3, M4A, Ogg or WebM",
    ),
    "WAV of an unknown codec": (
        _head(0x1234, 1, 16_000, 16).replace(b"\xff\xff\xff\xff", b"\x40\0\0\0") + bytes(64),
        "there is no decoder for its codec",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
async def test_every_version_gives_the_same_reason_and_none_of_its_own_words(version, name):
    """The same live, as a job and over HTTP."""
    data, reason = KNOWN[name]
    said = {}
    with pytest.raises(InvalidAudioError) as live:
        await _pcm(version, data, CONTAINER)
    said["live"] = live.value.message

    descriptor = os.memfd_create("job")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        with pytest.raises(InvalidAudioError) as job:
            async with aclosing(Recording(version, descriptor, split=True).pcm()) as blocks:
                assert [block async for block in blocks] == []
        said["job"] = job.value.message
    finally:
        os.close(descriptor)

    for kind in ("convert", "probe"):
        with pytest.raises(InvalidAudioError) as file:
            if kind == "probe":
                await Files(version, 1 << 20).probe(_body(data))
            else:
                await anext(Files(version, 1 << 20).convert(_body(data)))
        said[kind] = file.value.message

    assert said == {
        "live": f"The audio can't be decoded: {reason}",
        **dict.fromkeys(("job", "convert", "probe"), f"The file can't be decoded: {reason}"),
    }
    assert psutil.Process().children() == []


async def _body(data: bytes):
    yield data


async def test_a_stream_of_errors_sounds_as_far_as_it_goes(version, installed):
    """Most versions, but not all, would give an error status when most frames can't be decoded."""
    data = _mp3_of_errors()
    found = await _pcm(version, data, CONTAINER)

    assert len(found) > 16_000
    assert len(found) == len(await _pcm(installed, data, CONTAINER))


async def test_files_and_jobs_get_every_sample_of_every_version(version):
    """Two channels each for itself, as jobs are decoded; mixed, as `convert` does it."""
    stereo = encoded(JFK, "s16le_48000_2")
    data = _head(1, 2, 48_000, 16) + stereo
    descriptor = os.memfd_create("job")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        recording = Recording(version, descriptor, split=True)
        async with aclosing(recording.pcm()) as blocks:
            pcm = np.concatenate([block async for block in blocks])
    finally:
        os.close(descriptor)
    async with aclosing(Files(version, 1 << 23).convert(_body(data))) as pieces:
        wav = b"".join([piece async for piece in pieces])

    assert (recording.channels, pcm.shape) == (2, (16_000 * SECONDS, 2))
    assert np.array_equal(pcm[:, 0], pcm[:, 1])
    assert len(wav) - sniff(wav, complete=False).skip == 2 * 16_000 * SECONDS


# --- processes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["closed", "cancelled"])
async def test_a_file_left_in_the_middle_leaves_no_process(installed, left):
    """Whoever reads a conversion or a recording may leave it: by closing it, or by being cancelled."""
    data = _head(1, 2, 48_000, 16) + bytes(48_000 * 4 * 300)
    descriptor = os.memfd_create("job")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)

    async def read(make) -> None:
        async with aclosing(make()) as parts:
            await anext(parts)
            begun.set()
            if left == "cancelled":
                await asyncio.sleep(60)

    try:
        for make in (
            lambda: Files(installed, 1 << 30).convert(_body(data)),
            lambda: Recording(installed, descriptor, split=True).pcm(),
        ):
            begun = asyncio.Event()
            reading = asyncio.create_task(read(make))
            await begun.wait()
            while left == "cancelled" and not reading.done():
                reading.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([reading])
            assert psutil.Process().children() == []
    finally:
        os.close(descriptor)
    gc.collect()  # a pipe that was left open would be told now, and fail the test


async def test_a_conversion_that_fails_leaves_no_process(version):
    """After `close`, whatever FFmpeg was doing."""
    for data in (encoded(JFK, "webm_opus")[:20_000], b"RIFF\x10\0\0\0AVI LIST" + bytes(2000)):
        taken = Taken(version, data, CONTAINER)
        await taken.feed(0, len(data))
        closing = asyncio.create_task(taken.conversion.close())
        await asyncio.sleep(0)
        while not closing.done():
            closing.cancel()
            await asyncio.sleep(0)
        assert psutil.Process().children() == []


# --- which one is taken -----------------------------------------------------------------------------


def _fake(folder: Path, version: str, libavformat: str) -> str:
    """A program that says that it's that FFmpeg; a PATH with it."""
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(
        f"#!/bin/sh\necho 'ffmpeg version {version} Copyright'\necho 'libavformat {libavformat}'\n"
    )
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("version", "libavformat", "taken"),
    [
        ("4.1-static", "    58. 20.100 / 58. 20.100", False),
        ("4.2.2-static", "    58. 29.100 / 58. 29.100", True),
        ("4.4.2-0ubuntu0.22.04.1", "    58. 76.100 / 58. 76.100", True),
        ("N-118193-g5f38c82536", "    61.  9.107 / 61.  9.107", True),
        ("N-90000-g0123456789", "    58. 10.100 / 58. 10.100", False),
        ("3.4.11", "    57. 83.100 / 57. 83.100", False),
    ],
)
def test_an_old_ffmpeg_is_passed_over(monkeypatch, tmp_path, capfd, version, libavformat, taken):
    monkeypatch.setenv("PATH", _fake(tmp_path / "bin", version, libavformat))
    found = ffmpeg.probe()

    assert found is not None
    assert (found.version == version) is taken
    assert (
        f"Expected FFmpeg 4.2 or newer, but {tmp_path}/bin/ffmpeg is {version}" in capfd.readouterr().out
    ) is not taken


async def test_a_header_without_a_sample_is_an_error_before_the_first_piece(tmp_path):
    """A program that writes a WAV's header and fails: the answer must not have begun."""
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nprintf 'RIFF....WAVE'\nexit 1\n")
    program.chmod(0o755)
    files = Files(Ffmpeg(str(program), "0", opens_descriptors=False), 1 << 20)

    with pytest.raises(InvalidAudioError, match="no audio was found in it"):
        await anext(files.convert(_body(b"ID3")))
    assert psutil.Process().children() == []
