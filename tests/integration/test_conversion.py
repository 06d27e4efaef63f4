"""Bytes in, PCM out, through real processes of the audio-processor and a real Redis."""

import asyncio
import io
import signal
import subprocess
import time

import httpx
import numpy as np
import pytest
import soundfile

from audio_processor.ffmpeg import MIN_VERSION, find
from parlando.domain.audio import Encoding
from parlando.domain.commands import End, Flush, encode
from parlando.domain.formats import AudioFormat
from parlando.store.connection import connect
from support.cluster import Cluster
from support.conversion import PIECE, Converted, Stream, convert, ffmpegs, form_of
from support.encoding import RECIPES, encoded
from support.ffmpegs import FEW, INSTALLED, path_with
from support.speech import JFK, fixture


@pytest.fixture(scope="module", params=FEW)
def cluster(request):
    """Audio-processors only: the PCM stays where it is. With each of several versions of FFmpeg."""
    path = path_with(request.param)
    with Cluster(transcribers=0, processors=1, PROCESSOR_BACKLOG_S="100000", PATH=path) as cluster:
        yield cluster


@pytest.fixture
async def redis(cluster):
    client = connect(cluster.redis.url)
    yield client
    await client.aclose()


def _shift(window: np.ndarray, found: np.ndarray) -> int:
    """Where in `found` the window lies: the best of all shifts, by one Fourier transform."""
    size = len(found)
    scores = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(window, size)), size)
    return int(np.argmax(scores[: size - len(window)]))


CONVERTED = [name for name in RECIPES if name not in ("s16le_16000_1", "f32le_16000_1")]


async def test_every_sample_comes_out_in_its_place(redis):
    original = fixture("jfk.flac").astype(float)
    for name in CONVERTED:
        found = (await convert(redis, f"place-{name}", encoded(JFK, name), form_of(name))).samples
        shift = _shift(original[16_000:48_000], found[16_000 - 1700 : 48_000 + 1700]) - 1700

        assert abs(len(found) - len(original)) <= 1700, name
        assert abs(shift) <= (1600 if name in ("mp3", "mp4_aac") else 1), name  # their encoders' own delay


@pytest.mark.parametrize("cluster", [INSTALLED, MIN_VERSION], indirect=True)
async def test_the_pieces_in_which_bytes_come_change_nothing(cluster, redis):
    for name in CONVERTED:
        data = encoded(JFK, name)
        whole = await convert(redis, f"whole-{name}", data, form_of(name), piece=1 << 20)
        odd = await convert(redis, f"odd-{name}", data, form_of(name), piece=1237)

        assert whole.pcm == odd.pcm, name


@pytest.mark.parametrize(
    ("cluster", "cut_at"),
    [(INSTALLED, 0.2), (INSTALLED, 0.55), (MIN_VERSION, 0.55)],
    indirect=["cluster"],
)
async def test_a_killed_audio_processor_changes_no_byte(cluster, redis, cut_at):
    """SIGKILL at two places of every format; `normalize` too, whose filters have a memory."""
    forms = {name: (encoded(JFK, name), form_of(name)) for name in CONVERTED}
    forms["normalized"] = (fixture("jfk.flac").tobytes(), AudioFormat(normalize=True))
    expected = {n: await convert(redis, f"calm-{n}-{cut_at}", *of) for n, of in forms.items()}
    streams = {n: Stream(redis, f"killed-{n}-{cut_at}", form) for n, (_, form) in forms.items()}
    sending = [asyncio.create_task(s.send(forms[n][0], over_s=4)) for n, s in streams.items()]
    await asyncio.sleep(4 * cut_at)
    while not all([int(await redis.hget(s.keys.session, "intake_epoch")) for s in streams.values()]):
        await asyncio.sleep(0.02)
    cluster.processors[-1].kill()
    cluster.add_processor()
    await asyncio.gather(*sending)

    for name, stream in streams.items():
        assert (await stream.finish()).pcm == expected[name].pcm, name
        assert int(await redis.hget(stream.keys.session, "intake_epoch")) > 1, name


