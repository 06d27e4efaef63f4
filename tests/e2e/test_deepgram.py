"""Deepgram's API: its official clients, unmodified, and a plain one, against a cluster."""

import asyncio
import contextlib
import hashlib
import io
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
from support.deepgram import RAW, check_promises, interleaved, listen, results, text_of, texts, words
from support.encoding import encoded
from support.official_clients import needs_clients, needs_node
from support.perfect import PERFECT, script, silence, speak
from support.speech import JFK, fixture
from support.streaming import stream

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


# --- the same words, once, in order -----------------------------------------------------------------


async def test_the_words_are_those_of_the_native_protocol(moonshine):
    pcm = fixture("two_cities.flac")[: 30 * 16_000]
    native, heard = await asyncio.gather(
        stream(moonshine.url(), pcm, speed=4, frame_ms=100, token="key"),
        listen(
            moonshine, f"/v1/listen?{RAW}&punctuate=true&interim_results=true", pcm.tobytes(), pace_s=0.025
        ),
    )
    assert texts(heard) == [final["text"] for final in native.finals if final["text"]]
    check_promises(heard)
    interims = [text_of(result) for result in results(heard) if not result["is_final"]]
    assert len(interims) >= 5


async def test_every_word_once_and_each_final_immutable(perfect):
    pcm = np.concatenate([np.r_[speak(9, first=9 * n), silence(0.8)] for n in range(4)])
    heard = await listen(
        perfect, f"/v1/listen?{RAW}&interim_results=true&vad_events=true", pcm.tobytes(), pace_s=0.02
    )
    assert words(heard) == script(0, 36)
    check_promises(heard)
    assert len([message for message in heard if message["type"] == "SpeechStarted"]) == len(texts(heard))
    assert {result["speech_final"] for result in results(heard) if result["is_final"]} == {True}
    [metadata] = [message for message in heard if message["type"] == "Metadata"]
    assert metadata["sha256"] == hashlib.sha256(pcm.tobytes()).hexdigest()
    assert metadata["duration"] == len(pcm) / 16_000


async def test_the_tail_comes_with_close_stream(perfect):
    """The audio is sent at once and ends in the middle of speech."""
    heard = await listen(perfect, f"/v1/listen?{RAW}", speak(40, gap=0).tobytes(), piece=32_000)
    assert words(heard) == script(0, 40)
    check_promises(heard)


async def test_a_killed_transcriber_loses_no_word():
    pcm = np.concatenate([np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(4)])
    with Cluster(transcribers=2, API_KEYS="key", **PERFECT) as cluster:
        listening = asyncio.create_task(
            listen(cluster, f"/v1/listen?{RAW}&interim_results=true", pcm.tobytes(), pace_s=0.05)
        )
        store = cluster.store()
        while not (named := [key for key in store.scan_iter("stt:*:session:*") if store.hget(key, "owner")]):
            await asyncio.sleep(0.05)
        while int(store.hget(named[0], "segments") or 0) < 1:
            await asyncio.sleep(0.05)
        owner = cluster.owner(named[0].rpartition(":")[2])
        owner.kill()
        heard = await listening
    assert words(heard) == script(0, 36)
    check_promises(heard)


async def test_a_speaker_who_does_not_pause_is_cut_without_speech_final(perfect):
    pcm = np.r_[speak(60, gap=0), silence(2.0)]
    heard = await listen(perfect, f"/v1/listen?{RAW}&interim_results=true", pcm.tobytes(), pace_s=0.02)
    assert words(heard) == script(0, 60)
    check_promises(heard)
    finals = [result for result in results(heard) if result["is_final"] and text_of(result)]
    assert [result["speech_final"] for result in finals][:-1] == [False] * (len(finals) - 1)


# --- Finalize, UtteranceEnd, KeepAlive --------------------------------------------------------------


async def test_finalize_settles_what_was_said_before_it(perfect):
    pcm = np.r_[speak(4, gap=0), speak(4, first=4, gap=0)]
    finalize = {12: {"type": "Finalize"}}  # after 1.2 s: in the pause between the words of a sentence
    heard = await listen(perfect, f"/v1/listen?{RAW}", pcm.tobytes(), messages=finalize, pace_s=0.02)
    assert words(heard) == script(0, 8)
    check_promises(heard)
    answers = [result for result in results(heard) if result["from_finalize"]]
    assert len(answers) == 1
    assert answers[0]["speech_final"]
    assert text_of(answers[0]).split() == script(0, 4)
    assert answers[0]["start"] + answers[0]["duration"] == 1.2


