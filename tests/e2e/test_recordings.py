"""Recordings as people have them, through the whole cluster: subtitles at their times, tracks, notices."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import websockets

from support.cluster import Cluster
from support.media import late, made, restamped, wav
from support.speech import fixture

BIN = Path(sys.executable).parent
SPEECH = fixture("jfk.flac")


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as cluster:
        yield cluster


def _transcribed(cluster, data: bytes, **fields: str) -> httpx.Response:
    url = f"{cluster.http()}/v1/audio/transcriptions"
    return httpx.post(url, files={"file": ("film.mkv", data)}, data=fields, timeout=300)


def _first_cue_s(srt: str) -> float:
    hours, minutes, seconds = srt.splitlines()[1].split(" --> ")[0].replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def test_subtitles_of_a_film_whose_sound_begins_late_are_late(cluster):
    on_time = _transcribed(cluster, wav(SPEECH), response_format="srt").text
    shifted = _transcribed(cluster, late("mkv", 5, "-c:a", "libopus"), response_format="srt").text

    assert _first_cue_s(shifted) == pytest.approx(_first_cue_s(on_time) + 5, abs=0.15)


def test_a_track_is_asked_for(cluster, tmp_path):
    """The first track is silent; without a mark of a default one it's heard unless another is asked for."""
    silent = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-i", "JFK", "-map", "0:a", "-map", "1:a")
    tags = ("-disposition:a:0", "0", "-disposition:a:1", "0", "-metadata:s:a:1", "language=eng")
    data = made("mka", *silent, "-t", "11", "-c:a", "flac", *tags)
    film = tmp_path / "film.mka"
    film.write_bytes(data)

    assert _transcribed(cluster, data).json()["text"] == ""
    assert "country" in _transcribed(cluster, data, track="2").json()["text"]
    assert "country" in _transcribed(cluster, data, language="en").json()["text"]
    for track, why in (("0", "from 1"), ("two", "from 1"), ("3", "it has 2: 1, 2 (English)")):
        refused = _transcribed(cluster, data, track=track)
        assert refused.status_code == 400
        assert why in refused.json()["error"]["message"]
    command = [BIN / "parlando", "transcribe", film, "--url", cluster.http(), "--track", "2"]
    assert "country" in subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    job = httpx.post(
        f"{cluster.http()}/v1/stt/jobs", files={"file": ("film.mka", data)}, data={"track": "0"}, timeout=60
    )
    assert job.status_code == 400
    assert job.json()["detail"].startswith("track: ")


async def test_a_live_client_is_told_of_silence_and_hears_words_at_their_times(cluster):
    data = restamped("webm", "if(gte(PTS*TB,2.6),PTS+5/TB,PTS)", "-c:a", "libopus")
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?encoding=container") as socket:
        for at in range(0, len(data), 4000):
            await socket.send(data[at : at + 4000])
        await socket.send('{"type":"end"}')
        said = [json.loads(message) async for message in socket]

    [told] = [m for m in said if m["type"] == "status" and m["status"] not in ("throttled", "flowing")]
    assert (told["status"], told["reason"]) == ("silence_added", "timestamps")
    assert told["ms"] == pytest.approx(5000, abs=100)
    assert "seq" not in told
    finals = [m for m in said if m["type"] == "final" and m["text"]]
    assert finals[-1]["end"] == pytest.approx(15.7, abs=0.7)
    assert finals[-1]["start"] > 8
