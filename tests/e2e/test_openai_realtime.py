"""OpenAI's official libraries, unmodified, on `WS /v1/realtime`, against a cluster."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets
from jiwer import wer as word_error_rate
from whisper.normalizers import EnglishTextNormalizer

from audio_processor.ffmpeg import find
from parlando.client import connect
from support import official_clients as clients
from support import tls
from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak
from support.speech import JFK, fixture

WORDS = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
TRANSCRIPTION = "conversation.item.input_audio_transcription"
COMPLETED = f"{TRANSCRIPTION}.completed"
OPENAI_NODE = "7.57.0"
WS_NODE = "8.23.0"
FRAME = 3200  # bytes: 100 ms of 16 kHz PCM
PCM16 = {"type": "audio/pcm", "rate": 16_000}  # exact samples, as the perfect engine needs them
normal = EnglishTextNormalizer()

pytestmark = clients.needs_clients


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=1, processors=1, API_KEYS="key,other", **PERFECT) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def speaking():
    with Cluster(transcribers=1, processors=1, API_KEYS="key") as cluster:
        yield cluster


class Heard:
    """The server's events of a connection."""

    def __init__(self, printed: list[dict]) -> None:
        self.events = [event for event in printed if "type" in event]
        self.closed = next((event for event in printed if "closed" in event), None)

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def order(self) -> list[str]:
        """The ids of the items, by `previous_item_id`."""
        following = {e["previous_item_id"]: e["item_id"] for e in self.of("input_audio_buffer.committed")}
        ids, at = [], None
        while at in following:
            at = following.pop(at)
            ids.append(at)
        assert not following, "one chain of items"
        return ids

    @property
    def transcripts(self) -> list[str]:
        """The transcripts in the order of the items. Checks what holds for every connection."""
        completed = {event["item_id"]: event["transcript"] for event in self.of(COMPLETED)}
        assert len(completed) == len(self.of(COMPLETED)), "each item is completed once"
        joined = dict.fromkeys(completed, "")
        for event in self.of(f"{TRANSCRIPTION}.delta"):
            joined[event["item_id"]] += event["delta"]
        assert joined == completed, "the deltas of each item are its transcript"
        ids = [event["event_id"] for event in self.events]
        assert len(set(ids)) == len(ids)
        started = [event["audio_start_ms"] for event in self.of("input_audio_buffer.speech_started")]
        stopped = [event["audio_end_ms"] for event in self.of("input_audio_buffer.speech_stopped")]
        assert started == sorted(started)
        assert stopped == sorted(stopped)
        return [completed[item] for item in self.order]

    @property
    def words(self) -> list[str]:
        return " ".join(self.transcripts).split()


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "audio.raw"
    path.write_bytes(data)
    return path


def _run(cluster, audio: Path, steps: list, *, flavour: str = "ga", key: str = "key") -> Heard:
    base = f"{cluster.http()}/v1"
    return Heard(clients.run("openai_realtime", base, key, flavour, audio, json.dumps(steps)))


def update(**audio_input) -> list:
    return ["update", {"type": "transcription", "audio": {"input": audio_input}}]


# --- the library's GA shape -------------------------------------------------------------------------


def test_with_turn_detection_each_turn_is_an_item(perfect, tmp_path):
    pcm = np.r_[speak(5), silence(1), speak(4, first=5), silence(1.5), speak(6, first=9)].tobytes()
    steps = [
        update(format=PCM16, transcription={"model": "gpt-9-transcribe", "language": "en"}),
        ["append", 0, len(pcm), FRAME],
        ["commit"],
        ["until", COMPLETED, 3],
    ]
    heard = _run(perfect, _file(tmp_path, pcm), steps)
    assert [text.split() for text in heard.transcripts] == [script(0, 5), script(5, 4), script(9, 6)]
    assert [event["type"] for event in heard.events[:2]] == ["session.created", "session.updated"]
    shown = heard.events[1]["session"]["audio"]["input"]
    assert shown["transcription"]["model"] == "gpt-9-transcribe", "any model is accepted, and reported"
    assert shown["format"] == PCM16
    assert len(heard.of("conversation.item.added")) == len(heard.of("conversation.item.done")) == 3
    stopped = [event["audio_end_ms"] for event in heard.of("input_audio_buffer.speech_stopped")]
    assert stopped[:2] == pytest.approx([2800, 6000], abs=250), "the end of speech, and 500 ms"
    seconds = sum(event["usage"]["seconds"] for event in heard.of(COMPLETED))
    assert 0 < seconds <= len(pcm) / 32_000
    assert not heard.of("error")