async def test_a_handed_back_conversion_changes_no_byte(cluster, redis):
    data, form = encoded(JFK, "s16le_44100_2"), form_of("s16le_44100_2")
    expected = await convert(redis, "calm-drain", data, form)
    stream = Stream(redis, "drain", form)
    sending = asyncio.create_task(stream.send(data, over_s=2))
    await asyncio.sleep(1)
    assert cluster.processors[-1].terminate() == 0
    cluster.add_processor()
    await sending

    assert (await stream.finish()).pcm == expected.pcm


async def test_a_killed_ffmpeg_is_started_again_or_said_to_have_failed(redis):
    data, form = encoded(JFK, "s16le_48000_2"), form_of("s16le_48000_2")
    expected = await convert(redis, "calm-ffmpeg", data, form)
    stream = Stream(redis, "ffmpeg", form)
    sending = asyncio.create_task(stream.send(data, over_s=2))
    await asyncio.sleep(1)
    running = ffmpegs()
    for child in running:
        child.send_signal(signal.SIGKILL)
    await sending

    assert len(running) == 1
    assert (await stream.finish()).pcm == expected.pcm


async def test_a_flush_brings_everything_out_and_the_stream_goes_on(redis):
    """Whatever was sent before a flush lies before it in the PCM, and the seam can't be heard."""
    data, form = encoded(JFK, "s16le_44100_1"), form_of("s16le_44100_1")
    calm = (await convert(redis, "calm-flush", data, form)).samples
    stream = Stream(redis, "flush", form)
    half = len(data) // 4 * 2
    await stream.send(data[:half])
    await stream.writer.command(Flush())
    async with asyncio.timeout(600):
        while not (found := Converted(await redis.xrange(stream.keys.pcm))).controls:
            await asyncio.sleep(0.01)
    before = len(found.samples)
    for start in range(half, len(data), PIECE):
        await stream.writer.append(data[start : start + PIECE], 1 << 30)
    flushed = await stream.finish()

    assert abs(before - half // 2 * 16_000 / 44_100) <= 1
    assert len(flushed.samples) == len(calm)
    different = np.flatnonzero(flushed.samples != calm)
    assert len(different) == 0 or np.ptp(different) < 200, (
        "only the last samples before the flush lack a future"
    )


async def test_one_channel_of_two_can_be_chosen(redis):
    left, right = fixture("jfk.flac"), np.zeros_like(fixture("jfk.flac"))
    data = np.stack([left, right], axis=1).tobytes()
    stereo = {"sample_rate": 16_000, "channels": 2}

    first = (await convert(redis, "first", data, AudioFormat(**stereo, channel=0))).samples
    second = (await convert(redis, "second", data, AudioFormat(**stereo, channel=1))).samples
    mixed = (await convert(redis, "mixed", data, AudioFormat(**stereo))).samples

    assert np.array_equal(first, left)
    assert not second.any()
    assert np.abs(mixed - left / 2).max() <= 1


async def test_a_wav_that_never_ends_holds_only_seconds_in_redis(redis):
    """Its header is read once; from then on it's plain PCM, of which Redis keeps what a restart needs."""
    second = np.random.default_rng(1).integers(-9000, 9000, 96_000, np.int16).tobytes()
    head = (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\2\0\x80\xbb\0\0\0\xee\2\0\4\0\x10\0data\xff\xff\xff\xff"
    )
    stream = Stream(redis, "endless", AudioFormat(encoding=Encoding.CONTAINER))
    await stream.send(head)
    for _ in range(40):
        await stream.writer.append(second, 1 << 30)
    async with asyncio.timeout(600):
        while int(await redis.hget(stream.keys.session, "received")) < 39 * 16_000:
            await asyncio.sleep(0.05)
    kept = sum(len(fields[b"p"]) for _, fields in await redis.xrange(stream.keys.raw))
    found = await stream.finish()

    assert kept <= 6 * len(second)
    assert len(found.samples) == 40 * 16_000


async def test_an_mp4_with_its_index_at_the_end_is_read_when_it_is_complete(redis, tmp_path):
    path = tmp_path / "late.m4a"
    subprocess.run([find(), "-v", "error", "-i", JFK, "-c:a", "aac", path], check=True)
    found = await convert(redis, "late-index", path.read_bytes(), AudioFormat(encoding=Encoding.CONTAINER))

    assert abs(len(found.samples) - 176_000) <= 2048
    assert found.controls == [encode(End()).decode()]


async def test_no_ffmpeg_outlives_its_session_or_its_processor(cluster, redis):
    data, form = encoded(JFK, "webm_opus"), form_of("webm_opus")
    deleted, killed = Stream(redis, "deleted", form), Stream(redis, "left", form)
    await asyncio.gather(deleted.send(data[: len(data) // 2]), killed.send(data[: len(data) // 2]))
    async with asyncio.timeout(600):
        while len(running := ffmpegs()) < 2:
            await asyncio.sleep(0.05)

    await redis.delete(deleted.keys.session, deleted.keys.pcm, deleted.keys.raw)
    async with asyncio.timeout(600):
        while len(ffmpegs()) > 1:
            await asyncio.sleep(0.05)
    cluster.processors[-1].kill()
    async with asyncio.timeout(600):
        while any(process.is_running() for process in running):
            await asyncio.sleep(0.05)

    cluster.add_processor()
    for start in range(len(data) // 2, len(data), PIECE):
        await killed.writer.append(data[start : start + PIECE], 1 << 30)
    assert len((await killed.finish()).samples) >= 175_000


# --- whole files over HTTP --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FEW)
def service(request):
    path = path_with(request.param)
    with Cluster(transcribers=0, processors=1, CONVERT_MAX_MB="1", PATH=path) as cluster:
        url = f"http://127.0.0.1:{cluster.processor_port}"
        deadline = time.monotonic() + 60
        while not _answers(f"{url}/ready"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("wav", "pcm_s16le", 44_100, 2),
        ("mp3", "mp3", 44_100, 1),
        ("webm_opus", "opus", 48_000, 1),
        ("mp4_aac", "aac", 44_100, 1),
        ("flac", "flac", 16_000, 1),
    ],
)
def test_a_file_is_probed_and_converted(service, name, codec, rate, channels):
    data = encoded(JFK, name) if name != "wav" else encoded(JFK, name)[: 900 << 10]
    probed = httpx.post(f"{service}/v1/audio/probe", content=data).json()
    converted = httpx.post(f"{service}/v1/audio/convert", content=data)
    samples, found = soundfile.read(io.BytesIO(converted.content), dtype="int16")

    assert (probed["codec"], probed["sample_rate"], probed["channels"]) == (codec, rate, channels)
    assert probed["duration"] == pytest.approx(len(samples) / 16_000, abs=0.001)
    assert probed["duration"] == pytest.approx(11.0 if name != "wav" else 5.22, abs=0.1)
    assert converted.headers["content-type"] == "audio/wav"
    assert found == 16_000


def test_a_large_file_is_converted_for_a_client_that_reads_late():
    """Ten minutes of stereo, 115 MB in many parts; nothing is read before everything is sent."""
    parts, part = 600, np.zeros(96_000, np.int16).tobytes()
    head = encoded(JFK, "wav")[:36] + b"data" + (len(part) * parts).to_bytes(4, "little")

    def body():
        yield head.replace((44_100).to_bytes(4, "little"), (48_000).to_bytes(4, "little"))
        for _ in range(parts):
            yield part

    with Cluster(transcribers=0, processors=1) as cluster:
        time.sleep(0.5)
        url = f"http://127.0.0.1:{cluster.processor_port}/v1/audio/convert"
        received = 0
        with httpx.stream("POST", url, content=body(), timeout=600) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_bytes():
                received += len(piece)

    assert received == pytest.approx(600 * 32_000, abs=200)


def test_an_mp4_with_its_index_at_the_end_is_probed_and_converted(service, tmp_path):
    path = tmp_path / "late.m4a"
    subprocess.run([find(), "-v", "error", "-i", JFK, "-c:a", "aac", path], check=True)

    assert httpx.post(f"{service}/v1/audio/probe", content=path.read_bytes()).json()["codec"] == "aac"
    assert len(httpx.post(f"{service}/v1/audio/convert", content=path.read_bytes()).content) > 350_000


@pytest.mark.parametrize(("data", "status"), [(b"", 415), (b"no audio", 415), (bytes(3 << 20), 413)])
def test_what_is_no_file_of_ours_is_refused_with_a_reason(service, data, status):
    for path in ("probe", "convert"):
        refused = httpx.post(f"{service}/v1/audio/{path}", content=data)
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert len(refused.json()["detail"]) > 20
    assert ffmpegs() == []
