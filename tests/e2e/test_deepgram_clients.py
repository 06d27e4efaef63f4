"""Deepgram's official clients, unmodified, recorded files and callbacks, against a cluster."""

import asyncio
import hashlib
import json
import time

import httpx
import numpy as np
import pytest
import soundfile
import websockets
from whisper.normalizers import EnglishTextNormalizer

from support import official_clients as clients
from support.cluster import Cluster
from support.deepgram import RAW, listen, results, text_of, texts, words
from support.official_clients import needs_clients, needs_node
from support.perfect import PERFECT, script, silence, speak
from support.speech import JFK, fixture

JFK_WORDS = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
DEEPGRAM_NODE = "5.13.0"
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=2, processors=1, API_KEYS="key,other", **PERFECT) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def moonshine():
    with Cluster(transcribers=1, processors=1, API_KEYS="key", PARTIAL_CADENCE="fixed") as cluster:
        yield cluster


@pytest.fixture
def jfk_pcm(tmp_path):
    path = tmp_path / "jfk.pcm"
    path.write_bytes(np.r_[fixture("jfk.flac"), silence(1.5)].tobytes())
    return path


@needs_clients
def test_the_python_library_listens_live(moonshine, jfk_pcm):
    plan = {
        "version": 1,
        "connect": {
            "model": "nova-3",
            "encoding": "linear16",
            "sample_rate": 16000,
            "interim_results": True,
            "smart_format": True,
            "utterance_end_ms": 1000,
            "vad_events": True,
            "keyterm": ["Americans", "country"],
            "numerals": True,
        },
        "configure": {"keyterms": ["fellow"]},
        "pace_s": 0.03,
        "finalize_at": 100,
        "silent_s": 2,
        "by_token": True,
    }
    heard = clients.run("deepgram_live", moonshine.http(), jfk_pcm, json.dumps(plan))
    kinds = [message["type"] for message in heard]
    assert heard[0] == {"type": "granted", "expires_in": 30.0}
    [metadata] = [message for message in heard if message["type"] == "Metadata"]
    assert [warning["parameter"] for warning in metadata["warnings"]] == ["numerals"]
    assert {"Results", "SpeechStarted", "UtteranceEnd", "ConfigureSuccess"} <= set(kinds)
    assert kinds[-2:] == ["Metadata", "closed"]
    assert normal(" ".join(texts(heard))) == JFK_WORDS
    assert any(result["from_finalize"] for result in results(heard))
    assert "raised" not in kinds


@needs_clients
def test_the_python_library_follows_turns(moonshine, jfk_pcm):
    connect = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": 16000, "eot_threshold": 0.8}
    plan = {"version": 2, "connect": connect, "pace_s": 0.03}
    heard = clients.run("deepgram_live", moonshine.http(), jfk_pcm, json.dumps(plan))
    ends = [message for message in heard if message.get("event") == "EndOfTurn"]
    assert normal(" ".join(end["transcript"] for end in ends)) == JFK_WORDS
    assert heard[0]["type"] == "Connected"


@needs_clients
def test_the_python_library_is_refused_with_a_status(moonshine, jfk_pcm):
    for version in (1, 2):
        wrong = {"version": version, "key": "wrong", "connect": {"model": "nova-3"}}
        [refused] = clients.run("deepgram_live", moonshine.http(), jfk_pcm, json.dumps(wrong))
        assert refused == {"type": "refused", "status": 401}


