"""Almost valid HTTP: malformed, truncated, pipelined, half-closed, aborted, in pieces of any size."""

import asyncio
import random
import socket
import struct
from contextlib import suppress

from support.fuzz import KEY
from support.raw_http import answer_of

ENVIRONMENT: dict[str, str] = {}
"""Settings of the gateway besides `fuzz.ENVIRONMENT`."""

GETS = (
    "/", "/ready", "/health", "/metrics", "/openapi.json", "/v1/models", "/v1/models/x", "/v1/cluster",
    "/v1/cluster/events?count=1", "/v1/stt/jobs", "/v1/stt/jobs?limit=5&before=1", "/v1/stt/jobs/j_0",
    "/v1/stt/jobs/j_000000000000000000000000000000/events", "/v1/stt/sessions/x",
    "/v1/stt/sessions/x/events",
    "/v1/stt/sessions/x/transcript?format=vtt", "/v1/stt/sessions/x/viewers", "/stats", "/stats/u",
    "/v1/usage?from=x", "/v1/usage?owner=*&format=csv",
    "/transcripts/u?since=1&limit=3", "/streaming", "/audio", "/omi/setup", "/omi/k/setup", "/watch/x",
    "/app/app.js", "/app/../../etc/passwd", "/v1/stt/stream", "/omi/stt", "*", "http://127.0.0.1/ready",
    "/v3/token?expires_in_seconds=5", "/vosk", "/v3/ws", "/v1/audit?since=1h&limit=2", "/v1/owners",
    "/v1/audit?cursor=1-0", "/v1/owners/me", "/v1/owners/me/export", "/v1/owners/x/retention", "/v1/keys",
    "/v1/speakers", "/v1/deliveries?state=dead", "/v1/listen", "/v1/uploads/u_000000000000000000000000000000",
)  # fmt: skip
POSTS = (
    "/v1/stt/jobs", "/v1/stt/sessions/x/viewers", "/v1/audio/transcriptions", "/v1/audio/translations",
    "/streaming?uid=u&sample_rate=16000", "/streaming?sample_rate=8000?uid=u", "/audio?uid=u", "/audio",
    "/omi/k/streaming?uid=u", f"/omi/{KEY}/audio?uid=u", "/inference", f"/omi/{KEY}/inference",
    "/asr", "/asr?encode=false&output=srt", "/detect-language?encode=false",
    "/v1/audio/transcriptions/stream", "/v1/tokens", "/v1/keys", "/v1/uploads", "/v1/speakers", "/v1/listen",
    "/v1/owners/me/retention", "/v1/auth/grant", "/v1/realtime/client_secrets", "/songs/recognise",
)  # fmt: skip
METHODS = ("GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "GETT", "PRI")
HEADERS = (
    "Last-Event-ID: {n}", "Last-Event-ID: \xb2", "Origin: {t}", "Host: {t}", "Host: [",
    "Content-Length: {n}",
    "Content-Length: -{n}", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding : chunked", "Connection: close", "Connection: keep-alive", "Connection: Upgrade",
    "Upgrade: websocket", "Upgrade: h2c", "Expect: 100-continue", "Expect: {t}", "X-A: {t}", "{t}: x",
    "{t}",
    " folded: x", "Authorization: Bearer {t}", "Authorization: {t}", "X-API-Key: {t}", "Range: bytes={n}-",
    "X-Request-ID: {t}", "Idempotency-Key: {t}", "X-Omi-Signature: t={n},v1={t}", "X-Omi-Signature: t=\xb2",
    "Sec-WebSocket-Key: {t}", "Sec-WebSocket-Version: {n}", "Sec-WebSocket-Protocol: parlando, {t}",
    "X-Forwarded-For: {t}", "If-None-Match: {t}", "Access-Control-Request-Method: {t}", "Content-Type: {t}",
    "Accept-Encoding: {t}", "Cookie: {t}", "TE: trailers", "Trailer: x",
)  # fmt: skip
KINDS = (
    "application/json", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data",
    "multipart/form-data; boundary=" + "b" * 300, "multipart/form-data; boundary=x; charset=x",
    "application/octet-stream", "audio/wav", "multipart/form-data; boundary=\"x",
)  # fmt: skip
TEXTS = (
    "", "a", "\xb2", "[", "http://[", "null", "a" * 300, "\x00", "%00", "é".encode().decode("latin-1"),
    "..",
    "a\tb", "\x7f", "99999999999999999999", "-1", "1e309", "NaN", "a,b;c=\"", "\"", "{}", "[[[[",
)  # fmt: skip
BODIES = (
    b"", b"{", b"{}", b'{"label":"x"}', b'{"label":1}', b'{"url":"http://a..b/"}', b"[" * 3000, b"null",
    b"RIFF" + bytes(60), bytes(640), b"\xff" * 100, b"x" * 70_000, b'{"url":NaN}', b'"\\ud800"',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a/../b\\c\x01"\r\n\r\nRIFF\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="uid"\r\n\r\n../a\r\n--x\r\n'
    b'Content-Disposition: form-data; name="file"; filename=a\r\n\r\nRIFF\r\n--x--\r\n',
    b"--x\r\n\r\n\r\n--x--", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--\r\n", b"--x" * 200,
)  # fmt: skip


def _header(chance: random.Random) -> str:
    line = chance.choice(HEADERS)
    number = str(chance.choice([0, 1, 7, 100, 1 << 31, 1 << 63, 10**30]))
    return line.replace("{t}", chance.choice(TEXTS)).replace("{n}", number)


def _chunked(body: bytes, chance: random.Random) -> bytes:
    size = chance.choice([1, 7, 1000, 1 << 15])
    if size == 1:
        body = body[:200]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    extension = chance.choice([b"", b"", b";a=b", b";" + b"a" * 500])
    made = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return made + chance.choice(
        [b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n", b"", b"zz\r\n", b"-1\r\n"]
    )


def request(chance: random.Random) -> bytes:
    """One request, valid or almost valid."""
    posts = chance.random() < 0.55
    target = chance.choice(POSTS if posts else GETS)
    if chance.random() < 0.1:
        target += chance.choice(
            ["%", "%zz", "?", "?a=%ff", "#x", "\xe9", "/" * 50, "a" * 3000, "?uid=\xb2", " "]
        )
    method = chance.choice(METHODS) if chance.random() < 0.15 else "POST" if posts else "GET"
    version = chance.choice(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", ""])
    lines = [f"{method} {target} {version}", "Host: 127.0.0.1"]
    if chance.random() < 0.7:
        lines.append(f"X-API-Key: {KEY}")
    lines += [_header(chance) for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 5]))]
    body = b""
    if posts:
        lines.append(f"Content-Type: {chance.choice(KINDS)}")
        body = chance.choice(BODIES)
        match chance.choice(["length", "length", "length", "chunked", "short", "long", "none"]):
            case "length":
                lines.append(f"Content-Length: {len(body)}")
            case "chunked":
                lines.append("Transfer-Encoding: chunked")
                body = _chunked(body, chance)
            case "short":
                lines.append(f"Content-Length: {len(body) // 2}")
            case "long":
                lines.append(f"Content-Length: {len(body) + chance.choice([1, 1000, 1 << 30])}")
    first, *headers = lines
    chance.shuffle(headers)
    end = chance.choice(["\r\n"] * 12 + ["\n", "\r", "\r\n\r\n"])
    return end.join([first, *headers, "", ""]).encode("latin-1", "replace") + body


