"""Speaker labels in live sessions and jobs, with the real models."""

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import websockets

from parlando.client import ClientSession, connect
from support.cluster import Cluster
from support.jobs import transcribe, wav
from support.perfect import silence
from support.speech import fixture

FIRST = ("533-1066-0000.flac", "533-1066-0002.flac", "533-1066-0006.flac")
SECOND = ("1688-142285-0001.flac", "1688-142285-0003.flac")
TURNS = (FIRST[0], SECOND[0], FIRST[1], SECOND[1], FIRST[2])
LABELS = ("SPEAKER_00", "SPEAKER_01")
PAUSE_S = 0.25  # between two turns; too short to end a segment
FRAME = 1600  # samples sent at a time
Turns = list[tuple[float, float, str]]


def trimmed(clip: np.ndarray) -> np.ndarray:
    """A clip without the silence around it, so that only the pauses between turns are silent."""
    loud = np.flatnonzero(np.abs(clip) > 500)
    return clip[loud[0] : loud[-1] + 1]


def dialogue() -> tuple[np.ndarray, Turns]:
    """int16 audio of two speakers in turn, and (start, end, label) of each turn."""
    parts, turns, at = [silence(0.5)], [], 0.5
    for turn in TURNS:
        clip = trimmed(fixture(turn))
        turns.append((at, at + len(clip) / 16_000, LABELS[turn in SECOND]))
        parts += [clip, silence(PAUSE_S)]
        at += len(clip) / 16_000 + PAUSE_S
    return np.concatenate(parts), turns


def wrong(segments: list[dict], turns: Turns) -> list[dict]:
    """The segments whose speaker isn't the one of the turn in whose time they lie."""

    def said_by(middle: float) -> set[str]:
        return {label for start, end, label in turns if start - 0.3 <= middle <= end + 0.3}

    return [s for s in segments if s.get("speaker") not in said_by((s["start"] + s["end"]) / 2)]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, SPEAKER_WAIT_S="60") as running:
        yield running


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speakers") / "dialogue.wav"
    path.write_bytes(wav(dialogue()[0]))
    return path


async def send(session: ClientSession, audio: np.ndarray) -> None:
    """Send audio ten times as fast as it is spoken."""
    for at in range(0, len(audio), FRAME):
        await session.send(audio[at : at + FRAME].tobytes())
        await asyncio.sleep(FRAME / 160_000)


async def transcript(cluster: Cluster, sid: str) -> dict:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{cluster.http()}/v1/stt/sessions/{sid}/transcript")).json()


def revised(events: list[dict]) -> dict[int, str | None]:
    """The speakers of the segments after all revisions, as a client computes them."""
    speakers = {}
    for event in events:
        if event["type"] == "final" and event["text"]:
            speakers[event["segment"]] = event.get("speaker")
        elif event["type"] == "speakers_revised":
            speakers |= {each["segment"]: each.get("speaker") for each in event["segments"]}
    return speakers


async def test_segments_of_a_job_have_their_speakers(cluster, recording):
    turns = dialogue()[1]
    result = await asyncio.to_thread(transcribe, cluster.http(), recording, diarize="true")
    assert not wrong(result["segments"], turns)
    assert {segment["speaker"] for segment in result["segments"]} == set(LABELS)
    assert not any("words" in segment for segment in result["segments"])
    plain = await asyncio.to_thread(transcribe, cluster.http(), recording)
    assert plain["text"] == result["text"]
    assert not any("speaker" in segment for segment in plain["segments"])


async def test_a_number_of_speakers_is_kept(cluster, recording):
    options = {"diarize": "true", "words": "true"}
    [one, three] = await asyncio.gather(
        asyncio.to_thread(transcribe, cluster.http(), recording, speaker_count="1", **options),
        asyncio.to_thread(transcribe, cluster.http(), recording, min_speakers="3", **options),
    )
    assert {segment["speaker"] for segment in one["segments"]} == {LABELS[0]}
    assert len({segment["speaker"] for segment in three["segments"]}) == 3
    said = [word for segment in three["segments"] for word in segment["words"]]
    assert all(word["speaker"] for word in said)


