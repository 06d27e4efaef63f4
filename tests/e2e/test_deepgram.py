"""Deepgram's live protocols with a plain client, against a cluster."""

import asyncio
import contextlib
import hashlib
import io
import json

import httpx
import numpy as np
import pytest
import soundfile
import websockets
from whisper.normalizers import EnglishTextNormalizer

from support.cluster import Cluster
from support.deepgram import RAW, check_promises, interleaved, listen, results, text_of, texts, words
from support.encoding import encoded
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
    query = f"/v1/listen?{RAW}&multichannel=true&channels=2"
    finalize = {90: {"type": "Finalize", "channel": 1}}
    heard = await listen(perfect, query, interleaved(left, right), piece=3333, messages=finalize)
    assert words(heard, 0) == script(0, 8)
    assert words(heard, 1) == script(100, 8)
    check_promises(heard, channels=2)
    assert {r["channel_index"][0] for r in results(heard, 0) + results(heard, 1) if r["from_finalize"]} <= {1}
    async with asyncio.timeout(60):  # the overview is some seconds old
        while _open_sessions(perfect):
            await asyncio.sleep(0.1)
    assert _open_sessions(perfect) == 0


def _open_sessions(cluster) -> int:
    answer = httpx.get(f"{cluster.http()}/v1/cluster", headers={"X-API-Key": "key"})
    return answer.json()["sessions"]["open"]


async def connected_with_room(url, headers):
    """A connection, tried again as long as it is refused with 429."""
    while True:
        try:
            return await websockets.connect(url, additional_headers=headers)
        except websockets.InvalidStatus as error:
            if error.response.status_code != 429:
                raise
            await asyncio.sleep(0.1)


async def test_each_channel_takes_a_place():
    with Cluster(transcribers=1, API_KEYS="key", WORKER_SESSIONS="2", PLACE_WAIT_S="0", **PERFECT) as cluster:
        headers = {"Authorization": "Token key"}
        query = f"{cluster.url()}/v1/listen?{RAW}&multichannel=true&channels="
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(query + "3", additional_headers=headers)
        assert refused.value.response.status_code == 429
        # The two sessions that were opened before the third was refused need a moment to close.
        async with await connected_with_room(query + "2", headers):
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
