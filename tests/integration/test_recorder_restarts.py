"""A recorder that starts again in a live session: both recordings are heard, and clients are told."""

import asyncio
import json

import pytest

from audio_processor.session import notice_of
from audio_processor.timeline import Jump, Kind
from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat
from parlando.store.connection import connect
from support.cluster import Cluster
from support.conversion import Stream, convert
from support.media import made, restamped, second_at, wav
from support.speech import fixture

CONTAINER = AudioFormat(encoding=Encoding.CONTAINER)
SPEECH = fixture("jfk.flac")
FRAGMENTED = made("mp4", "-i", "JFK", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
RESTARTS = {
    "fragmented MP4": FRAGMENTED * 2,
    "M4A with its index at the end": made("m4a", "-i", "JFK", "-c:a", "aac") * 2,
    "WAV": wav(SPEECH) * 2,
    "WAV without a length": wav(SPEECH, size=0xFFFFFFFF) * 2,
    "WAV of ADPCM": made("wav", "-i", "JFK", "-c:a", "adpcm_ms") * 2,
    "WAV without a length, then WebM": wav(SPEECH, size=0) + made("webm", "-i", "JFK", "-c:a", "libopus"),
    "fragmented MP4, then WAV": FRAGMENTED + wav(SPEECH),
    "Vorbis of two rates": made("ogg", "-i", "JFK", "-c:a", "libvorbis", "-ar", "44100")
    + made("ogg", "-i", "JFK", "-c:a", "libvorbis", "-ar", "22050"),
    "WebM": made("webm", "-i", "JFK", "-c:a", "libopus") * 2,
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=0, processors=1, PROCESSOR_BACKLOG_S="100000") as cluster:
        yield cluster


@pytest.fixture
async def redis(cluster):
    client = connect(cluster.redis.url)
    yield client
    await client.aclose()


@pytest.mark.parametrize("name", RESTARTS)
async def test_both_recordings_are_heard_however_the_bytes_come(redis, name):
    whole = await convert(redis, f"whole-{name}", RESTARTS[name], CONTAINER, piece=1 << 20)
    odd = await convert(redis, f"odd-{name}", RESTARTS[name], CONTAINER, piece=1237)
    middle = len(whole.samples) // 2

    assert len(whole.samples) / 16_000 == pytest.approx(22, abs=0.4)
    assert second_at(whole.samples[:middle], 8.0) == pytest.approx(8.0, abs=0.15)
    assert second_at(whole.samples[middle:], 8.0) == pytest.approx(8.0, abs=0.15)
    assert whole.pcm == odd.pcm


async def test_a_killed_audio_processor_changes_no_byte_of_the_second_recording(cluster, redis):
    names = ("fragmented MP4", "WAV", "WAV without a length")
    calm = {name: await convert(redis, f"calm-{name}", RESTARTS[name], CONTAINER) for name in names}
    streams = {name: Stream(redis, f"killed-{name}", CONTAINER) for name in names}
    sending = [asyncio.create_task(streams[name].send(RESTARTS[name], over_s=3)) for name in names]
    async with asyncio.timeout(300):
        for stream in streams.values():
            while int(await redis.hget(stream.keys.session, "received") or 0) < 13 * 16_000:
                await asyncio.sleep(0.02)
    cluster.processors[-1].kill()
    cluster.add_processor()
    await asyncio.gather(*sending)

    for name, stream in streams.items():
        assert (await stream.finish()).pcm == calm[name].pcm, name


async def _told(redis, sid: str, data: bytes) -> list[dict]:
    """The statuses published while a stream is converted."""
    stream = Stream(redis, sid, CONTAINER)
    channel = redis.pubsub()
    await channel.subscribe(stream.keys.events)
    await stream.send(data)
    await stream.finish()
    found = []
    while message := await channel.get_message(timeout=1):
        if message["type"] == "message" and b'"status"' in message["data"]:
            found.append(json.loads(message["data"]))
    await channel.aclose()
    return found


async def test_clients_are_told_of_a_restart_and_of_silence_for_timestamps(redis):
    [restarted] = await _told(redis, "told-restart", RESTARTS["fragmented MP4"])
    gap = restamped("webm", "if(gte(PTS*TB,2.6),PTS+5/TB,PTS)", "-c:a", "libopus")
    [silence] = await _told(redis, "told-gap", gap)

    assert (restarted["status"], restarted["reason"]) == ("restarted", "header")
    assert (silence["status"], silence["reason"]) == ("silence_added", "timestamps")
    assert silence["ms"] == pytest.approx(5000, abs=100)
    assert "seq" not in silence, "it isn't kept"


@pytest.mark.parametrize(
    ("jump", "status", "ms"),
    [
        (Jump(Kind.FILLED, 0, 2.5), "silence_added", 2500),
        (Jump(Kind.IGNORED, 0, 900.0), "gap_ignored", 900_000),
        (Jump(Kind.RESTARTED, 0, -3.0), "restarted", 0),
    ],
)
def test_a_jump_has_a_status(jump, status, ms):
    notice = notice_of(jump, "s_1")
    assert notice is not None
    assert (notice.status, notice.ms) == (status, ms)


def test_short_gaps_are_not_told():
    assert notice_of(Jump(Kind.FILLED, 0, 0.4), "s_1") is None
