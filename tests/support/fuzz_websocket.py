"""Almost valid WebSocket messages: types, nesting, numbers, base64, bytes, frames, ways to end."""

import asyncio
import json
import random
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from support.fuzz import KEY

ENVIRONMENT = {"HEAD_TIMEOUT_S": "600"}
"""No handshake is late: a client that is paused by the machine's load sends a complete one."""

PATHS = (
    "/v1/stt/stream", "/v1/stt/stream", "/v1/stt/stream", "/omi/stt", f"/omi/{KEY}/stt", "/omi/k/stt",
    "/v1/audio/transcriptions", "/v3/ws", "/vosk", "/v1/listen", "/v2/listen", f"/twilio/{KEY}",
)  # fmt: skip
ENDS = ('{"type":"end"}', '{"type":"CloseStream"}', '{"type":"Terminate"}', '{"eof":1}', '{"event":"stop"}')
"""The last messages of all protocols."""
FIELDS = (
    "type", "session_id", "resume", "last_seq", "uid", "title", "language", "prompt", "words", "interim",
    "vad_silence_ms", "encoding", "sample_rate", "channels", "channel", "normalize", "format", "chunk",
    "data",
    "index", "start_at", "segments", "settled_ms", "config", "eof", "reset", "max_turn_silence",
    "keyterms_prompt", "language_codes", "inactivity_timeout",
    "keyterms", "features", "thresholds", "multichannel", "endpointing", "utterance_end_ms",
    "interim_results", "eot_threshold", "event", "media", "start",
)  # fmt: skip
TYPES = (
    "start", "audio", "config", "flush", "ping", "end", "CloseStream", "KeepAlive", "Terminate",
    "UpdateConfiguration", "ForceEndpoint", "Finalize", "Configure", "ForceEndTurn", "", "START",
    "a" * 500, None, 7
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 16_000, 8000, 48_000, 1 << 62, -(1 << 63), 1e308, 0.5, "", "a", "é",
    "\u2028", "\0",
    "abc\n", "../x", "en", "de", "pcm_s16le", "container", "mulaw", "x" * 300, "\ud7ff", [], {}, [[]],
    {"a": {}},
    "AAAA", "AAA", "A", "*", "true", "NaN", "²", "9" * 30,
)  # fmt: skip
RAW = (
    "", "{", "[]", "null", "NaN", '{"type":NaN}', '{"type":"audio","chunk":"é"}', "[" * 5000,
    '{"a":' * 3000, '"\\ud800"',
    '{"type":"\\ud800"}', '{"type":"ping","type":"end"}', '{"type":"audio","chunk":"' + "A" * 40_000 + '"}',
    '{"type":"audio","index":' + "9" * 400 + ',"chunk":"AAAA"}', "\0", "\ufeff{}",
    '{"type":"start","sample_rate":1e999}',
    '{"type":"config","title":"\\u0000"}', "9" * 5000, '{"config":{"sample_rate":1e999,"words":0}}',
    '{"config":{"phrase_list":[1]}}', '{"config":{"sample_rate":16000,"max_alternatives":"x"}}',
    '{"config":1}', '{"event":"start","start":{"callSid":"CA1","tracks":["inbound","outbound"]}}',
    '{"event":"media","media":{"track":"outbound","timestamp":"70000","payload":"////"}}',
)  # fmt: skip


def message(chance: random.Random) -> str | bytes:
    """One message."""
    kind = chance.random()
    if kind < 0.25:
        return chance.randbytes(chance.choice([0, 1, 2, 639, 640, 6400, 40_000]))
    if kind < 0.4:
        return chance.choice(RAW)
    said: dict[str, Any] = {"type": chance.choice(TYPES[:6] * 3 + TYPES)}
    if said["type"] == "audio" and chance.random() < 0.7:
        said["chunk"] = "AAAA" * chance.choice([1, 100, 1000])
    for name in chance.sample(FIELDS, chance.choice([0, 0, 1, 2, 4])):
        said[name] = chance.choice(VALUES)
    text = json.dumps(said, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.1:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(["", "}", '"', "\\", "\x01", "é"]) + text[at + 1 :]
    return text


def query(chance: random.Random) -> str:
    """A query, in most cases with the API key."""
    pairs = [("token", KEY)] if chance.random() < 0.85 else []
    for name in chance.sample(FIELDS, chance.choice([0, 0, 0, 1, 2])):
        value = chance.choice([v for v in VALUES if isinstance(v, str | int | float)])
        pairs.append((name, str(value)))
    return "&".join(f"{name}={quote(str(value))}" for name, value in pairs)


async def _send(socket: ClientConnection, chance: random.Random) -> None:
    said = message(chance)
    match chance.choice(["plain"] * 8 + ["fragments", "bad text", "ping"]):
        case "fragments":
            await socket.send([said[:3], said[3:5], said[5:]])
        case "bad text":
            await socket.send(b"\xff\xfe" + chance.randbytes(4), text=True)
        case "ping":
            await socket.ping(chance.randbytes(8))
        case _:
            await socket.send(said)


async def attack(port: int, chance: random.Random) -> str | None:
    """See `fuzz.Attack`: a client that waits receives a close code, and never one of an internal error."""
    url = f"ws://127.0.0.1:{port}{chance.choice(PATHS)}?{query(chance)}"
    ending = chance.choice(["close", "close", "end", "end", "abort", "leave"])
    told: list[str] = []
    try:
        async with connect(
            url, max_size=None, open_timeout=None, close_timeout=600, ping_interval=None
        ) as socket:

            async def listen() -> None:
                with suppress(ConnectionClosed):
                    while True:
                        told.append(str(await socket.recv())[:400])

            listening = asyncio.create_task(listen())
            with suppress(ConnectionClosed):
                for _ in range(chance.choice([0, 1, 2, 5, 30])):
                    await _send(socket, chance)
                    if chance.random() < 0.2:
                        await asyncio.sleep(chance.random() / 10)
                if ending == "end":
                    for last in ENDS:
                        await socket.send(last)
                    await socket.wait_closed()
                elif ending == "close":
                    await socket.close()
                elif ending == "abort":
                    socket.transport.abort()
            await socket.wait_closed() if ending != "leave" else await socket.close()
            await listening
            return _fault(socket, told, ending)
    except InvalidHandshake as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        return None if status in (400, 401, 403, 404, 429, 431) else f"{type(error).__name__}: {error}"


def _fault(socket: ClientConnection, told: list[str], ending: str) -> str | None:
    if any('"code":"internal"' in said for said in told):
        return f"internal: {told[-1]}"
    if ending == "abort":
        return None
    code = socket.close_code
    if code in (None, 1005, 1006):
        return f"closed without a code after {told[-3:]}"
    # Protocols without `retryable` say it in their own words, if the machine is too busy for Redis.
    known = [said for said in told if '"retryable":true' in said or "Redis can't be reached" in said]
    return f"{code} after {told[-3:]}" if code in (1011, 3005) and not known else None
