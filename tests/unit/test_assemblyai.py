"""AssemblyAI's streaming protocol: messages to commands, events to messages."""

import json
from types import SimpleNamespace

import orjson
import pytest

from api_gateway.doors.assemblyai import LIFETIME_S, AssemblyAi
from api_gateway.doors.base import Audio, MessageError, Ping, Reply
from api_gateway.handshake import Handshake
from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.events import Closed, Failure, SpeechStarted
from parlando.domain.transcript import TimedWord
from parlando.errors import AtCapacityError, InvalidRequestError, NotAllowedError, ParlandoError
from support.events import closed, final, only, partial

OPENED_MS = 1_764_000_000_000


def door(**query: str) -> AssemblyAi:
    return AssemblyAi(Handshake(query=query))


def greeted(assembly: AssemblyAi):
    return said(assembly.greeting(SimpleNamespace(id="s", epoch=OPENED_MS)))


def said(messages):
    return [orjson.loads(message) for message in messages]


def test_the_querys_options_are_those_of_the_session():
    request = door(
        sample_rate="8000",
        encoding="pcm_mulaw",
        format_turns="true",
        keyterms_prompt=json.dumps(["etcd", "Parlando"]),
        min_turn_silence="400",
        max_turn_silence="1200",
        language_codes=json.dumps(["de", "eng"]),
        prompt="A talk",
    ).request(None)
    assert (request.format.encoding, request.format.sample_rate) == (Encoding.MULAW, 8000)
    config = request.config
    assert (config.hotwords, config.vad_silence_ms, config.language) == ("etcd, Parlando", 1200, "de,en")
    assert (config.prompt, config.words) == ("A talk", True)


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ({"speech_model": "universal-streaming-english"}, "en"),
        ({"speech_model": "universal-streaming-multilingual"}, None),
        ({"language_code": "deu"}, "de"),
        ({"language_code": "multi"}, None),
    ],
)
def test_languages(query, language):
    assert door(**query).request(None).config.language == language


@pytest.mark.parametrize(
    "query",
    [
        {"encoding": "opus"},
        {"sample_rate": "4"},
        {"sample_rate": "x"},
        {"max_turn_silence": "x"},
        {"max_turn_silence": "nan"},
        {"inactivity_timeout": "x"},
        {"language_code": "xx"},
        {"keyterms_prompt": "[1]"},
    ],
)
def test_options_that_cannot_be_are_refused(query):
    with pytest.raises(InvalidRequestError):
        door(**query).request(None)


def test_silence_and_time_out_stay_within_what_is_possible():
    assembly = door(max_turn_silence="10", inactivity_timeout="1")
    assert assembly.request(None).config.vad_silence_ms == 100
    assert assembly.idle_s == 5


def test_it_begins_and_tells_what_has_no_effect():
    assembly = door(sample_rate="16000", redact_pii="true", speaker_labels="true", domain="x")
    assembly.request(None)
    begin, warning = greeted(assembly)
    assert begin == {"type": "Begin", "id": "s", "expires_at": OPENED_MS // 1000 + LIFETIME_S}
    assert warning["type"] == "Warning"
    assert "domain, redact_pii" in warning["warning"]


def test_the_clients_messages_are_understood():
    assembly = door()
    assert assembly.read(b"\1\2") == [Audio(b"\1\2")]
    assert assembly.read('{"type":"ForceEndpoint"}') == [Flush()]
    assert assembly.read('{"type":"KeepAlive"}') == [Ping()]
    assert assembly.read('{"type":"Terminate"}') == [End()]
    update = (
        '{"type":"UpdateConfiguration","max_turn_silence":700,"keyterms_prompt":["etcd"],"vad_threshold":0.4}'
    )
    configure, reply = assembly.read(update)
    assert configure == Configure(changes={"vad_silence_ms": 700, "hotwords": "etcd"})
    assert "vad_threshold" in orjson.loads(only(reply.messages))["warning"]
    assert assembly.read('{"type":"UpdateConfiguration","format_turns":true}') == [Reply([])]
    for wrong in (
        "no JSON",
        "[]",
        '{"type":"Dance"}',
        '{"type":"UpdateConfiguration","language_codes":["xx"]}',
    ):
        with pytest.raises(InvalidRequestError) as error:
            assembly.read(wrong)
        assert said(assembly.notice(MessageError(error.value)))[0]["type"] == "Warning"


def test_a_turn_has_the_stable_words_and_ends_once():
    assembly = door()
    spoken = {"start": 1.0, "end": 3.0}
    turns = []
    for event in (
        partial(0, "a b c d", "a b").model_copy(update=spoken),
        final(segment=0, text="a b c d.", language="en", **spoken),
        final(segment=1, reason="no_speech"),
        partial(2, "e"),
        final(segment=2, text="e.", words=[TimedWord(word="e.", start=4.0, end=4.5, confidence=0.7)]),
    ):
        turns += said(assembly.event(event))
    assert [(t["turn_order"], t["transcript"], t["end_of_turn"], t["utterance"]) for t in turns] == [
        (0, "a b", False, ""),
        (0, "a b c d.", True, "a b c d."),
        (1, "", False, ""),
        (1, "e.", True, "e."),
    ]
    assert [(w["text"], w["start"], w["end"], w["word_is_final"]) for w in turns[0]["words"]] == [
        ("a", 1000, 1500, True),
        ("b", 1500, 2000, True),
        ("c", 2000, 2500, False),
        ("d", 2500, 3000, False),
    ]
    assert turns[1]["language_code"] == "en"
    assert turns[3]["words"] == [
        {"text": "e.", "start": 4000, "end": 4500, "confidence": 0.7, "word_is_final": True}
    ]


def test_a_turn_whose_words_were_noise_ends_without_text():
    assembly = door()
    assembly.event(partial(0, "uh"))
    [turn] = said(assembly.event(final(segment=0, reason="suppressed")))
    assert (turn["turn_order"], turn["transcript"], turn["end_of_turn"]) == (0, "", True)


def test_it_tells_of_speech_and_of_the_end():
    assembly = door()
    greeted(assembly)
    assert said(assembly.event(SpeechStarted(session_id="s", segment=0, start=0.31))) == [
        {"type": "SpeechStarted", "timestamp": 310}
    ]
    end = Closed(
        session_id="s", duration=11.4, segments=1, reason="end", timestamp="2025-11-24T16:00:12.000Z"
    )
    assert said(assembly.event(end)) == [
        {"type": "Termination", "audio_duration_seconds": 11, "session_duration_seconds": 12}
    ]
    failure = Failure(session_id="s", code="invalid_audio", message="broken")
    assert said(assembly.event(failure)) == [{"type": "Error", "error_code": 3006, "error": "broken"}]
    assert (assembly.close_code(closed()), assembly.close_code(closed(reason="invalid_audio"))) == (
        1000,
        3006,
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAllowedError("no"), 4001),
        (AtCapacityError("full"), 3009),
        (InvalidRequestError("what"), 3006),
        (ParlandoError("oh"), 3005),
    ],
)
def test_errors_have_the_codes_of_the_service(error, code):
    refusal = door().refusal(error)
    assert refusal.code == code
    assert orjson.loads(only(refusal.messages)) == {
        "type": "Error",
        "error_code": code,
        "error": error.message,
    }


def test_the_key_is_the_header_itself():
    assert AssemblyAi(Handshake(headers={"authorization": "k1"})).key == "k1"
    assert AssemblyAi(Handshake(headers={"authorization": "Bearer"}, query={"token": "t"})).key == "t"
    assert AssemblyAi(Handshake(headers={"authorization": "Basic eDp5"})).key is None
