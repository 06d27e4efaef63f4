"""The installed web app in a real browser: its cache, its versions, and what it shows without a gateway."""

import json

import pytest

from support.browser import CHROMIUM, chromium, holds, opened, picture, visit
from support.web_app import web_app

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

LONG = 600  # seconds; a test waits no longer than it must
INSTALLED = """(async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  return registration?.active?.state === "activated";
})()"""
CACHED = """(async () => {
  const found = [];
  for (const name of await caches.keys()) {
    for (const { url } of await (await caches.open(name)).keys()) found.push(url);
  }
  return found;
})()"""
KEEP = """async (url) => {
  const history = await import(`${url}/app/history.js`);
  const words = ["Kept", "words."].map((word, n) => ({ word, start: n, end: n + 1 }));
  const segments = [{ start: 0, end: 2, text: "Kept words.", words }];
  const result = { text: "Kept words.", language: "en", duration: 2, segments };
  await history.keep({ id: "one", name: "kept.wav", created: 1, job: "j_1", result });
}"""


@pytest.mark.parametrize("root", ["", "/below/a-path"])
async def test_the_app_opens_without_a_gateway_and_shows_the_transcripts_that_it_kept(root):
    """The gateway that served the page is gone."""
    with web_app(root) as served:
        async with chromium() as browser, opened(browser, f"{served.url}/") as watched:
            page = watched.page
            await page.evaluate(KEEP, served.url)
            await holds(page, INSTALLED, within=LONG)
            cached = await page.evaluate(CACHED)
            assert {f"{served.url}/", f"{served.url}/app/app.js", f"{served.url}/watch/-"} <= set(cached)
            assert [url for url in cached if "/app/" not in url and url[-1] not in "/-"] == []
            served.stop()
            offline = await visit(page.context, f"{served.url}/#files")
            page = offline.page
            await page.get_by_text("The cluster can't be reached").first.wait_for()
            assert "Kept words." in await page.inner_text("#files-list summary")
            await page.click("#files-list summary")
            await page.get_by_role("button", name="Kept", exact=True).wait_for()
            if not root:
                await picture(page, "offline")
            shared = await visit(page.context, f"{served.url}/watch/session?token=t")
            assert await shared.page.locator("#watch-transcript").count() == 1
            cdp = await page.context.new_cdp_session(page)
            manifest = await cdp.send("Page.getAppManifest")
            assert manifest["errors"] == []
            assert json.loads(manifest["data"])["name"] == "Parlando"


async def test_chromium_finds_the_app_installable_and_asks_nothing_of_an_unchanged_version():
    with web_app() as served:
        async with chromium() as browser, opened(browser, served.url) as watched:
            page = watched.page
            await holds(page, INSTALLED, within=LONG)
            cdp = await page.context.new_cdp_session(page)
            found = (await cdp.send("Page.getInstallabilityErrors"))["installabilityErrors"]
            # every context of a test is "incognito", in which nothing can be installed
            assert [each["errorId"] for each in found if each["errorId"] != "in-incognito"] == []
            before = len(served.asked)
            await page.reload()
            await holds(page, "navigator.serviceWorker.controller !== null")
            await holds(page, "document.querySelectorAll('#live-language option').length > 0")
            assert not any(path.startswith("/app/") for path in served.asked[before:])


async def test_a_new_version_takes_over_when_the_user_says_so():
    with web_app() as served:
        async with chromium() as browser, opened(browser, served.url) as watched:
            page = watched.page
            await holds(page, INSTALLED, within=LONG)
            await page.reload()
            await holds(page, "navigator.serviceWorker.controller !== null")
            assert await page.locator(".pwa").count() == 0
            served.update()
            await page.evaluate("navigator.serviceWorker.getRegistration().then((found) => found.update())")
            await page.get_by_role("button", name="Reload").click(timeout=LONG * 1000)
            names = "caches.keys().then((names) => names.length === 1 && names[0].includes(' next'))"
            await holds(page, names, within=LONG)
            await holds(page, "document.readyState === 'complete' && !document.querySelector('.pwa')")
            assert len(await page.evaluate(CACHED)) > 30
