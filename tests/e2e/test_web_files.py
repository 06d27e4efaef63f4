"""The web app's Files view in a real browser, and what holds for every page: accessibility, small screens."""

import asyncio
import base64
import json
import shutil
from pathlib import Path

import httpx
import pytest

from support.accessibility import checker, problems
from support.browser import CHROMIUM, Watched, chromium, holds, opened, picture
from support.cluster import Cluster
from support.encoding import encoded
from support.speech import JFK

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as running:
        yield running


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """JFK as FLAC, MP3 and WebM."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / "speech.flac", folder / "speech.mp3", folder / "speech.webm"]
    shutil.copy(JFK, paths[0])
    paths[1].write_bytes(encoded(JFK, "mp3"))
    paths[2].write_bytes(encoded(JFK, "webm_opus"))
    return paths


# Each word that is marked as the current one: where it begins, and where the player is.
MARKS = """
(words) => {
  window.marks = [];
  const player = words.closest("li").querySelector("audio");
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.hasAttribute("aria-current")) marks.push([Number(target.dataset.start), player.currentTime]);
    }
  }).observe(words, { subtree: true, attributeFilter: ["aria-current"] });
}
"""


async def transcribed(watched: Watched, paths: list[Path]) -> None:
    await watched.page.set_input_files("#files-input", paths)
    await holds(
        watched.page, f"document.querySelectorAll('#files-list details').length === {len(paths)}", within=40
    )


async def test_three_files_become_transcripts_that_can_be_played_by_word(cluster, recordings):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#files") as watched:
        page = watched.page
        await transcribed(watched, recordings)
        cards = page.locator("#files-list > li")
        assert sorted(await cards.locator("h2").all_inner_texts()) == sorted(path.name for path in recordings)
        for text in await cards.locator("summary").all_inner_texts():
            assert "ask not what your country can do for you" in text

        card = cards.filter(has_text="speech.flac")
        await card.locator("summary").click()
        await card.locator(".words").evaluate(MARKS)
        word = card.locator(".words button", has_text="country").first
        await word.click()
        wanted = float(await word.get_attribute("data-start"))
        assert 4 < wanted < 8
        await holds(page, "marks.length > 2")  # it plays on
        (first, at), *later = await page.evaluate("marks")
        assert first == wanted
        assert abs(at - wanted) < 0.5
        assert all(start > wanted for start, _ in later)
        audio = await card.locator("audio").element_handle()
        await audio.evaluate("audio => audio.pause()")
        await picture(page, "files")
        await word.focus()
        await page.keyboard.press("ArrowRight")
        assert await page.evaluate("document.activeElement.textContent") == "can"
        can = float(await page.evaluate("document.activeElement.dataset.start"))
        await page.keyboard.press("Enter")
        await holds(page, f"marks.some(([start], n) => n > {len(later)} && start === {can})")

        async with page.expect_download() as coming:
            await card.locator("button", has_text="SRT").click()
        download = await coming.value
        assert download.suggested_filename == "speech.srt"
        assert "fellow Americans" in await asyncio.to_thread(Path(await download.path()).read_text)

        await page.reload()
        await holds(page, "document.querySelectorAll('#files-list details').length === 3")
        again = page.locator("#files-list > li").filter(has_text="speech.mp3")
        await again.locator("summary").click()
        await again.locator("audio").wait_for()
        await again.get_by_role("button", name="Remove").click()
        await holds(page, "document.querySelectorAll('#files-list > li').length === 2")
        assert not watched.complaints
        assert all(url.startswith((cluster.http(), "blob:")) for url in watched.requests)


async def test_files_can_be_dropped(cluster, recordings):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#files") as watched:
        page = watched.page
        data = base64.b64encode(recordings[0].read_bytes()).decode()
        await page.evaluate(
            """(data) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const dropped = new DataTransfer();
                dropped.items.add(new File([bytes], "dropped.flac"));
                const drop = new DragEvent("drop", { dataTransfer: dropped, cancelable: true });
                document.getElementById("files-drop").dispatchEvent(drop);
            }""",
            data,
        )
        await holds(page, "document.querySelectorAll('#files-list details').length === 1", within=20)
        assert "dropped.flac" in await page.inner_text("#files-list")


async def test_a_file_can_be_cancelled_and_what_is_no_sound_is_said(cluster, recordings, tmp_path):
    noise = tmp_path / "<img src=x onerror=alert(1)>.txt"
    noise.write_text("Dear Sir or Madam")
    for process in cluster.transcribers:
        process.signal(19)  # SIGSTOP: nothing is heard, so there's time to cancel
    try:
        async with chromium() as browser, opened(browser, f"{cluster.http()}/#files") as watched:
            page = watched.page
            await page.set_input_files("#files-input", [recordings[0]])
            card = page.locator("#files-list > li")
            await card.filter(has_text="Waiting").wait_for()
            async with page.expect_response(lambda response: response.request.method == "DELETE") as answered:
                await card.get_by_role("button", name="Cancel").click()
            assert (await (await answered.value).json())["status"] == "cancelled"
            assert await card.count() == 0
            await page.set_input_files("#files-input", [noise])
            await page.locator("#files-list > li", has_text="Failed").wait_for()
            assert noise.name in await page.inner_text("#files-list")
            assert await page.locator("img[src=x]").count() == 0
    finally:
        for process in cluster.transcribers:
            process.signal(18)


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_serious_and_the_pages_fit_a_phone(cluster, recordings, dark):
    axe = checker()
    async with (
        chromium() as browser,
        opened(browser, cluster.http(), dark=dark, width=360, height=740) as watched,
    ):
        page = watched.page
        found = {}
        for view in ("live", "files", "pipeline", "songs", "cluster"):
            await page.goto(f"{cluster.http()}/#{view}")
            if view == "files":
                await transcribed(watched, recordings[:1])
                await page.locator("summary").click()
            if view == "cluster":
                await page.get_by_role("cell", name="Transcriber", exact=True).wait_for()
            await asyncio.sleep(0.3)
            found[view] = await problems(watched, axe)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, view
            if dark:
                await picture(page, f"phone-{view}")
        await page.click("#open-settings")
        found["settings"] = await problems(watched, axe)
        await page.goto(f"{cluster.http()}/watch/nobody")
        await page.wait_for_selector("#watch-state[data-state=failed]")
        found["watch"] = await problems(watched, axe)
        assert not any(found.values()), json.dumps(found, indent=2)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert all("404" in said for said in watched.complaints)  # of the session that there isn't


async def test_the_keyboard_is_enough(cluster):
    async with chromium() as browser, opened(browser, cluster.http()) as watched:
        page = watched.page
        reached = []
        for _ in range(16):
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
            )
        assert reached[0] == "Skip to content"
        assert {"Files", "Cluster", "open-settings", "live-source", "live-start"} <= set(reached)
        await page.focus("#open-settings")
        await page.keyboard.press("Enter")
        await page.locator("#settings[open]").wait_for()
        await page.keyboard.press("Escape")
        assert await page.locator("#settings[open]").count() == 0


async def test_the_policy_forbids_what_the_pages_do_not_need(cluster):
    async with chromium() as browser, opened(browser, cluster.http()) as watched:
        answer = await watched.page.request.get(cluster.http())
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        blocked = await watched.page.evaluate(
            "() => { try { document.body.innerHTML = 'x'; return '' } catch (error) { return error.name } }"
        )
        assert blocked == "TypeError"


async def test_a_cluster_with_keys_asks_for_one():
    with Cluster(transcribers=1, API_KEYS="alpha") as cluster:
        async with chromium() as browser, opened(browser, cluster.http()) as watched:
            page = watched.page
            await page.locator("#settings[open]").wait_for()
            assert "needs an API key" in await page.inner_text("#settings-why")
            await page.fill("#settings-key", "wrong")
            await page.keyboard.press("Enter")
            await holds(
                page, "document.getElementById('settings-why').textContent.includes('accept this API key')"
            )
            await page.fill("#settings-key", "alpha")
            await page.keyboard.press("Enter")
            await page.click("nav a[href='#cluster']")
            await page.wait_for_selector("#cluster-state[data-state=open]")
            await page.reload()
            await page.wait_for_selector("#cluster-state[data-state=open]")


async def test_the_cluster_view_counts_work_that_has_no_pool_yet():
    with Cluster(transcribers=0) as fresh:
        answer = httpx.post(f"{fresh.http()}/streaming", params={"uid": "early"}, content=bytes(32_000))
        assert answer.status_code == 200
        async with chromium() as browser, opened(browser, f"{fresh.http()}/#cluster") as watched:
            rows = "document.querySelector('#cluster-pools').innerText"
            await holds(watched.page, f"{rows}.includes('Without a pool yet')", within=600)
            assert (await watched.page.inner_text("#cluster-pools tbody")).split("\t") == [
                "Without a pool yet", "", "", "none can do them", "1", "0 jobs"
            ]  # fmt: skip
            assert not watched.complaints
