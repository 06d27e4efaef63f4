"""Deepgram's live protocol as a pure door: parameters, messages in, messages out."""

import hashlib
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.doors.base import Ack, Audio, MessageError, Ping, Pong, Reply
from api_gateway.doors.deepgram import Listen
from api_gateway.doors.deepgram_flux import Flux
from api_gateway.doors.deepgram_multichannel import MultichannelListen, listen
from api_gateway.doors.deepgram_options import header_of, listen_options
from api_gateway.doors.twilio import Twilio
from api_gateway.handshake import Handshake
from api_gateway.presenters import deepgram
from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.events import Closed, Failure, FinalTranscript, Flushed, Partial, SpeechStarted, Status
from parlando.domain.transcript import TimedWord
from parlando.errors import (
    AtCapacityError,
    InvalidRequestError,
    NotAllowedError,
    ParlandoError,
)

NAMES = st.sampled_from(
    [
        "type",
        "keyterms",
        "features",
        "thresholds",
        "language_hints",
        "eot_threshold",
        "channel",
        "punctuate",
        "media",
        "start",
        "payload",
        "timestamp",
        "track",
        "tracks",
        "callSid",
        "customParameters",
        "language",
    ]
)
RAW = "encoding=linear16&sample_rate=16000"


def handshake(query: str = RAW, **headers: str) -> Handshake:
    pairs = [tuple(part.split("=", 1)) for part in query.split("&") if part]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Handshake(query=dict(pairs), pairs=pairs, headers=named)


def door(query: str = RAW) -> Listen:
    protocol = listen(handshake(query))
    assert isinstance(protocol, Listen)
    opened(protocol)
    return protocol


def opened(protocol: Listen) -> dict[str, str]:
    protocol.request(None)
    session = SimpleNamespace(id="s", engine="moonshine", model="tiny", epoch=1_764_000_000_000)
    headers = dict(protocol.answer_headers(session))
    assert list(protocol.greeting(session)) == []
    return headers


def sent(protocol: Listen, *events: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message) for event in events for message in protocol.event(event)]


def noticed(protocol: Listen, *notices: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message) for notice in notices for message in protocol.notice(notice)]


def silent_until(ms: int) -> Ack:
    return Ack({"received": 0}, 0, ms)


def final(segment: int, text: str, start: float, end: float, covers: float, **more: Any) -> FinalTranscript:
    return FinalTranscript(
        session_id="s",
        segment=segment,
        text=text,
        start=start,
        end=end,
        covers=round(covers * 16_000),
        **more,
    )


def partial(segment: int, text: str, start: float, end: float) -> Partial:
    return Partial(
        session_id="s", segment=segment, text=text, stable="", start=start, end=end, confidence=0.9
    )


def started(segment: int, start: float) -> SpeechStarted:
    return SpeechStarted(session_id="s", segment=segment, start=start)


def flushed(covers: float) -> Flushed:
    return Flushed(session_id="s", covers=round(covers * 16_000))


def closed(duration: float, reason: str = "end") -> Closed:
    return Closed(session_id="s", duration=duration, segments=1, reason=reason)


# --- parameters -------------------------------------------------------------------------------------


def test_the_parameters_become_a_session():
    options = listen_options(
        handshake(
            "model=nova-3&language=en-US&encoding=mulaw&sample_rate=8000&channels=2&interim_results=true"
            "&endpointing=300&utterance_end_ms=1500&vad_events=true&smart_format=true&keyterm=Kubernetes"
            "&keyterm=etcd+cluster&keywords=Parlando:2.5&mip_opt_out=true&no_delay=true"
        )
    )
    assert (options.format.encoding, options.format.sample_rate) == (Encoding.MULAW, 8000)
    assert (options.format.channels, options.channels) == (2, 1)
    config = options.config
    assert (config.interim, config.words, config.vad_silence_ms) == (True, True, 300)
    assert config.languages == ("en",)
    assert config.hotwords == "Kubernetes, etcd+cluster, Parlando"
    assert (options.utterance_end_s, options.vad_events, options.style.punctuated) == (1.5, True, True)
    assert options.not_honoured == ()


