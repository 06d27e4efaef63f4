"""The gateway's pure parts: dialect, outbox, keys, subtitles."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from api_gateway.auth import Access, Principal, handshake_of
from api_gateway.doors.base import Audio, Ping, Start
from api_gateway.doors.native import request_of
from api_gateway.http.sse import start_of
from api_gateway.permissions import Rule
from api_gateway.settings import GatewaySettings
from parlando.domain import subtitles
from parlando.domain.analysis import TaskUpdate
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.transcript import FinalSegment, Transcript
from parlando.errors import InvalidAudioError, InvalidRequestError, NotAllowedError
from parlando.ids import fingerprint
from parlando.store.api_keys import ApiKeys
from parlando.store.connection import connect
from parlando.store.envelope import Envelope
from parlando.store.key_ring import KeyRing
from parlando.store.outbox import Outbox
from parlando.store.pubsub import Channels
from parlando.store.token_secret import TokenSecret
from support.events import enveloped, final, native, only, partial


def read(message: str | bytes):
    return only(native().read(message))


def test_the_messages_of_the_protocol_are_understood():
    assert read(b"\x01\x02") == Audio(b"\x01\x02")
    assert read('{"type":"audio","chunk":"AAA=","index":3}') == Audio(b"\0\0", 3)
    assert read('{"type":"audio","data":"AAA=","session_id":"x"}') == Audio(b"\0\0", None, "x")
    assert read('{"type":"config","prompt":"etcd"}') == Configure(changes={"prompt": "etcd"})
    assert isinstance(read('{"type":"start","sample_rate":16000}'), Start)
    assert [read(json.dumps({"type": kind})) for kind in ("flush", "ping", "end")] == [Flush(), Ping(), End()]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("{", "Expected a JSON object"),
        ("[]", "Expected type start"),
        ('{"type":"audi"}', "got 'audi'"),
        ('{"type":"audio"}', "base64 string in chunk"),
        ('{"type":"audio","chunk":"*"}', "Expected base64"),
        ('{"type":"config","vad_silence_ms":5}', "vad_silence_ms"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_was_expected(message, says):
    with pytest.raises(InvalidRequestError, match=says.replace("[", r"\[")):
        read(message)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"sample_rate": "4000"}, "expected a sample_rate of 8000 to 48000 Hz, got 4000"),
        ({"channels": "9"}, "channels: .*less than or equal to 8, but got '9'"),
        ({"channels": "2", "channel": "2"}, "expected channel below 2"),
        ({"encoding": "opus"}, "encoding: .*'pcm_s16le'.*but got 'opus'"),
        ({"uid": "../x"}, "uid"),
    ],
)
def test_formats_that_cannot_be_get_a_clear_error(params, says):
    with pytest.raises(InvalidRequestError, match=says):
        request_of(params)


@pytest.mark.parametrize(
    ("params", "direct", "frame"),
    [
        ({}, True, 2),
        ({"encoding": "pcm_f32le"}, True, 4),
        ({"normalize": "true"}, False, 2),
        ({"sample_rate": "48000", "channels": "2"}, False, 4),
        ({"encoding": "mulaw", "sample_rate": "8000"}, False, 1),
        ({"format": "webm"}, False, 1),
        ({"format": "pcm"}, True, 2),
    ],
)
def test_a_format_says_which_way_its_bytes_go(params, direct, frame):
    form = request_of(params).format

    assert (form.direct, form.frame_bytes) == (direct, frame)


@given(st.text(max_size=60))
def test_any_text_is_a_command_or_an_error_of_ours(text):
    try:
        read(text)
    except (InvalidRequestError, InvalidAudioError):
        return


def test_new_text_is_what_was_not_said_before():
    protocol = native()

    def new_text(event):
        return orjson.loads(only(protocol.event(event)))["new_text"]

    assert new_text(partial(0, "I am x", stable="I am")) == "I am"
    assert new_text(partial(0, "I am y", stable="I am")) == ""
    assert new_text(final(segment=0, text="I am working.")) == "working."
    assert new_text(final(segment=1, text="Yes.")) == "Yes."


def _raw(messages: list[Envelope]) -> list[bytes]:
    return [message.raw for message in messages]


def _final(seq: int, segment: int = 0) -> Envelope:
    return enveloped(final(seq, segment, timestamp=""))


def _partial(segment: int, text: str) -> Envelope:
    return enveloped(partial(segment, text).model_copy(update={"timestamp": ""}))


def test_a_slow_client_skips_partials_but_never_finals():
    outbox = Outbox(0)
    for n in range(5):
        outbox.put(_partial(0, str(n)))
    outbox.put(_final(1, 0))
    outbox.put(_partial(1, "a"))
    outbox.put(_partial(1, "b"))

    assert _raw(outbox.take()) == _raw([_final(1, 0), _partial(1, "b")])


def test_a_gap_is_filled_from_the_history():
    outbox = Outbox(0)
    outbox.put(_final(1))
    outbox.put(_final(3, 2))

    assert outbox.behind
    assert _raw(outbox.take()) == _raw([_final(1)])
    outbox.refill([_final(2, 1), _final(3, 2)], complete=True)
    assert _raw(outbox.take()) == _raw([_final(2, 1), _final(3, 2)])
    assert not outbox.behind


@given(st.lists(st.integers(1, 30), max_size=60), st.data())
def test_every_kept_event_goes_out_once_and_in_order(arrivals, data):
    outbox, sent = Outbox(0), []
    newest = 0
    for seq in arrivals:
        newest = max(newest, seq)
        outbox.put(_final(seq))
        if data.draw(st.booleans()):
            if outbox.behind:
                outbox.refill([_final(n) for n in range(outbox.newest + 1, newest + 1)], complete=True)
            sent += [message.seq for message in outbox.take()]
    outbox.missed()
    outbox.refill([_final(n) for n in range(outbox.newest + 1, newest + 1)], complete=True)
    sent += [message.seq for message in outbox.take()]

    assert sent == list(range(1, newest + 1))


def _connection(*, query: str = "", client: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection(
        {"type": "http", "headers": raw, "query_string": query.encode(), "client": (client, 5), "path": "/"}
    )


async def _caller(connection: HTTPConnection, settings: GatewaySettings) -> Principal:
    redis = connect("redis://127.0.0.1:1")  # only access tokens and stored keys need it
    access = Access(settings, TokenSecret(redis), KeyRing(ApiKeys(redis), Channels(redis)))
    return await access.authenticate(handshake_of(connection), Rule("any"))


KEYED = GatewaySettings(api_keys=("alpha", "beta"))
KEYLESS = GatewaySettings(api_keys=())


@pytest.mark.parametrize(
    "connection",
    [
        _connection(authorization="Bearer beta"),
        _connection(x_api_key="beta"),
        _connection(query="token=beta"),
        _connection(sec_websocket_protocol="parlando, parlando-key.beta"),
    ],
)
async def test_case_17_a_key_may_come_in_four_ways(connection):
    assert (await _caller(connection, KEYED)).owner == fingerprint("beta")


@pytest.mark.parametrize("connection", [_connection(), _connection(authorization="Bearer gamma")])
async def test_case_17_no_key_or_a_wrong_one_is_refused(connection):
    with pytest.raises(NotAllowedError):
        await _caller(connection, KEYED)


@pytest.mark.parametrize(
    "connection",
    [
        _connection(client="10.0.0.9", host="localhost"),
        _connection(host="evil.example"),
        _connection(host="localhost", origin="https://evil.example"),
    ],
)
async def test_without_keys_only_this_machine_is_served(connection):
    local = _connection(host="localhost:8000", origin="http://localhost:8000")
    assert (await _caller(local, KEYLESS)).owner == ""
    with pytest.raises(NotAllowedError):
        await _caller(connection, KEYLESS)


TRANSCRIPT = Transcript.of(
    "s",
    state="closed",
    duration=3700.5,
    segments=[
        FinalSegment(segment=0, start=0.5, end=1.25, text="A <b> & c"),
        FinalSegment(segment=1, start=2, end=3, text="", reason="no_speech"),
        FinalSegment(segment=2, start=3600.001, end=3661.9996, text="late"),
    ],
)


def test_subtitles_have_their_headers_marks_and_escapes():
    assert subtitles.vtt(TRANSCRIPT) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.750\nA &lt;b&gt; &amp; c\n\n"
        "01:00:00.001 --> 01:00:07.001\nlate\n"
    )
    assert subtitles.srt(TRANSCRIPT) == (
        "1\n00:00:00,500 --> 00:00:01,750\nA <b> & c\n\n2\n01:00:00,001 --> 01:00:07,001\nlate\n"
    )
    assert subtitles.text(TRANSCRIPT) == "A <b> & c\nlate\n"
    assert TRANSCRIPT.text == "A <b> & c late"


def test_a_last_event_id_that_this_life_of_a_session_never_gave_asks_for_everything():
    nothing = (None, "", "x", "²", "-1", "11", "9" * 99)
    assert [start_of(header, newest=10).position.seq for header in nothing] == [0] * 7
    assert [start_of(header, newest=10).position.seq for header in ("0", "7", "10")] == [0, 7, 10]


@pytest.mark.parametrize(
    ("header", "epoch", "annotations", "goes_on_at", "restarted"),
    [
        ("7", 0, False, "7", False),
        ("7.3", 0, True, "7.3", False),
        ("7", 0, True, "7.0", False),
        ("7.3", 0, False, "7", False),
        ("7-55", 55, False, "7-55", False),
        ("7.3-55", 55, True, "7.3-55", False),
        ("7", 55, False, "0-55", True),
        ("7-54", 55, True, "0.0-55", True),
        ("11", 0, False, "0", True),
        ("0", 55, False, "0-55", False),  # it has seen nothing yet
    ],
)
def test_a_position_of_another_life_is_told(header, epoch, annotations, goes_on_at, restarted):
    start = start_of(header, newest=10, epoch=epoch, annotations=annotations)
    assert (str(start.position), start.restarted) == (goes_on_at, restarted)


def test_a_partial_update_of_a_task_is_not_sent_after_a_later_kept_one():
    def update(seq: int | None, progress: int, after: int = 0) -> Envelope:
        found = TaskUpdate(seq=seq, after=after, task_id="t", step="ner", progress=progress, message="m")
        return Envelope(found.model_dump_json().encode())

    outbox = Outbox(0)
    for message in (update(1, 60), update(None, 61, 1), update(None, 62, 1), update(2, 65, 1)):
        outbox.put(message)
    outbox.put(update(None, 63, 1))  # published before the kept one, but received after it
    outbox.put(update(None, 70, 2))
    outbox.put(update(None, 71, 2))
    assert [message.message.progress for message in outbox.take()] == [60, 65, 71]