@needs_clients
def test_the_python_library_transcribes_files(perfect, moonshine, tmp_path):
    stereo, raw, broken = tmp_path / "stereo.wav", tmp_path / "raw.pcm", tmp_path / "broken.wav"
    soundfile.write(stereo, np.stack([speak(5), speak(5, first=40)], axis=1), 16_000)
    raw.write_bytes(speak(6).tobytes())
    broken.write_bytes(b"no audio " * 1000)
    calls = [
        {"file": str(JFK), "options": {"model": "nova-3", "smart_format": True, "paragraphs": True}},
        {"file": str(JFK), "options": {"utterances": True, "utt_split": 0.7, "tag": "a", "redact": "pci"}},
        {"file": str(broken), "options": {}},
        {"url": "http://127.0.0.1:9/x.wav", "options": {}},
        {"file": str(JFK), "options": {}, "key": "wrong"},
    ]
    formatted, plain, undecodable, url, stranger = clients.run(
        "deepgram_files", moonshine.http(), json.dumps(calls)
    )
    found = formatted["results"]["channels"][0]["alternatives"][0]
    assert normal(found["transcript"]) == JFK_WORDS
    assert found["transcript"] != found["transcript"].lower()
    assert found["words"][0]["word"] == "and"
    assert found["paragraphs"]["paragraphs"][0]["sentences"]
    assert formatted["metadata"]["duration"] == 11.0
    assert formatted["metadata"]["sha256"] == hashlib.sha256(JFK.read_bytes()).hexdigest()
    assert plain["results"]["channels"][0]["alternatives"][0]["transcript"] == JFK_WORDS
    utterances = plain["results"]["utterances"]
    assert " ".join(utterance["transcript"] for utterance in utterances) == JFK_WORDS
    assert len(utterances) >= 2
    assert plain["metadata"]["tags"] == ["a"]
    assert plain["metadata"]["warnings"][0]["parameter"] == "redact"
    assert [each["refused"] for each in (undecodable, url, stranger)] == [400, 400, 401]
    assert undecodable["body"]["err_code"] == "Bad Request"

    calls = [
        {"file": str(stereo), "options": {"multichannel": True}},
        {"file": str(raw), "options": {"encoding": "linear16", "request_options": RATE}},
    ]
    split, headerless = clients.run("deepgram_files", perfect.http(), json.dumps(calls))
    channels = [channel["alternatives"][0]["transcript"].split() for channel in split["results"]["channels"]]
    assert channels == [script(0, 5), script(40, 5)]
    assert split["metadata"]["channels"] == 2
    assert headerless["results"]["channels"][0]["alternatives"][0]["transcript"].split() == script(0, 6)


RATE = {"additional_query_parameters": {"sample_rate": 16000}}


async def test_a_url_is_fetched_only_where_that_is_allowed(tmp_path, moonshine):
    body, headers = {"url": "http://127.0.0.1:9/talk.wav"}, {"Authorization": "Token key"}
    refused = httpx.post(f"{moonshine.http()}/v1/listen", json=body, headers=headers)
    assert (refused.status_code, refused.json()["err_code"]) == (400, "Bad Request")
    assert "ALLOW_URL_FETCH" in refused.json()["err_msg"]
    with Cluster(transcribers=1, processors=1, ALLOW_URL_FETCH="1", **PERFECT) as cluster:
        refused = httpx.post(f"{cluster.http()}/v1/listen", json=body)
        assert (refused.status_code, refused.json()["err_code"]) == (400, "REMOTE_CONTENT_ERROR")


@needs_clients
@pytest.mark.parametrize("version", [1, 2])
def test_livekit(moonshine, jfk_pcm, version):
    heard = clients.run("deepgram_livekit", moonshine.http(), jfk_pcm, version)
    kinds = [event["type"] for event in heard]
    finals = [event["text"] for event in heard if event["type"] == "final_transcript"]
    assert normal(" ".join(finals)) == JFK_WORDS
    assert {"start_of_speech", "end_of_speech", "interim_transcript"} <= set(kinds)
    assert kinds.count("start_of_speech") == kinds.count("end_of_speech")
    times = [time for event in heard if event["type"] == "final_transcript" for time in event["times"]]
    assert times == sorted(times)
    if version == 1:
        assert normal(heard[-1]["text"]) == JFK_WORDS


@needs_clients
@pytest.mark.parametrize("service", ["stt", "flux"])
def test_pipecat(moonshine, jfk_pcm, service):
    heard = clients.run("deepgram_pipecat", moonshine.http(), jfk_pcm, service, len(JFK_WORDS.split()))
    assert "error" not in [frame["type"] for frame in heard]
    assert normal(" ".join(frame["text"] for frame in heard if frame["type"] == "final")) == JFK_WORDS
    assert len([frame for frame in heard if frame["type"] == "interim"]) >= 3