async def test_utterance_end_follows_the_last_word(perfect):
    pcm = np.r_[speak(3), silence(3.0), speak(3, first=3), silence(3.0)]
    query = f"/v1/listen?{RAW}&interim_results=true&utterance_end_ms=1000"
    heard = await listen(perfect, query, pcm.tobytes(), pace_s=0.05)
    kinds = [
        (message["type"], message.get("is_final"))
        for message in heard
        if message["type"] == "UtteranceEnd" or (message["type"] == "Results" and text_of(message))
    ]
    ends = [message for message in heard if message["type"] == "UtteranceEnd"]
    spoken = [result for result in results(heard) if result["is_final"] and text_of(result)]
    assert [end["last_word_end"] for end in ends] == [
        result["channel"]["alternatives"][0]["words"][-1]["end"] for result in spoken
    ]
    first = kinds.index(("UtteranceEnd", None))
    assert ("Results", True) in kinds[:first]
    assert ("Results", False) in kinds[first:], "the first one came before the second utterance"


async def test_a_client_that_sends_neither_audio_nor_keep_alive_is_closed(perfect):
    headers = {"Authorization": "Token key"}
    async with websockets.connect(f"{perfect.url()}/v1/listen?{RAW}", additional_headers=headers) as socket:
        await socket.send(speak(2).tobytes())
        for _ in range(3):
            await asyncio.sleep(5)
            await socket.send('{"type":"KeepAlive"}')  # 15 s in all: longer than may pass without one
        assert socket.close_code is None
        async with asyncio.timeout(120):
            with contextlib.suppress(websockets.ConnectionClosedError):
                async for _ in socket:
                    pass
    assert (socket.close_code, socket.close_reason) == (1011, "NET-0001")


# --- channels and formats ---------------------------------------------------------------------------


async def test_channels_are_recognised_independently(perfect):
    left = np.r_[speak(8), silence(4.0)]
    right = np.r_[silence(4.0), speak(8, first=100)]
    assert len(left) == len(right)
    sessions = httpx.get(f"{perfect.http()}/v1/cluster", headers={"X-API-Key": "key"}).json()["sessions"]
    query = f"/v1/listen?{RAW}&multichannel=true&channels=2"
    finalize = {90: {"type": "Finalize", "channel": 1}}
    heard = await listen(perfect, query, interleaved(left, right), piece=3333, messages=finalize)
    assert words(heard, 0) == script(0, 8)
    assert words(heard, 1) == script(100, 8)
    check_promises(heard, channels=2)
    assert {r["channel_index"][0] for r in results(heard, 0) + results(heard, 1) if r["from_finalize"]} <= {1}
    assert sessions["open"] == 0


async def test_each_channel_takes_a_place():
    with Cluster(transcribers=1, API_KEYS="key", WORKER_SESSIONS="2", **PERFECT) as cluster:
        headers = {"Authorization": "Token key"}
        query = f"{cluster.url()}/v1/listen?{RAW}&multichannel=true&channels="
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(query + "3", additional_headers=headers)
        assert refused.value.response.status_code == 429
        while httpx.get(f"{cluster.http()}/health").json()["sessions"]["open"]:
            await asyncio.sleep(0.1)  # the two that were opened before the third was refused
        async with websockets.connect(query + "2", additional_headers=headers):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"{cluster.url()}/v1/listen?{RAW}", additional_headers=headers)
        assert refused.value.response.status_code == 429
        assert json.loads(refused.value.response.body)["err_code"] == "TOO_MANY_REQUESTS"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("encoding=linear32&sample_rate=16000", "f32le_16000_1"),
        ("encoding=mulaw&sample_rate=8000", "mulaw_8000"),
        ("encoding=alaw&sample_rate=8000", "alaw_8000"),
        ("encoding=linear16&sample_rate=48000&channels=2", "s16le_48000_2"),
        ("encoding=ogg-opus", "ogg_opus"),
        ("encoding=flac&sample_rate=16000", "flac"),
        ("", "webm_opus"),
        ("", "mp4_aac"),
    ],
)
async def test_formats(moonshine, query, name):
    heard = await listen(moonshine, f"/v1/listen?{query}", encoded(JFK, name), piece=8000)
    found = set(normal(" ".join(texts(heard))).split())
    assert len(found & set(JFK_WORDS.split())) >= len(set(JFK_WORDS.split())) - 3
    check_promises(heard)


async def test_the_channels_of_a_container(perfect):
    body = io.BytesIO()
    stereo = np.stack([speak(6), speak(6, first=50)], axis=1)
    soundfile.write(body, stereo, 16_000, format="WAV", subtype="PCM_16")
    query = "/v1/listen?multichannel=true&channels=2"
    heard = await listen(perfect, query, body.getvalue(), piece=4096)
    assert (words(heard, 0), words(heard, 1)) == (script(0, 6), script(50, 6))


