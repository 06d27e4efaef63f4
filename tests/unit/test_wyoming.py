"""The Wyoming protocol: bytes to events, events to commands and back."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.auth import authenticate_address
from api_gateway.doors.appended import AppendedText
from api_gateway.doors.base import Audio, Describe, Described, MessageError, Ping, Pong
from api_gateway.doors.wyoming import Wyoming
from api_gateway.doors.wyoming_framing import MAX_LINE, WyomingFraming
from api_gateway.handshake import Handshake
from api_gateway.settings import GatewaySettings
from parlando.domain.commands import Configure, Flush
from parlando.domain.events import Failure, Flushed
from parlando.domain.pools import Pool
from parlando.errors import AtCapacityError, InvalidRequestError, NotAllowedError
from parlando.ids import fingerprint
from support.events import final, partial

AUDIO = {"rate": 16000, "width": 2, "channels": 1}
FLUSHED = Flushed(session_id="s")


def event(kind: str, data: dict | None = None, payload: bytes = b"") -> bytes:
    """An event as the framing gives it to the protocol."""
    return orjson.dumps({"type": kind, "data": data or {}}) + b"\n" + payload


def said(messages):
    return [(body["type"], body["data"]) for body in map(orjson.loads, messages)]


def on_the_wire(kind: str, data: dict | None = None, payload: bytes = b"", *, inline: bool = False) -> bytes:
    """An event as the official client writes it, or with its data in the line."""
    header: dict = {"type": kind, "version": "1.10.0"}
    body = b""
    if data and inline:
        header["data"] = data
    elif data:
        body = orjson.dumps(data)
        header["data_length"] = len(body)
    if payload:
        header["payload_length"] = len(payload)
    return orjson.dumps(header) + b"\n" + body + payload


@given(st.data())
def test_events_are_read_however_their_bytes_arrive(data):
    sent = [
        ("describe", None, b""),
        ("audio-chunk", AUDIO, b'\x00\n{"\xff'),
        ("transcribe", {"language": "en", "name": "é"}, b""),
        ("audio-stop", {"timestamp": 5}, b""),
    ]
    inline = data.draw(st.booleans())
    wire = b"".join(on_the_wire(*each, inline=inline) for each in sent)
    framing, found = WyomingFraming(), []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        found += framing.push(wire[:size])
        wire = wire[size:]
    assert [bytes(message) for message in found] == [event(*each) for each in sent]
    assert framing.pending == 0


def test_data_of_both_places_is_merged():
    body = b'{"b":3}'
    line = b'{"type":"x","data":{"a":1,"b":2},"data_length":%d}\n' % len(body)
    assert WyomingFraming().push(line + body) == [event("x", {"a": 1, "b": 3})]


@pytest.mark.parametrize(
    "wire",
    [
        b"no JSON\n",
        b"[]\n",
        b'{"type":"x","data":[]}\n' + b"",
        b'{"type":"x","data":[1]}\n',
        b'{"type":"x","data_length":-1}\n',
        b'{"type":"x","payload_length":"9"}\n',
        b'{"type":"x","payload_length":999999999999}\n',
        b'{"type":"x","data_length":2}\n[]',
        b" " * MAX_LINE,
    ],
)
def test_bytes_that_are_no_event_are_refused(wire):
    framing = WyomingFraming()
    if wire == b'{"type":"x","data":[]}\n':  # empty, as if there were none
        assert framing.push(wire) == [event("x")]
        return
    with pytest.raises(InvalidRequestError, match="Expected"):
        framing.push(wire)


def test_answers_are_written_as_the_official_server_does():
    packed = WyomingFraming().pack('{"type":"transcript","data":{"text":"äh"}}')
    line, _, rest = packed.partition(b"\n")
    assert orjson.loads(rest) == {"text": "äh"}
    assert orjson.loads(line)["data_length"] == len(rest)
    assert WyomingFraming().push(packed) == [event("transcript", {"text": "äh"})]
    assert WyomingFraming().pack('{"type":"transcript-stop","data":{}}').endswith(b"}\n")


def test_an_utterance_is_audio_and_a_flush():
    wyoming = Wyoming(Handshake())
    terms = {"language": "en-GB", "transcript_names": ["Parlando"], "transcript_terms": ["etcd"]}
    assert wyoming.read(event("transcribe", terms)) == []
    assert wyoming.read(event("audio-start", AUDIO)) == []
    assert wyoming.read(event("audio-chunk", AUDIO, b"\1\2")) == [Audio(b"\1\2")]
    request = wyoming.request(Audio(b"\1\2"))
    assert (request.config.language, request.config.hotwords) == ("en", "Parlando, etcd")
    assert request.format.direct
    assert wyoming.read(event("audio-stop")) == [Flush()]


def test_the_next_utterance_may_have_other_options_but_no_other_format():
    wyoming = Wyoming(Handshake())
    wyoming.read(event("audio-chunk", AUDIO, b"\1\2"))
    wyoming.request(None)
    wyoming.read(event("transcribe", {"language": "de"}))
    assert wyoming.read(event("audio-start", AUDIO)) == [Configure(changes={"language": "de"})]
    assert wyoming.read(event("audio-start", AUDIO)) == []
    wyoming.read(event("transcribe"))
    assert wyoming.read(event("audio-start", AUDIO)) == [Configure(changes={"language": None})]
    with pytest.raises(InvalidRequestError, match="16000 Hz"):
        wyoming.read(event("audio-chunk", {**AUDIO, "rate": 8000}))


@pytest.mark.parametrize(
    "wrong",
    [
        event("transcribe", {"language": "xx"}),
        event("transcribe", {"transcript_names": "x"}),
        event("audio-start", {**AUDIO, "width": 4}),
        event("audio-start", {**AUDIO, "rate": 5}),
        event("audio-start", {**AUDIO, "channels": "two"}),
    ],
)
def test_what_cannot_be_is_told(wrong):
    wyoming = Wyoming(Handshake())
    with pytest.raises(InvalidRequestError) as error:
        wyoming.read(wrong)
    [(kind, data)] = said(wyoming.notice(MessageError(error.value)))
    assert (kind, data["code"]) == ("error", "invalid_request")


def test_chunks_joined_are_the_transcript_and_each_utterance_has_its_own():
    wyoming = Wyoming(Handshake())
    events = [
        partial(0, "I am", "I"),
        partial(0, "I am here", "I am"),
        final(segment=0, text="I am here.", language="en"),
        partial(1, "And there", "And"),
        final(segment=1, text="And there.", language="en"),
        FLUSHED,
        FLUSHED,
        final(segment=2, text="Yes."),
        FLUSHED,
    ]
    answers = said([message for each in events for message in wyoming.event(each)])
    assert [kind for kind, _ in answers] == [
        "transcript-start",
        *["transcript-chunk"] * 5,
        "transcript",
        "transcript-stop",
        "transcript-start",
        "transcript",
        "transcript-stop",
        "transcript-start",
        "transcript-chunk",
        "transcript",
        "transcript-stop",
    ]
    chunks = [data["text"] for kind, data in answers[:8] if kind == "transcript-chunk"]
    assert "".join(chunks) == "I am here. And there."
    transcripts = [data for kind, data in answers if kind == "transcript"]
    assert transcripts == [
        {"text": "I am here. And there.", "language": "en"},
        {"text": ""},
        {"text": "Yes."},
    ]


def test_pings_and_questions_need_no_session():
    wyoming = Wyoming(Handshake())
    assert wyoming.opens_when_needed
    assert wyoming.read(event("ping", {"text": "a"})) == [Ping()]
    assert wyoming.read(event("ping", {"text": None})) == [Ping()]
    assert [said(wyoming.notice(Pong())) for _ in range(2)] == [
        [("pong", {"text": "a"})],
        [("pong", {"text": None})],
    ]
    assert wyoming.read(event("describe")) == [Describe()]
    assert wyoming.read(event("satellite-connected")) == []


def _pool(name: str, languages: set[str], tasks: set[str]) -> Pool:
    return Pool(name, name, "m", frozenset(languages), frozenset(tasks), frozenset(), metered=False)


def test_info_names_the_pools_with_their_languages():
    pools = [
        _pool("moonshine-tiny", {"en"}, {"transcribe"}),
        _pool("whisper-base", {"de", "en"}, {"transcribe", "translate"}),
        _pool("detector", {"fr"}, {"detect_language"}),
    ]
    [(kind, info)] = said(Wyoming(Handshake()).notice(Described(pools)))
    assert kind == "info"
    [program] = info["asr"]
    assert program["supports_transcript_streaming"]
    assert [(m["name"], m["languages"], m["installed"]) for m in program["models"]] == [
        ("moonshine-tiny", ["en"], True),
        ("whisper-base", ["de", "en"], True),
    ]
    assert [info[name] for name in ("tts", "handle", "intent", "wake", "mic", "snd")] == [[]] * 6
    [(_, nothing)] = said(Wyoming(Handshake()).notice(Described([])))
    assert not nothing["asr"][0]["installed"]


def test_errors_are_events():
    wyoming = Wyoming(Handshake())
    [(kind, data)] = said(wyoming.refusal(AtCapacityError("full")).messages)
    assert (kind, data) == ("error", {"text": "full", "code": "at_capacity"})
    failure = Failure(session_id="s", code="invalid_audio", message="broken")
    assert said(wyoming.event(failure)) == [("error", {"text": "broken", "code": "invalid_audio"})]


@pytest.mark.parametrize(
    ("peer", "served"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.168.1.5", False), ("x", False)],
)
def test_who_has_no_key_is_known_by_the_address(peer, served):
    settings = GatewaySettings(api_keys="first,second")
    if served:
        assert authenticate_address(Handshake(peer=peer, over_http=False), settings).owner == fingerprint(
            "first"
        )
        return
    with pytest.raises(NotAllowedError):
        authenticate_address(Handshake(peer=peer, over_http=False), settings)


def test_other_networks_are_admitted_if_they_are_named():
    settings = GatewaySettings(keyless_networks="127.0.0.0/8,192.168.1.0/24", wyoming_port=10300)
    assert authenticate_address(Handshake(peer="192.168.1.5", over_http=False), settings).owner == ""
    assert (settings.keyless_host, GatewaySettings().keyless_host) == ("0.0.0.0", "127.0.0.1")
    assert settings.tcp_ports == {"wyoming": 10300}


def test_appended_text_is_only_appended_to():
    text = AppendedText()
    events = [
        partial(0, "a b", "a"),
        final(segment=0, text="a b."),
        final(segment=1),
        final(segment=2, text="c"),
    ]
    assert [text.append(each) for each in events] == ["a", " b.", "", " c"]
    assert text.text == "a b. c"
