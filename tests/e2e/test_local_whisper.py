"""`POST /inference`: what Omi's app sends to a local Whisper, a file at a time."""

import asyncio

import httpx
import pytest

from parlando.domain.transcript import bare
from support.cluster import Cluster
from support.jobs import wav
from support.models import fresh_store
from support.perfect import PERFECT, script, speak
from support.speech import FIXTURES, words

CLIP = "61-70968-0000.flac"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(processors=1, **PERFECT, API_KEYS="k1,k2") as cluster:
        yield cluster


@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt"])
def test_local_whisper_hears_a_file(cluster, form):
    answer = httpx.post(
        f"{cluster.http()}/omi/k1/inference",
        files={"file": ("audio.wav", wav(speak(10)), "audio/wav")},
        data={"language": "en", "temperature": "0.0", "temperature_inc": "0.2", "response_format": form},
        timeout=600,
    )

    assert answer.status_code == 200
    if form == "verbose_json":
        body = answer.json()
        assert body["language"] == "english"
        assert body["duration"] == 5.0
        assert {"start", "end", "text", "avg_logprob"} <= body["segments"][0].keys()
        assert body["text"].split() == script(0, 10)
    else:
        assert "w0009" in answer.text


@pytest.mark.parametrize("engine", ["faster-whisper", "whisper"])
def test_local_whisper_hears_a_recording_with_whispers_own_weights(engine, tmp_path):
    """The engine `whisper` converts them at its start."""
    with Cluster(
        processors=1, STT_ENGINE=engine, WHISPER_MODEL="tiny.en", DEVICE="cpu", **fresh_store(tmp_path)
    ) as cluster:
        answer = httpx.post(
            f"{cluster.http()}/inference",
            files={"file": (CLIP, (FIXTURES / "speech" / CLIP).read_bytes(), "audio/flac")},
            data={"language": "en", "response_format": "json"},
            timeout=600,
        )
        [running] = cluster.health()["engines"]
        log = cluster.transcribers[0].log.read_text()

    assert answer.status_code == 200
    assert [bare(word) for word in answer.json()["text"].split()] == words(CLIP).split()
    assert (running["engine"], running["model"]) == (engine, "whisper-tiny.en")
    assert ("model.converting" in log) == (engine == "whisper")


def test_local_whisper_says_what_is_wrong_with_a_file(cluster):
    def hear(data: bytes, **fields) -> httpx.Response:
        return httpx.post(
            f"{cluster.http()}/omi/k1/inference", files={"file": ("a.wav", data)}, data=fields, timeout=600
        )

    assert hear(b"no audio at all").status_code == 415
    assert hear(wav(speak(1)), response_format="doc").status_code == 400
    assert httpx.post(f"{cluster.http()}/omi/k1/inference", content=b"x").status_code == 400


async def test_local_whisper_waits_for_room_instead_of_refusing(tmp_path):
    """One worker with room for one session: ten files at once all get their words."""
    with Cluster(
        processors=1,
        **PERFECT,
        WORKER_SESSIONS="1",
        ARCHIVE_URL=str(tmp_path),
    ) as cluster:

        def hear(number: int) -> list[str]:
            files = {"file": ("a.wav", wav(speak(10, first=10 * number)))}
            answer = httpx.post(f"{cluster.http()}/inference", files=files, timeout=600)
            assert answer.status_code == 200
            return answer.json()["text"].split()

        heard = await asyncio.gather(*(asyncio.to_thread(hear, number) for number in range(10)))

    assert heard == [script(10 * number, 10) for number in range(10)]
