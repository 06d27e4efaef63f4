"""What always holds, with a recogniser that makes no mistakes: no word is lost, doubled or changed.

The cases are failures observed in comparable servers; the limits are ours (docs/architecture.md).
"""

import asyncio
import base64
import json
import random

import httpx
import numpy as np
import pytest
import websockets

from support.cluster import Cluster
from support.perfect import GAP, script, silence, speak
from support.streaming import check_promises, stream
from transcriber.recognition.capacity import INITIAL_SESSIONS

FAST = {"speed": 4.0}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        yield cluster


async def _exact(cluster, pcm, words, **options):
    heard = await stream(cluster.url(), pcm, **{**FAST, **options})
    check_promises(heard)
    assert heard.words == words
    return heard


async def test_case_1_every_word_is_in_the_finals_once_for_20_s_with_pauses(cluster):
    pcm = np.concatenate([speak(7), silence(1), speak(6, first=7), silence(2), speak(20, first=13)])

    await _exact(cluster, pcm, script(0, 33))


async def test_case_1_every_word_is_in_the_finals_once_for_10_minutes(cluster):
    pcm = np.concatenate([np.r_[speak(40, first=40 * n), silence(0.8)] for n in range(29)])
    assert len(pcm) > 600 * 16_000

    await _exact(cluster, pcm, script(0, 40 * 29), speed=20, frame_ms=100)


async def test_case_1_the_end_may_come_at_any_moment_of_the_last_second(cluster):
    pcm = speak(6)

    async def ends_after(cut: int) -> None:
        kept = pcm[: len(pcm) - cut]
        whole = sum((number * (4800 + GAP) + 2400) < len(kept) for number in range(6))
        heard = await stream(cluster.url(), kept, **FAST)
        check_promises(heard)
        assert heard.words == script(0, whole)

    await asyncio.gather(*(ends_after(cut) for cut in range(0, 16_000, 1600)))


async def test_case_2_the_tail_comes_soon_after_the_end(cluster):
    """The bar is 300 ms."""
    pcm = speak(5)[:-GAP]

    heard = await _exact(cluster, pcm, script(0, 5), speed=1.0)

    last_word = len(pcm) / 16_000
    print(f"\nthe end: closed {1000 * (heard.times[-1] - last_word):.0f} ms after the last word")
    assert heard.times[-1] - last_word < 3


async def test_case_2_an_empty_session_gets_a_final_and_a_closing(cluster):
    heard = await stream(cluster.url(), np.zeros(0, np.int16))

    check_promises(heard)
    assert [final["reason"] for final in heard.finals] == ["too_short"]
    assert heard.of("closed")[0]["reason"] == "end"


async def test_case_3_60_s_of_speech_without_a_pause_and_60_s_of_silence_before_speech(cluster):
    endless = speak(190, gap=320)  # 20 ms between words: no dip that ends a segment
    late = np.concatenate([silence(60), speak(4)])

    heard, _ = await asyncio.gather(
        _exact(cluster, endless, script(0, 190)), _exact(cluster, late, script(0, 4))
    )

    assert all(final["end"] - final["start"] <= 15.1 for final in heard.finals)


async def test_case_4_after_30_s_of_silence_the_first_word_is_there(cluster):
    heard = await _exact(cluster, np.concatenate([silence(30), speak(3)]), script(0, 3))

    assert heard.finals[0]["start"] == pytest.approx(30.0, abs=0.1)


async def test_case_5_sessions_do_not_leak_their_settings_into_each_other(cluster):
    pcm = np.concatenate([speak(3, gap=3200), silence(0.35), speak(3, first=3, gap=3200), silence(0.6)])

    quick, slow, quiet = await asyncio.gather(
        stream(cluster.url(), pcm, vad_silence_ms=250, words=True),
        stream(cluster.url(), pcm, vad_silence_ms=900),
        stream(cluster.url(), pcm, interim=False),
    )

    for heard in (quick, slow, quiet):
        check_promises(heard)
        assert heard.words == script(0, 6)
    assert len(quick.finals) > len(slow.finals) == 1
    assert quick.finals[0]["words"][0]["word"] == "w0000"
    assert "words" not in slow.finals[0]
    assert quick.of("partial")
    assert not quiet.of("partial")


async def test_case_7_pings_are_answered_at_full_load(cluster):
    """The bar is 100 ms."""
    pcm = speak(20)
    waits = []

    async def ping() -> None:
        async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
            for _ in range(30):
                started = asyncio.get_running_loop().time()
                await (await socket.ping())
                waits.append(asyncio.get_running_loop().time() - started)
                await asyncio.sleep(0.2)

    await asyncio.gather(ping(), *(stream(cluster.url(), pcm, speed=1.0) for _ in range(10)))

    print(f"\npong: median {1000 * sorted(waits)[15]:.1f} ms, slowest {1000 * max(waits):.1f} ms")
    assert sorted(waits)[int(len(waits) * 0.8)] < 1


