"""Limits and quotas with two gateways: what clients of each protocol are told, and that no word is lost."""

import asyncio
import base64
import json
from dataclasses import dataclass, field

import httpx
import pytest
import websockets

from parlando.domain.limits import Limits
from support.cluster import Cluster
from support.doors import frames
from support.jobs import wav
from support.perfect import PERFECT, RATE, script, speak

pytestmark = pytest.mark.usefixtures("same_day")
ADMIN = {"Authorization": "Bearer alpha"}
LONG_S = 600
WORD_S = 0.5  # of `speak`
PCM = {"encoding": "linear16", "sample_rate": "16000"}
PATHS = {
    "native": "/v1/stt/stream",
    "deepgram": "/v1/listen?encoding=linear16&sample_rate=16000",
    "deepgram-flux": "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000",
    "assemblyai": "/v3/ws?sample_rate=16000",
    "openai": "/v1/realtime?intent=transcription",
    "vosk": "/vosk",
    "omniasr": "/v1/audio/transcriptions",
    "omi": "/omi/stt?uid=me",
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(gateways=2, processors=1, API_KEYS="alpha", RESUME_WINDOW_S="5", **PERFECT) as running:
        yield running


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def http(cluster: Cluster, method: str, path: str, *, gateway: int = 0, key: str = "alpha", **more):
    return httpx.request(
        method, f"{cluster.http(gateway)}{path}", headers={**bearer(key), **more.pop("headers", {})}, **more
    )


def made(cluster: Cluster, owner: str, **limits: int) -> str:
    """The secret of a new key of an owner."""
    scopes = ["live", "jobs", "read", "omi"]
    body = {"name": "test", "owner": owner, "scopes": scopes, "limits": limits}
    answer = http(cluster, "POST", "/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["limits"] == limits
    return answer.json()["key"]


def set_limits(cluster: Cluster, owner: str, **limits: int) -> None:
    assert http(cluster, "PUT", f"/v1/owners/{owner}/limits", json=limits).status_code == 200


@dataclass
class Heard:
    """What a client heard: its messages, the words, and the close code."""

    messages: list[dict] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    code: int | None = None
    reason: str = ""


def _words(message: dict) -> str:
    """The text that is final in a message of any protocol."""
    kind = message.get("type")
    if kind == "Results":
        return message["channel"]["alternatives"][0]["transcript"] if message["is_final"] else ""
    if kind == "TurnInfo":
        return message["transcript"] if message["event"] == "EndOfTurn" else ""
    if "segments" in message and kind is None:
        return message["segments"][0]["text"]
    if kind is None or kind == "final":
        return message.get("text", "")
    return message.get("utterance", "") if kind == "Turn" else message.get("transcript", "")


async def _refusal(cluster: Cluster, door: str, key: str) -> tuple[int, str]:
    """How an opening is refused: status or close code, and the code that the protocol has for the reason."""
    messages: list[dict] = []
    try:
        url = f"{cluster.url()}{PATHS[door]}"
        async with websockets.connect(url, additional_headers=bearer(key)) as socket:
            while True:
                messages.append(json.loads(await socket.recv()))
    except websockets.InvalidStatus as error:
        answer = error.response
        later = answer.headers["Retry-After"].isdecimal()
        return answer.status_code if later else 0, json.loads(answer.body)["err_code"]
    except websockets.ConnectionClosed as error:
        end = error.rcvd
    last = messages[-1] if messages else {}
    error = last.get("error")
    code = error.get("code") if isinstance(error, dict) else last.get("code", last.get("error_code"))
    return end.code, str(code or end.reason)


async def _opened(cluster: Cluster, key: str, gateway: int = 0) -> None:
    """Open sessions until one is accepted: a change is known, and an end counted, a moment later."""
    url = f"{cluster.url(gateway)}/v1/stt/stream"
    async with asyncio.timeout(LONG_S):
        while True:
            async with websockets.connect(url, additional_headers=bearer(key)) as socket:
                if json.loads(await socket.recv())["type"] == "connected":
                    return


# --- the end of a quota -----------------------------------------------------------------------------


async def _spoken(cluster: Cluster, door: str, key: str, seconds: int) -> Heard:
    """Speak for `seconds`, at three times the speed of speech, until the server closes."""
    heard = Heard()
    pcm = speak(round(seconds / WORD_S))
    url = f"{cluster.url()}{PATHS[door]}"
    async with asyncio.timeout(LONG_S), websockets.connect(url, additional_headers=bearer(key)) as socket:
        if door == "openai":
            form = {"format": {"type": "audio/pcm", "rate": RATE}}
            body = {"type": "transcription", "audio": {"input": form}}
            await socket.send(json.dumps({"type": "session.update", "session": body}))
        elif door == "vosk":
            await socket.send('{"config":{"sample_rate":16000}}')

        async def send() -> None:
            for frame in frames(pcm, RATE // 2):
                if door == "openai":
                    chunk = base64.b64encode(frame).decode()
                    await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": chunk}))
                else:
                    await socket.send(frame)
                await asyncio.sleep(0.15)
            await socket.close()  # the server hasn't ended the session: the code isn't the expected one

        sending = asyncio.create_task(send())
        try:
            while True:
                heard.messages.append(json.loads(await socket.recv()))
                heard.words += _words(heard.messages[-1]).split()
        except websockets.ConnectionClosed as error:
            heard.code, heard.reason = error.rcvd.code, error.rcvd.reason
        sending.cancel()
        await asyncio.wait([sending])
    return heard


def used_s(cluster: Cluster, key: str) -> float:
    usage = http(cluster, "GET", "/v1/usage", key=key, gateway=1).json()
    return usage["limits"]["owner"]["audio_seconds_day"]["used"]


async def test_a_session_is_warned_and_ends_with_every_word_that_was_received(cluster):
    key = made(cluster, "native")
    set_limits(cluster, "native", audio_seconds_day=10)
    pcm = speak(60)
    sent = 0
    async with (
        asyncio.timeout(LONG_S),
        websockets.connect(f"{cluster.url()}/v1/stt/stream", additional_headers=bearer(key)) as socket,
    ):
        connected = json.loads(await socket.recv())
        messages: list[dict] = []

        async def until(**fields) -> dict:
            while True:
                messages.append(json.loads(await socket.recv()))
                if all(messages[-1].get(name) == value for name, value in fields.items()):
                    return messages[-1]

        async def say(words: int) -> None:
            nonlocal sent
            await socket.send(pcm[sent * RATE // 2 : (sent + words) * RATE // 2].tobytes())
            sent += words

        await say(17)
        low = await until(status="quota_low")
        assert (low["percent"], low["reason"], low["of"]) == (80, "audio_seconds_day", "owner")
        assert 1000 <= low["ms"] <= 2000
        await say(2)
        assert (await until(status="quota_low"))["percent"] == 95
        await say(3)
        error = await until(type="error")
        assert (error["code"], error["retryable"]) == ("quota_exceeded", False)
        assert "10 s of audio for today" in error["message"]
        closed = await until(type="closed")
        with pytest.raises(websockets.ConnectionClosed) as end:
            await socket.recv()
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (1008, "quota_exceeded")
    assert (closed["reason"], closed["duration"]) == ("quota_exceeded", sent * WORD_S)
    assert " ".join(m["text"] for m in messages if m["type"] == "final").split() == script(0, sent)
    # What exists can be read, by either gateway; what is new is refused.
    sid = connected["session_id"]
    for path in (f"/v1/stt/sessions/{sid}/transcript", f"/v1/stt/sessions/{sid}", "/v1/stt/jobs"):
        assert http(cluster, "GET", path, key=key, gateway=1).status_code == 200
    assert used_s(cluster, key) == sent * WORD_S
    assert (await _refusal(cluster, "native", key))[0] == 1008
    # Another limit, or none, applies to running gateways.
    assert http(cluster, "DELETE", "/v1/owners/native/limits", gateway=1).status_code == 200
    await _opened(cluster, key)


ENDS = {
    "deepgram": (1008, "ASR_PAYMENT_REQUIRED"),
    "deepgram-flux": (1008, "ASR_PAYMENT_REQUIRED"),
    "assemblyai": (4002, "quota_exceeded"),
    "openai": (1008, "insufficient_quota.insufficient_quota"),
    "vosk": (1008, "quota_exceeded"),
    "omniasr": (1008, "quota_exceeded"),
    "omi": (1008, "quota_exceeded"),
}


async def _ended(cluster: Cluster, door: str) -> None:
    key = made(cluster, f"ends-{door}", audio_seconds_day=4)
    heard = await _spoken(cluster, door, key, 100)
    assert (heard.code, heard.reason) == ENDS[door], heard.messages[-3:]
    report = http(cluster, "GET", "/v1/usage", key=key).json()
    received_s = report["total"]["live_audio_s"]
    assert 4 <= received_s < 100
    words = heard.words
    if door == "omniasr":  # each message has all of the text so far
        words = heard.messages[-1]["text"].split()
    assert words == script(0, len(words)), door
    assert len(words) >= int(received_s / WORD_S - 0.5), "every word that was received as a whole"
    errors = json.dumps(heard.messages)
    assert ("4 s of audio" in errors) == (door != "omi"), "Omi's app takes no messages but text"


async def test_each_protocol_ends_with_its_own_code_and_every_word(cluster):
    await asyncio.gather(*(_ended(cluster, door) for door in ENDS))


OPENINGS = {
    "native": (1008, "quota_exceeded"),
    "deepgram": (402, "ASR_PAYMENT_REQUIRED"),
    "deepgram-flux": (402, "ASR_PAYMENT_REQUIRED"),
    "assemblyai": (4002, "4002"),
    "openai": (1008, "insufficient_quota"),
    "omi": (1008, "quota_exceeded"),
}
CROWDED = {
    "native": (1013, "too_many_sessions"),
    "deepgram": (429, "TOO_MANY_REQUESTS"),
    "deepgram-flux": (429, "TOO_MANY_REQUESTS"),
    "assemblyai": (3009, "3009"),
    "openai": (1013, "rate_limit_exceeded"),
    "omi": (1013, "too_many_sessions"),
}


async def test_each_protocol_refuses_what_a_used_up_quota_does_not_allow(cluster):
    key = made(cluster, "spent", audio_seconds_month=2)
    await _spoken(cluster, "vosk", key, 60)
    assert {door: await _refusal(cluster, door, key) for door in OPENINGS} == OPENINGS
    file = {"file": ("a.wav", wav(speak(4)))}
    openai = http(cluster, "POST", "/v1/audio/transcriptions", key=key, files=file)
    assert (openai.status_code, openai.headers["x-should-retry"]) == (429, "false")
    assert {name: openai.json()["error"][name] for name in ("type", "code", "param")} == {
        "type": "insufficient_quota",
        "code": "insufficient_quota",
        "param": None,
    }
    deepgram = http(cluster, "POST", "/v1/listen", key=key, content=wav(speak(4)))
    assert (deepgram.status_code, deepgram.json()["err_code"]) == (402, "ASR_PAYMENT_REQUIRED")
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "100"}
    answers = {
        "job": http(cluster, "POST", "/v1/stt/jobs", key=key, files=file, gateway=1),
        "tus": http(cluster, "POST", "/v1/uploads", key=key, headers=tus),
        "asr": http(cluster, "POST", "/asr", key=key, files={"audio_file": file["file"]}),
        "omi": http(cluster, "POST", "/streaming?uid=me", key=key, content=bytes(3200)),
        "inference": http(cluster, "POST", "/inference", key=key, files=file),
    }
    for name, answer in answers.items():
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded"), name
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        assert (answer.json()["limit"], answer.json()["of"]) == ("audio_seconds_month", "key")


async def test_live_sessions_at_once_are_counted_on_both_gateways(cluster):
    key = made(cluster, "crowd", sessions=1)
    url = f"{cluster.url(1)}/v1/stt/stream"
    async with websockets.connect(url, additional_headers=bearer(key)) as socket:
        first = json.loads(await socket.recv())
        assert {door: await _refusal(cluster, door, key) for door in CROWDED} == CROWDED
    resume = f"?session_id={first['session_id']}&resume={first['resume_token']}"
    again = f"{cluster.url()}/v1/stt/stream{resume}"
    async with websockets.connect(again, additional_headers=bearer(key)) as socket:
        assert json.loads(await socket.recv())["resumed"] is True, "a session that is open isn't refused"
        await socket.send('{"type":"end"}')
        while json.loads(await socket.recv())["type"] != "closed":
            pass
    await _opened(cluster, key, gateway=1)


# --- requests, files, jobs --------------------------------------------------------------------------


def test_requests_are_counted_by_both_gateways_and_across_a_restart(cluster):
    key = made(cluster, "requests", requests_minute=4)

    def ask(gateway: int, path: str = "/v1/tokens") -> httpx.Response:
        return http(cluster, "POST", path, key=key, gateway=gateway, json={"scopes": ["read"]})

    answers = [ask(number % 2) for number in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["3", "2", "1"]
    assert answers[0].headers["RateLimit-Limit"] == "4"
    assert answers[0].headers["RateLimit-Policy"] == "4;w=60"
    assert 1 <= int(answers[0].headers["RateLimit-Reset"]) <= 60
    cluster.gateways[0].kill()
    cluster.restart_gateway(0)
    cluster.wait_ready(1, 1, 0, 0)
    assert ask(0).headers["RateLimit-Remaining"] == "0"
    refused = [
        ask(0),
        ask(1),
        ask(1, "/v1/stt/jobs"),
        ask(0, "/v1/audio/transcriptions"),
        ask(1, "/v1/listen"),
    ]
    assert [answer.status_code for answer in refused] == [429] * 5
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
    assert all(answer.headers["RateLimit-Remaining"] == "0" for answer in refused)
    assert [answer.json()["code"] for answer in refused[:3]] == ["rate_limited"] * 3
    error = refused[3].json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert refused[3].headers["x-ratelimit-limit-requests"] == "4"
    assert refused[4].json()["err_code"] == "TOO_MANY_REQUESTS"
    for path in ("/v1/stt/jobs", "/v1/usage", "/v1/models", "/stats"):
        answer = http(cluster, "GET", path, key=key)
        assert (answer.status_code, "RateLimit-Limit" in answer.headers) == (200, False)


def test_the_size_of_a_file_is_limited_on_every_route_that_takes_one(cluster):
    key = made(cluster, "size", upload_mb=1)
    big = b"RIFF" + bytes((1 << 20) + 70_000)
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(big))}
    form = ("/v1/stt/jobs", "/v1/audio/transcriptions", "/v1/detect-language", "/audio?uid=me", "/inference")
    answers = {path: http(cluster, "POST", path, key=key, files={"file": ("a", big)}) for path in form}
    answers["asr"] = http(cluster, "POST", "/asr", key=key, files={"audio_file": ("a", big)})
    answers["tus"] = http(cluster, "POST", "/v1/uploads", key=key, headers=tus)
    answers["deepgram"] = http(cluster, "POST", "/v1/listen", key=key, content=big)
    answers["omi"] = http(cluster, "POST", "/audio?uid=me", key=key, content=big)
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 413)
    small = http(cluster, "POST", "/v1/audio/transcriptions", key=key, files={"file": ("a", wav(speak(4)))})
    assert small.json()["text"].split() == script(0, 4)


def test_jobs_that_wait_are_limited_and_a_repeat_is_not_refused(cluster):
    key = made(cluster, "jobs", jobs_waiting=2)
    file = {"file": ("a.wav", wav(speak(2)))}
    for processor in cluster.processors:
        processor.kill()

    def submit(name: str, gateway: int) -> httpx.Response:
        headers = {"Idempotency-Key": name}
        return http(cluster, "POST", "/v1/stt/jobs", key=key, gateway=gateway, files=file, headers=headers)

    first, second, third = submit("a", 0), submit("b", 1), submit("c", 1)
    assert [answer.status_code for answer in (first, second, third)] == [202, 202, 429]
    assert (third.json()["code"], third.json()["limit"]) == ("too_many_jobs", "jobs_waiting")
    assert submit("a", 1).json()["job_id"] == first.json()["job_id"]
    assert http(cluster, "DELETE", f"/v1/stt/jobs/{first.json()['job_id']}", key=key).status_code == 200
    assert submit("c", 0).status_code == 202
    cluster.add_processor()


def test_the_routes_of_limits(cluster):
    default = dict.fromkeys(Limits.model_fields, 0)
    path = "/v1/owners/mobile team/limits"
    assert http(cluster, "GET", path).json() == {"owner": "mobile team", "limits": {}, "effective": default}
    put = http(cluster, "PUT", path, json={"sessions": 3}).json()
    assert (put["limits"], put["effective"]) == ({"sessions": 3}, default | {"sessions": 3})
    listed = http(cluster, "GET", "/v1/owners/limits", gateway=1).json()
    assert [each["limits"] for each in listed["owners"] if each["limits"] == {"sessions": 3}]
    assert http(cluster, "PUT", path, json={"sessions": -1}).status_code == 422
    assert http(cluster, "PUT", path, json={"seats": 1}).status_code == 422
    assert http(cluster, "DELETE", path).json()["limits"] == {}
    key = made(cluster, "mobile team", sessions=2)
    name = key.split("_")[1]
    changed = http(cluster, "PUT", f"/v1/keys/{name}/limits", json={"jobs_waiting": 5}).json()
    assert changed["limits"] == {"jobs_waiting": 5}
    assert http(cluster, "GET", path, key=key).status_code == 403
