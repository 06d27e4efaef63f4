"""The overlay for video mixers, whose options are in the address of the viewers' page."""

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

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WORDS = "document.getElementById('watch-transcript').textContent"
EMPTY = "document.getElementById('watch-transcript').innerText.trim() === ''"
LOOK = """(() => {
    const { top, bottom } = document.querySelector(".transcript").getBoundingClientRect();
    const lines = [...document.querySelectorAll("[role=log] .line")], line = lines.at(-1);
    const rects = lines.flatMap((each) => [...each.lastChild.getClientRects()]);
    const rows = [...new Set(rects.map((each) => Math.round(each.top)))];
    const style = getComputedStyle(line);
    return {
        rows: rows.length,
        visible: rows.filter((row) => row > top - 4 && row < bottom - 4),
        newest: Math.max(...rows),
        color: style.color,
        size: parseFloat(style.fontSize),
        background: getComputedStyle(line.lastChild).backgroundColor,
        place: (top + bottom) / 2 / innerHeight,
    };
})()"""
"""An overlay: the number of its rows of text, and the tops of the visible ones, in pixels."""


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, RESUME_WINDOW_S="600") as running:
        yield running


@pytest.fixture(scope="module")
def session(cluster) -> str:
    """A session that has the finals of JFK's clip and stays open."""

    async def speak() -> str:
        async with connect(cluster.url()) as session:
            await send(session, np.concatenate([fixture("jfk.flac"), np.zeros(RATE, np.int16)]), speed=None)
            async for event in session:
                if event["type"] == "final" and "for your country" in event["text"]:
                    break
            return session.id

    return asyncio.run(speak())


@pytest.fixture(scope="module")
def page_of(cluster, session):
    """A function: the address of the session's overlay with options."""
    viewer = httpx.post(f"{cluster.http()}/v1/stt/sessions/{session}/viewers", timeout=600).json()["url"]
    return lambda **options: f"{viewer}&{httpx.QueryParams({'mode': 'overlay', **options})}"


async def look(page) -> dict:
    await holds(page, f"{WORDS}.includes('your country')")
    return await page.evaluate(LOOK)


async def test_the_overlay_clears_when_nobody_speaks(cluster, session, page_of):
    """After `clear` seconds without new words, and fills again with the next ones; never with `clear=0`."""
    async with (
        chromium() as browser,
        opened(browser, page_of(clear=1)) as clearing,
        opened(browser, page_of(clear=0)) as keeping,
    ):
        await holds(keeping.page, f"{WORDS}.includes('your country')")
        await holds(
            clearing.page, f"document.getElementById('watch-state').dataset.state === 'open' && {EMPTY}"
        )
        assert "your country" in await keeping.page.evaluate(WORDS)
        partial = {"type": "partial", "session_id": session, "segment": 90, "start": 50, "end": 51}
        said = json.dumps({**partial, "stable": "and", "text": "and more", "timestamp": ""})
        cluster.store().publish(f"stt:{{0}}:events:{session}", said)
        await holds(clearing.page, f"{WORDS}.includes('and more')")
        await holds(clearing.page, EMPTY)
        assert "and more" in await keeping.page.evaluate(WORDS)
        assert not clearing.complaints + keeping.complaints


@pytest.mark.parametrize("lines", [1, 2, 4])
async def test_no_more_lines_than_asked_for_are_visible(page_of, lines):
    """A long final wraps: its newest rows are shown."""
    async with (
        chromium() as browser,
        opened(browser, page_of(lines=lines, size=2, clear=0), width=560, height=420) as watched,
    ):
        found = await look(watched.page)
        assert found["rows"] > lines
        assert len(found["visible"]) == lines
        assert max(found["visible"]) == found["newest"]


async def test_colours_size_and_position(page_of):
    async with chromium() as browser:
        options = {"color": "ffdd00", "background": "002b5ccc", "size": 2, "position": "top", "clear": 0}
        async with opened(browser, page_of(**options), width=1280, height=300) as watched:
            found = await look(watched.page)
            assert (found["color"], found["size"]) == ("rgb(255, 221, 0)", 64)
            assert found["background"] == "rgba(0, 43, 92, 0.8)"
            assert found["place"] < 0.5
            await picture(watched.page, "overlay-colours")
        async with opened(browser, page_of(position="middle", lines=1), width=1280, height=300) as watched:
            assert (await look(watched.page))["place"] == pytest.approx(0.5, abs=0.02)


async def test_what_is_not_valid_counts_as_missing_and_is_told(page_of):
    wrong = {
        "clear": "-1",
        "lines": "99",
        "color": "red;background:url(//evil.example)",
        "background": "javascript:alert(1)",
        "position": "left",
    }
    async with chromium() as browser:
        async with opened(browser, page_of(), width=1280, height=300) as watched:
            standard = await look(watched.page)
            assert not watched.complaints
        async with opened(browser, page_of(**wrong), width=1280, height=300) as watched:
            assert await look(watched.page) == standard
            assert [said.split(":")[0] for said in watched.complaints] == list(wrong)
    assert (standard["color"], standard["size"]) == ("rgb(255, 255, 255)", 32)
    assert standard["background"] == "rgba(0, 0, 0, 0.72)"
    assert standard["place"] > 0.5
