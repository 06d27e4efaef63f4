"""whisper-asr-webservice's routes, as Bazarr and others call them; Open WebUI's request."""

import asyncio
import csv
import io
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import srt
import webvtt

from support.cluster import Cluster
from support.doors import SPOKEN, WORDS
from support.jobs import wav
from support.perfect import PERFECT, script, silence, speak
from support.polyglot import POLYGLOT, english, number, text
from support.speech import JFK

MB = 1 << 20
EPISODE_S = 2560  # seconds of 16 kHz s16le in 80 MB


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, **POLYGLOT) as cluster:
        yield cluster


def asr(
    cluster: Cluster, audio: bytes, *, name: str = "audio_file", headers: dict | None = None, **params: str
):
    """The request as the `requests` library of Bazarr makes it: the field's name is the file's too."""
    return httpx.post(
        f"{cluster.http()}/asr", params=params, files={"audio_file": (name, audio)}, headers=headers
    )


def german(count: int) -> np.ndarray:
    return speak(count, first=number("de", 0))


def test_what_bazarr_asks_for(cluster):
    """Headerless PCM: first the language, then subtitles; a parameter with the video's name is ignored."""
    raw = np.concatenate([german(4), silence(1)]).tobytes()
    found = httpx.post(
        f"{cluster.http()}/detect-language",
        params={"encode": "false", "video_file": "/tv/x.mkv"},
        files={"audio_file": ("audio_file", raw)},
    ).json()
    assert (found["detected_language"], found["language_code"]) == ("german", "de")
    asked = {"output": "srt", "encode": "false", "video_file": "/tv/x.mkv"}
    answer = asr(cluster, raw, task="transcribe", language="de", **asked)
    [cue] = srt.parse(answer.text)
    assert cue.content == text("de", 0, 4)
    assert 0 <= cue.start.total_seconds() < cue.end.total_seconds() <= len(raw) / 32000
    translated = asr(cluster, raw, task="translate", language="de", **asked)
    assert [cue.content for cue in srt.parse(translated.text)] == [english("de", 0, 4)]


def test_a_file_without_speech_is_an_empty_object_for_bazarr(cluster):
    files = {"audio_file": ("audio_file", silence(2).tobytes())}
    answer = httpx.post(f"{cluster.http()}/detect-language", params={"encode": "false"}, files=files)
    assert (answer.status_code, answer.json()) == (422, {})
    ours = httpx.post(f"{cluster.http()}/v1/detect-language", params={"encode": "false"}, files=files)
    assert (ours.status_code, ours.json()["code"]) == (422, "no_speech")
    assert asr(cluster, silence(2).tobytes(), encode="false", output="srt").text == ""


def test_all_outputs_have_the_same_words(cluster):
    file = wav(SPOKEN)
    answers = {out: asr(cluster, file, output=out) for out in ("txt", "json", "srt", "vtt", "tsv")}
    assert {answer.status_code for answer in answers.values()} == {200}
    spoken = {
        "txt": answers["txt"].text,
        "json": answers["json"].json()["text"],
        "srt": " ".join(cue.content for cue in srt.parse(answers["srt"].text)),
        "vtt": " ".join(cue.text for cue in webvtt.from_buffer(io.StringIO(answers["vtt"].text)).captions),
        "tsv": " ".join(
            row["text"] for row in csv.DictReader(io.StringIO(answers["tsv"].text), delimiter="\t")
        ),
    }
    assert {out: words.split() for out, words in spoken.items()} == dict.fromkeys(spoken, WORDS)
    body = answers["json"].json()
    assert body["language"] == "en"
    assert "".join(segment["text"] for segment in body["segments"]).split() == WORDS
    assert all(segment["words"] is None for segment in body["segments"])
    assert answers["srt"].headers["content-disposition"] == 'attachment; filename="audio_file.srt"'
    assert answers["srt"].headers["asr-engine"] == "polyglot-script"
    timed = asr(cluster, file, output="json", word_timestamps="true").json()
    assert [w["word"].strip() for segment in timed["segments"] for w in segment["words"]] == WORDS