def test_without_turn_detection_each_commit_is_an_item(perfect, tmp_path):
    pcm = np.r_[speak(4), silence(1), speak(4, first=4), speak(8, first=8)].tobytes()
    first, second = len(speak(4).tobytes()), len(np.r_[speak(4), silence(1), speak(4)].tobytes())
    steps = [
        update(format=PCM16, turn_detection=None),
        ["append", 0, first, FRAME],
        ["clear"],
        ["append", 0, second, FRAME],
        ["commit"],
        ["append", second, len(pcm), FRAME],
        ["commit"],
        ["commit"],
        ["until", COMPLETED, 2],
    ]
    heard = _run(perfect, _file(tmp_path, pcm), steps)
    assert [text.split() for text in heard.transcripts] == [script(0, 8), script(8, 8)], "nothing cleared"
    assert len(heard.of("input_audio_buffer.cleared")) == 1
    assert not heard.of("input_audio_buffer.speech_started")
    [error] = heard.of("error")
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"
    assert [event["usage"]["seconds"] for event in heard.of(COMPLETED)] == [second / 32_000, 4.0]


def test_errors_do_not_close(perfect, tmp_path):
    pcm = speak(3).tobytes()
    mistakes = [["raw", {"type": "response.create", "event_id": f"e{n}"}] for n in range(30)]
    wrong = update(format={"type": "audio/opus"})
    late = update(format={"type": "audio/pcmu"})
    steps = [*mistakes, wrong, update(format=PCM16), ["append", 0, len(pcm), FRAME], late, ["commit"]]
    heard = _run(perfect, _file(tmp_path, pcm), [*steps, ["until", COMPLETED, 1]])
    assert heard.words == script(0, 3)
    errors = [event["error"] for event in heard.of("error")]
    assert [error["event_id"] for error in errors[:30]] == [f"e{n}" for n in range(30)]
    assert [error["param"] for error in errors[30:]] == [
        "session.audio.input.format.type",
        "session.audio.input.format",
    ]


def test_a_killed_transcriber_costs_no_word(tmp_path):
    pcm = np.r_[speak(12), silence(1), speak(20, first=12), silence(2)].tobytes()
    middle = len(np.r_[speak(12), silence(1), speak(8)].tobytes())
    steps = [
        update(format=PCM16),
        ["append", 0, middle, FRAME],
        ["until", f"{TRANSCRIPTION}.delta", 1],
        ["line"],
        ["append", middle, len(pcm), FRAME],
        ["commit"],
        ["until silence"],
    ]
    with Cluster(transcribers=2, processors=1, **PERFECT) as cluster:
        arguments = (f"{cluster.http()}/v1", "key", "ga", _file(tmp_path, pcm), json.dumps(steps))
        with clients.start("openai_realtime", *arguments) as running:
            printed = []
            for event in running:
                printed.append(event)
                if event["type"] == f"{TRANSCRIPTION}.delta":
                    break
            owner = cluster.owner(printed[0]["session"]["id"])
            owner.signal(signal.SIGKILL)
            running.tell("go on")
            heard = Heard([*printed, *running.finish()])
    assert heard.words == script(0, 32)
    assert not heard.of("error")


def test_the_tail_of_a_client_that_only_hangs_up_is_in_the_transcript(perfect, tmp_path):
    pcm = speak(4).tobytes()
    steps = [update(format=PCM16), ["append", 0, len(pcm), FRAME]]
    heard = _run(perfect, _file(tmp_path, pcm), steps)
    session = heard.events[0]["session"]["id"]
    headers = {"Authorization": "Bearer key"}
    for _ in range(600):
        answer = httpx.get(f"{perfect.http()}/v1/stt/sessions/{session}/transcript", headers=headers).json()
        if answer["state"] == "closed":
            break
        time.sleep(0.2)
    assert answer["text"].split() == script(0, 4)


