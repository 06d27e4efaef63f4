"""Times are those that a player shows: late sound, gaps, damage, edit lists, drift; in files and live."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from audio_processor.timeline import FILE, LIVE, Kind
from support.ffmpegs import HERE, INSTALLED, ffmpeg_of
from support.media import late, loudness_at, made, restamped, run, second_at
from support.speech import JFK
from support.taken import decoded, live

NEAR = 0.1  # seconds; AAC at 16 kHz shifts sound by 64 ms


@pytest.fixture(scope="module", params=HERE)
def program(request):
    return ffmpeg_of(request.param)


@pytest.fixture(scope="module")
def installed():
    return ffmpeg_of(INSTALLED)


def _check(found: np.ndarray, places: dict[float, float], seconds: float) -> None:
    """`places`: second of the speech → second at which it must be."""
    assert len(found) / 16_000 == pytest.approx(seconds, abs=0.15)
    for said, expected in places.items():
        assert second_at(found, said) == pytest.approx(expected, abs=NEAR), said


LATE = {
    "MKV with Opus": late("mkv", 5, "-c:a", "libopus"),
    "MKV with AAC": late("mkv", 5, "-c:a", "aac"),
    "MKV with FLAC": late("mkv", 5, "-c:a", "flac"),
    "WebM with Vorbis": late("webm", 5, "-c:a", "libvorbis", "-c:v", "libvpx"),
    "MP4 with an edit list": late("mp4", 5, "-c:a", "aac", "-c:v", "mpeg4"),
    "MOV with PCM": late("mov", 5, "-c:a", "pcm_s16le", "-c:v", "mpeg4"),
    "MPEG-TS": late("ts", 5, "-c:a", "aac", "-c:v", "mpeg2video", "-r", "25"),
    "MPEG-PS": late("mpg", 5, "-c:a", "mp2", "-ar", "48000", "-c:v", "mpeg2video", "-r", "25"),
    "FLV": late("flv", 5, "-c:a", "aac", "-c:v", "flv"),
    "NUT": late("nut", 5, "-c:a", "aac", "-c:v", "mpeg4"),
    "ASF": late("wmv", 5, "-c:a", "wmav2", "-c:v", "wmv2"),
}


@pytest.mark.parametrize("name", LATE)
async def test_sound_that_begins_later_than_the_picture_is_late(program, name):
    found, _ = await decoded(program, LATE[name])
    _check(found[:, 0], {1.0: 6.0, 8.0: 13.0}, 16)


@pytest.mark.parametrize(
    "name", [name for name in LATE if name not in ("MP4 with an edit list", "MOV with PCM")]
)
async def test_live_sound_that_begins_later_is_late_too(installed, name):
    taken = await live(installed, LATE[name])
    _check(np.frombuffer(taken.pcm, "<i2"), {1.0: 6.0, 8.0: 13.0}, 16)
    [jump] = taken.jumps
    assert (jump.kind, jump.position) == (Kind.FILLED, 0)
    assert jump.length == pytest.approx(5, abs=NEAR)


GAP = "if(gte(PTS*TB,2.6),PTS+5/TB,PTS)"
GAPS = {
    "MKV with AAC": restamped("mkv", GAP, "-c:a", "aac"),
    "MKV with Opus": restamped("mkv", GAP, "-c:a", "libopus"),
    "MKV with PCM": restamped("mkv", GAP, "-c:a", "pcm_s16le"),
    "MKV with MP3": restamped("mkv", GAP, "-c:a", "libmp3lame"),
    "WebM with Opus": restamped("webm", GAP, "-c:a", "libopus"),
    "WebM with Vorbis": restamped("webm", GAP, "-c:a", "libvorbis"),
    "fragmented MP4": restamped("mp4", GAP, "-c:a", "aac"),
    "MPEG-TS": restamped("ts", GAP, "-c:a", "aac"),
    "FLV": restamped("flv", GAP, "-c:a", "aac"),
    "NUT": restamped("nut", GAP, "-c:a", "libvorbis"),
}


@pytest.mark.parametrize("name", GAPS)
async def test_a_gap_in_the_timestamps_is_silence(program, name):
    found, _ = await decoded(program, GAPS[name])
    _check(found[:, 0], {0.5: 0.5, 4.0: 9.0, 9.0: 14.0}, 16)


@pytest.mark.parametrize("name", GAPS)
async def test_a_gap_in_live_timestamps_is_silence_and_is_told(installed, name):
    taken = await live(installed, GAPS[name])
    _check(np.frombuffer(taken.pcm, "<i2"), {0.5: 0.5, 4.0: 9.0, 9.0: 14.0}, 16)
    [jump] = taken.jumps
    assert jump.kind is Kind.FILLED
    assert jump.length == pytest.approx(5, abs=NEAR)
    assert jump.position / 16_000 == pytest.approx(2.6, abs=0.3)  # packets of PCM are long


@pytest.mark.parametrize(
    ("expression", "places", "seconds", "kinds"),
    [
        ("if(gte(PTS*TB,8),PTS+7/TB,if(gte(PTS*TB,2.6),PTS+5/TB,PTS))", {0.5: 0.5, 4.0: 9.0, 9.0: 16.0}, 18,
         [Kind.FILLED, Kind.FILLED]),
        ("if(gte(PTS*TB,2.6),PTS+0.06/TB,PTS)", {0.5: 0.5, 9.0: 9.03}, 11.05, []),
        ("if(gte(PTS*TB,5),PTS+20000/TB,PTS)", {0.5: 0.5, 9.0: 9.0}, 11, [Kind.IGNORED]),
        ("PTS+9000/TB", {0.5: 0.5, 9.0: 9.0}, 11, []),
    ],
    ids=["two gaps", "an inaccuracy", "hours", "a late clock"],
)  # fmt: skip
async def test_false_timestamps_lose_no_sound_and_make_no_hours_of_silence(
    installed, expression, places, seconds, kinds
):
    data = restamped("mkv", expression, "-c:a", "flac", "-frame_size", "320")
    found, _ = await decoded(installed, data)
    taken = await live(installed, data)

    _check(found[:, 0], places, seconds)
    _check(np.frombuffer(taken.pcm, "<i2"), places, seconds)
    assert [jump.kind for jump in taken.jumps] == kinds


async def test_what_is_silence_in_a_file_may_be_too_long_for_a_live_session(installed):
    """Ten minutes: a player of the file shows them."""
    data = restamped("mkv", "if(gte(PTS*TB,5),PTS+600/TB,PTS)", "-c:a", "libopus")
    found, _ = await decoded(installed, data)
    taken = await live(installed, data)

    assert LIVE.jump_s < 600 < FILE.jump_s
    _check(found[605 * 16_000 :, 0], {9.0: 4.0}, 6)
    _check(np.frombuffer(taken.pcm, "<i2"), {0.5: 0.5, 9.0: 9.0}, 11)
    assert [jump.kind for jump in taken.jumps] == [Kind.IGNORED]


async def test_many_gaps_make_no_more_silence_than_all_may(installed):
    """Each of them is allowed; together they would be hours."""
    data = restamped("mkv", "PTS*2000", "-c:a", "libopus", "-frame_duration", "60")
    taken = await live(installed, data)

    assert len(taken.pcm) / 32_000 <= LIVE.total_s + 2 * 11
    assert {jump.kind for jump in taken.jumps} == {Kind.FILLED, Kind.IGNORED}


@pytest.mark.parametrize("factor", [1.02, 0.98])
async def test_sound_that_drifts_from_its_timestamps_is_brought_back(installed, factor):
    """A recorder whose clock is two percent wrong: words are where a player has them, and none is cut out."""
    found, _ = await decoded(
        installed, restamped("mkv", f"PTS*{factor}", "-c:a", "flac", "-frame_size", "320")
    )

    assert len(found) / 16_000 == pytest.approx(11 * factor, abs=0.15)
    for said in (0.5, 4.0, 8.0):
        assert loudness_at(found[:, 0], said) == pytest.approx(said * factor, abs=0.1)


async def test_a_damaged_stretch_takes_the_time_that_it_took(program):
    data = bytearray(made("ts", "-i", "JFK", "-c:a", "aac", "-b:a", "64k"))
    packets = len(data) // 188
    first, last = round(packets * 3 / 11), round(packets * 6 / 11)
    data[first * 188 : last * 188] = bytes((last - first) * 188)
    found, _ = await decoded(program, bytes(data))

    _check(found[:, 0], {1.0: 1.0, 8.0: 8.0}, 11)
    assert not found[4 * 16_000 : 5 * 16_000].any()


async def test_cut_out_clusters_of_a_webm_are_silence(program):
    data = made("webm", "-i", "JFK", "-c:a", "libopus", "-cluster_time_limit", "500")
    clusters = [at for at in range(len(data)) if data.startswith(b"\x1fC\xb6u", at)]
    cut = data[: clusters[8]] + data[clusters[12] :]
    found, _ = await decoded(program, cut)

    _check(found[:, 0], {1.0: 1.0, 8.0: 8.0}, 11)


async def test_an_mp4_from_which_the_beginning_is_edited_away_begins_there(program):
    """`-ss` with a copy leaves sound before the edit list's start in the file; players don't play it."""
    with tempfile.TemporaryDirectory() as folder:
        plain, target = Path(folder) / "plain.m4a", Path(folder) / "cut.m4a"
        run("-i", str(JFK), "-c:a", "aac", str(plain))
        run("-ss", "3.5", "-i", str(plain), "-c", "copy", str(target))
        data = target.read_bytes()
    found, _ = await decoded(program, data)

    _check(found[:, 0], {5.0: 1.5, 9.0: 5.5}, 7.5)


@pytest.mark.parametrize("kind", ["mp3", "aac"])
async def test_a_rate_that_changes_in_the_middle_moves_nothing(program, kind):
    codec = {"mp3": "libmp3lame", "aac": "aac"}[kind]
    one = made(kind, "-i", "JFK", "-c:a", codec, "-ar", "44100")
    other = made(kind, "-i", "JFK", "-c:a", codec, "-ar", "22050", "-ac", "2")
    found, _ = await decoded(program, one + other)

    assert len(found) / 16_000 == pytest.approx(22, abs=0.3)
    assert second_at(found[: 11 * 16_000, 0], 9.0) == pytest.approx(9.0, abs=NEAR)
    assert second_at(found[11 * 16_000 :, 0], 9.0) == pytest.approx(9.0, abs=0.3)
