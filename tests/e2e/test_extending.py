"""The examples of docs/extending.md work as they stand there: one file each, and one line to register it."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets

from parlando.client import connect
from support.cluster import TESTS, Cluster
from support.perfect import PERFECT, script, silence, speak
from support.ports import free_port

ROOT = TESTS.parent
RATE = 16_000


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """A folder with the files that the document shows."""
    folder = tmp_path_factory.mktemp("examples")
    text = (ROOT / "docs" / "extending.md").read_text()
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(code)
    assert len(list(folder.iterdir())) == 5
    return folder


@pytest.fixture(scope="module")
def cluster(examples):
    tcp_port = free_port()
    with Cluster(
        processors=1,
        analyzers=1,
        ANALYSIS_STEPS="length_step:Length",
        PYTHONPATH=f"{TESTS}:{examples}",
        DOORS="phone_door:DOOR,lines_door:DOOR",
        TCP_DOORS=f"lines={tcp_port}",
        STAGES="loudness_stage:Loudness,support.stages:Uppercase,support.stages:Counting",
        **PERFECT,
    ) as cluster:
        cluster.tcp_port = tcp_port
        yield cluster


def _mulaw(pcm: np.ndarray) -> bytes:
    """G.711 mu-law, as ITU-T's reference does it."""
    magnitude = np.minimum(np.abs(pcm.astype(int)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(pcm < 0, 0x80, 0)
    return (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8).tobytes()


async def test_a_websocket_protocol(cluster):
    tone = (6000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.int16)
    audio = _mulaw(np.concatenate([tone, np.zeros(8000, np.int16)]))
    async with asyncio.timeout(600), websockets.connect(f"{cluster.url()}/phone") as socket:
        await socket.send('{"event":"start"}')
        for mistake in ('{"event":"dance"}', "no JSON", '{"event":"media","media":{"payload":"="}}'):
            await socket.send(mistake)
        for at in range(0, len(audio), 160):
            payload = base64.b64encode(audio[at : at + 160]).decode()
            await socket.send(json.dumps({"event": "media", "media": {"payload": payload}}))
        await socket.send('{"event":"stop"}')
        messages = [json.loads(message) async for message in socket]

    kinds = [message["event"] for message in messages]
    assert kinds[:2] == ["transcript", "mark"], "one event is two messages, and the mistake was survived"
    assert messages[1] == {"event": "mark", "name": "segment-0"}
    assert socket.close_code == 1000


async def test_a_tcp_protocol(cluster):
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.tcp_port)
    async with asyncio.timeout(600):
        writer.write(b"KEY none is needed\n")
        sid = (await reader.readline()).decode().split()[1]
        pcm = np.concatenate([speak(6), silence(1), speak(3, first=6)]).tobytes()
        for at in range(0, len(pcm), 3200):
            writer.write(
                b"AUDIO "
                + base64.b64encode(pcm[at : at + 3200])
                + b"\nEND\n"[: 1 if at + 3200 < len(pcm) else 5]
            )
        lines = (await reader.read()).decode().splitlines()
    writer.close()

    assert " ".join(line.removeprefix("TEXT ") for line in lines[:-1]).split() == script(0, 9)
    assert lines[-1] == "BYE end"
    assert httpx.get(f"{cluster.http()}/v1/stt/sessions/{sid}").json()["state"] == "closed"


async def test_a_tcp_client_that_errs_is_told_and_closed(cluster):
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.tcp_port)
    async with asyncio.timeout(600):
        writer.write(b"KEY none\n")
        await reader.readline()
        for _ in range(20):
            writer.write(b"SING\n")
        assert (await reader.read()).decode() == "ERROR Expected KEY, AUDIO or END, but got 'SING'\n"
    writer.close()


