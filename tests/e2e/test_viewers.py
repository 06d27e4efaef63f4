"""Viewers of a session, and the cluster's overview: over HTTP, and in a browser."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from parlando.client import connect
from support.browser import CHROMIUM, chromium, holds, opened, picture
from support.cluster import Cluster
from support.speech import RATE, fixture
from support.streaming import send

KEY = {"Authorization": "Bearer alpha"}
WORDS = "document.getElementById('watch-transcript').textContent"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, API_KEYS="alpha,beta") as running:
        yield running


async def speak(session, *, end: bool = True) -> None:
    """JFK, at once."""
    await send(session, np.concatenate([fixture("jfk.flac"), np.zeros(RATE, np.int16)]), speed=None)
    if end:
        await session.end()


async def final(session) -> dict:
    async for event in session:
        if event["type"] == "final":
            return event
    raise AssertionError("no final")


def share(cluster, sid: str, **body: str) -> dict:
    answer = httpx.post(f"{cluster.http()}/v1/stt/sessions/{sid}/viewers", json=body, headers=KEY)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_viewer_reads_one_session_and_nothing_else(cluster):
    async with connect(cluster.url(), api_key="alpha", title="Town hall") as session:
        await speak(session, end=False)
        await final(session)
        viewer = share(cluster, session.id, label="audience")
        assert viewer["url"] == f"{cluster.http()}/watch/{session.id}?token={viewer['token']}"
        base = f"{cluster.http()}/v1/stt/sessions/{session.id}"
        query = {"token": viewer["token"]}
        transcript = httpx.get(f"{base}/transcript", params=query).json()
        assert transcript["title"] == "Town hall"
        assert transcript["segments"]

        refused = [
            httpx.get(base, params=query),
            httpx.get(f"{base}/viewers", params=query),
            httpx.post(f"{base}/viewers", params=query),
            httpx.delete(f"{base}/viewers/{viewer['viewer_id']}", params=query),
            httpx.get(f"{cluster.http()}/v1/cluster", params=query),
            httpx.get(f"{cluster.http()}/v1/stt/jobs", params=query),
            httpx.get(f"{base}/transcript"),
            httpx.get(f"{base}/transcript", params={"token": viewer["token"] + "x"}),
            httpx.get(f"{base}/transcript", params={"token": "view_"}),
        ]
        assert [answer.status_code for answer in refused] == [401] * len(refused)
        other = await connect_and_leave(cluster)
        elsewhere = httpx.get(f"{cluster.http()}/v1/stt/sessions/{other}/transcript", params=query)
        assert elsewhere.status_code == 401
        beta = {"Authorization": "Bearer beta"}
        assert httpx.get(f"{base}/viewers", headers=beta).status_code == 404
        assert httpx.post(f"{base}/viewers", headers=beta).status_code == 404


async def connect_and_leave(cluster) -> str:
    async with connect(cluster.url(), api_key="alpha") as session:
        await speak(session)
        await final(session)
        return session.id


async def events(cluster, sid: str, token: str, seen: list) -> None:
    async with httpx.AsyncClient(timeout=600) as client:
        url = f"{cluster.http()}/v1/stt/sessions/{sid}/events"
        async with client.stream("GET", url, params={"token": token}) as answer:
            async for line in answer.aiter_lines():
                seen += [json.loads(line[6:])] if line.startswith("data: ") else []


async def test_a_revoked_viewer_is_cut_off_and_others_are_not(cluster):
    async with connect(cluster.url(), api_key="alpha") as session:
        await speak(session, end=False)
        await final(session)
        one, two = share(cluster, session.id, label="one"), share(cluster, session.id, label="two")
        seen_one, seen_two = [], []
        first = asyncio.create_task(events(cluster, session.id, one["token"], seen_one))
        second = asyncio.create_task(events(cluster, session.id, two["token"], seen_two))
        while not (seen_one and seen_two):
            await asyncio.sleep(0.02)
        base = f"{cluster.http()}/v1/stt/sessions/{session.id}"
        listed = httpx.get(f"{base}/viewers", headers=KEY).json()["viewers"]
        assert {viewer["label"] for viewer in listed} == {"one", "two"}
        assert all("token" not in viewer for viewer in listed)

        assert httpx.delete(f"{base}/viewers/{one['viewer_id']}", headers=KEY).status_code == 200
        await asyncio.wait_for(first, 60)
        assert seen_one[-1] == {"type": "revoked"}
        assert httpx.get(f"{base}/transcript", params={"token": one["token"]}).status_code == 401
        assert httpx.delete(f"{base}/viewers/{one['viewer_id']}", headers=KEY).status_code == 404
        await session.end()
        await asyncio.wait_for(second, 60)
        assert seen_two[-1]["type"] == "closed"
        seqs = [event["seq"] for event in seen_two if "seq" in event]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_session_has_a_hundred_viewer_tokens_at_most(cluster):
    async with connect(cluster.url(), api_key="alpha") as session:
        await speak(session, end=False)
        async with httpx.AsyncClient(headers=KEY) as client:
            url = f"{cluster.http()}/v1/stt/sessions/{session.id}/viewers"
            answers = [(await client.post(url)).status_code for _ in range(101)]
            assert answers == [201] * 100 + [503]
            viewer = (await client.get(url)).json()["viewers"][0]["viewer_id"]
            assert (await client.delete(f"{url}/{viewer}")).status_code == 200
            assert (await client.post(url)).status_code == 201


async def test_the_cluster_tells_how_it_is(cluster):
    async with connect(cluster.url(), api_key="alpha", title="Mine") as session:
        await speak(session, end=False)
        await final(session)
        await asyncio.sleep(1.5)
        told = httpx.get(f"{cluster.http()}/v1/cluster", headers=KEY).json()
        beta = httpx.get(f"{cluster.http()}/v1/cluster", headers={"Authorization": "Bearer beta"}).json()
    assert told["sessions"]["open"] >= 1
    assert (session.id, "Mine") in [(s["session_id"], s["title"]) for s in told["your_sessions"]]
    assert beta["your_sessions"] == []
    assert len(told["gateways"]) == len(told["transcribers"]) == 1
    assert 0 < told["real_time_factor"] < 1
    assert told["languages"] == ["en"]
    for stage in ("store", "queue", "engine", "final"):
        found = told["latency_ms"][stage]
        assert found["count"] > 0
        assert 0 < found["p50"] <= found["p95"] < 10_000
    frames = httpx.get(f"{cluster.http()}/v1/cluster/events", params={"count": 2}, headers=KEY).text
    assert frames.count("event: cluster\n") == 2


@needs_chromium
async def test_a_late_viewer_sees_everything_so_far_and_markup_as_text(cluster):
    title = "<img src=x onerror=alert(1)> & co"
    async with connect(cluster.url(), api_key="alpha", title=title) as session:
        await speak(session, end=False)
        await final(session)
        hostile = {"type": "final", "session_id": session.id, "segment": 90, "start": 50, "end": 51}
        hostile |= {
            "seq": 99,
            "text": "<img src=x onerror=alert(2)><script>alert(3)</script>",
            "timestamp": "",
        }
        viewer = share(cluster, session.id)
        async with chromium() as browser, opened(browser, viewer["url"]) as watched:
            page = watched.page
            alerts = []
            page.on("dialog", lambda dialog: alerts.append(dialog.message))
            await holds(page, f"{WORDS}.includes('fellow')")
            assert await page.inner_text("#watch-title") == title
            assert await page.inner_text("#watch-state") == "Live"
            await speak(session, end=False)
            await final(session)  # no partial follows that would replace the hostile one
            await holds(page, f"{WORDS}.split('fellow').length === 3")
            hostile = {**hostile, "seq": None, "type": "partial", "stable": "", "text": hostile["text"]}
            body = json.dumps({k: v for k, v in hostile.items() if v is not None})
            cluster.store().publish(f"stt:{{0}}:events:{session.id}", body)
            await holds(page, f"{WORDS}.includes('<script>alert(3)</script>')")
            await page.click("#watch-larger")
            assert await page.locator("#watch-transcript img, #watch-transcript script").count() == 0
            address = f"{cluster.http()}/v1/stt/sessions/{session.id}/viewers/{viewer['viewer_id']}"
            httpx.delete(address, headers=KEY)
            await holds(page, "document.getElementById('watch-state').textContent.includes('revoked')")
            assert not alerts
            assert not watched.complaints
            assert all(url.startswith(cluster.http()) for url in watched.requests)


@needs_chromium
async def test_the_overlay_shows_the_newest_words_only(cluster):
    async with connect(cluster.url(), api_key="alpha", title="Inaugural address, 1961") as session:
        await speak(session, end=False)
        await final(session)
        viewer = share(cluster, session.id)
        async with chromium() as browser, opened(browser, viewer["url"], dark=True) as watched:
            page = watched.page
            await holds(page, f"{WORDS}.includes('for your country')")
            await picture(page, "watch")
            await page.click("#watch-overlay")
            await holds(page, f"{WORDS}.includes('for your country')")
            assert 1 <= await page.locator(".transcript [role=log] .line").count() <= 2
            colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == "rgba(0, 0, 0, 0)"
            assert not await page.is_visible("footer")
            await picture(page, "overlay")


@needs_chromium
async def test_who_may_not_watch_is_told_why(cluster):
    async with chromium() as browser:
        bad = f"{cluster.http()}/watch/%3Cimg%20src=x%20onerror=alert(1)%3E?token=view_000000000000_x"
        async with opened(browser, bad) as watched:
            await holds(watched.page, "document.getElementById('watch-state').dataset.state === 'failed'")
            assert "revoked" in await watched.page.inner_text("#watch-state")
            assert await watched.page.locator("img[src=x]").count() == 0


@needs_chromium
async def test_lines_of_another_life_of_a_session_are_replaced(cluster):
    play = """async () => {
        const { TranscriptView } = await import("/app/transcript.js");
        const root = document.createElement("div");
        const view = new TranscriptView(root);
        const lines = () => [...root.querySelectorAll("[role=log] .line")];
        const shown = () => lines().map((line) => line.lastChild.textContent);
        ["a", "b", "c"].forEach((text, segment) => view.final({ segment, text, start: segment }));
        view.restart();
        const before = shown();
        view.final({ segment: 1, text: "B", start: 1 });
        view.final({ segment: 2, text: "C", start: 2 });
        return [before, shown()];
    }"""
    async with chromium() as browser, opened(browser, cluster.http()) as watched:
        assert await watched.page.evaluate(play) == [["a", "b", "c"], ["a", "B", "C"]]