@pytest.mark.parametrize("frame_bytes", [1, 37, 640, 320_000])
async def test_case_15_frames_of_any_size_give_the_same_finals(cluster, frame_bytes):
    pcm = speak(3 if frame_bytes == 1 else 20)
    data = pcm[: len(pcm) - GAP].tobytes() if frame_bytes == 1 else pcm.tobytes()
    data = data[:12_000] if frame_bytes == 1 else data
    words = script(0, 1 if frame_bytes == 1 else 20)

    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        for at in range(0, len(data), frame_bytes):
            await socket.send(data[at : at + frame_bytes])
        await socket.send('{"type":"end"}')
        finals = []
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "final":
                finals.append(event["text"])

    assert " ".join(finals).split() == words


async def test_timestamps_come_from_samples_not_from_the_clock(cluster):
    pcm = np.concatenate([silence(2), speak(3), silence(1), speak(2, first=3), silence(1)])

    slow, fast = await asyncio.gather(
        _exact(cluster, pcm, script(0, 5), speed=1.0), _exact(cluster, pcm, script(0, 5), speed=None)
    )

    assert [(f["start"], f["end"]) for f in slow.finals] == [(f["start"], f["end"]) for f in fast.finals]


async def test_new_texts_joined_are_the_final(cluster):
    heard = await _exact(cluster, speak(30), script(0, 30), speed=2.0)

    for final in heard.finals:
        news = [
            e["new_text"] for e in heard.events if e.get("segment") == final["segment"] and "new_text" in e
        ]
        assert " ".join(new for new in news if new) == final["text"]


async def test_a_backlog_is_told_and_nothing_is_lost():
    with Cluster(
        STT_ENGINE="support.perfect:engine", VAD="rms", PERFECT_DELAY_MS="150", BUFFER_MAX_S="40"
    ) as slow:
        pcm = np.concatenate([np.r_[speak(4), silence(0.7)] for _ in range(30)])
        heard = await stream(slow.url(), pcm, speed=None, frame_ms=100)

        check_promises(heard)
        assert len(heard.words) == 120
        told = heard.of("status")
        assert told, "the client is told"
        assert told[0]["status"] == "throttled"
        assert told[0]["reason"] == "backlog"


async def test_memory_in_redis_holds_only_what_is_not_settled(cluster):
    sizes = []
    store = cluster.store()

    async def watch() -> None:
        while True:
            keys = list(store.scan_iter("stt:{0}:pcm:*"))
            sizes.append(sum(store.memory_usage(key, samples=0) or 0 for key in keys))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    pcm = np.concatenate([np.r_[speak(8), silence(0.8)] for _ in range(8)])
    await _exact(cluster, pcm, [f"w{n:04d}" for _ in range(8) for n in range(8)], speed=2.0)
    watching.cancel()

    print(f"\nmost PCM of one session in Redis: {max(sizes) / 1024:.0f} KB")
    assert max(sizes) < 500 * 1024
    assert not list(store.scan_iter("stt:{0}:pcm:*")), "nothing of a closed session"


async def test_a_full_cluster_refuses_with_1013_and_the_others_are_served():
    with Cluster(
        STT_ENGINE="support.perfect:engine", VAD="rms", WORKER_SESSIONS="2", PLACE_WAIT_S="0"
    ) as small:
        pcm = speak(12)
        serving = [asyncio.create_task(stream(small.url(), pcm)) for _ in range(2)]
        await asyncio.sleep(1)
        async with websockets.connect(f"{small.url()}/v1/stt/stream") as socket:
            error = json.loads(await socket.recv())
            await socket.wait_closed()

        assert error["code"] == "at_capacity"
        assert error["retryable"] is True
        assert error["retry_after"] > 0
        assert socket.close_code == 1013
        for heard in await asyncio.gather(*serving):
            assert heard.words == script(0, 12)


async def test_a_session_waits_for_a_place_and_loses_nothing():
    settings = {"WORKER_SESSIONS": "1", "PLACE_WAIT_S": "8"}
    with Cluster(STT_ENGINE="support.perfect:engine", VAD="rms", **settings) as small:

        async def say(socket: websockets.ClientConnection) -> None:
            pcm = speak(12)
            for at in range(0, len(pcm), 1600):
                await socket.send(pcm[at : at + 1600].astype("<i2").tobytes())
            await socket.send('{"type":"end"}')

        first = await websockets.connect(f"{small.url()}/v1/stt/stream")
        await first.recv()
        async with asyncio.timeout(60), websockets.connect(f"{small.url()}/v1/stt/stream") as second:
            saying = asyncio.create_task(say(second))  # without waiting for `connected`
            while not list(small.store().scan_iter("stt:wanted:*")):
                await asyncio.sleep(0.01)
            await first.send('{"type":"end"}')
            events = [json.loads(message) async for message in second]
            await saying
        await first.close()
    finals = [event["text"] for event in events if event["type"] == "final"]
    assert " ".join(finals).split() == script(0, 12)