async def test_finals_have_their_speakers_and_are_divided_between_them(cluster):
    audio, turns = dialogue()
    options = {"diarize": True, "words": True, "vad_silence_ms": 2000, "speaker_count": 2}
    async with connect(cluster.url(), **options) as session:
        await send(session, audio)
        await session.end()
        events = [event async for event in session]
    finals = [event for event in events if event["type"] == "final" and event["text"]]
    assert [final["segment"] for final in finals] == list(range(len(finals)))
    for final in finals:
        assert {word["speaker"] for word in final["words"]} == {final["speaker"]}
        assert final["text"] == " ".join(word["word"] for word in final["words"])
    assert sum(event["type"] == "speech_started" for event in events) < len(finals)
    kept = await transcript(cluster, session.id)
    assert {s["segment"]: s.get("speaker") for s in kept["segments"]} == revised(events)
    assert not wrong(kept["segments"], turns)


async def test_speakers_keep_their_labels_after_the_death_of_a_transcriber():
    audio, turns = dialogue()
    middle = round(turns[2][0] * 16_000)
    with Cluster(transcribers=2, SPEAKER_WAIT_S="60", LEASE_S="1") as cluster:
        async with connect(cluster.url(), diarize=True) as session:
            events: list[dict] = []
            note = events.append

            async def hear() -> None:
                async for event in session:
                    note(event)

            hearing = asyncio.create_task(hear())
            await send(session, audio[:middle])
            async with asyncio.timeout(300):
                while not any(LABELS[1] == event.get("speaker") for event in events):
                    await asyncio.sleep(0.05)
            owner = cluster.owner(session.id)
            assert owner is not None
            owner.kill()
            await send(session, audio[middle:])
            await session.end()
            await hearing
        kept = await transcript(cluster, session.id)
    assert not wrong(kept["segments"], turns)


async def test_openai_deepgram_and_assemblyai_shapes(cluster, recording):
    client = openai.AsyncOpenAI(base_url=f"{cluster.http()}/v1", api_key="any")
    more = {"extra_body": {"known_speaker_names": ["Christie"]}}
    shown = await client.audio.transcriptions.create(
        file=recording, model="gpt-4o-transcribe-diarize", response_format="diarized_json", **more
    )
    assert [segment.speaker for segment in shown.segments][:2] == ["Christie", "B"]
    streamed = await client.audio.transcriptions.create(
        file=recording, model="gpt-4o-transcribe-diarize", response_format="diarized_json", stream=True
    )
    events = [event async for event in streamed]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert [segment.speaker for segment in segments] == [
        "A" if s.speaker == "Christie" else "B" for s in shown.segments
    ]
    assert events[-1].type == "transcript.text.done"

    async with httpx.AsyncClient(timeout=300) as web:
        query = {"diarize": "true", "punctuate": "true", "utterances": "true"}
        answer = await web.post(f"{cluster.http()}/v1/listen", params=query, content=recording.read_bytes())
    results = answer.json()["results"]
    assert {word["speaker"] for word in results["channels"][0]["alternatives"][0]["words"]} == {0, 1}
    assert [each["speaker"] for each in results["utterances"]][:2] == [0, 1]


async def test_a_socket_of_another_service_labels_speakers(cluster):
    audio, _ = dialogue()
    url = f"{cluster.url()}/v3/ws?sample_rate=16000&speaker_labels=true&max_speakers=2"
    async with websockets.connect(url) as socket:
        for at in range(0, len(audio), FRAME):
            await socket.send(audio[at : at + FRAME].tobytes())
            await asyncio.sleep(FRAME / 160_000)
        await socket.send(json.dumps({"type": "Terminate"}))
        turns = [json.loads(message) async for message in socket]
    ended = [turn for turn in turns if turn["type"] == "Turn" and turn["end_of_turn"]]
    assert {turn["speaker_label"] for turn in ended} == {"A", "B"}
    assert all(word["speaker"] in "AB" for turn in ended for word in turn["words"])
