"""Known speakers: enrolled by clips, recognised in sessions and jobs, and forgotten, with the real models."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.client import ClientError, SpeakersClient, connect
from support.cluster import Cluster
from support.jobs import transcribe, wav
from support.perfect import silence
from support.speech import FIXTURES, fixture

CLIPS = FIXTURES / "speech"
CHRISTIE, JACK = CLIPS / "533-1066-0002.flac", CLIPS / "1688-142285-0001.flac"
TURNS = ("533-1066-0000.flac", "1688-142285-0003.flac", "533-1066-0006.flac")  # other recordings of the two
KEYS = {"API_KEYS": "one,two,three"}
FRAME = 1600


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, SPEAKER_WAIT_S="60", **KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """int16 audio: Christie, Jack, Christie."""
    return np.concatenate([part for turn in TURNS for part in (fixture(turn), silence(1.0))])


@pytest.fixture(scope="module")
def recording(tmp_path_factory, talk) -> Path:
    path = tmp_path_factory.mktemp("known") / "talk.wav"
    path.write_bytes(wav(talk))
    return path


@pytest.fixture
async def speakers(cluster):
    async with SpeakersClient(cluster.http(), api_key="one") as client:
        yield client
        for each in await client.known():
            await client.forget(each["name"])


def people(segments: list[dict]) -> dict[str, str | None]:
    """The name of each label; one that changes fails."""
    found = {(s["speaker"], s.get("speaker_name")) for s in segments if s["text"].strip()}
    assert len(found) == len(dict(found)), found
    return dict(found)


async def listen(cluster: Cluster, talk: np.ndarray, **options) -> tuple[list[dict], str]:
    async with connect(
        cluster.url(), api_key="three", diarize=True, vad_silence_ms=600, **options
    ) as session:
        for at in range(0, len(talk), FRAME):
            await session.send(talk[at : at + FRAME].tobytes())
            await asyncio.sleep(FRAME / 160_000)
        await session.end()
        return [event async for event in session], session.id


async def test_known_speakers_are_named_in_jobs_until_they_are_deleted(cluster, speakers, recording):
    added = await speakers.enrol("Christie", CHRISTIE)
    assert (added["name"], added["clips"]) == ("Christie", 1)
    assert 6 < added["seconds"] < 9.3
    assert (await speakers.enrol("Christie", CHRISTIE))["clips"] == 1  # a repeat adds nothing
    await speakers.enrol("John", CLIPS / "jfk.flac")
    assert [each["name"] for each in await speakers.known()] == ["Christie", "John"]

    async def result(**options: str) -> dict:
        fields = {"key": "one", "diarize": "true", **options}
        return await asyncio.to_thread(transcribe, cluster.http(), recording, **fields)

    found, plain = await asyncio.gather(result(known_speakers="true"), result())
    assert people(found["segments"]) == {"SPEAKER_00": "Christie", "SPEAKER_01": None}
    assert all(0.5 <= s["speaker_score"] <= 1 for s in found["segments"] if "speaker_name" in s)
    assert found["text"] == plain["text"]
    assert set(people(plain["segments"]).values()) == {None}
    assert set(people((await result(known_speakers="John"))["segments"]).values()) == {None}
    await speakers.forget("Christie")
    with pytest.raises(ClientError, match="No known speaker is called 'Christie'"):
        await speakers.forget("Christie")
    assert set(people((await result(known_speakers="true"))["segments"]).values()) == {None}


async def test_known_speakers_are_named_in_sessions_and_their_transcripts(cluster, talk):
    async with SpeakersClient(cluster.http(), api_key="three") as speakers:
        await asyncio.gather(speakers.enrol("Jack", JACK), speakers.enrol("Christie", CHRISTIE))
    events, sid = await listen(cluster, talk, known_speakers=True)
    now: dict[int, str | None] = {}
    for event in events:
        if event["type"] == "final" and event["text"]:
            now[event["segment"]] = event.get("speaker_name")
        elif event["type"] == "speakers_revised":
            now |= {each["segment"]: each.get("speaker_name") for each in event["segments"]}
    names = list(now.values())
    assert (names[0], names[-1]) == ("Christie", "Christie")
    assert set(names) == {"Christie", "Jack"}
    headers = {"Authorization": "Bearer three"}
    async with httpx.AsyncClient(headers=headers, base_url=cluster.http()) as web:
        shown = (await web.get(f"/v1/stt/sessions/{sid}/transcript")).json()
        assert set(people(shown["segments"]).values()) == {"Christie", "Jack"}
        assert all(s["speaker_score"] >= 0.5 for s in shown["segments"] if s["text"])
        text = (await web.get(f"/v1/stt/sessions/{sid}/transcript?format=vtt")).text
    assert "<v Christie>" in text
    assert "<v Jack>" in text


async def test_each_key_has_its_own_and_bad_clips_are_refused(cluster, speakers, tmp_path):
    short, quiet = tmp_path / "short.wav", tmp_path / "quiet.wav"
    short.write_bytes(wav(fixture("533-1066-0000.flac")))
    quiet.write_bytes(wav(silence(6.0)))
    for clip, said in ((short, r"but the clip has [12]\.\d s"), (quiet, r"but the clip has 0\.0 s")):
        with pytest.raises(ClientError, match=said):
            await speakers.enrol("Christie", clip)
    for name in ("", "a,b", "true", "x" * 101):
        with pytest.raises(ClientError, match="Expected a name of 1 to 100 characters"):
            await speakers.enrol(name, short)
    assert await speakers.known() == []
    await speakers.enrol("Christie", CHRISTIE)
    async with SpeakersClient(cluster.http(), api_key="two") as other:
        assert await other.known() == []
        with pytest.raises(ClientError, match="No known speaker"):
            await other.forget("Christie")
    jobs = httpx.get(f"{cluster.http()}/v1/stt/jobs", headers={"Authorization": "Bearer one"}).json()
    assert not any(job["filename"] == CHRISTIE.name for job in jobs["jobs"])  # enrolments are not listed


def test_the_command_line_adds_lists_and_removes(cluster):
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["speakers", *arguments, "--url", cluster.http(), "--key", "two"])
        assert done.exit_code == 0, done.output
        return done.output

    assert run("add", "Jack", str(JACK), str(CLIPS / "jfk.flac")).startswith("Jack: 2 clips, ")
    assert "Jack" in run("list")
    assert run("remove", "Jack") == "Jack deleted\n"
    assert "Jack" not in run("list")