def test_the_defaults_are_those_of_the_service():
    options = listen_options(handshake(RAW))
    assert (options.config.interim, options.config.languages) == (False, ("en",))
    assert (options.style.punctuated, options.endpointing, options.config.vad_silence_ms) == (
        False,
        True,
        None,
    )
    assert listen_options(handshake("")).format.encoding is Encoding.CONTAINER
    assert listen_options(handshake("encoding=linear32&sample_rate=48000")).format.frame_bytes == 4
    assert listen_options(handshake("language=multi")).config.languages == ()
    assert listen_options(handshake(f"{RAW}&endpointing=false")).endpointing is False


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("encoding=g729&sample_rate=8000", "encoding: expected one of linear16"),
        ("encoding=linear16", "sample_rate: expected a rate"),
        ("encoding=linear16&sample_rate=400", "8000 to 48000"),
        (f"{RAW}&channels=9", "channels: expected a whole number from 1 to 8, but got '9'"),
        (f"{RAW}&interim_results=maybe", "interim_results: expected true or false"),
        (f"{RAW}&interim_results=true&utterance_end_ms=10", "utterance_end_ms: expected a whole number"),
        (f"{RAW}&utterance_end_ms=1000", "expected interim_results=true"),
        (f"{RAW}&endpointing=soon", "endpointing: expected a whole number"),
        (f"{RAW}&multichannel=true", "channels: expected the number"),
        (f"{RAW}&callback=http://example.org", "callback: results"),
        (f"{RAW}&keyterm={'x' * 1001}", "at most 1000 characters"),
        (f"{RAW}&language=nowhere", "language"),
    ],
)
def test_what_cannot_be_is_refused_by_name(query, says):
    with pytest.raises(InvalidRequestError, match=says):
        listen_options(handshake(query))


def test_what_is_not_honoured_is_told_in_the_handshake_and_in_the_metadata():
    query = f"{RAW}&numerals=true&profanity_filter=false&endpointing=10&redact=pci&x%0d=1&diarize=true&tag=a"
    protocol = listen(handshake(query))
    headers = opened(protocol)
    told = headers["dg-warnings"]
    assert headers["dg-request-id"].startswith("s_")
    assert told.isascii()
    for name in ("numerals: ", "redact: ", "endpointing: 100 ms", "diarize: ", "a parameter: ", "tag: "):
        assert name in told
    assert "profanity_filter" not in told
    [*_, metadata] = sent(protocol, closed(1.0))
    assert [warning["parameter"] for warning in metadata["warnings"]].count("redact") == 1
    assert len(header_of([("x", "y" * 5000)])) <= 1500


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_parameter_breaks_the_header(name, value):
    protocol = Listen(Handshake(query={name: value}, pairs=[(name, value)]))
    try:
        options = listen_options(protocol.handshake)
    except InvalidRequestError:
        return
    told = header_of(options.not_honoured)
    assert told.isascii()
    assert told.isprintable()


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Token secret"}, "secret"),
        ({"authorization": "Bearer secret"}, "secret"),
        ({"sec_websocket_protocol": "token, secret"}, "secret"),
        ({"sec_websocket_protocol": "bearer, dg_x.y"}, "dg_x.y"),
        ({}, None),
    ],
)
def test_the_key_is_in_a_header_or_in_a_subprotocol(headers, key):
    protocol = listen(handshake(RAW, **headers))
    assert protocol.key == key
    offered = headers.get("sec_websocket_protocol", "").split(",")[0]
    assert protocol.selected_subprotocol == (offered or None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotAllowedError("no"), 401, "INVALID_AUTH"),
        (InvalidRequestError("no"), 400, "Bad Request"),
        (AtCapacityError("no"), 429, "TOO_MANY_REQUESTS"),
        (ParlandoError("no"), 500, "INTERNAL_SERVER_ERROR"),
    ],
)
def test_a_refused_handshake_is_answered_as_the_service_does(error, status, code):
    denial = listen(handshake()).denial(error)
    body = json.loads(denial.body)
    assert (denial.status, body["err_code"], body["err_msg"]) == (status, code, "no")
    assert body["request_id"]


# --- messages in ------------------------------------------------------------------------------------


