"""Deepgram's responses for recorded files."""

import json
from typing import Any

import pytest

from api_gateway.presenters.deepgram_file import Presentation, response_of
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript
from parlando.errors import (
    EngineError,
    InvalidAudioError,
    InvalidRequestError,
)
from parlando.store.job_store import JobRecord


def spoken(text: str, at: float, *, speaker: str | None = None) -> FinalSegment:
    words = tuple(
        TimedWord(word=word, start=at + 0.4 * n, end=at + 0.4 * n + 0.3)
        for n, word in enumerate(text.split())
    )
    return FinalSegment(
        segment=0, start=at, end=words[-1].end, text=text, words=words, confidence=0.9, speaker=speaker
    )


def test_a_recorded_file_has_utterances_and_paragraphs():
    segments = [spoken("How are you? I am fine.", 0.0), spoken("So am I.", 8.0)]
    record = job_record(status="completed", options={"words": True})
    transcript = Transcript.of("j", state="completed", duration=10.0, segments=segments)
    body = response_of(record, transcript, Presentation(utterance_gap_s=0.8, paragraphs=True, tags=("a",)))
    [channel] = body["results"]["channels"]
    [found] = channel["alternatives"]
    assert found["transcript"] == "How are you? I am fine. So am I."
    sentences = [
        [sentence["text"] for sentence in paragraph["sentences"]]
        for paragraph in found["paragraphs"]["paragraphs"]
    ]
    assert sentences == [["How are you?", "I am fine."], ["So am I."]]
    assert found["paragraphs"]["transcript"] == "How are you? I am fine.\n\nSo am I."
    assert [each["transcript"] for each in body["results"]["utterances"]] == [
        "How are you? I am fine.",
        "So am I.",
    ]
    assert body["metadata"]["models"] == ["moonshine-tiny"]
    assert body["metadata"]["tags"] == ["a"]
    plain = response_of(record, transcript, Presentation(punctuated=False))
    assert plain["results"] == {
        "channels": [
            {
                "alternatives": [
                    {**found_plain(plain), "transcript": "how are you i am fine so am i"},
                ]
            }
        ]
    }


def found_plain(body: dict[str, Any]) -> dict[str, Any]:
    return body["results"]["channels"][0]["alternatives"][0]


def test_a_channel_without_speech_is_there_too():
    record = job_record(status="completed", options={"channels": "split"}, duration=100, audio=300)
    segments = [spoken("left", 0.0, speaker="SPEAKER_00"), spoken("right", 0.0, speaker="SPEAKER_02")]
    transcript = Transcript.of("j", state="completed", duration=1.0, segments=segments)
    channels = response_of(record, transcript, Presentation())["results"]["channels"]
    assert [channel["alternatives"][0]["transcript"] for channel in channels] == ["left", "", "right"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_audio", InvalidAudioError),
        ("url_failed", InvalidRequestError),
        ("chunk_failed", EngineError),
    ],
)
def test_a_failed_job_is_an_error(code, kind):
    record = job_record(status="failed", error={"code": code, "message": "no"})
    with pytest.raises(kind):
        response_of(record, Transcript.of("j", state="failed", duration=0.0, segments=[]), Presentation())


def job_record(**fields: Any) -> JobRecord:
    found = {
        "key": "",
        "state": fields.get("status", "completed"),
        "options": json.dumps(fields.get("options", {})),
        "blob": "b",
        "name": "talk.wav",
        "digest": "ab",
        "created": 1,
        "attempts": 0,
        "expected": 0,
        "shown": 1,
        "pool": "moonshine-tiny",
        "seq": 1,
        "duration": fields.get("duration", 100),
        "audio": fields.get("audio", 100),
        "error": json.dumps(fields["error"]) if "error" in fields else "",
    }
    return JobRecord.of("j", {name.encode(): str(value).encode() for name, value in found.items()})