def test_any_file_with_encoding(cluster):
    """Phones and subgen send files as they are, and state a language of the engine's or none."""
    for params in ({}, {"encode": "true", "language": "eng"}, {"language": "auto", "vad_filter": "true"}):
        answer = asr(cluster, JFK.read_bytes(), name="jfk.flac", task="transcribe", output="json", **params)
        assert answer.status_code == 200
        assert 'filename="jfk.flac.json"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"output": "docx"}, 422),
        ({"task": "sing"}, 422),
        ({"encode": "perhaps"}, 422),
        ({"language": "xx"}, 400),
        ({"language": "tlh"}, 400),
    ],
)
def test_parameters_that_cannot_be(cluster, params, status):
    answer = asr(cluster, wav(speak(1)), **params)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_bodies_that_cannot_be(cluster):
    url = f"{cluster.http()}/asr"
    assert httpx.post(url, files={"other": (None, "x")}).status_code == 400
    assert httpx.post(url, content=b"x").status_code == 400
    assert asr(cluster, b"no audio" * 99).status_code == 415


def _rows(tsv: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tsv), delimiter="\t"))


def _peak_memory(pid: int) -> int:
    """The largest resident size of a process so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def test_an_episode_of_80_mb_is_not_held_in_memory():
    """Its last words, after forty minutes, are there; the gateway's memory grows by less than the body."""
    pcm = np.concatenate([speak(2), silence(EPISODE_S - 5), speak(2, first=2)])
    with Cluster(transcribers=1, processors=1, API_KEYS="key", **PERFECT) as cluster:
        asr(cluster, wav(speak(1)), headers={"X-API-Key": "key"})  # loads what every request needs
        pid = cluster.gateways[0].process.pid
        before = _peak_memory(pid)
        answer = asr(
            cluster,
            pcm.tobytes(),
            output="tsv",
            encode="false",
            language="en",
            headers={"Authorization": "Bearer key"},
        )
        rows = _rows(answer.text)
        assert [row["text"] for row in rows] == ["w0000 w0001", "w0002 w0003"]
        assert int(rows[1]["start"]) == pytest.approx((EPISODE_S - 4) * 1000, abs=600)
        assert _peak_memory(pid) - before < 30 * MB < len(pcm) * 2
        assert asr(cluster, wav(speak(1))).status_code == 401
        for key, status in (("key", 200), ("wrong", 401)):
            url, files = f"{cluster.http()}/whisper-asr/{key}", {"audio_file": ("a", wav(speak(2)))}
            assert httpx.post(f"{url}/asr", files=files).status_code == status
            refused = httpx.post(f"{url}/detect-language", files=files)
            assert refused.status_code == (400 if status == 200 else 401), "this engine detects no language"


async def test_a_transcriber_is_killed_while_it_decodes_files():
    """Both routes that answer with a file's text have all words, each once."""
    pcm = np.concatenate([speak(10, first=10 * number) for number in range(12)])  # a minute, several chunks
    with Cluster(transcribers=1, processors=1, PERFECT_DELAY_MS="2500", **PERFECT) as cluster:

        async def post(path: str, field: str) -> str:
            async with httpx.AsyncClient() as client:
                return (await client.post(f"{cluster.http()}{path}", files={field: ("a.wav", wav(pcm))})).text

        async with asyncio.timeout(600):
            asking = asyncio.gather(
                post("/asr?output=txt", "audio_file"), post("/v1/audio/transcriptions/stream", "file")
            )
            while not cluster.health()["pools"][0]["chunks"]:
                await asyncio.sleep(0.05)
            cluster.transcribers[0].kill()
            cluster.add_transcriber()
            text, stream = await asking
    words = script(0, 120)
    assert text.split() == words
    *_, last, done = [line for line in stream.splitlines() if line.startswith("data:")]
    assert json.loads(last.removeprefix("data:"))["text"].split() == words
    assert done == "data: [DONE]"


def test_what_open_webui_asks_for(cluster):
    """Its field names and headers; the answer's `text` is what it reads."""
    answer = httpx.post(
        f"{cluster.http()}/v1/audio/transcriptions",
        headers={"Authorization": "Bearer sk-anything", "X-OpenWebUI-User-Name": "A%20B"},
        files={"file": ("7f0c.wav", wav(SPOKEN))},
        data={"model": "whisper-1", "language": "en"},
    )
    assert answer.json()["text"].split() == WORDS
    refused = httpx.post(
        f"{cluster.http()}/v1/audio/transcriptions",
        files={"file": ("7f0c.wav", b"no audio" * 99)},
        data={"model": "whisper-1"},
    )
    assert json.loads(refused.text)["error"]["message"]
