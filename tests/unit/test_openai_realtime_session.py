"""The configuration of OpenAI Realtime sessions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.doors.base import Start
from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError
from support.openai_realtime import Client, Session

# --- configuration --------------------------------------------------------------------------------------


def test_the_defaults_are_told_and_applied():
    client = Client()
    assert client.request.format == AudioFormat(sample_rate=24_000)
    assert client.request.config.vad_silence_ms == 500
    created = client.sent[0]
    assert created["type"] == "session.created"
    assert created["session"] == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": Session.id,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "moonshine-tiny", "language": None, "prompt": ""},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
        "include": None,
    }


def update(**audio_input: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}


def test_an_update_before_the_session_opens_configures_it():
    client = Client(opened=False)
    transcription = {
        "model": "gpt-9",
        "language": "en-GB",
        "prompt": "etcd",
        "keywords": ["Redis, Lua", "Go"],
    }
    body = update(transcription=transcription, format={"type": "audio/pcmu"})
    body["session"]["include"] = ["item.input_audio_transcription.logprobs"]
    [start] = client.say(body)
    assert isinstance(start, Start)
    request = client.door.request(start)
    assert request.format == AudioFormat(encoding=Encoding.MULAW, sample_rate=8000)
    config = request.config
    assert (config.language, config.prompt, config.hotwords) == ("en", "etcd", "Redis  Lua, Go")
    assert config.words, "log probabilities are made of them"
    shown = client.sent[-1]
    assert shown["type"] == "session.updated"
    assert shown["session"]["audio"]["input"]["transcription"]["model"] == "gpt-9"


def test_only_the_fields_that_are_sent_change():
    client = Client()
    client.say(update(transcription={"language": "en", "prompt": "a"}))
    assert client.say(update(transcription={"prompt": "b"})) == [Configure(changes={"prompt": "b"})]
    shown = client.sent[-1]["session"]["audio"]["input"]["transcription"]
    assert (shown["language"], shown["prompt"]) == ("en", "b")
    client.say(update(transcription=None))
    assert client.sent[-1]["session"]["audio"]["input"]["transcription"]["language"] is None
    assert client.say(update(turn_detection={"silence_duration_ms": 20})) == [
        Configure(changes={"vad_silence_ms": 100})
    ]
    turns = client.sent[-1]["session"]["audio"]["input"]["turn_detection"]
    assert turns["silence_duration_ms"] == 100, "what applies is told"
    client.say(update(turn_detection={"type": "semantic_vad", "eagerness": "low"}))
    assert client.door.request(None).config.vad_silence_ms == 1600


@pytest.mark.parametrize("name", ["", None, "auto"])
def test_a_language_is_reset(name):
    client = Client(opened=False)
    client.say(update(transcription={"language": "en"}))
    client.say(update(transcription={"language": name}))
    assert client.door.request(None).config.language is None


def test_several_languages_are_a_choice():
    client = Client(opened=False)
    client.say(update(transcription={"languages": ["de", "english"]}))
    assert client.door.request(None).config.languages == ("de", "en")


@pytest.mark.parametrize(
    ("session", "param", "code"),
    [
        ({"type": "realtime"}, "session.type", "invalid_value"),
        ("none", "session", None),
        (
            {"audio": {"input": {"format": {"type": "audio/opus"}}}},
            "session.audio.input.format.type",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 1}}}},
            "session.audio.input.format.rate",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"transcription": {"language": "Klingonese"}}}},
            "session.audio.input.transcription.language",
            "invalid_value",
        ),
        ({"include": ["everything"]}, "session.include.0", "invalid_value"),
        ({"input_audio_format": "g711_ulaw"}, "session.input_audio_format", "unknown_parameter"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(session, param, code):
    client = Client()
    before = client.door.request(None)
    assert client.say({"type": "session.update", "event_id": "mine", "session": session}) == []
    error = client.sent[-1]["error"]
    assert (error["param"], error["event_id"]) == (param, "mine")
    assert error["code"] == (code or "invalid_request")
    assert client.door.request(None) == before


def test_the_format_can_be_set_until_the_first_audio():
    client = Client()
    [start] = client.say(update(format={"type": "audio/pcma"}))
    assert start.format == AudioFormat(encoding=Encoding.ALAW, sample_rate=8000)
    client.append(rate=4000)
    assert client.say(update(format={"type": "audio/pcm"})) == []
    assert client.sent[-1]["error"]["param"] == "session.audio.input.format"


def test_a_change_that_the_cluster_refuses_is_taken_back():
    client = Client()
    before = client.door.request(None)
    client.say({**update(transcription={"language": "fr"}), "event_id": "e7"})
    [error] = client.notice(InvalidRequestError("no engine speaks it"))
    assert (error["type"], error["error"]["event_id"]) == ("error", "e7")
    assert client.door.request(None) == before


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (b"\0\1", None),
        ("{", None),
        ("[]", "type"),
        ('{"type": 5}', "type"),
        ('{"type": "response.create"}', "type"),
        ('{"type": "transcription_session.update", "session": {}}', "type"),
        ('{"type": "input_audio_buffer.append"}', "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "*"}', "audio"),
    ],
)
def test_what_is_not_understood_is_an_error_event(message, param):
    client = Client()
    assert client.say(message) == []
    error = client.sent[-1]["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_event", param)


@given(text=st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_text_is_answered(text):
    client = Client()
    assert client.say(text) == []
    assert client.sent[-1]["type"] == "error"
