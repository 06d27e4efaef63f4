"""Joined files, several tracks, inverted channels, long heads: heard whole, or refused with the reason."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from audio_processor.containers import no_audio
from audio_processor.mixing import BLOCK, LIVE_BLOCKS, LiveMixer, Mixer
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidAudioError
from support.ffmpegs import INSTALLED, ffmpeg_of
from support.media import VIDEO, chunk, made, run, second_at, wav
from support.speech import fixture
from support.taken import CONTAINER, Taken, decoded, live

SPEECH = fixture("jfk.flac")
QUIET = np.zeros_like(SPEECH)
SHORT = SPEECH[: 4 * 16_000]


@pytest.fixture(scope="module")
def program():
    return ffmpeg_of(INSTALLED)


FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov")
JOINED = {
    "WAV": wav(SPEECH) * 2,
    "WAV without a length": wav(SPEECH, size=0xFFFFFFFF) * 2,
    "WAV of size 0": wav(SPEECH, size=0) * 2,
    "WAV with chunks behind its samples": (wav(SPEECH) + chunk(b"LIST", bytes(500))) * 2,
    "WAV with a chunk first": wav(SPEECH, first=chunk(b"JUNK", bytes(28))) * 2,
    "WAV of ADPCM": made("wav", "-i", "JFK", "-c:a", "adpcm_ms") * 2,
    "M4A": made("m4a", "-i", "JFK", "-c:a", "aac") * 2,
    "M4A with its index first": made("m4a", "-i", "JFK", "-c:a", "aac", "-movflags", "faststart") * 2,
    "fragmented MP4": made("mp4", "-i", "JFK", "-c:a", "aac", *FRAGMENTED) * 2,
    "fragmented MP4, then M4A": made("mp4", "-i", "JFK", "-c:a", "aac", *FRAGMENTED)
    + made("m4a", "-i", "JFK", "-c:a", "aac"),
    "WAV, then WebM": wav(SPEECH) + made("webm", "-i", "JFK", "-c:a", "libopus"),
    "WAV without a length, then MP4": wav(SPEECH, size=0)
    + made("mp4", "-i", "JFK", "-c:a", "aac", *FRAGMENTED),
    "WAV, then MP3": wav(SPEECH) + made("mp3", "-i", "JFK"),
    "M4A, then FLAC": made("m4a", "-i", "JFK", "-c:a", "aac") + made("flac", "-i", "JFK"),
    "fragmented MP4, then Ogg": made("mp4", "-i", "JFK", "-c:a", "aac", *FRAGMENTED)
    + made("ogg", "-i", "JFK", "-c:a", "libopus"),
    "Vorbis of two rates": made("ogg", "-i", "JFK", "-c:a", "libvorbis", "-ar", "44100")
    + made("ogg", "-i", "JFK", "-c:a", "libvorbis", "-ar", "22050"),
    "Opus of two channels, then of one": made("ogg", "-i", "JFK", "-c:a", "libopus", "-ac", "2")
    + made("ogg", "-i", "JFK", "-c:a", "libopus"),
    "FLAC in Ogg of two rates": made("oga", "-i", "JFK", "-c:a", "flac")
    + made("oga", "-i", "JFK", "-c:a", "flac", "-ar", "22050"),
    "FLAC of two rates": made("flac", "-i", "JFK") + made("flac", "-i", "JFK", "-ar", "44100"),
    "FLAC of two rates, the lower one first": made("flac", "-i", "JFK", "-ar", "48000")
    + made("flac", "-i", "JFK", "-ar", "8000"),
    "FLAC, then WAV": made("flac", "-i", "JFK") + wav(SPEECH),
    "WebM": made("webm", "-i", "JFK", "-c:a", "libopus") * 2,
    "Ogg": made("ogg", "-i", "JFK", "-c:a", "libopus") * 2,
    "MP3": made("mp3", "-i", "JFK") * 2,
    "AAC": made("aac", "-i", "JFK") * 2,
    "FLAC": made("flac", "-i", "JFK") * 2,
}
BY_FFMPEG = ("WebM", "Ogg", "MP3", "AAC", "FLAC")
"""Those whose demuxer reads all recordings, also live."""


def _check_both(found: np.ndarray) -> None:
    assert len(found) / 16_000 == pytest.approx(22, abs=0.4)
    middle = len(found) // 2
    assert second_at(found[:middle], 8.0) == pytest.approx(8.0, abs=0.15)
    assert second_at(found[middle:], 8.0) == pytest.approx(8.0, abs=0.15)


@pytest.mark.parametrize("name", JOINED)
async def test_recordings_joined_byte_by_byte_are_all_heard(program, name):
    found, _ = await decoded(program, JOINED[name])
    _check_both(found[:, 0])


@pytest.mark.parametrize("name", BY_FFMPEG)
async def test_recordings_joined_in_one_stream_are_all_heard_live(program, name):
    _check_both(np.frombuffer((await live(program, JOINED[name])).pcm, "<i2"))


async def test_a_recording_behind_one_with_more_channels_is_heard_too(program):
    stereo = made("wav", "-i", "JFK", "-ac", "2")
    found, recording = await decoded(program, stereo + wav(SPEECH), split=True)

    assert recording.channels == 2
    _check_both(found[:, 0])


async def test_what_no_decoder_reads_behind_a_recording_is_left_out(program):
    found, _ = await decoded(program, wav(SPEECH) + b"RIFF\x24\0\0\0WAVEfmt \x02\0\0\0\0\0")
    assert len(found) == len(SPEECH)


# --- channels -----------------------------------------------------------------------------------------


def _stereo(left: np.ndarray, right: np.ndarray) -> bytes:
    samples = np.stack([left, right], axis=1).astype("<i2")
    return wav(samples.reshape(-1)).replace(
        b"\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0", b"\1\0\2\0\x80\x3e\0\0\0\xfa\0\0\4\0\x10\0"
    )


def _as(data: bytes, suffix: str) -> bytes:
    """A file in another format."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.wav").write_bytes(data)
        run("-i", f"{folder}/a.wav", f"{folder}/a.{suffix}")
        return (Path(folder) / f"a.{suffix}").read_bytes()


