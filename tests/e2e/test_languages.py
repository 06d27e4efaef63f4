"""Languages on all doors: detected, allowed, refused, translated."""

import asyncio

import httpx
import numpy as np
import orjson
import pytest
import websockets
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.client import ClientError, JobsClient
from support.cluster import Cluster
from support.jobs import look, submit, transcribe, wait, wav
from support.perfect import PERFECT, silence, speak
from support.polyglot import POLYGLOT, UNCLEAR, english, number, text
from support.streaming import check_promises, stream

COUNT = 6  # words of a segment: three seconds


def said(*segments: tuple[str, int]) -> np.ndarray:
    """The audio of segments, each of a language and its first word, with a second of silence behind."""
    return np.concatenate(
        [
            part
            for language, first in segments
            for part in (speak(COUNT, first=number(language, first)), silence(1))
        ]
    )


GERMAN = said(("de", 0), ("de", 10), ("de", 20))


@pytest.fixture(scope="module")
def cluster():
    with Cluster(gateways=2, transcribers=2, processors=1, **POLYGLOT) as cluster:
        yield cluster


# --- live -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [None, "auto", "en, de"])
async def test_a_live_session_is_told_its_language(cluster, language):
    heard = await stream(cluster.url(), GERMAN, speed=None, language=language)

    check_promises(heard)
    finals = [final for final in heard.finals if final["text"]]
    assert [(final["language"], final["text"]) for final in finals] == [
        ("de", text("de", first, COUNT)) for first in (0, 10, 20)
    ]
    [found] = heard.of("language")
    assert (found["language"], found["probability"], found["locked"]) == ("de", 0.9, True)
    assert finals[1]["seq"] < found["seq"] < finals[2]["seq"]


async def test_another_owner_knows_the_language(cluster):
    """The lock of a killed transcriber is in the checkpoint: it is neither lost nor announced again."""
    events: list[dict] = []
    async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        await socket.send('{"type":"start"}')
        sid = orjson.loads(await socket.recv())["session_id"]
        await socket.send(said(("de", 0), ("de", 10)).tobytes())
        while not events or events[-1]["type"] != "language":
            events.append(orjson.loads(await socket.recv()))
        cluster.owner(sid).kill()
        cluster.add_transcriber()
        await socket.send(said(("fr", 0)).tobytes())
        await socket.send('{"type":"end"}')
        events += [orjson.loads(message) async for message in socket]

    finals = [event["text"] for event in events if event["type"] == "final" and event["text"]]
    assert finals == [text("de", 0, COUNT), text("de", 10, COUNT), text("fr", 0, COUNT)]
    changes = [(e["language"], e["locked"]) for e in events if e["type"] == "language"]
    assert changes == [("de", True), ("fr", False)]


async def test_viewers_and_readers_get_the_language_too(cluster):
    heard = await stream(cluster.url(), GERMAN, speed=None)
    base = f"{cluster.http(1)}/v1/stt/sessions/{heard.session.id}"

    assert '"type":"language"' in httpx.get(f"{base}/events").text
    transcript = httpx.get(f"{base}/transcript").json()
    assert transcript["language"] == "de"
    assert {segment["language"] for segment in transcript["segments"] if segment["text"]} == {"de"}


