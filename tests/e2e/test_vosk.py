"""vosk-server's clients, which wait for an answer after each message."""

import asyncio
import json

import numpy as np
import pytest
import websockets

from support.cluster import Cluster
from support.doors import SPOKEN, WORDS, frames, kill_owner, sessions
from support.perfect import PERFECT, silence
from support.streaming import stream


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, API_KEYS="key", **PERFECT) as cluster:
        yield cluster


def url(cluster: Cluster) -> str:
    return f"{cluster.url()}/vosk?token=key"


async def ask(socket, message: str | bytes) -> dict:
    """Send a message and wait for its answer, as Vosk's clients do."""
    await socket.send(message)
    return json.loads(await socket.recv())


def words(answers: list[dict]) -> list[str]:
    """The words of all results; each answer is a result or a partial."""
    assert all(("text" in answer) != ("partial" in answer) for answer in answers)
    for answer in answers:
        if "result" in answer:
            assert " ".join(word["word"] for word in answer["result"]) == answer["text"]
            assert all(set(word) == {"conf", "start", "end", "word"} for word in answer["result"])
    return " ".join(answer.get("text", "") for answer in answers).split()


async def test_the_example_client(cluster):
    """The messages of websocket/test.py: a config, 0.2 s a message, an end."""
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.send('{ "config" : { "sample_rate" : 16000 } }')
        answers = [await ask(socket, frame) for frame in frames(SPOKEN, 3200)]
        answers.append(await ask(socket, '{"eof" : 1}'))
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()
    assert words(answers) == WORDS
    starts = [word["start"] for answer in answers for word in answer.get("result", ())]
    assert starts == sorted(starts)
    native = await stream(cluster.url(), SPOKEN, speed=None, token="key")
    assert native.words == WORDS


async def test_a_transcriber_is_killed_in_the_middle(cluster):
    before = sessions(cluster)
    half = len(SPOKEN) // 2
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.send('{ "config" : { "sample_rate" : 16000 } }')
        answers = [await ask(socket, frame) for frame in frames(SPOKEN[:half])]
        await kill_owner(cluster, before)
        answers += [await ask(socket, frame) for frame in frames(SPOKEN[half:])]
        answers.append(await ask(socket, '{"eof" : 1}'))
    assert words(answers) == WORDS


async def test_results_come_while_the_client_speaks(cluster):
    """A pause gives a result with the next messages, and a reset one at once."""
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.send(
            '{"config" : {"sample_rate" : 16000, "words" : 0, "phrase_list" : ["a b", "[unk]"]}}'
        )
        answers = [await ask(socket, frame) for frame in frames(SPOKEN)]
        while not any(answer.get("text") for answer in answers):
            answers.append(await ask(socket, silence(0.1).tobytes()))
        answers.append(await ask(socket, '{"reset" : 1}'))
        assert words(answers) == WORDS
        assert not any("result" in answer for answer in answers)
        assert await ask(socket, '{"eof" : 1}') == {"text": ""}


async def test_what_is_not_understood_is_told(cluster):
    async with asyncio.timeout(600):
        async with websockets.connect(url(cluster)) as socket:
            assert "Expected" in (await ask(socket, "no JSON"))["error"]
            assert "numbers" in (await ask(socket, '{"config":{"sample_rate":"x"}}'))["error"]
        async with websockets.connect(url(cluster)) as socket:
            await socket.send('{"config":{"sample_rate":4}}')
            assert "sample_rate" in (await ask(socket, b"\0\0"))["error"]
            await socket.wait_closed()
            assert socket.close_code == 1003
        async with websockets.connect(f"{cluster.url()}/vosk") as socket:
            assert "API key" in json.loads(await socket.recv())["error"]
            await socket.wait_closed()
            assert socket.close_code == 1008


async def test_a_connection_without_audio_opens_no_session(cluster):
    before = sessions(cluster)
    async with asyncio.timeout(600), websockets.connect(url(cluster)) as socket:
        await socket.send('{"config":{"sample_rate":16000}}')
        assert "Expected" in (await ask(socket, "[]"))["error"]
        assert sessions(cluster) == before
        await socket.send(np.zeros(1600, np.int16).tobytes())
        assert json.loads(await socket.recv()) == {"partial": ""}
        assert len(sessions(cluster) - before) == 1