HALVES = len(SPEECH) // 2 // BLOCK * BLOCK
CHANNELS = {
    "inverted": (SPEECH, -SPEECH, 1.0),
    "inverted and quieter": (SPEECH, -0.7 * SPEECH, 1.0),
    "left only": (SPEECH, QUIET, 1.0),
    "right only": (QUIET, SPEECH, 1.0),
    "alike": (SPEECH, SPEECH, 1.0),
    "one quieter": (SPEECH, 0.3 * SPEECH, 0.65),
    "with noise in the other": (SPEECH, np.random.default_rng(1).normal(0, 300, len(SPEECH)), 0.5),
}


@pytest.mark.parametrize("name", CHANNELS)
async def test_two_channels_are_mixed_without_losing_the_speech(program, name):
    left, right, level = CHANNELS[name]
    found, _ = await decoded(program, _stereo(left, right))
    gain = np.dot(found[:, 0].astype(float), SPEECH) / np.dot(SPEECH.astype(float), SPEECH)

    assert len(found) == len(SPEECH)
    assert gain == pytest.approx(level, abs=0.05)


LIVE_LEVELS = {
    "inverted": 1.0,
    "inverted and quieter": 0.85,
    "left only": 0.5,
    "alike": 1.0,
    "one quieter": 0.65,
}


@pytest.mark.parametrize("name", LIVE_LEVELS)
async def test_two_channels_of_a_live_stream_are_mixed_without_losing_the_speech(program, name):
    """Raw and in a container; a conversion that begins in the middle gives the same samples."""
    data = _stereo(*CHANNELS[name][:2])
    raw = AudioFormat(sample_rate=16_000, channels=2)
    found = {
        "WAV": (await live(program, data)).pcm,
        "raw": await Taken(program, data[44:], raw).all(),
        "Wave64": (await live(program, _as(data, "w64"))).pcm,
    }
    again = Taken(program, data, CONTAINER, emitted=77_777)

    assert found["WAV"][2 * 77_777 :] == await again.all()
    for name_of, pcm in found.items():
        samples = np.frombuffer(pcm, "<i2")
        gain = np.dot(samples.astype(float), SPEECH) / np.dot(SPEECH.astype(float), SPEECH)
        assert len(samples) == len(SPEECH), name_of
        assert gain == pytest.approx(LIVE_LEVELS[name], abs=0.05), name_of


def test_a_live_mix_does_not_depend_on_how_the_samples_come():
    stereo = np.stack([SPEECH, np.roll(-SPEECH, 40)], axis=1).astype("<i2").tobytes()
    whole, pieces = LiveMixer(), LiveMixer()
    expected = whole.push(stereo) + whole.finish()
    found = [pieces.push(stereo[at : at + 1237]) for at in range(0, len(stereo), 1237)]

    assert b"".join([*found, pieces.finish()]) == expected
    assert len(expected) * 2 == len(stereo)
    assert (len(whole._energies), whole.push(b"")) == (LIVE_BLOCKS, b"")


async def test_speakers_on_two_sides_are_both_heard(program):
    """A call: one speaks on the left, then one on the right; no channel is taken alone."""
    first, second = SPEECH.copy(), SPEECH.copy()
    first[HALVES:], second[:HALVES] = 0, 0
    found, _ = await decoded(program, _stereo(first, second))

    gain = np.dot(found[HALVES:, 0].astype(float), SPEECH[HALVES:]) / np.dot(
        SPEECH[HALVES:].astype(float), SPEECH[HALVES:]
    )
    assert 0.45 < gain < 1.05