async def test_a_tcp_client_sends_its_key_in_its_first_message(examples):
    port = free_port()
    settings = {"PYTHONPATH": f"{TESTS}:{examples}", "DOORS": "lines_door:DOOR", "TCP_DOORS": f"lines={port}"}
    with Cluster(API_KEYS="one,two", **settings, **PERFECT):
        for first, answer in (
            (b"KEY two\n", "READY"),
            (b"KEY three\n", "ERROR Expected a valid API key"),
            (b"AUDIO AAAA\n", "ERROR Expected a valid API key"),
            (b"KEY " + b"x" * 100_000, "ERROR Expected a message of at most 64 KB"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(600):
                writer.write(first)
                assert (await reader.readline()).decode().startswith(answer)
            writer.close()


async def _finals(cluster: Cluster, pcm: np.ndarray, **options: str) -> tuple[str, list[dict]]:
    async with asyncio.timeout(120), connect(cluster.url(), **options) as session:
        for at in range(0, len(pcm), RATE):
            await session.send(pcm[at : at + RATE].tobytes())
        await session.end()
        finals = [event async for event in session if event["type"] == "final"]
    return session.id, finals


async def test_a_stage_adds_to_the_sessions_that_ask_for_it(cluster):
    quiet = np.concatenate([speak(2), silence(1)])
    loud = np.concatenate([np.repeat(speak(1), 2), silence(1)])  # no word, but it makes no difference here
    pcm = np.concatenate([quiet, loud, quiet])
    sid, finals = await _finals(cluster, pcm, stages="loudness")
    _, plain = await _finals(cluster, pcm)

    assert {final["speaker"] for final in finals if final["text"]} <= {"SPEAKER_00", "SPEAKER_01"}
    assert all("speaker" not in final for final in plain)
    assert [final["text"] for final in finals] == [final["text"] for final in plain]
    base = f"{cluster.http()}/v1/stt/sessions/{sid}/transcript"
    spoken = [s for s in httpx.get(base).json()["segments"] if s["text"]]
    assert [segment["speaker"] for segment in spoken] == [f["speaker"] for f in finals if f["text"]]
    assert f"<v {finals[0]['speaker']}>" in httpx.get(base, params={"format": "vtt"}).text
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?session_id=x&stages=nonsense") as socket:
        assert "nonsense" in json.loads(await socket.recv())["message"]


async def test_a_transcript_is_read_in_another_language(cluster):
    pcm = np.concatenate([speak(2), silence(1)])
    sid, finals = await _finals(cluster, pcm, stages="uppercase")
    [spoken] = [final for final in finals if final["text"]]
    assert spoken["translations"] == {"de": spoken["text"].upper()}
    url = f"{cluster.http()}/v1/stt/sessions/{sid}/transcript"
    for form in ("json", "text", "srt", "vtt"):
        assert spoken["text"].upper() in httpx.get(url, params={"format": form, "translation": "de"}).text
        assert spoken["text"] in httpx.get(url, params={"format": form}).text
    refused = httpx.get(url, params={"translation": "fr"})
    assert refused.status_code == 400
    assert "(de" in refused.json()["detail"]


async def test_a_stages_state_outlives_its_worker(cluster):
    async with asyncio.timeout(120), connect(cluster.url(), stages="counting") as session:
        finals = []
        for part in range(2):
            pcm = np.concatenate([speak(2, first=2 * part), silence(1)])
            await session.send(pcm.tobytes())
            await session.flush()
            async for event in session:
                finals += [event] if event["type"] == "final" else []
                if event["type"] == "flushed":
                    break
            if not part:
                owner = cluster.owner(session.id)
                owner.kill()
                cluster.add_transcriber()
        await session.end()
        finals += [event async for event in session if event["type"] == "final"]
    assert [f["speaker"] for f in finals if f["text"]] == ["SPEAKER_01", "SPEAKER_02"]


async def _annotations(cluster: Cluster, sid: str, count: int) -> list[dict]:
    """A session's annotations from its transcript, when there are that many."""
    url = f"{cluster.http()}/v1/stt/sessions/{sid}/transcript"
    async with asyncio.timeout(600), httpx.AsyncClient() as client:
        while True:
            found = (await client.get(url, params={"annotations": "true"})).json()["annotations"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def test_a_follower_annotates_sessions(cluster, examples):
    command = [Path(sys.executable).with_name("parlando"), "follow", "word_count:WordCount"]
    environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(examples)}

    def follow() -> subprocess.Popen:
        return subprocess.Popen(command, env=environment, cwd=examples, stdout=subprocess.DEVNULL)

    following = [follow(), follow()]
    try:
        pcm = np.concatenate([speak(4), silence(1), speak(3, first=4), silence(1)])
        live: list[dict] = []
        async with asyncio.timeout(120), connect(cluster.url(), annotations="true") as session:
            for at in range(0, len(pcm), RATE):
                await session.send(pcm[at : at + RATE].tobytes())
            async for event in session:
                live += [event] if event["type"] == "annotation" else []
                if len(live) == 2:
                    await session.end()
        stored = await _annotations(cluster, session.id, 3)
        following[0].send_signal(signal.SIGKILL)  # the other takes its entries over
        sid, _ = await _finals(cluster, pcm)
        again = await _annotations(cluster, sid, 3)
        seen = httpx.get(
            f"{cluster.http()}/v1/stt/sessions/{sid}/events", params={"annotations": "true"}
        ).text
        job = httpx.get(f"{cluster.http()}/v1/stt/jobs").json()["jobs"]
    finally:
        for process in following:
            process.terminate()
            process.wait(60)

    assert sorted(each["data"]["words"] for each in live) == [4, 7]
    assert sorted(each["data"]["words"] for each in stored) == [4, 7, 7]
    assert [each["number"] for each in stored] == [1, 2, 3]
    assert {(each["by"], each["kind"]) for each in stored} == {("word-count", "word_count")}
    assert sorted(each["data"]["words"] for each in again) == [4, 7, 7]
    assert seen.count("event: annotation") == 3
    assert not job


async def test_the_analysis_step_of_the_document_works(cluster):
    async with asyncio.timeout(600), connect(cluster.url(), analyze="length", annotations=True) as session:
        await session.send(np.concatenate([speak(5), silence(1.2)]).tobytes())
        async for event in session:
            if event["type"] == "annotation":
                break
        await session.end()
    assert event["kind"] == "length"
    assert event["data"] == {"segment": 0, "seq": event["data"]["seq"], "words": 5, "segments": 1}