async def test_audio_that_cannot_be_decoded_is_told(moonshine):
    heard = await listen(moonshine, "/v1/listen", b"no audio " * 20_000, piece=9000)
    assert heard[-1] == {"type": "closed", "code": 1008, "reason": "DATA-0000"}
    assert [message["variant"] for message in heard if message["type"] == "Error"] == ["DATA-0000"]


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "key", "status", "code"),
    [
        ("encoding=g729&sample_rate=8000", "key", 400, "Bad Request"),
        (f"{RAW}&channels=x", "key", 400, "Bad Request"),
        (f"{RAW}&utterance_end_ms=1000", "key", 400, "Bad Request"),
        (RAW, "wrong", 401, "INVALID_AUTH"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/listen", "/v2/listen"])
async def test_what_is_wrong_fails_the_handshake(perfect, path, query, key, status, code):
    if path == "/v2/listen" and "utterance_end_ms" in query:
        query = f"{RAW}&eot_threshold=2"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(
            f"{perfect.url()}{path}?{query}", additional_headers={"Authorization": f"Token {key}"}
        )
    response = refused.value.response
    assert response.status_code == status
    assert json.loads(response.body)["err_code"] == code
    assert "handshake" not in perfect.gateways[0].log.read_text()


async def test_browsers_send_the_key_as_a_subprotocol(perfect):
    async with websockets.connect(
        f"{perfect.url()}/v1/listen?{RAW}", subprotocols=["token", "key"]
    ) as socket:
        assert socket.subprotocol == "token"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"{perfect.url()}/v1/listen?{RAW}", subprotocols=["token", "wrong"])


async def test_what_is_not_honoured_is_in_a_header(perfect):
    url = f"{perfect.url()}/v1/listen?{RAW}&numerals=true&endpointing=10"
    async with websockets.connect(url, additional_headers={"Authorization": "Token key"}) as socket:
        told = socket.response.headers
    assert told["dg-request-id"].startswith("s_")
    assert told["dg-warnings"].startswith(
        "endpointing: 100 ms, the nearest possible, instead of 10 ms; numerals: "
    )


async def test_the_transcript_belongs_to_the_key_and_can_be_read(perfect):
    heard = await listen(perfect, f"/v1/listen?{RAW}", speak(5).tobytes())
    [metadata] = [message for message in heard if message["type"] == "Metadata"]
    url = f"{perfect.http()}/v1/stt/sessions/{metadata['request_id']}/transcript"
    mine = httpx.get(url, headers={"Authorization": "Token key"})
    assert mine.json()["text"].split() == script(0, 5)
    assert httpx.get(url, headers={"Authorization": "Token other"}).status_code == 404


# --- turns ------------------------------------------------------------------------------------------


async def test_turns_begin_and_end_with_the_speaker(perfect):
    pcm = np.concatenate([np.r_[speak(5, first=5 * n), silence(1.0)] for n in range(3)])
    query = f"/v2/listen?model=flux-general-en&{RAW}&eager_eot_threshold=0.4"
    heard = await listen(perfect, query, pcm.tobytes(), pace_s=0.05)
    assert heard[0]["type"] == "Connected"
    turns = [message for message in heard if message["type"] == "TurnInfo"]
    assert [message["sequence_id"] for message in heard[:-1]] == list(range(len(heard) - 1))
    ends = [turn for turn in turns if turn["event"] == "EndOfTurn"]
    assert [end["transcript"].split() for end in ends] == [script(0, 5), script(5, 5), script(10, 5)]
    for index in range(3):
        mine = [turn for turn in turns if turn["turn_index"] == index]
        assert [mine[0]["event"], mine[-1]["event"]] == ["StartOfTurn", "EndOfTurn"]
        assert mine[-2]["event"] == "EagerEndOfTurn"
        assert mine[-2]["transcript"] == mine[-1]["transcript"]
        assert "Update" in [turn["event"] for turn in mine]
    windows = [(end["audio_window_start"], end["audio_window_end"]) for end in ends]
    assert [start for start, _ in windows[1:]] == [end for _, end in windows[:-1]]
    assert heard[-1] == {"type": "closed", "code": 1000, "reason": ""}


async def test_a_turn_can_be_forced_to_end_and_configured(perfect):
    pcm = np.r_[speak(4, gap=0), speak(4, first=4, gap=0), silence(1.0)]
    messages = {
        0: {"type": "Configure", "thresholds": {"eot_threshold": 0.9}, "keyterms": ["etcd"]},
        1: {"type": "Configure", "thresholds": {"eot_threshold": 9}},
        12: {"type": "ForceEndTurn"},
    }
    heard = await listen(
        perfect, f"/v2/listen?model=flux-general-en&{RAW}", pcm.tobytes(), messages=messages, pace_s=0.02
    )
    kinds = [message["type"] for message in heard if message["type"].startswith("Configure")]
    assert kinds == ["ConfigureSuccess", "ConfigureFailure"]
    ends = [message for message in heard if message.get("event") == "EndOfTurn"]
    assert [end["transcript"].split() for end in ends] == [script(0, 4), script(4, 4)]
    assert ends[0]["trigger"] == "manual"


# --- official clients -------------------------------------------------------------------------------


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