# --- speech, in the service's own formats -----------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        ({"type": "audio/pcm", "rate": 24_000}, "s16le", 24_000),
        ({"type": "audio/pcmu"}, "mulaw", 8_000),
        ({"type": "audio/pcma"}, "alaw", 8_000),
    ],
)
def test_the_formats_of_the_service(speaking, tmp_path, form, codec, rate):
    audio = tmp_path / "audio.raw"
    command = [find() or "ffmpeg", "-v", "error", "-i", JFK, "-af", "apad=pad_dur=3", "-ac", "1"]
    subprocess.run([*command, "-ar", str(rate), "-f", codec, audio], check=True)
    session = {"type": "transcription", "audio": {"input": {"format": form}}}
    session["include"] = ["item.input_audio_transcription.logprobs"]
    size = audio.stat().st_size
    steps = [["update", session], ["append", 0, size, size // 100], ["commit"], ["until silence"]]
    heard = _run(speaking, audio, steps)
    encoding = {"s16le": "pcm_s16le"}.get(codec, codec)
    native = asyncio.run(_native(speaking, audio.read_bytes(), encoding=encoding, sample_rate=rate))
    assert word_error_rate(normal(native), normal(" ".join(heard.transcripts))) < 0.1
    assert word_error_rate(WORDS, normal(" ".join(heard.transcripts))) < 0.1
    for completed in heard.of(COMPLETED):
        assert "".join(token["token"] for token in completed["logprobs"]) == completed["transcript"]
    assert len(heard.of(f"{TRANSCRIPTION}.delta")) >= len([text for text in heard.transcripts if text])


async def _native(cluster, audio: bytes, **form) -> str:
    """The text that a client of the native protocol gets for the same bytes."""
    async with (
        asyncio.timeout(600),
        connect(cluster.url(), api_key="key", vad_silence_ms=500, **form) as session,
    ):
        await session.send(audio)
        await session.end()
        return " ".join([event["text"] async for event in session if event["type"] == "final"])


# --- the library's beta shape -----------------------------------------------------------------------


def test_the_beta(perfect, tmp_path):
    pcm = speak(6).tobytes()
    g711 = {"input_audio_format": "pcm16", "turn_detection": None}
    steps = [["update", g711], ["append", 0, 4800, 4800], ["commit"], ["until", COMPLETED, 1]]
    heard = _run(perfect, _file(tmp_path, pcm), steps, flavour="beta")
    kinds = [event["type"] for event in heard.events]
    assert kinds[:2] == ["transcription_session.created", "transcription_session.updated"]
    assert kinds[2:4] == ["input_audio_buffer.committed", "conversation.item.created"]
    assert heard.events[0]["session"]["input_audio_transcription"]["model"] == "gpt-4o-transcribe"
    assert heard.events[1]["session"]["turn_detection"] is None
    assert len(heard.transcripts) == 1


# --- keys and secrets -------------------------------------------------------------------------------


def test_a_client_secret_carries_the_session(perfect, tmp_path):
    session = {
        "type": "transcription",
        "audio": {"input": {"format": PCM16, "turn_detection": None, "transcription": {"language": "en"}}},
    }
    base = f"{perfect.http()}/v1"
    secret, beta, rest = clients.run("openai_secrets", base, "key", json.dumps(session))
    assert secret["value"].startswith("ek_")
    assert 0 < secret["expires_at"] - time.time() <= 60
    assert secret["session"]["audio"]["input"]["format"] == PCM16
    assert beta["client_secret"]["value"].startswith("ek_")
    assert beta["input_audio_format"] == "g711_ulaw"
    assert rest["models"] >= 1, "the secret stands for the key …"
    assert [refused["status"] for refused in rest["refused"]] == [401, 400, 422], "… but makes no other"

    pcm = speak(4).tobytes()
    steps = [["append", 0, len(pcm), FRAME], ["commit"], ["until", COMPLETED, 1]]
    heard = _run(perfect, _file(tmp_path, pcm), steps, key=secret["value"])
    assert heard.words == script(0, 4)
    assert heard.events[0]["session"]["audio"]["input"]["turn_detection"] is None
    mine, other = (
        httpx.get(
            f"{perfect.http()}/v1/stt/sessions/{heard.events[0]['session']['id']}",
            headers={"Authorization": f"Bearer {key}"},
        )
        for key in ("key", "other")
    )
    assert (mine.status_code, other.status_code) == (200, 404), "the session belongs to the secret's key"


def test_a_wrong_key_is_closed_as_by_openai(perfect, tmp_path):
    heard = _run(perfect, _file(tmp_path, b""), [["until", "session.created", 1]], key="wrong")
    assert heard.events[0]["error"]["code"] == "invalid_api_key"
    assert heard.closed == {"closed": 3000, "reason": "invalid_request_error.invalid_api_key"}


def test_a_full_cluster_says_try_again(tmp_path):
    with Cluster(transcribers=1, WORKER_SESSIONS="1", PLACE_WAIT_S="0", **PERFECT) as cluster:

        async def both() -> tuple:
            async with websockets.connect(f"{cluster.url()}/v1/stt/stream?session_id=first") as first:
                await first.recv()
                steps = [update(format=PCM16), ["until", "session.created", 1]]
                return await asyncio.to_thread(_run, cluster, _file(tmp_path, b""), steps)

        heard = asyncio.run(both())
    assert heard.events[0]["error"]["code"] == "rate_limit_exceeded"
    assert heard.closed["closed"] == 1013


async def test_browsers_send_the_key_in_a_subprotocol(perfect):
    offered = ["realtime", "openai-insecure-api-key.key", "openai-beta.realtime-v1"]
    url = f"{perfect.url()}/v1/realtime?intent=transcription"
    async with asyncio.timeout(600), websockets.connect(url, subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(await socket.recv())["type"] == "transcription_session.created"


# --- npm --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return clients.npm_install(folder, f"openai@{OPENAI_NODE}", f"ws@{WS_NODE}")


@clients.needs_node
@pytest.mark.parametrize("socket", ["ws", "websocket"])
def test_the_npm_package(perfect, node_modules, tmp_path, socket):
    audio = _file(tmp_path, np.r_[speak(5), silence(1), speak(4, first=5)].tobytes())
    with tls.in_front_of(perfect.ports[0], tmp_path) as (port, certificate):  # the package insists on wss
        base = f"https://127.0.0.1:{port}/v1"
        trust = {"NODE_EXTRA_CA_CERTS": str(certificate)}
        heard = Heard(
            clients.run_node(node_modules, "openai_realtime", base, "key", socket, audio, 2, **trust)
        )
    assert [text.split() for text in heard.transcripts] == [script(0, 5), script(5, 4)]


# --- voice agents -------------------------------------------------------------------------------------


@pytest.fixture
def spoken(tmp_path):
    """A file of 16 kHz PCM: the clip, and silence."""
    return _file(tmp_path, np.r_[fixture("jfk.flac"), silence(2)].tobytes())


def _heard_words(printed: list[dict], kind: str) -> str:
    return normal(" ".join(event["text"] for event in printed if event["type"] == kind))


def test_livekits_stream(speaking, spoken):
    printed = clients.run("livekit_openai_realtime", f"{speaking.http()}/v1", "key", spoken, "your country")
    assert word_error_rate(WORDS, _heard_words(printed, "final_transcript")) < 0.1
    kinds = {event["type"] for event in printed}
    assert {"start_of_speech", "interim_transcript", "end_of_speech", "recognition_usage"} <= kinds


@pytest.mark.parametrize("turns", ["local", "server"])
def test_pipecats_service(speaking, spoken, turns):
    words = len(WORDS.split()) - 1
    printed = clients.run("pipecat_openai_realtime", f"{speaking.url()}/v1", "key", spoken, turns, words)
    assert word_error_rate(WORDS, _heard_words(printed, "final")) < 0.1
    kinds = [event["type"] for event in printed]
    assert "error" not in kinds
    assert "interim" in kinds
    assert ("ProposedUserStartedSpeakingFrame" in kinds) == (turns == "server")
    assert turns == "server" or kinds.count("final") == 1, "the pipeline's turn is one item"
