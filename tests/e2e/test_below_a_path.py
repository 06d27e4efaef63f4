"""The web app and the API below a path, behind a reverse proxy that strips it."""

import asyncio

import httpx
import numpy as np
import pytest
import websockets

from parlando.client import Parlando, connect
from support.browser import CHROMIUM, chromium, holds, opened, visit
from support.cluster import Cluster
from support.path_proxy import path_proxy
from support.speech import JFK, RATE, fixture
from support.streaming import send

PATH = "/parlando"
INGRESS = "/api/hassio_ingress/kQ3-_xyz"
HEADER = {"X-Ingress-Path": INGRESS}
HEARD = "document.getElementById('live-transcript').textContent.includes('my fellow')"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def cluster():
    """Gateway 0 has a path, 1 none; 2 trusts no proxy of this machine."""
    with Cluster(transcribers=1, processors=1, ROOT_PATH=PATH) as cluster:
        cluster.add_gateway(ROOT_PATH="")
        cluster.add_gateway(ROOT_PATH="", TRUSTED_PROXIES="192.0.2.1")
        cluster.wait_ready(1, 1)
        yield cluster


def proxied(cluster: Cluster, kind: str):
    """A proxy: that of the setting, with its path stripped or kept, or Home Assistant's ingress."""
    if kind == "ingress":
        return path_proxy(cluster.ports[1], INGRESS, headers=HEADER)
    return path_proxy(cluster.ports[0], PATH, strips=kind == "strips")


@needs_chromium
@pytest.mark.parametrize("kind", ["strips", "keeps", "ingress"])
async def test_the_web_app_works_below_a_path(cluster, kind):
    """Live captions, a viewer's link, a file, the cluster; nothing is requested outside of the path."""
    sound = np.concatenate(
        [np.zeros(RATE // 2, np.int16), fixture("jfk.flac"), np.zeros(60 * RATE, np.int16)]
    )
    async with (
        proxied(cluster, kind) as base,
        chromium(sound) as browser,
        opened(browser, f"{base}/") as watched,
    ):
        page = watched.page
        await page.click("#live-start")
        await holds(page, HEARD, within=120)
        await page.click("#live-share")
        await page.click("#share-add")
        link = page.locator("#share-list a")
        await link.wait_for()
        address = await link.get_attribute("href")
        assert address.startswith(f"{base}/watch/")
        viewer = await visit(page.context, address)
        await holds(viewer.page, "document.querySelector('.transcript').textContent.includes('fellow')")
        await viewer.page.close()
        await page.click("#share button[value=close]")
        await page.click("#live-stop")
        await page.click("nav a[href='#files']")
        await page.set_input_files("#files-input", [JFK])
        await holds(page, "document.querySelectorAll('#files-list details').length === 1", within=120)
        await page.click("nav a[href='#cluster']")
        await holds(page, "document.getElementById('cluster-state').dataset.state === 'open'", within=60)
        assert not watched.complaints + viewer.complaints
        requested = [url for url in watched.requests + viewer.requests if not url.startswith("blob:")]
        assert len(requested) > 30
        assert [url for url in requested if not url.startswith(f"{base}/")] == []


@needs_chromium
async def test_the_description_of_the_api_works_below_a_path(cluster):
    async with proxied(cluster, "strips") as base, chromium() as browser:
        async with opened(browser, f"{base}/docs") as watched:
            await watched.page.get_by_text("/v1/stt/jobs", exact=True).first.wait_for(timeout=60_000)
            assert all(url.startswith(f"{base}/") for url in watched.requests if url.startswith("http"))
        async with httpx.AsyncClient() as client:
            description = (await client.get(f"{base}/openapi.json")).json()
            assert description["servers"][0] == {"url": PATH}


async def test_clients_of_the_api_work_below_a_path(cluster):
    """The Python client, live and with jobs; URLs in answers have the path."""
    async with proxied(cluster, "strips") as base:
        async with connect(base.replace("http", "ws", 1)) as session:
            await send(session, np.concatenate([fixture("jfk.flac"), np.zeros(RATE, np.int16)]), speed=None)
            await session.end()
            finals = [event["text"] async for event in session if event["type"] == "final"]
        assert "your country" in " ".join(finals)

        def jobs() -> None:
            with Parlando(base) as parlando:
                assert "your country" in parlando.transcribe(JFK)["text"]
            submitted = httpx.post(
                f"{base}/v1/stt/jobs", files={"file": JFK.read_bytes()}, timeout=600
            ).json()
            links = [value for value in _strings(submitted) if value.startswith("http")]
            assert links
            assert all(link.startswith(f"{base}/v1/stt/jobs/") for link in links)
            viewer = httpx.post(f"{base}/v1/stt/sessions/{session.id}/viewers", timeout=600).json()
            assert viewer["url"].startswith(f"{base}/watch/")
            assert httpx.get(viewer["url"], timeout=600).status_code == 200

        await asyncio.to_thread(jobs)


def _strings(document) -> list[str]:
    if isinstance(document, dict):
        return [text for value in document.values() for text in _strings(value)]
    return [document] if isinstance(document, str) else []


async def test_errors_and_redirects_know_the_path(cluster):
    async with proxied(cluster, "strips") as base, httpx.AsyncClient(timeout=600) as client:
        hint = await client.post(f"{base}/v1/v1/audio/transcriptions")
        assert "the path is /v1/audio/transcriptions" in hint.json()["error"]["message"]
        refused = await client.post(f"{base}/v1/audio/transcriptions", files={"file": ("a", b"x")})
        assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
        slash = await client.get(f"{base}/v1/stt/jobs/")
        assert slash.headers["location"].startswith(f"{base}/v1/stt/jobs")
        call = await client.post(f"{base}/twilio/any/voice")
        assert f"{base.partition('://')[2]}/twilio/any" in call.text
    async with proxied(cluster, "keeps") as base, httpx.AsyncClient(timeout=600) as client:
        assert (await client.get(base)).headers["location"] == f"{base}/"


async def test_the_gateway_still_answers_without_the_path(cluster):
    """For probes and clients that don't come through the proxy."""
    async with httpx.AsyncClient(timeout=600) as client:
        assert (await client.get(f"{cluster.http()}/ready")).status_code == 200
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        assert "connected" in await socket.recv()


async def test_only_home_assistant_may_show_the_app_in_a_frame(cluster):
    """And only a trusted proxy is believed to be Home Assistant."""

    async def policy(gateway: int, **headers: str) -> str:
        async with httpx.AsyncClient(timeout=600) as client:
            answer = await client.get(cluster.http(gateway), headers=headers)
            return answer.headers["content-security-policy"]

    assert "frame-ancestors 'none'" in await policy(1)
    assert "frame-ancestors 'self'" in await policy(1, **HEADER)
    assert "frame-ancestors 'none'" in await policy(2, **HEADER)
    async with httpx.AsyncClient(timeout=600) as client:
        trusted, stranger = [
            (await client.get(f"{cluster.http(gateway)}/openapi.json", headers=HEADER)).json()
            for gateway in (1, 2)
        ]
        assert trusted["servers"] == [{"url": INGRESS}]
        assert "servers" not in stranger
