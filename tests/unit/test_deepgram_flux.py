"""Deepgram's protocol for turns as a pure door."""

import json
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from api_gateway.doors.base import Ack, MessageError, Ping, Pong
from api_gateway.doors.deepgram_flux import MAX_SEGMENTS, Flux
from api_gateway.doors.deepgram_flux_options import Thresholds, flux_options
from api_gateway.handshake import Handshake
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.events import Closed, Failure, FinalTranscript, Flushed, Partial, SpeechStarted
from parlando.errors import AtCapacityError, InvalidRequestError

RAW = "model=flux-general-en&encoding=linear16&sample_rate=16000"


def handshake(query: str) -> Handshake:
    pairs = [tuple(part.split("=", 1)) for part in query.split("&")]
    return Handshake(query=dict(pairs), pairs=pairs)


def door(query: str = RAW) -> tuple[Flux, list[dict[str, Any]]]:
    protocol = Flux(handshake(query))
    protocol.request(None)
    session = SimpleNamespace(id="s", engine="moonshine", model="tiny", epoch=1)
    return protocol, [orjson.loads(message) for message in protocol.greeting(session)]


def sent(protocol: Flux, *events: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message) for event in events for message in protocol.event(event)]


def turns(messages: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(m["event"], m["turn_index"], m["transcript"]) for m in messages if m["type"] == "TurnInfo"]


def partial(segment: int, text: str, end: float, *, paused: bool = False) -> Partial:
    return Partial(
        session_id="s", segment=segment, text=text, stable="", start=0.0, end=end, paused=paused or None
    )


def final(segment: int, text: str, end: float, **more: Any) -> FinalTranscript:
    covers = round((end + 0.5) * 16_000)
    return FinalTranscript(
        session_id="s", segment=segment, text=text, start=0.0, end=end, covers=covers, **more
    )


def test_a_turn_begins_with_words_and_ends_with_a_pause():
    protocol, greeting = door()
    assert [message["type"] for message in greeting] == ["Connected"]
    messages = sent(
        protocol,
        SpeechStarted(session_id="s", segment=0, start=0.2),
        partial(0, "Hello", 0.5),
        partial(0, "Hello", 0.8),
        partial(0, "Hello there", 1.0),
        partial(0, "Hello there", 1.2, paused=True),
        final(0, "Hello there.", 1.0),
        final(1, "", 3.0, reason="no_speech"),
        final(2, "Yes.", 4.0),
        Closed(session_id="s", duration=5.0, segments=3, reason="end"),
    )
    assert turns(messages) == [
        ("StartOfTurn", 0, "Hello"),
        ("Update", 0, "Hello there"),
        ("EndOfTurn", 0, "Hello there."),
        ("StartOfTurn", 1, "Yes."),
        ("EndOfTurn", 1, "Yes."),
    ]
    assert [message["sequence_id"] for message in [*greeting, *messages]] == list(range(6))
    end = messages[2]
    assert (end["trigger"], end["end_of_turn_confidence"]) == ("model", 1.0)
    assert [word["word"] for word in end["words"]] == ["Hello", "there."]
    windows = [(message["audio_window_start"], message["audio_window_end"]) for message in messages]
    assert windows == [(0.0, 0.5), (0.0, 1.0), (0.0, 1.5), (3.5, 4.5), (3.5, 4.5)]


def test_an_eager_end_is_withdrawn_if_the_speaker_goes_on():
    protocol, _ = door(f"{RAW}&eager_eot_threshold=0.4")
    messages = sent(
        protocol,
        partial(0, "I think", 0.5),
        partial(0, "I think", 0.8, paused=True),
        partial(0, "I think", 0.9),
        partial(0, "I think so", 1.2),
        partial(0, "I think so", 1.5, paused=True),
        final(0, "I think so", 1.3),
        partial(1, "Now", 2.0, paused=True),
        final(1, "Now then", 2.5),
    )
    assert turns(messages) == [
        ("StartOfTurn", 0, "I think"),
        ("EagerEndOfTurn", 0, "I think"),
        ("TurnResumed", 0, "I think so"),
        ("EagerEndOfTurn", 0, "I think so"),
        ("EndOfTurn", 0, "I think so"),
        ("StartOfTurn", 1, "Now"),
        ("EagerEndOfTurn", 1, "Now"),
        ("TurnResumed", 1, "Now then"),
        ("EndOfTurn", 1, "Now then"),
    ]
    assert messages[1]["end_of_turn_confidence"] == 0.4


def test_a_segment_that_was_cut_continues_in_its_turn():
    protocol, _ = door()
    messages = sent(
        protocol,
        final(0, "One two", 8.0, continues=True),
        partial(1, "three", 9.0),
        final(1, "three four.", 9.5),
    )
    assert turns(messages) == [
        ("StartOfTurn", 0, "One two"),
        ("Update", 0, "One two three"),
        ("EndOfTurn", 0, "One two three four."),
    ]
    assert len(messages[-1]["words"]) == 4
    assert messages[-1]["audio_window_start"] == 0.0


@pytest.mark.parametrize("how", ["time passes", "speech follows", "the session closes", "it is forced"])
def test_a_turn_also_ends_with_silence_after_a_cut(how):
    protocol, _ = door()
    sent(protocol, final(0, "One two", 8.0, continues=True))
    assert protocol.notice(Ack({}, 0, 8400)) == []
    match how:
        case "time passes":
            ends = [orjson.loads(message) for message in protocol.notice(Ack({}, 0, 8600))]
        case "speech follows":
            ends = sent(protocol, SpeechStarted(session_id="s", segment=1, start=9.0))
        case "the session closes":
            ends = sent(protocol, Closed(session_id="s", duration=8.2, segments=1, reason="end"))
        case "it is forced":
            protocol.read('{"type":"ForceEndTurn"}')
            ends = sent(protocol, Flushed(session_id="s", covers=131_200))
            assert ends[0]["trigger"] == "manual"
    assert turns(ends) == [("EndOfTurn", 0, "One two")]
    assert turns(sent(protocol, final(1, "three", 10.0)))[0] == ("StartOfTurn", 1, "three")


