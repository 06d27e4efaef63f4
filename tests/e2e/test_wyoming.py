"""Wyoming on TCP, with the official client."""

import asyncio
import contextlib

import httpx
import pytest

from support import official_clients
from support.cluster import Cluster
from support.doors import FRAME, SPOKEN, WORDS, kill_owner, sessions
from support.perfect import script, speak
from support.polyglot import OBEDIENT
from support.ports import free_port

pytestmark = official_clients.needs_clients


@contextlib.contextmanager
def wyoming(**settings: str):
    port = free_port()
    with Cluster(transcribers=2, WYOMING_PORT=str(port), **{**OBEDIENT, **settings}) as cluster:
        cluster.wyoming_port = port
        yield cluster


@pytest.fixture(scope="module")
def cluster():
    with wyoming(MAX_MESSAGE_KB="64") as cluster:
        yield cluster


@pytest.fixture
def pcm(tmp_path):
    def write(name: str, samples) -> str:
        path = tmp_path / name
        path.write_bytes(samples.tobytes())
        return str(path)

    return write


def utterances(events: list[list]) -> list[dict]:
    """What was received for each utterance: its transcript, and its chunks joined."""
    found, chunks = [], []
    for kind, data in events:
        if kind == "transcript-start":
            chunks = []
        elif kind == "transcript-chunk":
            chunks.append(data["text"])
        elif kind == "transcript":
            found.append({**data, "chunks": "".join(chunks)})
        else:
            assert kind in ("transcript-stop", "pong", "info", "waiting"), (kind, data)
    return found


def test_several_utterances_on_one_connection(cluster, pcm):
    before = sessions(cluster)
    files = [pcm("a", SPOKEN), pcm("b", SPOKEN[:0]), pcm("c", speak(3, first=20))]
    pong, info, *events = official_clients.run("wyoming_asr", cluster.wyoming_port, *files)
    assert pong == ["pong", "hello"]
    [program] = info[1]["asr"]
    assert program["supports_transcript_streaming"]
    assert [(m["name"], m["languages"]) for m in program["models"]] == [
        ("polyglot-script", ["de", "en", "fr"])
    ]
    first, nothing, last = utterances(events)
    assert first["text"].split() == WORDS
    assert first["language"] == "en"
    assert nothing["text"] == ""
    assert last["text"].split() == script(20, 3)
    assert all(each["chunks"] == each["text"] for each in (first, nothing, last))
    assert len(sessions(cluster) - before) == 1


def test_an_utterance_may_state_its_language(cluster, pcm):
    """German is mistaken where another language is stated, and found where none is."""
    german = pcm("german", speak(3, first=100))
    *_, stop = events = official_clients.run(
        "wyoming_asr", cluster.wyoming_port, f"{german}:deu", f"{german}:fr-FR", german
    )
    assert stop[0] == "transcript-stop"
    right, wrong, found = utterances(events)
    assert right["text"].split() == found["text"].split() == script(100, 3)
    assert all(word.startswith("fr-") for word in wrong["text"].split())
    assert found["language"] == "de"


async def test_a_transcriber_is_killed_in_the_middle(cluster, pcm):
    before = sessions(cluster)
    half = len(SPOKEN) // 2
    files = [pcm("a", SPOKEN[:half]) + "+", "wait", pcm("b", SPOKEN[half:])]
    with official_clients.start("wyoming_asr", cluster.wyoming_port, *files) as client:
        for kind, _ in client:
            if kind == "waiting":
                break
        await kill_owner(cluster, before)
        client.tell("go on")
        [heard] = utterances(await asyncio.to_thread(client.finish))
    assert heard["text"].split() == WORDS
    assert heard["chunks"] == heard["text"]


async def test_a_question_opens_no_session(cluster):
    before = sessions(cluster)
    async with asyncio.timeout(600):
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
        for message in (b'{"type":"ping"}\n', b'{"type":"describe","data":{}}\n', b'{"type":"no-idea"}\n'):
            writer.write(message)
        assert b'"pong"' in await reader.readline()
        await reader.readline()
        writer.close()
    assert sessions(cluster) == before


async def test_errors_are_events(cluster):
    chunk = b'{"type":"audio-chunk","data":{"rate":16000,"width":%d,"channels":1},"payload_length":2}\n\0\0'
    async with asyncio.timeout(600):
        for wrong, says in (
            (b"no JSON\n", b"Expected a JSON object"),
            (chunk % 4, b"width of 2"),
            (b'{"type":"transcribe","data":{"language":"xx"}}\n', b"expected a language"),
            (b'{"type":"transcribe","data":{"language":"tlh"}}\n' + chunk % 2, b"supports"),
            (b'{"type":"x","payload_length":999999999}\n', b"Expected a number of bytes"),
            (b'{"type":"ping"}\n{"type":"x","payload_length":99999999}\n' + b"\0" * 70_000, b"at most"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
            with contextlib.suppress(ConnectionError):
                writer.write(wrong)
                await writer.drain()
            heard = b""
            while says not in heard:
                part = await reader.read(1 << 16)
                assert part, heard
                heard += part
            assert b'"type":"error"' in heard
            writer.close()


async def test_the_last_audio_is_not_lost_when_the_client_goes(cluster):
    """Without an `audio-stop` the session ends by itself, with all words."""
    before = sessions(cluster)
    head = b'{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":1},"payload_length":%d}\n'
    audio = speak(4)
    async with asyncio.timeout(600):
        _, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
        for at in range(0, len(audio), FRAME):
            part = audio[at : at + FRAME].tobytes()
            writer.write(head % len(part) + part)
        await writer.drain()
        writer.close()
        while not (new := sessions(cluster) - before):
            await asyncio.sleep(0.05)
        [sid] = new
        url = f"{cluster.http()}/v1/stt/sessions/{sid}/transcript"
        while (transcript := httpx.get(url).json())["state"] != "closed":
            await asyncio.sleep(0.05)
    assert transcript["text"].split() == script(0, 4)


async def test_others_are_served_only_if_they_are_admitted(pcm):
    with wyoming(KEYLESS_NETWORKS="192.0.2.0/24", HOST="127.0.0.1", API_KEYS="key") as cluster:
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.wyoming_port)
        async with asyncio.timeout(600):
            heard = await reader.read()
        assert b"KEYLESS_NETWORKS" in heard
        writer.close()
    with wyoming(API_KEYS="key") as cluster:
        file = pcm("a", speak(3))
        [heard] = utterances(official_clients.run("wyoming_asr", cluster.wyoming_port, file))
        assert heard["text"].split() == script(0, 3)
