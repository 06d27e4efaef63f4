"""Speaker labels in live sessions and jobs, with the real models."""

import asyncio

import httpx
import numpy as np
import pytest

from parlando.client import connect
from support.cluster import Cluster
from support.jobs import transcribe, wav
from support.perfect import silence
from support.speech import fixture

FIRST = ("533-1066-0000.flac", "533-1066-0002.flac", "533-1066-0006.flac")
SECOND = ("1688-142285-0001.flac", "1688-142285-0003.flac")
TURNS = (FIRST[0], SECOND[0], FIRST[1], SECOND[1], FIRST[2])
LABELS = ("SPEAKER_00", "SPEAKER_01")


def dialogue() -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """int16 audio of two speakers in turn, and (start, end, label) of each turn."""
    parts, turns, at = [silence(0.5)], [], 0.5
    for turn in TURNS:
        clip = fixture(turn)
        turns.append((at, at + len(clip) / 16_000, LABELS[turn in SECOND]))
        parts += [clip, silence(0.3)]
        at += len(clip) / 16_000 + 0.3
    return np.concatenate(parts), turns


def wrong(segments: list[dict], turns: list[tuple[float, float, str]]) -> list[dict]:
    """The segments whose speaker isn't the one of the turn that they are in."""

    def said_by(middle: float) -> set[str]:
        return {label for start, end, label in turns if start - 0.3 <= middle <= end + 0.3}

    return [s for s in segments if s.get("speaker") not in said_by((s["start"] + s["end"]) / 2)]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as running:
        yield running


async def test_segments_of_a_job_have_their_speakers(cluster, tmp_path):
    audio, turns = dialogue()
    path = tmp_path / "dialogue.wav"
    path.write_bytes(wav(audio))
    result = await asyncio.to_thread(transcribe, cluster.http(), path, diarize="true")
    print([(s["start"], s["end"], s.get("speaker"), s["text"]) for s in result["segments"]])
    assert not wrong(result["segments"], turns)
    assert {s["speaker"] for s in result["segments"]} == set(LABELS)


async def test_finals_of_a_session_have_their_speakers(cluster):
    audio, turns = dialogue()
    async with connect(cluster.url(), diarize=True) as session:
        for at in range(0, len(audio), 3200):
            await session.send(audio[at : at + 3200].tobytes())
            await asyncio.sleep(0.05)
        await session.end()
        events = [event async for event in session]
    print([(e["start"], e["end"], e.get("speaker"), e["text"]) for e in events if e["type"] == "final"])
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{cluster.http()}/v1/stt/sessions/{session.id}/transcript")
    assert not wrong(answer.json()["segments"], turns)