def test_an_endless_turn_ends_in_parts():
    protocol, _ = door()
    events = [final(n, f"w{n}", 8.0 * n + 7, continues=True) for n in range(MAX_SEGMENTS + 2)]
    ends = [each for each in turns(sent(protocol, *events)) if each[0] == "EndOfTurn"]
    assert len(ends) == 1
    assert len(ends[0][2].split()) == MAX_SEGMENTS + 1


def test_a_turn_that_is_forced_to_end_says_so():
    protocol, _ = door()
    assert protocol.read('{"type":"ForceEndTurn"}') == [Flush()]
    assert turns(sent(protocol, final(0, "All done", 1.0, continues=True))) == []
    [*_, end] = sent(protocol, Flushed(session_id="s", covers=24_000))
    assert (end["event"], end["trigger"], end["transcript"]) == ("EndOfTurn", "manual", "All done")
    assert sent(protocol, Flushed(session_id="s", covers=24_000)) == []


@pytest.mark.parametrize(
    ("query", "silence", "told"),
    [
        ("", None, False),
        ("&eot_threshold=0.7", 500, False),
        ("&eot_threshold=0.9", 1000, False),
        ("&eot_threshold=0.5", 250, False),
        ("&eot_threshold=0.9&eot_timeout_ms=800", 800, False),
        ("&eot_threshold=1.0&eot_timeout_ms=3000", 3000, False),
        ("&eot_threshold=1.0&eot_timeout_ms=20000", 5000, True),
    ],
)
def test_thresholds_are_silences(query, silence, told):
    options = flux_options(handshake(RAW + query))
    assert options.config.vad_silence_ms == silence
    assert bool(options.not_honoured) is told


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("&eot_threshold=0.4", "eot_threshold: expected a number from 0.5 to 1"),
        ("&eager_eot_threshold=0.95", "eager_eot_threshold"),
        ("&eot_timeout_ms=1", "eot_timeout_ms"),
        ("&eot_threshold=nan", "eot_threshold"),
    ],
)
def test_thresholds_out_of_range_are_refused(query, says):
    with pytest.raises(InvalidRequestError, match=says):
        flux_options(handshake(RAW + query))


def test_languages_are_detected_among_the_hints():
    options = flux_options(handshake("model=flux-general-multi&language_hint=de&language_hint=en"))
    assert options.config.languages == ("de", "en")
    assert flux_options(handshake("model=flux-general-multi")).config.languages == ()
    assert flux_options(handshake(f"{RAW}&language_hint=de")).config.languages == ("en",)
    _, greeting = door(f"{RAW}&language_hint=de&numerals=true")
    assert [message["type"] for message in greeting] == ["Connected", "Warning", "Warning"]
    assert greeting[1]["description"].startswith("language_hint")


def test_configure_is_answered_in_order():
    protocol, _ = door(f"{RAW}&keyterm=old")
    body = {"type": "Configure", "thresholds": {"eot_threshold": 0.9}, "keyterms": ["new"]}
    assert protocol.read(json.dumps(body)) == [
        Configure(changes={"vad_silence_ms": 1000, "hotwords": "new"}),
        Ping(),
    ]
    assert protocol.read('{"type":"Configure","language_hints":["de"]}') == [Ping()]
    assert protocol.read('{"type":"Configure"}') == [Ping()]
    success, failure, same = [orjson.loads(m) for _ in range(3) for m in protocol.notice(Pong())]
    assert (success["type"], success["keyterms"]) == ("ConfigureSuccess", ["new"])
    assert success["thresholds"] == {"eot_threshold": 0.9, "eot_timeout_ms": 5000}
    assert (failure["type"], failure["code"]) == ("ConfigureFailure", "INVALID_CONFIGURE")
    assert same["thresholds"]["eot_threshold"] == 0.9
    assert [m["sequence_id"] for m in (success, failure, same)] == [1, 2, 3]
    for wrong in (
        {"thresholds": {"eot_threshold": 7}},
        {"thresholds": {"x": 1}},
        {"keyterms": [1]},
        {"eot_threshold": 0.9},
    ):
        assert protocol.read(json.dumps({"type": "Configure", **wrong})) == [Ping()]
        [answer] = [orjson.loads(m) for m in protocol.notice(Pong())]
        assert answer["type"] == "ConfigureFailure"


def test_errors_and_the_end():
    protocol, _ = door()
    assert protocol.read('{"type":"CloseStream"}') == [End()]
    [warning] = [orjson.loads(m) for m in protocol.notice(MessageError(InvalidRequestError("no")))]
    assert (warning["type"], warning["code"]) == ("Warning", "BAD_REQUEST")
    refusal = protocol.refusal(AtCapacityError("full"))
    assert orjson.loads(refusal.messages[0])["code"] == "TOO_MANY_REQUESTS"
    [error] = sent(protocol, Failure(session_id="s", code="invalid_audio", message="no audio"))
    assert (error["type"], error["code"]) == ("Error", "INVALID_AUDIO")
    assert protocol.close_code(Closed(session_id="s", duration=0, segments=1, reason="invalid_audio")) == 1008


def test_the_silence_never_exceeds_the_timeout():
    for eot in (None, 0.5, 0.75, 0.99, 1.0):
        assert Thresholds(eot, None, 700).silence_ms <= 700
