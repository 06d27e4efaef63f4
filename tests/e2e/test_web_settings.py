"""The settings in a real browser: asking for an API key."""

import asyncio

import pytest

from support.browser import CHROMIUM, chromium, holds, opened
from support.cluster import Cluster

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
REFUSED = "document.getElementById('settings-why').textContent.includes('accept this API key')"


async def test_a_cluster_with_keys_asks_for_one():
    with Cluster(transcribers=1, API_KEYS="alpha") as cluster:
        async with chromium() as browser, opened(browser, cluster.http()) as watched:
            page = watched.page
            await page.locator("#settings[open]").wait_for()
            assert "needs an API key" in await page.inner_text("#settings-why")
            await page.fill("#settings-key", "wrong")
            await page.keyboard.press("Enter")
            await holds(page, REFUSED)
            await page.fill("#settings-key", "alpha")
            await page.keyboard.press("Enter")
            await page.click("nav a[href='#cluster']")
            await page.wait_for_selector("#cluster-state[data-state=open]")
            await page.reload()
            await page.wait_for_selector("#cluster-state[data-state=open]")


async def test_late_refusals_of_a_replaced_key_neither_ask_again_nor_change_what_is_typed():
    with Cluster(transcribers=1, API_KEYS="alpha") as cluster:
        async with chromium() as browser, opened(browser, f"{cluster.http()}/#cluster") as watched:
            page = watched.page
            await page.locator("#settings[open]").wait_for()
            held = asyncio.Queue()
            refused = []

            async def hold_all_but_the_first(route, request):
                wrong = request.headers.get("authorization") == "Bearer wrong"
                if wrong and refused:
                    await held.put(route)
                else:
                    refused.extend([request] * wrong)
                    await route.continue_()

            await page.route("**/v1/**", hold_all_but_the_first)
            await page.fill("#settings-key", "wrong")
            await page.keyboard.press("Enter")
            await holds(page, REFUSED)
            await page.fill("#settings-key", "alpha")
            while_typed = await held.get()
            await while_typed.continue_()
            await while_typed.request.response()
            assert await page.input_value("#settings-key") == "alpha"
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#cluster-state[data-state=open]")
            assert not held.empty()
            while not held.empty():
                late = held.get_nowait()
                await late.continue_()
                await late.request.response()
            await page.click("nav a[href='#keys']")
            await page.wait_for_selector("#view-keys:not([hidden])")
            assert await page.locator("#settings[open]").count() == 0
