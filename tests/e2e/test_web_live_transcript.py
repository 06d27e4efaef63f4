"""The Live view's transcript in a real browser: corrections, search, the recording, the keyboard."""

import io
import json

import httpx
import numpy as np
import pytest
import soundfile
from playwright.async_api import Route

from parlando.client import connect
from support.accessibility import checker, problems
from support.browser import CHROMIUM, Watched, chromium, downloaded, holds, opened, visit
from support.cluster import Cluster
from support.perfect import script, silence
from support.speech import RATE
from support.tones import GERMAN, TONES, phrases, sing

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

KEY = {"Authorization": "Bearer alpha"}
SIGN_IN = "localStorage.setItem('parlando.key', 'alpha')"
WITHIN_S = 600
STATE = "document.getElementById('live-state').textContent"
LINES = "[...document.querySelectorAll('[role=log] .line .said')].map((said) => said.textContent)"
CHOSEN = """(({ value, selectionStart, selectionEnd }) => value.slice(selectionStart, selectionEnd))
  (document.activeElement)"""
COVERED = """(() => {
  const tools = document.querySelector(".line-tools").getBoundingClientRect();
  const over = ({ left, right, top, bottom }) =>
    left < tools.right && right > tools.left && top < tools.bottom && bottom > tools.top;
  const texts = [...document.querySelectorAll("[role=log] :is(.said, .translation)")];
  return texts.filter((each) => over(each.getBoundingClientRect())).map((each) => each.textContent);
})()"""
SESSION = "JSON.parse(sessionStorage.getItem('parlando.live')).id"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, API_KEYS="alpha,beta", **TONES) as running:
        yield running


async def heard(page, count: int) -> list[str]:
    """Start and wait for this many lines."""
    await page.click("#live-start")
    await holds(page, f"{LINES}.length >= {count}", within=WITHIN_S)
    return await page.evaluate(LINES)


async def stop(watched: Watched) -> None:
    await watched.page.click("#live-stop")
    await holds(watched.page, f"{STATE} === 'Ended'", within=WITHIN_S)


async def signed_in(watched: Watched, cluster: Cluster) -> None:
    await watched.page.add_init_script(SIGN_IN)
    await watched.page.goto(cluster.http())


# --- the API of corrections ---------------------------------------------------------------------------


async def test_a_correction_is_in_transcripts_and_what_was_recognised_stays(cluster):
    async with connect(cluster.url(), api_key="alpha", words=True, annotations=True) as session:
        await session.send(np.concatenate([sing(4), silence(1)]).tobytes())
        await session.flush()
        while (event := await anext(aiter(session)))["type"] != "flushed":
            pass
        base = f"{cluster.http()}/v1/stt/sessions/{session.id}"
        place = f"{base}/corrections/0"
        async with httpx.AsyncClient(timeout=WITHIN_S) as client:
            viewer = (await client.post(f"{base}/viewers", headers=KEY)).json()["token"]
            for headers, status in (
                ({}, 401),
                ({"Authorization": f"Bearer {viewer}"}, 401),
                ({"Authorization": "Bearer beta"}, 404),
            ):
                answers = [
                    await client.put(place, headers=headers, json={"text": "x"}),
                    await client.delete(place, headers=headers),
                ]
                assert [answer.status_code for answer in answers] == [status] * 2
            for body in ({}, {"text": " "}, {"text": "x" * 2001}, {"text": "a\nb"}, {"text": 1}):
                assert (await client.put(place, headers=KEY, json=body)).status_code == 422, body
            none = await client.put(f"{base}/corrections/7", headers=KEY, json={"text": "x"})
            assert none.status_code == 400
            assert "none number 7" in none.text

            text = "w0000 <b> w0002 w0003"
            query = {"token": viewer, "annotations": "true"}
            async with client.stream("GET", f"{base}/events", params=query) as stream:
                lines = stream.aiter_lines()
                answer = (await client.put(place, headers=KEY, json={"text": text})).json()
                while not (line := await anext(lines)).startswith('data: {"number"'):
                    pass
            note = json.loads(line.removeprefix("data: "))
            original = " ".join(script(0, 4))
            assert note["kind"] == "correction"
            assert note["data"] == answer == {"segment": 0, "text": text, "original": original}
            while (event := await anext(aiter(session)))["type"] != "annotation":
                pass
            assert event["data"] == answer
            assert (await client.put(place, headers=KEY, json={"text": text})).json() == answer

            read = {"token": viewer}
            found = (await client.get(f"{base}/transcript", params=read)).json()
            [segment] = found["segments"]
            assert (segment["text"], segment["original"], found["text"]) == (text, original, text)
            assert [word["word"] for word in segment["words"]] == text.split()
            for form, part in (("text", text), ("srt", text), ("vtt", "w0000 &lt;b&gt; w0002")):
                written = (await client.get(f"{base}/transcript", params={"format": form, **read})).text
                assert part in written, form
            listed = (await client.get(f"{base}/corrections", params=read)).json()
            assert listed == {"corrections": [answer]}
            await session.end()
            assert (await client.delete(place, headers=KEY)).json()["text"] is None  # after the end too
            again = (await client.get(f"{base}/transcript", params=read)).json()["segments"][0]
            assert again["text"] == original
            assert "original" not in again
            assert (await client.get(f"{base}/corrections", params=read)).json() == {"corrections": []}