async def test_every_allowed_language_must_be_known(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?session_id=x1&language=de,tlh") as socket:
        refused = orjson.loads(await socket.recv())
    assert refused["code"] == "invalid_request"
    assert "but got de, tlh" in refused["message"]
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?session_id=x2") as socket:
        await socket.recv()
        for wrong in ('"de,tlh"', '"germanic"', '"auto,de"'):
            await socket.send(f'{{"type":"config","language":{wrong}}}')
            refused = orjson.loads(await socket.recv())
            assert (refused["type"], refused["code"]) == ("error", "invalid_request")
        await socket.send('{"type":"end"}')


async def test_a_session_is_translated_and_says_what_was_spoken(cluster):
    heard = await stream(cluster.url(), GERMAN, speed=None, task="translate")

    check_promises(heard)
    finals = [final for final in heard.finals if final["text"]]
    assert [(final["language"], final["text"]) for final in finals] == [
        ("de", english("de", first, COUNT)) for first in (0, 10, 20)
    ]


async def test_translations_stand_beside_the_original(cluster):
    heard = await stream(cluster.url(), said(("de", 0), ("en", 0)), speed=None, translations="en")

    german, original = [final for final in heard.finals if final["text"]]
    assert german["text"] == text("de", 0, COUNT)
    assert german["translations"] == {"en": english("de", 0, COUNT)}
    assert "translations" not in original
    url = f"{cluster.http()}/v1/stt/sessions/{heard.session.id}/transcript?format=text&translation=en"
    assert httpx.get(url).text.split() == [*english("de", 0, COUNT).split(), *text("en", 0, COUNT).split()]


async def test_a_config_message_begins_and_ends_translation(cluster):
    async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        await socket.send('{"type":"start","language":"de"}')
        for first, change in ((0, "translate"), (10, "transcribe"), (20, "transcribe")):
            await socket.send(said(("de", first)).tobytes())
            await socket.send(f'{{"type":"config","task":"{change}"}}')
        await socket.send('{"type":"end"}')
        events = [orjson.loads(message) async for message in socket]
    finals = [event["text"] for event in events if event["type"] == "final" and event["text"]]
    assert finals == [text("de", 0, COUNT), english("de", 10, COUNT), text("de", 20, COUNT)]


async def test_an_engine_that_cannot_translate_refuses(cluster):
    with Cluster(processors=1) as moonshine:
        for query in ("task=translate", "translations=en"):
            async with websockets.connect(f"{moonshine.url()}/v1/stt/stream?session_id=t&{query}") as socket:
                refused = orjson.loads(await socket.recv())
            assert refused["code"] == "invalid_request"
            assert "can't translate" in refused["message"]
        answer = httpx.post(f"{moonshine.http()}/detect-language", files={"file": ("a.wav", wav(GERMAN))})
        assert answer.status_code == 400
        assert "can't detect_language" in answer.json()["detail"]
    assert "session_id" in (await stream(cluster.url(), silence(1), speed=None, task="translate")).events[0]


# --- Omi ------------------------------------------------------------------------------------------------


async def test_the_omi_socket_translates(cluster):
    query = "uid=me&language=en,de,tlh&task=translate&hotwords=Parlando"
    async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/omi/stt?{query}") as socket:
        await socket.send(GERMAN.tobytes())
        await socket.send('{"type":"CloseStream"}')
        heard = [
            segment["text"]
            for message in [orjson.loads(m) async for m in socket]
            for segment in message["segments"]
        ]
    assert heard == [english("de", first, COUNT) for first in (0, 10, 20)]


async def test_the_omi_webhook_translates(cluster):
    url = f"{cluster.http()}/streaming?uid=hook&sample_rate=16000&translations=en&language=de"
    assert httpx.post(url, content=GERMAN.tobytes()).status_code == 200
    async with asyncio.timeout(600):
        while True:
            found = httpx.get(f"{cluster.http()}/transcripts/hook").json()["transcripts"]
            if found and len(found[0]["segments"]) == 3:
                break
            await asyncio.sleep(0.1)
    assert found[0]["segments"][0]["translations"] == {"en": english("de", 0, COUNT)}
    assert httpx.post(f"{url}&task=sing", content=b"00").status_code == 422


def test_local_whisper_translates(cluster):
    answer = httpx.post(
        f"{cluster.http()}/inference",
        files={"file": ("a.wav", wav(said(("fr", 0))))},
        data={"translate": "true", "hotwords": "Parlando"},
    )
    assert answer.json()["text"] == english("fr", 0, COUNT)


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "name"), [("en", "english"), ("de", "german"), ("fr", "french")])
@pytest.mark.parametrize("field", ["file", "audio_file"])
def test_the_language_of_a_file(cluster, language, name, field):
    pcm = np.r_[silence(2), said((language, 0))]
    for path in ("/detect-language", "/v1/detect-language"):
        answer = httpx.post(f"{cluster.http()}{path}", files={field: ("a.wav", wav(pcm))})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"detected_language": name, "language_code": language, "confidence": 0.9}


def test_the_language_of_a_file_among_some(cluster):
    url, files = f"{cluster.http()}/detect-language", {"file": ("a.wav", wav(said(("fr", 0))))}
    answer = httpx.post(url, files=files, data={"language": "en,de"})
    assert answer.json()["language_code"] in ("en", "de")
    assert answer.json()["confidence"] == 0.4
    assert httpx.post(url, files=files, data={"language": "tlh"}).status_code == 400
    assert httpx.post(url, files=files, data={"language": "germanic"}).status_code == 400


