"""Audio that is sent in another form than its client says."""

import numpy as np
import pytest

from parlando.domain.audio import Encoding, to_float
from parlando.domain.pcm_check import LONGEST, PcmCheck
from parlando.errors import InvalidAudioError
from support.perfect import speak
from support.speech import fixture

JFK = fixture("jfk.flac")
FILES = {
    "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01",
    "Ogg": b"OggS\0\x02" + bytes(20),
    "FLAC": b"fLaC\0\0\0\x22" + bytes(20),
    "MP4": b"\0\0\0\x1cftypisom\0\0\2\0",
}


def look(data: bytes, *, encoding: Encoding = Encoding.PCM_S16LE, size: int = 640) -> None:
    check = PcmCheck(encoding)
    for at in range(0, len(data), size):
        check.push(data[at : at + size])


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_F32LE, Encoding.MULAW])
@pytest.mark.parametrize("size", [1, 7, 640, 1 << 20])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_recognised(kind, size, encoding):
    with pytest.raises(InvalidAudioError, match=f"begins like a file .{kind}.*encoding=container"):
        look(FILES[kind], encoding=encoding, size=size)


@pytest.mark.parametrize("quiet", [0, 5])
@pytest.mark.parametrize("size", [333, 640, 1 << 20])
def test_float_samples_are_recognised_also_after_silence(size, quiet):
    """Also in messages that split a sample, and for quiet speech. `quiet`: seconds."""
    for volume in (1.0, 0.01):
        speech = to_float(JFK[: 3 * 16_000]) * np.float32(volume)
        data = bytes(4 * 16_000 * quiet) + speech.astype("<f4").tobytes()
        with pytest.raises(InvalidAudioError, match=r"32-bit float.*encoding=pcm_f32le"):
            look(data, size=size)


def signals() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    time = np.arange(16_000)
    return {
        "speech": JFK,
        "quiet speech": JFK // 300,
        "loud speech": np.clip(JFK.astype(int) * 30, -32768, 32767).astype(np.int16),
        "noise": random.integers(-32768, 32768, 16_000).astype(np.int16),
        "quiet noise": random.integers(-2, 3, 16_000).astype(np.int16),
        "silence": np.zeros(16_000, np.int16),
        "loud sine": (32_000 * np.sin(time / 5)).astype(np.int16),
        "offset": np.full(16_000, 16_000, np.int16),
        "square": np.where(time % 40 < 20, 16_000, -16_000).astype(np.int16),
        "synthetic words": speak(20),
    }


@pytest.mark.parametrize("name", signals())
@pytest.mark.parametrize("odd", [0, 2])
def test_int16_samples_are_never_mistaken(name, odd):
    """`odd`: bytes cut off at the beginning, which changes the pairs."""
    look(signals()[name].tobytes()[odd:])


def test_only_the_beginning_is_looked_at():
    check = PcmCheck(Encoding.PCM_S16LE)
    check.push(bytes(LONGEST + 8192))
    check.push(to_float(JFK).astype("<f4").tobytes())  # refused at the beginning