# --- the page -----------------------------------------------------------------------------------------


async def test_a_line_is_corrected_for_all_who_read_and_as_it_was_again(cluster):
    async with chromium(phrases(2)) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await signed_in(watched, cluster)
        first, _ = await heard(page, 2)
        session = await page.evaluate(SESSION)
        answer = httpx.post(f"{cluster.http()}/v1/stt/sessions/{session}/viewers", headers=KEY).json()
        viewer = await visit(page.context, answer["url"])
        await holds(viewer.page, f"{LINES}.length === 2", within=WITHIN_S)

        await page.bring_to_front()
        word = page.locator("[role=log] .said").first
        await word.dblclick(position={"x": 3, "y": 12})
        field = page.get_by_role("textbox", name="Correct this line")
        assert await page.evaluate(CHOSEN) == script(0, 1)[0], "the word that was pressed is selected"
        await page.keyboard.type("<img src=x>")
        await page.keyboard.press("Enter")
        changed = f"<img src=x> {' '.join(script(1, 3))}"
        for each in (page, viewer.page):
            await holds(each, f"{LINES}[0] === {json.dumps(changed)}", within=WITHIN_S)
        assert first in await word.get_attribute("title")
        assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Correct this line"

        await page.keyboard.press("Escape")
        await page.reload()
        await holds(page, f"{LINES}[0] === {json.dumps(changed)}", within=WITHIN_S)
        await page.hover("[role=log] .line")
        await page.get_by_role("button", name="Show what was recognised again").click()
        for each in (page, viewer.page):
            await holds(each, f"{LINES}[0] === {json.dumps(first)}", within=WITHIN_S)

        await page.hover("[role=log] .line:nth-child(2)")
        await page.get_by_role("button", name="Correct this line").click()
        await field.fill("nobody reads this")
        await page.keyboard.press("Escape")
        assert (await page.evaluate(LINES))[1] == " ".join(script(4, 4)), "Escape changes nothing"
        await stop(watched)
        ended = "document.getElementById('watch-state').textContent === 'Ended'"
        await holds(viewer.page, ended, within=WITHIN_S)
        place = f"{cluster.http()}/v1/stt/sessions/{session}/corrections/1"
        httpx.put(place, headers=KEY, json={"text": "after the end"}, timeout=WITHIN_S).raise_for_status()
        await viewer.page.evaluate("dispatchEvent(new Event('focus'))")
        await holds(viewer.page, f"{LINES}[1] === 'after the end'", within=WITHIN_S)
        assert not watched.complaints + viewer.complaints


async def test_what_the_cluster_can_do_is_asked_again(cluster):
    """The first answer is lost; a worker could also start later."""
    async with chromium() as browser, opened(browser, "about:blank") as watched:
        asked = 0

        async def answer(route: Route) -> None:
            nonlocal asked
            asked += 1
            await (route.abort() if asked == 1 else route.continue_())

        await watched.page.route("**/v1/cluster", answer)
        await signed_in(watched, cluster)
        await holds(watched.page, "!document.getElementById('live-translate').disabled", within=WITHIN_S)
        options = "[...document.getElementById('live-language').options].map((each) => each.value)"
        assert await watched.page.evaluate(options) == ["", "en", "de"]
        assert asked > 1


