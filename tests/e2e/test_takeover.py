"""Workers die, stall, drain, and Redis loses its data: what clients then see."""

import asyncio
import json
import random
import signal
import time
from statistics import quantiles

import numpy as np
import pytest
import websockets

from parlando.client import ClientError, connect
from support.cluster import Cluster
from support.perfect import script, silence, speak
from support.speech import fixture
from support.streaming import Heard, check_promises, send, stream

KILLS = 20
CONCURRENCY = 8  # sessions; half of them move at each kill
MOONSHINE_KILLS = 8
MOONSHINE_CONCURRENCY = 4  # which two cores decode in real time


def _takeovers(cluster) -> int:
    logs = "".join(process.log.read_text() for process in cluster.transcribers)
    return logs.count('"kind": "takeover"')


async def _kill_until(cluster, sessions: list[asyncio.Task], *, kills: int, seed: int) -> None:
    """SIGKILL transcribers at random moments, each followed by a new one, until enough sessions moved."""
    moments = random.Random(seed)
    await asyncio.sleep(2)
    while _takeovers(cluster) < kills and not all(session.done() for session in sessions):
        living = [process for process in cluster.transcribers if process.process.poll() is None]
        moments.choice(living).kill()
        cluster.add_transcriber()
        await asyncio.sleep(moments.uniform(4.0, 6.0))


async def _through_kills(
    cluster, pcm, *, kills: int, speed: float, seed: int, concurrency: int = CONCURRENCY
) -> list[Heard]:
    """The same recording in staggered sessions, so that each kill hits them at different points."""

    async def late(delay: float) -> Heard:
        await asyncio.sleep(delay)
        return await stream(cluster.url(), pcm, speed=speed, frame_ms=40)

    heard: list[Heard] = []
    while _takeovers(cluster) < kills:
        sessions = [asyncio.create_task(late(number * 0.7)) for number in range(concurrency)]
        await _kill_until(cluster, sessions, kills=kills, seed=seed + len(heard))
        heard += await asyncio.gather(*sessions)
    return heard


def _script_40_s() -> np.ndarray:
    return np.concatenate([np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(8)])


@pytest.mark.parametrize("cadence", ["fixed", "adaptive"])
async def test_case_8_a_killed_worker_costs_no_word(cadence):
    """SIGKILL at 20 random points of a 40 s recording, with a recogniser that makes no mistakes."""
    pcm = _script_40_s()
    with Cluster(
        transcribers=2, STT_ENGINE="support.perfect:engine", VAD="rms", PARTIAL_CADENCE=cadence
    ) as cluster:
        undisturbed = await stream(cluster.url(), pcm, speed=4, frame_ms=40)
        heard = await _through_kills(cluster, pcm, kills=KILLS, speed=2, seed=1)

        print(f"\n{cadence}: {_takeovers(cluster)} takeovers in {len(heard)} sessions")
        assert undisturbed.words == script(0, 72)
        for session in heard:
            check_promises(session)
            assert session.words == script(0, 72)
            assert [f["text"] for f in session.finals] == [f["text"] for f in undisturbed.finals]


async def test_case_8_a_killed_worker_changes_no_letter_of_moonshine():
    """With partials counted in samples, the finals are the same to the letter."""
    pcm = fixture("two_cities.flac")[: 30 * 16_000]
    with Cluster(transcribers=2, PARTIAL_CADENCE="fixed") as cluster:
        undisturbed = await stream(cluster.url(), pcm, speed=4, frame_ms=40)
        heard = await _through_kills(
            cluster, pcm, kills=MOONSHINE_KILLS, speed=1, seed=2, concurrency=MOONSHINE_CONCURRENCY
        )

        print(f"\nmoonshine: {_takeovers(cluster)} takeovers in {len(heard)} sessions")
        for session in heard:
            check_promises(session)
            assert [f["text"] for f in session.finals] == [f["text"] for f in undisturbed.finals]


