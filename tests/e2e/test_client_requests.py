"""Requests of programs, byte by byte as their libraries send them (`support.client_requests`)."""

import json
from collections.abc import Iterator

import httpx
import pytest
import srt
import websockets

from support.client_requests import BEARER, CALLS, OBSIDIAN, TRANSCRIPTIONS, Call, dotnet, text
from support.cluster import Cluster
from support.doors import SPOKEN, WORDS
from support.jobs import wav
from support.polyglot import POLYGLOT

MODELS = ("Systran/faster-whisper-base", "whisper-large-v3", "large-v3", "WHISPER-1")
PIECE = 1000  # bytes of a chunk
WITH_TIMES = {"subtitle-edit", "php-guzzle", "axios-indexes"}


@pytest.fixture(scope="module")
def cluster():
    """Gateway 1 takes every model name."""
    with Cluster(transcribers=1, processors=1, CORS_ORIGINS=OBSIDIAN, **POLYGLOT) as cluster:
        cluster.add_gateway(MODEL_ALIASES="*")
        cluster.wait_ready(1, 1)
        yield cluster


def ask(cluster: Cluster, call: Call, *more) -> httpx.Response:
    kind, body = call.form([*call.parts(SPOKEN.tobytes() if call.raw else wav(SPOKEN)), *more])

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), PIECE):
            yield body[at : at + PIECE]

    answer = httpx.post(
        cluster.http() + call.path,
        params=call.query,
        headers={**call.headers, "Content-Type": kind},
        content=pieces() if call.chunked else body,
        timeout=600,
    )
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("program", [name for name, call in CALLS.items() if call.path == TRANSCRIPTIONS])
def test_a_program_of_openais_api_reads_the_words(cluster, program):
    body = ask(cluster, CALLS[program]).json()
    assert body["text"].split() == WORDS
    if program in WITH_TIMES:
        assert [word["word"] for word in body["words"]] == WORDS
        assert all(0 <= word["start"] < word["end"] <= len(SPOKEN) / 16_000 for word in body["words"])


def test_subtitle_edit_gets_times_though_it_asks_for_json(cluster):
    """OpenAI has no times in `json`; Subtitle Edit asks for them there, and makes its lines of segments."""
    segments = ask(cluster, CALLS["subtitle-edit"]).json()["segments"]
    assert " ".join(segment["text"].strip() for segment in segments).split() == WORDS
    assert all(segment["start"] < segment["end"] for segment in segments)
    plain = ask(cluster, CALLS["open-webui"]).json()
    assert set(plain) == {"text", "usage"}


def test_subtitle_edit_streams(cluster):
    """It reads events by their `event:` lines, and takes the segments of the last one."""
    answer = ask(cluster, CALLS["subtitle-edit"], text("stream", "true"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in answer.text.split("\n\n") if block.startswith("event: ")]
    names = [name.removeprefix("event: ") for name, _ in events]
    assert names == ["transcript.text.delta"] * (len(names) - 1) + ["transcript.text.done"]
    assert len(names) >= 2
    done = httpx.Response(200, text=events[-1][1].removeprefix("data: ")).json()
    assert done["text"].split() == WORDS
    assert " ".join(segment["text"].strip() for segment in done["segments"]).split() == WORDS


@pytest.mark.parametrize("program", ["bazarr", "bazarr-for-subgen"])
def test_bazarr_reads_subtitles(cluster, program):
    cues = list(srt.parse(ask(cluster, CALLS[program]).text))
    assert " ".join(cue.content for cue in cues).split() == WORDS


def test_bazarr_reads_the_language(cluster):
    body = ask(cluster, CALLS["bazarr-detect-language"]).json()
    assert (body["detected_language"], body["language_code"]) == ("english", "en")


def test_obsidian_may_read_the_answer(cluster):
    """Its pages have an origin of their own: the browser in it asks first whether they may."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = httpx.options(
        cluster.http() + TRANSCRIPTIONS, headers={"Origin": OBSIDIAN, **asked}, timeout=600
    )
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    answer = ask(cluster, CALLS["whisper-obsidian-plugin"])
    assert answer.headers["access-control-allow-origin"] == OBSIDIAN


def test_a_form_without_a_file_is_told(cluster):
    kind, body = dotnet([text("model", "whisper-1"), text("audio", "RIFF")])
    answer = httpx.post(
        cluster.http() + TRANSCRIPTIONS, content=body, headers={**BEARER, "Content-Type": kind}, timeout=600
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


# --- model names of other servers ---------------------------------------------------------------------


def _with_model(cluster: Cluster, path: str, model: str, gateway: int) -> httpx.Response:
    files, data = {"file": ("a.wav", wav(SPOKEN))}, {"model": model}
    return httpx.post(cluster.http(gateway) + path, files=files, data=data, timeout=600)


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, f"{TRANSCRIPTIONS}/stream", "/v1/audio/translations"])
def test_an_unknown_model_is_refused_with_the_setting_that_admits_it(cluster, path):
    for model in MODELS:
        refused = _with_model(cluster, path, model, 0)
        assert refused.status_code == 404
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "MODEL_ALIASES=*" in error["message"]
        taken = _with_model(cluster, path, model, 1)
        assert taken.status_code == 200
        assert WORDS[-1] in taken.text.lower()


def test_programs_that_look_a_model_up_first_find_it(cluster):
    for model in MODELS:
        path = f"/v1/models/{model}"
        refused = httpx.get(cluster.http() + path, timeout=600)
        assert refused.status_code == 404
        assert "MODEL_ALIASES=*" in refused.json()["error"]["message"]
        assert httpx.get(cluster.http(1) + path, timeout=600).json()["id"] == model


def test_the_name_of_a_running_engine_still_means_that_engine(cluster):
    answer = _with_model(cluster, TRANSCRIPTIONS, "polyglot-script", 1)
    assert answer.json()["text"].split() == WORDS
    listed = httpx.get(f"{cluster.http(1)}/v1/models", timeout=600).json()["data"]
    assert [model["id"] for model in listed] == ["polyglot-script"]


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/v1/realtime?intent=transcription&model=MODEL", "session.created"),
        ("/v3/ws?sample_rate=16000&speech_model=MODEL", "Begin"),
    ],
)
async def test_live_protocols_take_any_model_name(cluster, path, first):
    for model in MODELS:
        async with websockets.connect(cluster.url() + path.replace("MODEL", model)) as socket:
            assert json.loads(await socket.recv())["type"] == first


def test_deepgrams_files_take_any_model_name(cluster):
    for model in MODELS:
        answer = httpx.post(
            f"{cluster.http()}/v1/listen", params={"model": model}, content=wav(SPOKEN), timeout=600
        )
        [channel] = answer.json()["results"]["channels"]
        assert channel["alternatives"][0]["transcript"].split() == WORDS
