"""The web app on screens of all sizes, and what its first screen transfers. The views are empty."""

import json

import pytest

from support.accessibility import checker, problems
from support.browser import CHROMIUM, chromium, opened
from support.web_app import web_app

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

VIEWS = ("live", "files", "pipeline", "songs", "cluster", "keys")
FIRST_SCREEN_BYTES = 200_000
FIRST_SCREEN_REQUESTS = 100


@pytest.mark.parametrize("dark", [False, True])
async def test_every_view_fits_every_width_and_axe_finds_nothing(dark):
    axe = checker()
    found, wide = {}, []
    with web_app() as served:
        async with chromium() as browser, opened(browser, served.url, dark=dark) as watched:
            page = watched.page
            for view in VIEWS:
                await page.goto(f"{served.url}/#{view}")
                await page.locator(f"#view-{view}").wait_for()
                for width in (360, 768, 1280, 2560):
                    await page.set_viewport_size({"width": width, "height": 800})
                    if await page.evaluate("document.documentElement.scrollWidth") > width:
                        wide.append((view, width))
                found[view] = await problems(watched, axe)
    assert wide == []
    assert not any(found.values()), json.dumps(found, indent=2)


async def test_the_first_screen_transfers_less_than_its_budget():
    received = {}
    with web_app() as served:
        async with chromium() as browser, opened(browser, "about:blank", service_workers="block") as watched:
            cdp = await watched.page.context.new_cdp_session(watched.page)
            cdp.on(
                "Network.loadingFinished",
                lambda done: received.update({done["requestId"]: done["encodedDataLength"]}),
            )
            await cdp.send("Network.enable")
            await watched.page.goto(served.url, wait_until="networkidle")
    assert 20 < len(received) < FIRST_SCREEN_REQUESTS
    assert 20_000 < sum(received.values()) < FIRST_SCREEN_BYTES, "bytes with headers, as they came"
