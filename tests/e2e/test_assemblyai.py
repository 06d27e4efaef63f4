"""AssemblyAI's streaming protocol, with the official client."""

import asyncio
import json

import httpx
import pytest
import websockets

from support import official_clients
from support.cluster import Cluster
from support.doors import SPOKEN, WORDS, kill_owner, sessions
from support.perfect import PERFECT, script, speak

pytestmark = official_clients.needs_clients


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, API_KEYS="key,other", **PERFECT) as cluster:
        yield cluster


@pytest.fixture
def pcm(tmp_path):
    def write(name: str, samples) -> str:
        path = tmp_path / name
        path.write_bytes(samples.tobytes())
        return str(path)

    return write


def check(events: list[list], words: list[str]) -> None:
    """Every word is in one ended turn, in order; final words never change."""
    assert events[0][0] == "Begin"
    assert events[-1][0] == "Termination"
    turns = [body for kind, body in events if kind == "Turn"]
    ended = [turn for turn in turns if turn["end_of_turn"]]
    assert [turn["turn_order"] for turn in ended] == list(range(len(ended)))
    assert " ".join(turn["transcript"] for turn in ended).split() == words
    settled: dict[int, str] = {}
    for turn in turns:
        assert turn["transcript"].startswith(settled.get(turn["turn_order"], ""))
        settled[turn["turn_order"]] = turn["transcript"]
        final = [word["text"] for word in turn["words"] if word["word_is_final"]]
        assert " ".join(final) == turn["transcript"]
    starts = [word["start"] for turn in ended for word in turn["words"]]
    assert starts == sorted(starts)


def run(cluster: Cluster, parameters: dict, *files: str, key: str = "key") -> list[list]:
    return official_clients.run("assemblyai_live", cluster.url(), key, json.dumps(parameters), *files)


def test_the_official_client(cluster, pcm):
    file = pcm("a", SPOKEN)
    events = run(
        cluster, {"keyterms_prompt": ["Parlando"], "speech_model": "universal-streaming-english"}, file
    )
    check(events, WORDS)
    assert not [body for kind, body in events if kind in ("Error", "Warning")]
    assert events[-1][1]["audio_duration_seconds"] == round(len(SPOKEN) / 16000)
    assert any(kind == "SpeechStarted" for kind, _ in events)


def test_a_turn_can_be_ended_and_options_changed(cluster, pcm):
    parts = [pcm("a", speak(3)), pcm("b", speak(3, first=3))]
    events = run(cluster, {"redact_pii": True}, parts[0], "force", "keyterms", parts[1])
    check(events, script(0, 6))
    [warning] = [body for kind, body in events if kind == "Warning"]
    assert "redact_pii" in warning["warning"]
    ended = [body["transcript"] for kind, body in events if kind == "Turn" and body["end_of_turn"]]
    assert ended == [" ".join(script(0, 3)), " ".join(script(3, 3))]


async def test_a_transcriber_is_killed_in_the_middle(cluster, pcm):
    before = sessions(cluster)
    half = len(SPOKEN) // 2
    files = [pcm("a", SPOKEN[:half]), "wait", pcm("b", SPOKEN[half:])]
    with official_clients.start("assemblyai_live", cluster.url(), "key", "{}", *files) as client:
        events = []
        for event in client:
            events.append(event)
            if event[0] == "Turn":
                break
        await kill_owner(cluster, before)
        client.tell("go on")
        events += await asyncio.to_thread(client.finish)
    check([event for event in events if event[0] != "waiting"], WORDS)


def test_errors_have_the_codes_that_the_client_knows(cluster):
    [error] = run(cluster, {}, key="wrong")
    assert error[0] == "Error"
    assert error[1]["code"] == 4001
    [error] = run(cluster, {"sample_rate": 4})
    assert error[1]["code"] == 3006
    assert "sample_rate" in error[1]["message"]


async def test_a_temporary_token_stands_for_the_key(cluster):
    url = f"{cluster.http()}/v3/token"
    issued = httpx.get(url, params={"expires_in_seconds": 60}, headers={"Authorization": "other"}).json()
    assert issued["expires_in_seconds"] == 60
    assert httpx.get(url, params={"expires_in_seconds": 60}).status_code == 401
    assert httpx.get(url, headers={"Authorization": "key"}).status_code == 422
    query = f"sample_rate=16000&token={issued['token']}"
    async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/v3/ws?{query}") as socket:
        begin = json.loads(await socket.recv())
        await socket.send('{"type":"Terminate"}')
        assert [json.loads(message)["type"] async for message in socket] == ["Termination"]
    owned = httpx.get(
        f"{cluster.http()}/v1/stt/sessions/{begin['id']}", headers={"Authorization": "Bearer other"}
    )
    assert owned.status_code == 200
