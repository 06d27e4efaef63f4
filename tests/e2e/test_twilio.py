"""Twilio's media streams with its exact messages: both tracks at 20 ms, gaps, signatures, the webhook."""

import asyncio
import json
import xml.etree.ElementTree as ElementTree
from base64 import b64encode
from typing import Any

import httpx
import pytest
import websockets

from api_gateway.twilio_signature import sign
from parlando.client import connect
from support.cluster import Cluster
from support.encoding import encoded
from support.speech import JFK
from support.streaming import Heard

CALL = "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
TOKEN = "auth-token"
FRAME = 160  # bytes: 20 ms of µ-law
GAP_MS = 6000
QUIET = b"\xff" * FRAME


@pytest.fixture(scope="module")
def cluster():
    with Cluster(
        transcribers=1, processors=1, API_KEYS="key", TWILIO_AUTH_TOKEN=TOKEN, PARTIAL_CADENCE="fixed"
    ) as cluster:
        yield cluster


def started(call: str, tracks: list[str]) -> dict[str, Any]:
    return {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "ACcccccccccccccccccccccccccccccccc",
            "streamSid": STREAM,
            "callSid": call,
            "tracks": tracks,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"language": "en"},
        },
        "streamSid": STREAM,
    }


async def call(cluster: Cluster, name: str, tracks: dict[str, dict[int, bytes]]) -> None:
    """A whole call. `tracks`: of each track the audio of 20 ms at each time in ms."""
    url = f"{cluster.url()}/twilio/key"
    headers = {"X-Twilio-Signature": sign(TOKEN, url.replace("ws://", "wss://"))}
    async with asyncio.timeout(600), websockets.connect(url, additional_headers=headers) as socket:
        number = 1

        async def send(message: dict[str, Any]) -> None:
            nonlocal number
            number += 1
            await socket.send(json.dumps({"sequenceNumber": str(number), "streamSid": STREAM, **message}))

        await socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        await socket.send(json.dumps(started(name, list(tracks))))
        chunk = 0
        for time in sorted({time for frames in tracks.values() for time in frames}):
            for track, frames in tracks.items():
                if time in frames:
                    chunk += 1
                    media = {"track": track, "chunk": str(chunk), "timestamp": str(time)}
                    payload = b64encode(frames[time]).decode()
                    await send({"event": "media", "media": {**media, "payload": payload}})
            if time % 200 == 0:
                await asyncio.sleep(0.02)  # ten times faster than a call
        await send({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "1"}})
        await send({"event": "stop", "stop": {"accountSid": "AC", "callSid": name}})
        assert [message async for message in socket] == [], "nothing is sent to Twilio"
        assert socket.close_code == 1000


def frames(audio: bytes, start_ms: int) -> dict[int, bytes]:
    pieces = [audio[at : at + FRAME].ljust(FRAME, b"\xff") for at in range(0, len(audio), FRAME)]
    return {start_ms + 20 * number: piece for number, piece in enumerate(pieces)}


async def native(cluster: Cluster, audio: bytes) -> str:
    """The text of the same audio over the native protocol."""
    heard = Heard()
    options = {"encoding": "mulaw", "sample_rate": 8000, "language": "en", "token": "key"}
    async with asyncio.timeout(600), connect(cluster.url(), **options) as session:
        await session.send(audio)
        await session.end()
        heard.events = [event async for event in session]
    return heard.sentences


def transcript(cluster: Cluster, sid: str) -> dict[str, Any]:
    url = f"{cluster.http()}/v1/stt/sessions/{sid}/transcript"
    return httpx.get(url, headers={"X-API-Key": "key"}).raise_for_status().json()


async def test_both_tracks_of_a_call_are_speakers_of_their_own(cluster):
    speech = encoded(JFK, "mulaw_8000")
    inbound = frames(speech + QUIET * 400, 0)
    outbound = {**frames(QUIET * 50, 0), **frames(speech, 1000 + GAP_MS)}  # 6 s without a message
    await call(cluster, CALL, {"inbound": inbound, "outbound": outbound})
    for track, begins, audio in (
        ("inbound", 0.0, speech + QUIET * 400),
        ("outbound", 1.0 + GAP_MS / 1000, QUIET * (50 + GAP_MS // 20) + speech),
    ):
        found = transcript(cluster, f"{CALL}.{track}")
        assert found["title"] == f"{CALL} {track}"
        assert found["text"] == await native(cluster, audio)
        assert len(found["text"].split()) >= 20
        assert begins <= found["segments"][0]["start"] <= begins + 1.5, "the gap is silence"
        assert found["state"] == "closed"
        assert {segment["speaker"] for segment in found["segments"]} == {track}


async def test_one_track_is_the_call(cluster):
    name = CALL.replace("a", "d")
    speech = encoded(JFK, "mulaw_8000")
    await call(cluster, name, {"inbound": frames(speech, 5)})
    assert transcript(cluster, name)["text"] == await native(cluster, speech)


async def test_a_stream_without_a_signature_or_with_a_wrong_key_is_refused(cluster):
    url = f"{cluster.url()}/twilio/key"
    signed = {"X-Twilio-Signature": sign(TOKEN, url)}
    wrong = {"X-Twilio-Signature": sign("other", url)}
    stranger = url.replace("/key", "/stranger")
    for target, headers in (
        (url, {}),
        (url, wrong),
        (stranger, {"X-Twilio-Signature": sign(TOKEN, stranger)}),
    ):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(target, additional_headers=headers)
        assert refused.value.response.status_code == 403
    async with websockets.connect(url, additional_headers=signed) as socket:
        await socket.send('{"event":"media","media":{}}')  # before `start`
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1008


def test_the_voice_webhook_answers_with_instructions(cluster):
    url = f"{cluster.http()}/twilio/key/voice?dial=%2B15550100&language=en"
    form = {"CallSid": CALL, "From": "+15550123", "To": ""}
    signature = {"X-Twilio-Signature": sign(TOKEN, url, form.items())}
    answer = httpx.post(url, data=form, headers=signature)
    assert answer.headers["content-type"].startswith("application/xml")
    stream = ElementTree.fromstring(answer.text).find("Start/Stream")
    assert stream.attrib == {"url": f"{cluster.url()}/twilio/key", "track": "both_tracks"}
    assert stream.find("Parameter").attrib == {"name": "language", "value": "en"}
    assert ElementTree.fromstring(answer.text).find("Dial").text == "+15550100"
    assert httpx.post(url, data={**form, "To": "x"}, headers=signature).status_code == 401
    assert httpx.post(url.replace("/key/", "/x/"), data=form, headers=signature).status_code == 401
    assert httpx.post(f"{cluster.http()}/twilio/key/voice?dial=<x>", data=form).status_code == 422