async def test_the_search_finds_words_and_counts_them(cluster):
    marked = "CSS.highlights.get('found-now') && [...CSS.highlights.get('found-now')].map(String).join()"
    async with chromium(phrases(3)) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await signed_in(watched, cluster)
        await heard(page, 3)
        await stop(watched)
        await page.keyboard.press("/")
        await page.keyboard.type("W000")
        assert await page.inner_text("#live-matches") == "10 of 10", "the newest first"
        assert await page.evaluate(marked) == "w000"
        await page.keyboard.press("Enter")
        assert await page.inner_text("#live-matches") == "1 of 10"
        await page.keyboard.press("Shift+Enter")
        assert await page.inner_text("#live-matches") == "10 of 10"
        await page.fill("#live-query", "nothing like it")
        assert await page.inner_text("#live-matches") == "No match"
        await page.keyboard.press("Escape")
        assert await page.is_hidden("#live-search")
        assert not await page.evaluate("CSS.highlights.size")


async def test_the_recording_is_the_sound_and_is_played_word_by_word(cluster):
    spoken = "CSS.highlights.get('spoken') && [...CSS.highlights.get('spoken')].map(String).join()"
    async with chromium(phrases(2)) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await signed_in(watched, cluster)
        await page.fill("#live-title", "Two phrases")
        await heard(page, 2)
        await stop(watched)
        name, content = await downloaded(page.locator("#live-sound-download"))
        assert name == "Two phrases.wav"
        samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        assert rate == RATE
        assert len(samples) > 5 * RATE
        assert np.abs(samples).max() > 3000, "the phrases are in it"

        player = "document.getElementById('live-player')"
        await page.evaluate(f"{player}.muted = true")
        word = page.locator("[role=log] .said").nth(1)
        box = await word.bounding_box()
        await word.click(position={"x": box["width"] - 3 if box["width"] < 300 else 200, "y": 12})
        await holds(page, f"{player}.currentTime > 3 && !{player}.paused", within=WITHIN_S)
        await holds(page, f"/^w000[4-7]$/.test({spoken})", within=WITHIN_S)
        await page.keyboard.press(" ")
        await holds(page, f"{player}.paused", within=WITHIN_S)
        await page.click("#live-new")
        assert await page.is_visible("#live-start")
        assert await page.is_hidden("#live-player")
        assert not watched.complaints


async def test_without_a_recording_there_is_no_sound(cluster):
    async with chromium(phrases(1)) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await signed_in(watched, cluster)
        await page.uncheck("#live-record")
        await heard(page, 1)
        await stop(watched)
        assert await page.is_hidden("#live-player")
        assert await page.is_hidden("#live-sound-download")


async def test_the_keyboard_starts_pauses_moves_and_corrects(cluster):
    async with chromium(phrases(3)) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await page.add_init_script(
            "window.locks = []; WakeLock.prototype.request = async (kind) => { locks.push(kind);"
            " return { released: false, release: async () => locks.push('released') } }"
        )
        await signed_in(watched, cluster)
        await page.keyboard.press("?")
        assert "Search the transcript" in await page.inner_text("#shortcuts[open]")
        await page.keyboard.press("Escape")
        await page.locator("#shortcuts[open]").wait_for(state="detached")
        await page.keyboard.press("r")
        await holds(page, f"{LINES}.length >= 2", within=WITHIN_S)
        assert await page.evaluate("locks") == ["screen"]
        await page.keyboard.press("p")
        await holds(page, f"{STATE} === 'Paused'", within=WITHIN_S)
        assert await page.evaluate("locks") == ["screen", "released"]
        count = await page.evaluate(f"{LINES}.length")
        await page.keyboard.press("k")
        await page.keyboard.press("k")
        current = (
            "[...document.querySelectorAll('[role=log] .line')].findIndex((line) => line.matches('.current'))"
        )
        assert await page.evaluate(current) == count - 2
        await page.keyboard.press("e")
        await page.keyboard.press("Control+a")
        await page.keyboard.type("corrected by keys")
        await page.keyboard.press("Enter")
        await page.get_by_role("textbox", name="Correct this line").wait_for(state="detached")
        await holds(page, f"{LINES}[{count - 2}] === 'corrected by keys'", within=WITHIN_S)
        await page.keyboard.press("s")
        await holds(page, f"{STATE} === 'Ended'", within=WITHIN_S)
        await page.keyboard.press("c")
        await holds(page, "document.getElementById('live-notice').textContent === 'Copied.'", within=WITHIN_S)
        assert "corrected by keys" in await page.evaluate("navigator.clipboard.readText()")
        await page.click("#open-shortcuts")
        await page.uncheck("#shortcuts-on")
        await page.keyboard.press("Escape")
        await page.locator("#shortcuts[open]").wait_for(state="detached")
        await page.keyboard.press("/")
        assert await page.is_hidden("#live-search"), "the keys are off"
        assert not watched.complaints