def test_the_messages_of_the_client():
    protocol = door()
    assert protocol.read(b"\0\0") == [Audio(b"\0\0")]
    assert protocol.read(b"") == []
    assert protocol.read('{"type":"KeepAlive"}') == []
    assert protocol.read('{"type":"Finalize"}') == [Flush()]
    assert protocol.read('{"type":"CloseStream"}') == [End()]
    for message in ("{", '{"type":"Other"}', "[]"):
        with pytest.raises(InvalidRequestError):
            protocol.commands(message)
    [error] = noticed(protocol, MessageError(InvalidRequestError("Expected x, but got y")))
    assert (error["type"], error["variant"]) == ("Error", "SchemaError")


def test_configure_changes_terms_and_punctuation():
    protocol = door()
    change, reply = protocol.read('{"type":"Configure","keyterms":["etcd","Redis, 7"]}')
    assert change == Configure(changes={"hotwords": "etcd, Redis 7"})
    assert orjson.loads(reply.messages[0])["keyterms"] == ["etcd", "Redis, 7"]
    [reply] = protocol.read('{"type":"Configure","features":{"punctuate":true}}')
    assert orjson.loads(reply.messages[0])["type"] == "ConfigureSuccess"
    [result] = sent(protocol, final(0, "Hello, you.", 0.1, 0.9, 1.0))
    assert result["channel"]["alternatives"][0]["transcript"] == "Hello, you."
    for refused, code in (
        ('{"type":"Configure","features":{"numerals":true}}', "CONFIGURE_INTERNAL_ERROR"),
        (json.dumps({"type": "Configure", "keyterms": ["x" * 2000]}), "CONFIGURE_KEYTERM_LIMIT_EXCEEDED"),
        ('{"type":"Configure","keyterms":"etcd"}', "CONFIGURE_INTERNAL_ERROR"),
    ):
        [reply] = protocol.read(refused)
        assert isinstance(reply, Reply)
        answer = orjson.loads(reply.messages[0])
        assert (answer["type"], answer["code"]) == ("ConfigureFailure", code)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, JSON, max_size=4), st.sampled_from(["Configure", "Finalize", "Other"]))
def test_no_message_is_too_odd(fields, kind):
    for protocol in (door(), Flux(handshake(RAW))):
        message = json.dumps({**fields, "type": kind})
        try:
            commands = protocol.commands(message)
        except InvalidRequestError:
            continue
        for command in commands:
            if command == Ping():
                [answer] = protocol.notice(Pong())
                orjson.loads(answer)


@given(st.dictionaries(NAMES, JSON, max_size=4), st.sampled_from(["media", "start", "stop", "mark", "x"]))
def test_no_message_of_a_call_is_too_odd(fields, event):
    protocol = Twilio(Handshake())
    message = json.dumps({**fields, "event": event})
    try:
        channels = protocol.channels(message) or ()
    except InvalidRequestError:
        channels = ()
    for channel in channels:
        channel.request(None)
    protocol = Twilio(Handshake())
    [track] = protocol.channels('{"event":"start","start":{"tracks":["inbound"]}}')
    for _, part in protocol.split(message):
        with suppress(InvalidRequestError):
            track.commands(part)


# --- messages out -----------------------------------------------------------------------------------