def test_the_mix_does_not_depend_on_how_the_samples_come():
    stereo = np.stack([SPEECH, np.roll(-SPEECH, 40)], axis=1)
    whole, pieces = Mixer(), Mixer()
    expected = np.concatenate([whole.push(stereo), whole.finish()])
    found = [pieces.push(stereo[at : at + 1237]) for at in range(0, len(stereo), 1237)]

    assert np.array_equal(np.concatenate([*found, pieces.finish()]), expected)
    assert len(expected) == len(stereo)


async def test_five_channels_are_mixed_as_a_film_is(program):
    """Speech in the centre of 5.1 isn't divided by six."""
    data = made("mka", "-i", "JFK", "-af", "pan=5.1|FC=c0", "-c:a", "flac")
    found, _ = await decoded(program, data)
    gain = np.dot(found[: len(SPEECH), 0].astype(float), SPEECH) / np.dot(SPEECH.astype(float), SPEECH)

    assert found.shape[1] == 1
    assert gain > 0.25
    heard = np.frombuffer((await live(program, data)).pcm, "<i2")
    assert np.array_equal(heard, found[:, 0])
    at_the_end = made("m4a", "-i", "JFK", "-af", "pan=5.1|FC=c0", "-c:a", "aac")  # its index
    assert len((await live(program, at_the_end)).pcm) / 32_000 == pytest.approx(11, abs=0.2)


# --- tracks -------------------------------------------------------------------------------------------


def _tracks(suffix: str, *more: str, codec: str = "aac") -> bytes:
    """Track 1: silence, German; track 2: the speech, English, default; track 3: quieter speech, French."""
    return made(
        suffix,
        *VIDEO,
        *("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-i", "JFK"),
        *("-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "2:a", "-t", "11", "-c:a", codec),
        *("-filter:a:2", "volume=0.2"),
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng"),
        *("-metadata:s:a:2", "language=fre"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", *more),
    )


TRACKS = {
    "MKV": _tracks("mkv", "-c:v", "mpeg4"),
    "MP4": _tracks("mp4", "-c:v", "mpeg4"),
    "MPEG-TS": _tracks("ts", "-c:v", "mpeg2video", "-r", "25"),
}


@pytest.mark.parametrize(
    ("container", "options", "loudness"),
    [
        ("MKV", {}, 1.0),
        ("MP4", {}, 1.0),
        ("MPEG-TS", {}, 0.0),  # without a mark of a default track
        ("MKV", {"languages": ["en"]}, 1.0),
        ("MPEG-TS", {"languages": ["en"]}, 1.0),
        ("MKV", {"languages": ["de"]}, 0.0),
        ("MP4", {"languages": ["fr"]}, 0.2),
        ("MKV", {"languages": ["it", "fr"]}, 0.2),
        ("MKV", {"languages": ["it"]}, 1.0),
        ("MKV", {"track": 1}, 0.0),
        ("MKV", {"track": 3, "languages": ["en"]}, 0.2),
        ("MPEG-TS", {"track": 2}, 1.0),
    ],
)
async def test_the_track_that_is_asked_for_or_the_default_one_is_heard(program, container, options, loudness):
    found, _ = await decoded(program, TRACKS[container], **options)
    level = np.sqrt((found.astype(float) ** 2).mean()) / np.sqrt((SPEECH.astype(float) ** 2).mean())

    assert level == pytest.approx(loudness, abs=0.05)


async def test_a_track_that_is_not_there_is_refused_with_those_that_are(program):
    with pytest.raises(InvalidAudioError) as refused:
        await decoded(program, TRACKS["MKV"], track=4)
    assert refused.value.message == (
        "Expected an audio track of the file, but got track 4; "
        "it has 3: 1 (German), 2 (English, default), 3 (French)"
    )
    with pytest.raises(InvalidAudioError, match="got track 2; it has only one"):
        await decoded(program, wav(SHORT), track=2)


# --- heads, and what is no audio ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [4_000, 65_000, 70_000, 393_000, 1_500_000])
async def test_a_wav_may_have_much_before_its_samples(program, size):
    data = wav(SHORT, before=chunk(b"LIST", bytes(size)))
    found, _ = await decoded(program, data)

    assert np.array_equal(found[:, 0], SHORT)
    assert np.array_equal(np.frombuffer((await live(program, data)).pcm, "<i2"), SHORT)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/a.mp3", "a playlist"),
        (b"ffconcat version 1.0\nfile 'a.mp3'", "a playlist"),
        (b"[playlist]\nFile1=a.mp3", "a playlist"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1", "a description of a stream"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"MThd\0\0\0\x06", "a MIDI file"),
    ],
)
async def test_what_is_no_audio_is_called_what_it_is(program, head, what):
    assert (no_audio(head) or "").startswith(what)
    with pytest.raises(InvalidAudioError, match=f"^Expected audio, but got {what}"):
        await decoded(program, head + bytes(100))
