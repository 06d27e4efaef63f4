"""Deepgram's live protocol as a pure door: parameters, and messages in."""

import json
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.doors.base import Audio, MessageError, Ping, Pong, Reply
from api_gateway.doors.deepgram import Listen
from api_gateway.doors.deepgram_flux import Flux
from api_gateway.doors.deepgram_multichannel import listen
from api_gateway.doors.deepgram_options import header_of, listen_options
from api_gateway.doors.twilio import Twilio
from api_gateway.handshake import Handshake
from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.errors import (
    AtCapacityError,
    InvalidRequestError,
    NotAllowedError,
    ParlandoError,
)
from support.deepgram_door import RAW, closed, door, final, handshake, noticed, opened, sent

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
    query = f"{RAW}&numerals=true&profanity_filter=false&endpointing=10&redact=pci&x%0d=1&tag=a"
    protocol = listen(handshake(query))
    headers = opened(protocol)
    told = headers["dg-warnings"]
    assert headers["dg-request-id"].startswith("s_")
    assert told.isascii()
    for name in ("numerals: ", "redact: ", "endpointing: 100 ms", "a parameter: ", "tag: "):
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