async def test_a_client_that_leaves_while_it_waits_takes_no_place():
    settings = {"WORKER_SESSIONS": "1", "PLACE_WAIT_S": "8", "RESUME_WINDOW_S": "600"}
    with Cluster(STT_ENGINE="support.perfect:engine", VAD="rms", **settings) as small:
        url = f"{small.url()}/v1/stt/stream?session_id="
        first = await websockets.connect(url + "first")
        await first.recv()
        second = await websockets.connect(url + "second")
        async with asyncio.timeout(60):
            while not list(small.store().scan_iter("stt:wanted:*")):
                await asyncio.sleep(0.01)
            await second.close()
            await first.send('{"type":"end"}')
            while (state := httpx.get(f"{small.http()}/v1/stt/sessions/second")).status_code == 404:
                await asyncio.sleep(0.1)
            while state.json()["state"] != "closed":
                await asyncio.sleep(0.1)
                state = httpx.get(f"{small.http()}/v1/stt/sessions/second")
        await first.close()


async def test_how_many_fit_is_measured():
    slow = {"STT_ENGINE": "support.perfect:engine", "VAD": "rms", "PERFECT_DELAY_MS": "1500"}
    with Cluster(**slow, WORKER_SESSIONS="0") as cluster:
        [worker] = httpx.get(f"{cluster.http()}/v1/cluster").json()["transcribers"]
        assert worker["capacity"] == INITIAL_SESSIONS
        assert worker["capacity_reason"] == "initial"
        assert worker["partial_interval_ms"] > 0
        heard = await stream(cluster.url(), speak(70))
        [worker] = httpx.get(f"{cluster.http()}/v1/cluster").json()["transcribers"]

        assert heard.words == script(0, 70)
        assert 1 <= worker["capacity"] < INITIAL_SESSIONS, "a call lasts as long as four words"
        assert worker["capacity_reason"] in {"measured", "overloaded"}


async def test_audio_is_in_redis_before_it_is_acknowledged(cluster):
    store = cluster.store()
    async with websockets.connect(
        f"{cluster.url()}/v1/stt/stream?session_id=acked-{random.random()}"
    ) as socket:
        sid = json.loads(await socket.recv())["session_id"]
        for index in range(10):
            chunk = base64.b64encode(speak(1, first=index).tobytes()).decode()
            await socket.send(f'{{"type":"audio","chunk":"{chunk}","index":{index}}}')
            while (ack := json.loads(await socket.recv()))["type"] != "ack":
                pass
            assert ack["chunk_index"] == index
            assert (
                int(store.hget(f"stt:{{0}}:session:{sid}", "received"))
                >= ack["received"]
                == 8000 * (index + 1)
            )


async def test_stalled_audio_is_settled_without_being_asked(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        await socket.send(speak(4)[:-GAP].tobytes())
        async with asyncio.timeout(600):
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "final":
                    break

    assert event["text"].split() == script(0, 4)


async def test_a_flush_settles_what_was_sent_and_the_session_goes_on(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        await socket.send(speak(3)[:-GAP].tobytes())
        await socket.send('{"type":"flush"}')
        await socket.send(np.concatenate([silence(0.2), speak(3, first=3)]).tobytes())
        await socket.send('{"type":"end"}')
        events = [json.loads(message) async for message in socket]

    kinds = [event["type"] for event in events if event["type"] in ("final", "flushed", "closed")]
    assert kinds == ["final", "flushed", "final", "closed"]
    assert " ".join(event["text"] for event in events if event["type"] == "final").split() == script(0, 6)


async def test_case_18_no_text_and_no_audio_in_the_logs(cluster):
    await _exact(cluster, speak(5), script(0, 5))

    for process in [*cluster.gateways, *cluster.transcribers]:
        assert "w0003" not in process.log.read_text()


async def test_the_transcript_is_there_during_and_after_the_session(cluster):
    heard = await _exact(cluster, np.r_[speak(4), silence(1), speak(4, first=4)], script(0, 8))
    sid = heard.session.id
    async with httpx.AsyncClient(base_url=cluster.http()) as client:
        answers = {
            form: await client.get(f"/v1/stt/sessions/{sid}/transcript", params={"format": form})
            for form in ("json", "text", "srt", "vtt")
        }
        state = (await client.get(f"/v1/stt/sessions/{sid}")).json()

    assert answers["json"].json()["text"].split() == script(0, 8)
    assert answers["text"].text.split() == script(0, 8)
    assert answers["srt"].text.startswith("1\n00:00:00,")
    assert answers["vtt"].text.startswith("WEBVTT\n\n00:00:00.")
    assert state["state"] == "closed"
    assert state["lag_ms"] == 0


async def test_case_20_a_late_viewer_gets_everything_from_last_event_id(cluster):
    heard = await _exact(cluster, np.r_[speak(4), silence(1), speak(4, first=4)], script(0, 8))
    url = f"{cluster.http()}/v1/stt/sessions/{heard.session.id}/events"
    async with httpx.AsyncClient() as client:
        whole = (await client.get(url)).text
        rest = (await client.get(url, headers={"Last-Event-ID": "1"})).text

    assert [line for line in whole.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2", "id: 3"]
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == ["id: 2", "id: 3"]
    assert "event: closed" in rest