def _damaged(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(len(made) + 1)
        match chance.choice(["flip", "insert", "remove", "cut", "repeat"]):
            case "flip" if at < len(made):
                made[at] = chance.randrange(256)
            case "insert":
                made[at:at] = chance.choice([b"\r\n", b"\n", b"\0", b" ", b":", chance.randbytes(5)])
            case "remove":
                del made[at : at + chance.choice([1, 2, 10])]
            case "cut":
                del made[at:]
            case "repeat":
                made[at:at] = made[at : at + 50] * chance.choice([1, 20])
    return bytes(made)


def stream(chance: random.Random) -> bytes:
    """All bytes sent on one connection."""
    match chance.choice(
        ["one"] * 5 + ["damaged"] * 5 + ["pipelined", "damaged pipeline", "noise", "headers"]
    ):
        case "one":
            return request(chance)
        case "damaged":
            return _damaged(request(chance), chance)
        case "pipelined":
            return b"".join(request(chance) for _ in range(chance.choice([2, 3, 20])))
        case "damaged pipeline":
            return _damaged(b"".join(request(chance) for _ in range(3)), chance)
        case "noise":
            return chance.randbytes(chance.choice([1, 50, 5000]))
        case _:
            lines = "".join(
                f"X-{n}: {'a' * chance.choice([1, 900])}\r\n" for n in range(chance.choice([90, 300]))
            )
            return f"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()


async def attack(port: int, chance: random.Random) -> str | None:
    """See `fuzz.Attack`: every answer is HTTP and not 500, and the server closes the connection itself."""
    data = stream(chance)
    pieces = chance.choice([1, 1, 1, 2, 3, 10])
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(pieces - 1))
    ending = chance.choice(["wait"] * 6 + ["half-close"] * 2 + ["abort", "leave"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        with suppress(OSError):  # the server has closed the connection
            for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
                writer.write(data[start:stop])
                await writer.drain()
                await asyncio.sleep(0)
            if ending == "half-close":
                writer.write_eof()
            if ending in ("wait", "half-close"):
                got = await reader.read(-1)
            elif ending == "abort":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    finally:
        writer.close()
    return _fault(got)


def _fault(got: bytes) -> str | None:
    if not got:
        return None
    status = answer_of(got, closed=True).status
    if status == 0:
        return f"no HTTP: {got[:80]!r}"
    return f"{status}: {got[:400]!r}" if status == 500 or b"\nHTTP/1.1 500" in got else None
