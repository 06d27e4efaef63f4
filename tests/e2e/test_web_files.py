"""The web app's Files view in a real browser, and what holds for every page: accessibility, small screens."""

import asyncio
import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import docx
import httpx
import pytest
import srt
from playwright.async_api import Locator

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


# How many points of the waveform have the colour of what is played, and of what comes.
PAINTED = """((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = [canvas.parentElement, canvas].map((each) => getComputedStyle(each).color);
  const points = [];
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] === 255) points.push(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`);
  }
  return colours.map((colour) => points.filter((each) => each === colour).length);
})(document.querySelector("#files-list details[open] canvas"))"""


async def transcribed(watched: Watched, paths: list[Path]) -> None:
    await watched.page.set_input_files("#files-input", paths)
    await holds(
        watched.page, f"document.querySelectorAll('#files-list details').length === {len(paths)}", within=40
    )


async def exported(card: Locator, ending: str, **options: object) -> bytes:
    """The file that the card's export dialog gives. `options`: label of a field → its value."""
    page = card.page
    await card.get_by_role("button", name="Export").click()
    await page.select_option("#export select", ending)
    for label, value in options.items():
        field = page.locator("#export").get_by_label(label.replace("_", " "))
        await (field.set_checked(value) if isinstance(value, bool) else field.fill(str(value)))
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Download").click()
    download = await coming.value
    assert download.suggested_filename == f"speech.{ending}"
    return await asyncio.to_thread(Path(await download.path()).read_bytes)


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

        waveform = card.get_by_role("slider", name="Position in speech.flac")
        await waveform.press("Home")
        assert await waveform.get_attribute("aria-valuetext") == "0:00 of 0:11"
        await holds(page, "document.querySelector('.words [aria-current]').textContent === 'And'")
        await waveform.press("ArrowRight")
        assert await waveform.get_attribute("aria-valuenow") == "5"
        await audio.evaluate("audio => audio.pause()")
        box = await waveform.bounding_box()
        await page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 20)
        await holds(page, "Math.abs(document.querySelector('#files-list audio').currentTime - 9.9) < 0.1")
        played, coming = await page.evaluate(PAINTED)
        assert played > 5 * coming > 100
        assert "fellow Americans" in (await exported(card, "srt")).decode()

        await page.reload()
        await holds(page, "document.querySelectorAll('#files-list details').length === 3")
        again = page.locator("#files-list > li").filter(has_text="speech.mp3")
        await again.locator("summary").click()
        await again.locator("audio").wait_for()
        await again.get_by_role("button", name="Remove").click()
        await holds(page, "document.querySelectorAll('#files-list > li').length === 2")
        assert not watched.complaints
        assert all(url.startswith((cluster.http(), "blob:")) for url in watched.requests)


async def test_corrections_are_in_every_export_and_survive_a_reload_until_they_are_undone(
    cluster, recordings
):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#files") as watched:
        page = watched.page
        await transcribed(watched, recordings[:1])
        card = page.locator("#files-list > li")
        await card.locator("summary").click()
        await card.get_by_role("button", name="Find and replace").click()
        await page.get_by_label("Find", exact=True).fill("fellow americans")
        await card.get_by_text("1 found.").wait_for()
        await page.get_by_label("Replace by").fill("dear friends and neighbours")
        await page.get_by_role("button", name="Replace all").click()
        await card.get_by_text("1 replaced.").wait_for()
        assert "my dear friends and neighbours" in await card.locator("summary").inner_text()
        word = card.get_by_role("button", name="neighbours")
        assert 0 < float(await word.get_attribute("data-start")) < 4
        assert await card.locator(".words .corrected").all_inner_texts() == [
            "dear", "friends", "and", "neighbours,"
        ]  # fmt: skip
        await picture(page, "find-and-replace")
        text = (await exported(card, "txt")).decode()
        assert "dear friends and neighbours" in text
        assert "Americans" not in text
        document = docx.Document(io.BytesIO(await exported(card, "docx")))
        assert document.paragraphs[0].text == "speech"
        assert "dear friends and neighbours" in document.paragraphs[1].text
        rows = list(csv.DictReader(io.StringIO((await exported(card, "csv")).decode(), newline="")))
        assert "dear friends" in rows[0]["text"]
        short = (await exported(card, "srt", Characters_in_a_line=20, Lines=1, Seconds=2)).decode()
        assert max(len(line) for cue in srt.parse(short) for line in cue.content.splitlines()) <= 20
        assert "Style: Default" in (await exported(card, "ass")).decode()
        plain, timed = [
            (await exported(card, "vtt", Mark_each_word_when_it_is_spoken=marks)).decode()
            for marks in (False, True)
        ]
        assert (plain.count("<00:"), timed.count("<00:") > 10) == (0, True)
        with_words, without = [
            json.loads(await exported(card, "json", Times_of_the_words=times)) for times in (True, False)
        ]
        assert with_words["segments"][0]["words"][0]["word"] == "And"
        assert not any("words" in each for each in without["segments"])

        await page.reload()
        card = page.locator("#files-list > li")
        await holds(page, "document.querySelector('#files-list summary').textContent.includes('neighbours')")
        await card.get_by_role("button", name="Export").click()
        assert await page.locator("#export select").input_value() == "json"
        await page.select_option("#export select", "srt")
        await picture(page, "export")
        await page.keyboard.press("Escape")
        await card.get_by_role("button", name="Find and replace").click()
        await card.get_by_role("button", name="Undo").click()
        assert "my fellow Americans" in await card.locator("summary").inner_text()
        assert "fellow Americans" in (await exported(card, "txt")).decode()
        assert not watched.complaints


async def test_a_folder_is_transcribed_with_few_connections_and_its_progress_is_shown(
    cluster, recordings, tmp_path
):
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    for number in range(7):
        shutil.copy(recordings[0], folder / "deep" / f"talk {number}.flac")
    (folder / "notes.txt").write_text("not a recording")
    for process in cluster.transcribers:
        process.signal(19)  # SIGSTOP: all files are at work together
    try:
        async with chromium() as browser, opened(browser, f"{cluster.http()}/#files") as watched:
            page = watched.page
            await page.set_input_files("#files-folder", folder)
            at_work = "(each) => /Waiting for a tr|Transcribing/.test(each.textContent)"
            lines = "[...document.querySelectorAll('#files-list .small')]"
            await holds(page, f"{lines}.filter({at_work}).length === 7", within=120)
            assert "1 file was left out" in await page.inner_text("#files-notice")
            assert await page.inner_text("#files-queue-text") in ("0 of 7 files done",) or re.fullmatch(
                r"0 of 7 files done, .* left", await page.inner_text("#files-queue-text")
            )
            assert float(await page.locator("#files-queue-progress").get_attribute("value") or 0) >= 0
            await picture(page, "queue")
            for process in cluster.transcribers:
                process.signal(18)
            await holds(page, "document.querySelectorAll('#files-list details').length === 7", within=240)
            assert await page.locator("#files-queue").is_hidden()
            names = await page.locator("#files-list h2").all_inner_texts()
            assert sorted(names) == [f"talks/deep/talk {number}.flac" for number in range(7)]
            streams = [url for url in watched.requests if "/v1/stt/jobs/" in url and "/events" in url]
            assert streams == [], (
                "an event stream for each job would need more connections than a browser has"
            )
            assert not watched.complaints
    finally:
        for process in cluster.transcribers:
            process.signal(18)


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
                await page.locator("#view-files summary").click()
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
        for _ in range(20):
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