def test_finals_cover_the_audio_and_interims_replace_each_other():
    protocol = door(f"{RAW}&interim_results=true&punctuate=true&vad_events=true")
    messages = sent(
        protocol,
        started(0, 0.5),
        partial(0, "Hello", 0.5, 0.9),
        partial(0, "Hello there", 0.5, 1.3),
        final(
            0,
            "Hello there.",
            0.5,
            1.4,
            1.9,
            confidence=0.8,
            words=[
                TimedWord(word="Hello", start=0.5, end=0.8, confidence=0.9),
                TimedWord(word="there.", start=0.8, end=1.4),
            ],
        ),
        started(1, 3.0),
        partial(1, "You", 3.0, 3.4),
        final(1, "You?", 3.0, 3.5, 4.0),
        closed(5.0),
    )
    assert messages[0] == {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.5}
    results = [message for message in messages if message["type"] == "Results"]
    at = 0.0
    for result in results:
        assert result["start"] == at
        if result["is_final"]:
            at = round(at + result["duration"], 4)
            assert result["speech_final"]
        else:
            assert not result["speech_final"]
    assert at == 5.0
    [first] = [r["channel"]["alternatives"][0] for r in results if r["is_final"]][:1]
    assert first["transcript"] == "Hello there."
    assert first["confidence"] == 0.8
    assert first["words"] == [
        {"word": "hello", "start": 0.5, "end": 0.8, "confidence": 0.9, "punctuated_word": "Hello"},
        {"word": "there", "start": 0.8, "end": 1.4, "confidence": 0.8, "punctuated_word": "there."},
    ]
    assert results[0]["metadata"]["model_info"] == {
        "name": "moonshine-tiny",
        "version": "1",
        "arch": "moonshine",
    }
    metadata = messages[-1]
    assert (metadata["type"], metadata["duration"], metadata["channels"]) == ("Metadata", 5.0, 1)
    assert metadata["created"] == "2025-11-24T16:00:00.000Z"


def test_without_punctuation_the_text_is_plain():
    [result] = sent(door(), final(0, "Well-known, isn't it? It's 3.5!", 0.0, 1.0, 1.0))
    assert result["channel"]["alternatives"][0]["transcript"] == "well-known isn't it it's 3.5"
    assert deepgram.written("你好，世界。", "zh", deepgram.Style(punctuated=False)) == "你好世界"


def test_a_finalize_is_answered_with_the_result_that_it_caused():
    protocol = door()
    protocol.read('{"type":"Finalize"}')
    assert sent(protocol, final(0, "before", 0.0, 0.9, 1.0)) == []  # perhaps its answer
    before, *rest = sent(protocol, final(1, "its own", 1.0, 1.9, 2.0))
    assert (before["from_finalize"], rest) == (False, [])
    [answer] = sent(protocol, flushed(2.0))
    assert (answer["from_finalize"], answer["speech_final"]) == (True, True)
    assert answer["channel"]["alternatives"][0]["transcript"] == "its own"
    protocol.read('{"type":"Finalize"}')
    [answer] = sent(protocol, flushed(2.5))  # in silence
    assert (answer["from_finalize"], answer["start"], answer["duration"]) == (True, 2.0, 0.5)
    assert sent(protocol, flushed(2.5)) == []  # not asked for


def test_a_final_is_never_held_back_for_good():
    protocol = door()
    protocol.read('{"type":"Finalize"}')
    assert sent(protocol, final(0, "kept", 0.0, 0.9, 1.0)) == []
    results = sent(protocol, closed(1.0))
    assert results[0]["channel"]["alternatives"][0]["transcript"] == "kept"


def test_a_cut_is_no_pause_until_silence_follows():
    protocol = door(f"{RAW}&interim_results=true")
    [cut] = sent(protocol, final(0, "and so on", 0.0, 8.0, 8.1, continues=True))
    assert (cut["is_final"], cut["speech_final"]) == (True, False)
    assert noticed(protocol, silent_until(8400)) == []
    [pause] = noticed(protocol, silent_until(9000))
    assert (pause["start"], pause["duration"], pause["speech_final"]) == (8.1, 0.9, True)
    assert noticed(protocol, silent_until(10_000)) == []


@pytest.mark.parametrize("how", ["time passes", "speech follows", "the end comes", "a flush is done"])
def test_utterance_end_comes_once_when_the_gap_is_certain(how):
    protocol = door(f"{RAW}&interim_results=true&utterance_end_ms=1000")
    sent(protocol, started(0, 0.1), final(0, "word", 0.1, 1.0, 1.5))
    assert noticed(protocol, silent_until(1900)) == []
    match how:
        case "time passes":
            messages = noticed(protocol, silent_until(2000), silent_until(9000))
        case "speech follows":
            messages = [*sent(protocol, started(1, 2.2)), *noticed(protocol, silent_until(2200))]
        case "the end comes":
            messages = sent(protocol, closed(2.5))
        case "a flush is done":
            messages = sent(protocol, flushed(2.1), closed(3.5))
    ends = [message for message in messages if message["type"] == "UtteranceEnd"]
    assert ends == [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.0}]