@needs_clients
def test_pipecat_reconnects_to_a_gateway_that_was_killed(tmp_path):
    before, after = np.r_[speak(8), silence(1.0)], np.r_[speak(8, first=8), silence(1.0)]
    path = tmp_path / "speech.pcm"
    path.write_bytes(np.r_[before, after].tobytes())
    with (
        Cluster(transcribers=1, **PERFECT) as cluster,
        clients.start("deepgram_pipecat", cluster.http(), path, "stt", 16, len(before) * 2) as client,
    ):
        heard = []
        frames = iter(client)
        while {"paused", "final"} - {frame["type"] for frame in heard}:
            heard.append(next(frames))
        cluster.gateways[0].kill()
        cluster.restart_gateway()
        cluster.wait_ready(1)
        while cluster.connections() < 1:
            time.sleep(0.1)
        client.tell("go on")
        heard += client.finish()
    finals = " ".join(frame["text"] for frame in heard if frame["type"] == "final")
    assert finals.split() == script(0, 16)


async def test_a_client_of_a_killed_gateway_sees_a_broken_connection_and_opens_another():
    with Cluster(transcribers=1, **PERFECT) as cluster:
        async with websockets.connect(f"{cluster.url()}/v1/listen?{RAW}") as socket:
            await socket.send(np.r_[speak(4), silence(1.0)].tobytes())
            first = json.loads(await socket.recv())
            cluster.gateways[0].kill()
            with pytest.raises(websockets.ConnectionClosedError):
                async for _ in socket:
                    pass
            assert socket.close_code == 1006
        cluster.restart_gateway()
        cluster.wait_ready(1)
        heard = await listen(cluster, f"/v1/listen?{RAW}", speak(4, first=4).tobytes())
    assert [text_of(first).split(), words(heard)] == [script(0, 4), script(4, 4)]


async def test_a_callback_gets_the_response(tmp_path):
    path = tmp_path / "talk.wav"
    soundfile.write(path, speak(5), 16_000)
    async with Endpoint() as endpoint:
        with Cluster(transcribers=1, processors=1, ALLOW_PRIVATE_URLS="1", **PERFECT) as cluster:
            url = f"{cluster.http()}/v1/listen?callback={endpoint.url}&utterances=true&tag=mine"
            async with httpx.AsyncClient() as client:
                accepted = (await client.post(url, content=path.read_bytes(), timeout=60)).json()
                called = await asyncio.wait_for(endpoint.bodies.get(), 120)
                broken = (await client.post(url, content=b"no audio " * 1000, timeout=60)).json()
                failed = await asyncio.wait_for(endpoint.bodies.get(), 120)
    assert set(accepted) == {"request_id"}
    assert called["metadata"]["request_id"] == accepted["request_id"]
    assert called["metadata"]["tags"] == ["mine"]
    assert called["results"]["channels"][0]["alternatives"][0]["transcript"].split() == script(0, 5)
    assert called["results"]["utterances"]
    assert (failed["request_id"], failed["err_code"]) == (broken["request_id"], "Bad Request")


class Endpoint:
    """A server that notes the JSON bodies that are posted to it."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue = asyncio.Queue()

    async def __aenter__(self) -> "Endpoint":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/done"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        self.bodies.put_nowait(json.loads(await reader.readexactly(int(lines[b"content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@needs_node
def test_the_npm_package(moonshine, jfk_pcm, tmp_path):
    clients.npm_install(tmp_path, f"@deepgram/sdk@{DEEPGRAM_NODE}")
    heard = clients.run_node(tmp_path, "deepgram_sdk", moonshine.http(), jfk_pcm, JFK)
    file, *rest = heard
    assert normal(file["answer"]["results"]["channels"][0]["alternatives"][0]["transcript"]) == JFK_WORDS
    border = next(number for number, message in enumerate(rest) if message["type"] == "next")
    assert normal(" ".join(texts(rest[:border]))) == JFK_WORDS
    assert rest[border - 1]["type"] == "Metadata"
    ends = [message for message in rest[border:] if message.get("event") == "EndOfTurn"]
    assert normal(" ".join(end["transcript"] for end in ends)) == JFK_WORDS