def test_what_has_no_language(cluster):
    url = f"{cluster.http()}/v1/detect-language"
    nothing = httpx.post(url, files={"file": ("a.wav", wav(silence(3)))})
    assert (nothing.status_code, nothing.json()["code"]) == (422, "no_speech")
    assert httpx.post(url, files={"file": ("a.wav", b"no audio")}).json()["code"] == "invalid_audio"
    assert httpx.post(url, files={"other": ("a.wav", wav(silence(1)))}).status_code == 400
    assert not httpx.get(f"{cluster.http()}/v1/stt/jobs").json()["jobs"], "its jobs aren't listed"


async def test_the_clients_detect_a_language(cluster, tmp_path):
    file = tmp_path / "talk.wav"
    file.write_bytes(wav(GERMAN))
    async with JobsClient(cluster.http()) as jobs:
        assert (await jobs.detect_language(file))["detected_language"] == "german"
        assert (await jobs.detect_language(file, language="en,fr"))["confidence"] == 0.4
        with pytest.raises(ClientError, match="tlh"):
            await jobs.detect_language(file, language="tlh")


def test_the_command_line_detects_a_language(cluster, tmp_path):
    file = tmp_path / "talk.wav"
    file.write_bytes(wav(GERMAN))
    done = CliRunner().invoke(app, ["detect-language", str(file), "--url", cluster.http()])
    assert done.output == "german de 0.90\n"


def test_a_job_of_a_language_that_is_detected(cluster):
    base = cluster.http()
    result = transcribe(base, wav(GERMAN), language="en,de")
    assert (result["language"], result["text"]) == (
        "de",
        " ".join(text("de", first, COUNT) for first in (0, 10, 20)),
    )
    refused = httpx.post(
        f"{base}/v1/stt/jobs", files={"file": ("a.wav", wav(GERMAN))}, data={"language": "de,tlh"}
    )
    assert refused.status_code == 400
    assert "tlh" in refused.json()["detail"]


def test_a_first_chunk_without_words_or_without_a_sure_language_decides_nothing(cluster):
    """Noise that is no word, then unclear speech, then German; each in a chunk of its own."""
    noise = np.tile(np.array([9000, -9000], np.int16), 8000)
    noise[::7] //= 3  # not of one amplitude: no word
    unclear = speak(COUNT, first=number("fr", UNCLEAR))
    for start in (noise, unclear):
        pcm = np.concatenate([start, silence(4), said(("de", 0)), silence(4), said(("de", 10))])
        done = wait(cluster.http(), submit(cluster.http(), wav(pcm))["job_id"])
        assert done["status"] == "completed", done
        assert done["language"] == "de"
        assert done["result"]["text"].endswith(f"{text('de', 0, COUNT)} {text('de', 10, COUNT)}")


def test_a_job_with_translations(cluster):
    base = cluster.http()
    job = submit(base, wav(said(("de", 0), ("de", 10))), translations="en")["job_id"]
    result = wait(base, job)["result"]
    assert result["text"] == f"{text('de', 0, COUNT)} {text('de', 10, COUNT)}"
    translated = " ".join(segment["translations"]["en"] for segment in result["segments"])
    assert translated == f"{english('de', 0, COUNT)} {english('de', 10, COUNT)}"
    read = httpx.get(f"{base}/v1/stt/jobs/{job}/result?format=text&translation=en").text
    assert read.split() == translated.split()


def test_a_job_that_only_detects(cluster):
    job = submit(cluster.http(), wav(GERMAN), task="detect_language")["job_id"]
    assert wait(cluster.http(), job)["result"]["text"] == ""
    assert look(cluster.http(), job)["language"] == "de"


def test_openai_with_several_languages(cluster):
    url, files = f"{cluster.http()}/v1/audio/transcriptions", {"file": ("a.wav", wav(GERMAN))}
    for data in ({"language": "english,german"}, {"languages[]": ["en", "de"]}, {"language": "auto"}):
        answer = httpx.post(url, files=files, data={**data, "response_format": "verbose_json"})
        assert answer.json()["language"] == "german", answer.text
    assert httpx.post(url, files=files, data={"language": "auto,de"}).status_code == 400


def test_detecting_needs_a_key():
    with Cluster(processors=1, API_KEYS="k1", **PERFECT) as closed:
        answer = httpx.post(f"{closed.http()}/detect-language", files={"file": ("a.wav", wav(GERMAN))})
        assert answer.status_code == 401
