"""The Cluster view in a real browser: what needs attention, charts, results that could not be delivered."""

import asyncio

import httpx
import numpy as np
import pytest

from support.browser import CHROMIUM, chromium, holds, opened, picture
from support.cluster import Cluster
from support.endpoint import served
from support.jobs import submit, wait, wav
from support.perfect import silence, speak
from support.streaming import stream

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
LETTERS = "document.querySelectorAll('#cluster-letters tr').length"
ADVICE = "document.getElementById('cluster-advice').innerText"
STATE = "document.getElementById('cluster-state').textContent"
# The first line of the first chart: where it begins and ends, in percent of the width.
LINE = """(() => {
  const points = document.querySelector('.panel .stroke').getAttribute('d').match(/[\\d.]+,/g) ?? ["0,"];
  return [parseFloat(points[0]), parseFloat(points.at(-1)), points.length];
})()"""


async def test_it_says_what_needs_attention_draws_charts_and_retries_deliveries():
    engine = {"STT_ENGINE": "support.perfect:engine", "VAD": "rms", "ALLOW_PRIVATE_URLS": "1"}
    with (
        served(lambda number, body: (410 if number <= 1 else 200, {}, b"gone")) as hook,
        Cluster(transcribers=1, processors=1, **engine) as cluster,
    ):
        job = submit(cluster.http(), wav(speak(2)), callback_url=f"{hook.url}/done")["job_id"]
        wait(cluster.http(), job)
        async with chromium() as browser, opened(browser, f"{cluster.http()}/#cluster") as watched:
            page = watched.page
            talking = asyncio.create_task(
                stream(cluster.url(), np.concatenate([speak(12), silence(1)]), frame_ms=100)
            )
            await holds(page, f"{LINE}[2] >= 12", within=600)
            first, last, points = await page.evaluate(LINE)
            assert last == 100
            assert first == 0, f"{points} points fill the chart"
            await holds(page, f"{STATE}.startsWith('Running: ')", within=600)
            await holds(page, f"{LETTERS} === 1", within=600)
            assert "127.0.0.1 answered 410" in await page.inner_text("#cluster-letters")
            assert await page.inner_text("#cluster-advice") == ""
            await picture(page, "cluster", whole=True)
            await page.click("#cluster-letters button:has-text('Retry')")
            await holds(page, f"{LETTERS} === 0", within=600)
            await talking
            cluster.processors[0].kill()
            await holds(page, f"{ADVICE}.includes('No audio-processor is running')", within=600)
            cluster.transcribers[0].kill()
            await holds(page, f"{STATE} === 'No transcriber is running'", within=600)
            assert "Start one: python -m transcriber" in await page.inner_text("#cluster-advice")
            assert not watched.complaints
        assert httpx.get(f"{cluster.http()}/v1/deliveries", timeout=600).json() == {"deliveries": []}
