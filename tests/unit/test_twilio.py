"""Twilio's protocol as a pure door, and its signature."""

import json
from base64 import b64encode

import pytest

from api_gateway.doors.base import Audio
from api_gateway.doors.twilio import MAX_GAP_MS, Twilio
from api_gateway.handshake import Handshake
from api_gateway.settings import GatewaySettings
from api_gateway.twilio_signature import matches, sign
from parlando.domain.commands import End
from parlando.errors import InvalidRequestError, NotAllowedError

CALL = "CA27ffdb27ff27ffdb27ffdb27ff27ffdb"


def start(*tracks: str, **more) -> str:
    body = {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": CALL,
        "tracks": list(tracks),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
        **more,
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": body})


def media(track: str, timestamp: object, audio: bytes = b"\x00" * 160) -> str:
    payload = b64encode(audio).decode()
    return json.dumps(
        {
            "event": "media",
            "media": {"track": track, "chunk": "2", "timestamp": timestamp, "payload": payload},
        }
    )


def opened(*tracks: str, **more):
    protocol = Twilio(Handshake(path={"key": "k"}))
    assert protocol.channels('{"event":"connected","protocol":"Call","version":"1.0.0"}') is None
    return protocol, protocol.channels(start(*tracks, **more))


def test_each_track_is_a_session_of_the_call():
    protocol, (inbound, outbound) = opened(
        "inbound", "outbound", customParameters={"language": "en", "hotwords": "Twilio", "uid": "u1"}
    )
    requests = [track.request(None) for track in (inbound, outbound)]
    assert [request.session_id for request in requests] == [f"{CALL}.inbound", f"{CALL}.outbound"]
    assert [request.config.title for request in requests] == [f"{CALL} inbound", f"{CALL} outbound"]
    assert [request.config.speaker for request in requests] == ["inbound", "outbound"]
    assert requests[0].config.hotwords == "Twilio"
    assert requests[0].uid == "u1"
    assert protocol.key == "k"
    assert protocol.split(media("outbound", "0"))[0][0] == 1
    assert [index for index, _ in protocol.split('{"event":"stop"}')] == [0, 1]
    assert [index for index, _ in protocol.split('{"event":"dtmf"}')] == [0]
    _, (alone,) = opened("inbound")
    assert alone.request(None).session_id == CALL


def test_an_unnamed_track_is_not_mixed_in():
    protocol, _ = opened("inbound")
    assert protocol.split(media("outbound", "0")) == []


@pytest.mark.parametrize(
    ("times", "silences"),
    [
        (["0", "20", "40"], [0, 0, 0]),
        (["5", "25", "45"], [0, 0, 0]),
        (["100", "120", "300"], [100, 0, 160]),
        (["0", "0", "20"], [0, 0, 0]),
        (["x", None, "60"], [0, 0, 20]),
        ([str(MAX_GAP_MS + 90_000), str(MAX_GAP_MS + 90_020)], [MAX_GAP_MS, 0]),
        (["9" * 13, "20"], [0, 0]),
    ],
)
def test_gaps_are_silence(times, silences):
    _, (track,) = opened("inbound")
    for time, silence in zip(times, silences, strict=True):
        [audio] = track.read(media("inbound", time))
        assert isinstance(audio, Audio)
        assert len(audio.data) == 8 * silence + 160
        assert audio.data[: 8 * silence] == b"\xff" * 8 * silence


def test_the_end_and_what_is_nothing():
    _, (track,) = opened("inbound")
    assert track.read('{"event":"stop"}') == [End()]
    for event in ("mark", "dtmf", "connected"):
        assert track.read(json.dumps({"event": event})) == []
    for wrong in ('{"event":"other"}', '{"event":"media","media":{"payload":"%"}}', "{"):
        with pytest.raises(InvalidRequestError):
            track.commands(wrong)


@pytest.mark.parametrize(
    "first",
    ["{", "[]", '{"event":"media"}', start("inbound", mediaFormat={"encoding": "audio/l16"})],
)
def test_a_stream_that_begins_otherwise_is_refused(first):
    with pytest.raises(InvalidRequestError):
        Twilio(Handshake()).channels(first)


def test_the_signature_is_that_of_the_documentation():
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    assert sign("12345", url, fields.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert matches("12345", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", url.replace("https", "http"), fields.items())
    assert not matches("12346", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", url, fields.items())


def test_a_configured_token_demands_a_signature():
    url = "ws://host/twilio/k"
    settings = GatewaySettings(twilio_auth_token="secret")
    for signature, valid in ((sign("secret", "wss://host/twilio/k"), True), ("", False), ("é", False)):
        protocol = Twilio(Handshake(url=url, headers={"x-twilio-signature": signature}))
        if valid:
            protocol.verify(settings)
        else:
            with pytest.raises(NotAllowedError):
                protocol.verify(settings)
    Twilio(Handshake(url=url)).verify(GatewaySettings(twilio_auth_token=""))