def test_no_utterance_ends_while_somebody_speaks():
    protocol = door(f"{RAW}&interim_results=true&utterance_end_ms=1000")
    sent(protocol, final(0, "word", 0.1, 1.0, 1.5), started(1, 1.6))
    assert noticed(protocol, silent_until(9000)) == []
    messages = sent(protocol, final(1, "", 1.6, 1.7, 2.0, reason="no_speech"), started(2, 2.4))
    assert "UtteranceEnd" in [message["type"] for message in messages]


def test_loss_and_failure_are_told():
    protocol = door()
    sent(protocol, Status(session_id="s", status="lost", ms=1200, reason="backlog"))
    [error] = sent(protocol, Failure(session_id="s", code="invalid_audio", message="can't be decoded"))
    assert (error["type"], error["variant"]) == ("Error", "DATA-0000")
    end = closed(0.5, "invalid_audio")
    [*_, metadata] = sent(protocol, end)
    assert metadata["warnings"][0]["message"] == "1200 ms were lost: backlog"
    assert (protocol.close_code(end), protocol.close_reason(end)) == (1008, "DATA-0000")


def test_speakers_and_languages_where_they_are_known():
    protocol = door("language=multi&diarize=true")
    [result] = sent(protocol, final(0, "Hallo du", 0.0, 1.0, 1.0, speaker="SPEAKER_02", language="de"))
    found = result["channel"]["alternatives"][0]
    assert found["languages"] == ["de"]
    assert [(word["speaker"], word["language"]) for word in found["words"]] == [(2, "de")] * 2


# --- channels ---------------------------------------------------------------------------------------


def test_several_channels_share_a_connection():
    protocol = listen(handshake(f"{RAW}&channels=2&multichannel=true"))
    assert isinstance(protocol, MultichannelListen)
    left, right = protocol.channels(None)
    ids = [channel.request(None).session_id for channel in (left, right)]
    assert ids[0].removesuffix(".0") == ids[1].removesuffix(".1")
    for channel in (left, right):
        opened(channel)
    data = np.arange(10, dtype="<i2").tobytes()
    parts: dict[int, bytes] = {0: b"", 1: b""}
    for piece in (data[:3], data[3:4], data[4:15], data[15:]):
        for index, part in protocol.split(piece):
            parts[index] += part
    assert np.frombuffer(parts[0], "<i2").tolist() == [0, 2, 4, 6, 8]
    assert np.frombuffer(parts[1], "<i2").tolist() == [1, 3, 5, 7, 9]
    assert protocol.split('{"type":"Finalize","channel":1}') == [(1, '{"type":"Finalize","channel":1}')]
    assert protocol.idle_s == 10
    assert [index for index, _ in protocol.split('{"type":"CloseStream"}')] == [0, 1]
    assert protocol.idle_s is None, "the rest may take longer"
    assert protocol.split("{") == [(0, "{")]
    [result] = sent(right, final(0, "right", 0.0, 1.0, 1.0))
    assert result["channel_index"] == [1, 2]
    assert [message["type"] for message in sent(right, closed(1.0))] == []
    [metadata] = sent(left, closed(1.5))[-1:]
    assert (metadata["type"], metadata["channels"], metadata["duration"]) == ("Metadata", 2, 1.5)


def test_the_only_channel_of_several_is_hashed_once():
    protocol = listen(handshake(f"{RAW}&channels=1&multichannel=true"))
    [channel] = protocol.channels(None)
    opened(channel)
    for index, part in protocol.split(b"\0\1\2\3"):
        assert index == 0
        channel.read(part)
    [*_, metadata] = sent(channel, closed(1.0))
    assert metadata["sha256"] == hashlib.sha256(b"\0\1\2\3").hexdigest()


def test_the_channels_of_a_container_are_found_by_the_audio_processor():
    protocol = listen(handshake("channels=2&multichannel=true"))
    left, right = protocol.channels(None)
    assert [channel.request(None).format.channel for channel in (left, right)] == [0, 1]
    assert protocol.split(b"OggS") == [(0, b"OggS"), (1, b"OggS")]