async def test_the_way_back_to_the_newest_words(cluster):
    async with (
        chromium(phrases(8)) as browser,
        opened(browser, "about:blank", width=360, height=420) as watched,
    ):
        page = watched.page
        await signed_in(watched, cluster)
        await heard(page, 6)
        assert await page.is_hidden("#live-jump")
        await page.evaluate("document.getElementById('live-transcript').scrollTop = 0")
        await page.wait_for_selector("#live-jump", state="visible", timeout=WITHIN_S * 1000)
        await holds(page, f"{LINES}.length >= 8", within=WITHIN_S)
        assert await page.evaluate("document.getElementById('live-transcript').scrollTop") == 0
        await page.click("#live-jump")
        assert await page.is_hidden("#live-jump")
        await stop(watched)


async def test_the_translation_is_beside_the_words_and_the_language_is_named_where_it_changes(cluster):
    sound = np.concatenate([phrases(1, behind=0), phrases(1, first=GERMAN)])
    beside = """[...document.querySelectorAll('[role=log] .line')].map((line) => {
      const text = (part) => line.querySelector(part)?.textContent ?? '';
      return [text('.said'), line.querySelector('.said').lang, text('.translation'), text('.tongue')];
    })"""
    apart = """(() => {
      const [a, b] = ['.said', '.translation'].map((part) =>
        document.querySelector(`.line:has(.translation) ${part}`).getBoundingClientRect());
      return [b.left >= a.right && Math.abs(a.top - b.top) < 2, b.top >= a.bottom - 1];
    })()"""
    async with chromium(sound) as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await signed_in(watched, cluster)
        await holds(page, "!document.getElementById('live-translate').disabled", within=WITHIN_S)
        await page.check("#live-translate")
        await heard(page, 2)
        german = " ".join(script(GERMAN, 4))
        assert await page.evaluate(beside) == [
            [" ".join(script(0, 4)), "en", "", ""],
            [german, "de", german.upper(), "German"],
        ]
        assert await page.evaluate(apart) == [True, False], "side by side"
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(apart) == [False, True], "below each other on a phone"
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await page.hover("[role=log] .line")
        await page.get_by_role("button", name="Correct this line").wait_for()
        assert await page.evaluate(COVERED) == [], "the tools of a line leave the words free on a phone"
        await stop(watched)
        assert not watched.complaints


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(cluster, dark):
    """The first screen, a session with everything open, and after its end; from a phone to a wide screen."""
    axe = checker()
    found, wide = {}, {}
    async with chromium(phrases(2)) as browser, opened(browser, "about:blank", dark=dark) as watched:
        page = watched.page

        async def look(name: str) -> None:
            for width in (360, 768, 1280, 2560):
                await page.set_viewport_size({"width": width, "height": 740})
                wide[name, width] = await page.evaluate("document.documentElement.scrollWidth") - width
                if width in (360, 1280):
                    found[name, width] = await problems(watched, axe)

        await signed_in(watched, cluster)
        await look("start")
        await heard(page, 2)
        await page.keyboard.press("/")
        await page.keyboard.type("w0001")
        await page.hover("[role=log] .line")
        await look("listening")
        await stop(watched)
        await page.get_by_role("button", name="Correct this line").click()
        await look("ended")
        await page.keyboard.press("Escape")
        await page.click("#open-shortcuts")
        found["shortcuts", 2560] = await problems(watched, axe)
    assert not any(found.values()), json.dumps({str(key): each for key, each in found.items()}, indent=2)
    assert max(wide.values()) <= 0, wide