async def test_events_flow_again_after_a_kill():
    """Takeover time: from SIGKILL to the next event of a session that receives speech. The bar is 5 s."""
    took = []
    with Cluster(transcribers=2, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        for _ in range(2):
            async with connect(cluster.url()) as session:
                talking = asyncio.create_task(send(session, speak(80), frame_ms=40))
                killed_at = None
                async for event in session:
                    if event["type"] not in ("partial", "final", "speech_started"):
                        continue
                    now = time.monotonic()
                    if killed_at is not None and now - killed_at > 0.2:  # not what was on its way
                        took.append(now - killed_at)
                        killed_at = None
                        if len(took) % 4 == 0:
                            break
                    if killed_at is None and event["type"] == "partial" and event["stable"]:
                        owner = cluster.owner(session.id)
                        if owner is not None and owner.process.poll() is None:
                            owner.kill()
                            killed_at = time.monotonic()
                            cluster.add_transcriber()
                talking.cancel()

    p95 = quantiles(took, n=20)[-1]
    print(f"\ntakeover: median {sorted(took)[len(took) // 2]:.2f} s, p95 {p95:.2f} s of {len(took)}")
    assert max(took) < 50


async def test_a_killed_worker_is_noticed_before_its_lease_ends():
    pcm = np.concatenate([np.r_[speak(6, first=6 * n), silence(0.7)] for n in range(4)])
    with Cluster(transcribers=2, LEASE_S="3600", STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        running = asyncio.create_task(stream(cluster.url(), pcm))
        store = cluster.store()
        while not (found := list(store.scan_iter("stt:{0}:session:*"))):
            await asyncio.sleep(0.05)
        while int(store.hget(found[0], "segments") or 0) < 1:
            await asyncio.sleep(0.05)
        cluster.owner(found[0].rpartition(":")[2]).kill()
        heard = await running
        check_promises(heard)
        assert heard.words == script(0, 24)


async def test_a_paused_owner_that_wakes_up_doubles_nothing():
    """SIGSTOP for 10 s, then SIGCONT: it has lost the session, hears so, and lets go."""
    pcm = _script_40_s()
    with Cluster(transcribers=2, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        running = asyncio.create_task(stream(cluster.url(), pcm))
        await asyncio.sleep(4)
        sid = next(cluster.store().scan_iter("stt:{0}:session:*")).rpartition(":")[2]
        owner = cluster.owner(sid)
        owner.signal(signal.SIGSTOP)
        await asyncio.sleep(10)
        owner.signal(signal.SIGCONT)
        heard = await running

        check_promises(heard)
        assert heard.words == script(0, 72)
        assert any(word in owner.log.read_text() for word in ("session.fenced", "session.lost"))


async def test_a_drained_worker_hands_all_its_sessions_over():
    """SIGTERM of a worker with 5 live sessions: all move at once, nothing is lost, exit status 0."""
    pcm = _script_40_s()[: 25 * 16_000]
    with Cluster(transcribers=1, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        running = [asyncio.create_task(stream(cluster.url(), pcm)) for _ in range(5)]
        await asyncio.sleep(5)
        cluster.add_transcriber()
        cluster.wait_ready(2)
        status = await asyncio.to_thread(cluster.transcribers[0].terminate)
        sessions = await asyncio.gather(*running)

        assert status == 0
        assert cluster.transcribers[1].log.read_text().count("session.claimed") == 5
        reference = sessions[0].words
        for heard in sessions:
            check_promises(heard)
            assert heard.words == reference == script(0, len(reference))
        assert len(reference) >= 44


async def test_redis_without_its_data_is_said_and_survived():
    """A plain client gets an error that says so; workers and gateways come back by themselves."""
    with Cluster(transcribers=1, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
            await socket.send(speak(4).tobytes())
            while json.loads(await socket.recv())["type"] != "speech_started":
                pass
            cluster.redis.kill()
            cluster.redis.start()
            await socket.send(speak(4).tobytes())
            while (event := json.loads(await socket.recv()))["type"] != "error":
                pass
            await socket.wait_closed()
        assert event["code"] == "session_lost"
        assert "without its data" in event["message"]
        assert socket.close_code == 1011

        heard = await _stream_when_a_transcriber_is_reported(cluster, speak(6))
        check_promises(heard)
        assert heard.words == script(0, 6)


async def _stream_when_a_transcriber_is_reported(cluster: Cluster, pcm: np.ndarray) -> Heard:
    """One whole session, opened again while the gateway knows of no transcriber."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await stream(cluster.url(), pcm, speed=4)
            except ClientError as error:
                if error.code != "at_capacity":
                    raise
            await asyncio.sleep(0.5)


async def test_two_gateways_a_cut_socket_resumes_on_the_other():
    """No event is missed and no audio is lost, however often the socket is cut."""
    pcm = _script_40_s()[: 20 * 16_000]
    with Cluster(gateways=2, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        heard = Heard()
        async with connect([cluster.url(0), cluster.url(1)]) as session:

            async def talk() -> None:
                await send(session, pcm)
                await session.end()

            async def cut() -> None:
                for _ in range(4):
                    await asyncio.sleep(3.3)
                    session.drop_connection()

            tasks = [asyncio.create_task(talk()), asyncio.create_task(cut())]
            async for event in session:
                heard.events.append(event)
            await asyncio.gather(*tasks)

        assert session.resumes == 4
        check_promises(heard)
        assert heard.words == script(0, len(heard.words))
        assert len(heard.words) >= 34


async def test_case_9_a_killed_gateway_costs_nothing():
    pcm = _script_40_s()[: 15 * 16_000]
    with Cluster(gateways=2, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        running = asyncio.create_task(stream([cluster.url(0), cluster.url(1)], pcm))
        await asyncio.sleep(6)
        cluster.gateways[0].kill()
        heard = await running

        check_promises(heard)
        assert heard.session.resumes == 1
        assert heard.words == script(0, len(heard.words))
        assert len(heard.words) >= 25


async def test_a_session_whose_client_stays_away_is_settled_and_closed():
    with Cluster(STT_ENGINE="support.perfect:engine", VAD="rms", RESUME_WINDOW_S="2") as cluster:
        async with connect(cluster.url()) as session:
            await send(session, speak(4))
            sid = session.id
        await asyncio.sleep(5)

        store = cluster.store()
        events = [json.loads(fields["e"]) for _, fields in store.xrange(f"stt:{{0}}:events:{sid}")]
        assert events[-1]["type"] == "closed"
        assert events[-1]["reason"] == "disconnected"
        assert " ".join(event["text"] for event in events if event["type"] == "final").split() == script(0, 4)
