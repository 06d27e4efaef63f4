"""Analyses in the web app, in a real browser: the Files, Live and Pipeline views."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.accessibility import checker, problems
from support.browser import CHROMIUM, chromium, holds, opened, picture, visit
from support.cluster import Cluster
from support.language_model import language_model
from support.quoting import MARKUP, QUOTING, TEXT, quoted
from support.speech import RATE, fixture
from support.wire import Wire

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
LONG_S = 300
QUESTIONS = "document.querySelectorAll('#live-questions .sentence')"
ITEMS = "[...document.querySelectorAll('#live-analysis .sentences li')]"
MARKS = "[...document.querySelectorAll('#live-transcript .entity')]"
PLACE = "`${each.closest('.line').dataset.segment}:${each.previousSibling?.textContent}`"
STATE = "document.getElementById('live-state').textContent"
STATES = "[...document.querySelectorAll('#pipeline-steps li')].map((each) => each.dataset.state)"
COMPLETED = f"{STATES}.at(-1) === 'done'"
ENTITIES = "all => all.map((each) => [each.textContent, each.ariaLabel])"
# Notes the texts of the pipeline that were shown while they grew.
NOTES = """
window.grown = [];
document.addEventListener("DOMContentLoaded", () => {
  const transcript = document.getElementById("pipeline-transcript");
  new MutationObserver(() => grown.push(transcript.querySelector(".growing")?.textContent ?? ""))
    .observe(transcript, { childList: true });
});
"""
# The text and background colours of all kinds of entities.
COLOURS = """
async () => {
  const { mark } = await import("/app/entities.js");
  const labels = ["PERSON", "NORP", "ORG", "GPE", "FAC", "EVENT", "DATE", "MONEY", "CARDINAL", "NEW_KIND"];
  return labels.map((label) => {
    const each = mark({ text: "text", label });
    document.querySelector("main").append(each);
    const { color, backgroundColor } = getComputedStyle(each);
    each.remove();
    return [color, backgroundColor];
  });
}
"""


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(RATE * seconds), np.int16)


def talk() -> np.ndarray:
    """Three speakers: names of people, a question, a nation."""
    clips = ("1688-142285-0001.flac", "3080-5032-0003.flac", "jfk.flac")
    return np.concatenate([quiet(0.5), *(part for clip in clips for part in (fixture(clip), quiet(1.5)))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def recording(folder) -> Path:
    soundfile.write(folder / "talk.flac", talk(), RATE)
    return folder / "talk.flac"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, analyzers=1, PARTIAL_CADENCE="fixed") as running:
        yield running


@pytest.fixture(scope="module")
def quoting():
    """A cluster whose engine says `TEXT`, and whose language model answers with markup."""
    with language_model(marked_up) as server:
        model = {"LLM_MODEL": "m", "LLM_BASE_URL": f"{server.url}/v1", "LLM_API_KEY": "k"}
        with Cluster(transcribers=1, processors=1, analyzers=1, **QUOTING, **model) as running:
            yield running


def marked_up(schema: str, data: dict) -> dict:
    match schema:
        case "translatedlines":
            return {"translations": [f"{MARKUP} {line['text'].upper()}" for line in data["lines"]]}
        case "summarised":
            return {"summary": f"{MARKUP} A summary.", "points": [f"{MARKUP} A point."]}
    return {"insights": [{"kind": "fact", "text": f"{MARKUP} A fact."}]}


async def entities(page, root: str) -> set[tuple[str, str]]:
    """The marked entities inside `root`: the text, and the name for screen readers."""
    marks = page.locator(f"{root} .entity[tabindex='0']")
    return {tuple(each) for each in await marks.evaluate_all(ENTITIES)}


def contrast(*colours: str) -> float:
    """The contrast of two colours like `rgb(28, 27, 25)`, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear[:3]))

    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


@contextmanager
def paused(cluster: Cluster) -> Iterator[None]:
    """Nothing is transcribed meanwhile."""
    for process in cluster.transcribers:
        process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in cluster.transcribers:
            process.signal(signal.SIGCONT)


async def reached_by_keyboard(page, selector: str, *, steps: int = 60) -> bool:
    """Whether the Tab key reaches an element."""
    for _ in range(steps):
        await page.keyboard.press("Tab")
        if await page.evaluate(f"document.activeElement.matches({selector!r})"):
            return True
    return False


async def test_a_file_is_analysed(cluster, recording):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#files", height=1100) as watched:
        page = watched.page
        await holds(page, "!document.getElementById('files-analyse').disabled", within=LONG_S)
        await page.check("#files-analyse")
        await page.set_input_files("#files-input", [recording])
        await page.locator("#files-list summary").click(timeout=LONG_S * 1000)
        panel = page.locator("#files-list .results")
        await panel.get_by_text("no model configured").wait_for(timeout=LONG_S * 1000)
        await holds(
            page, "!document.querySelector('#files-list').innerText.includes('Analysing')", within=LONG_S
        )

        found = await entities(page, "#files-list .words")
        assert {"Margaret, person", "Americans, group"} <= {name for _, name in found}
        for name in ("topics", "sentiment", "key_sentences", "keywords", "questions", "actions", "entities"):
            assert await panel.locator(f"[data-result={name}]").count() == 1, name
        assert "None was found." in await panel.locator("[data-result=actions]").inner_text()
        assert await page.get_by_text("no model configured").count() == 1
        label = "getComputedStyle(document.querySelector('.words .entity'), '::after').content"
        assert await page.evaluate(label) == '"person"'

        question = panel.locator("[data-result=questions] .sentence")
        assert "Why did" in await question.inner_text()
        await question.click()
        await holds(page, "document.querySelector('#files-list audio').currentTime > 13")
        await page.evaluate("document.querySelector('#files-list audio').pause()")
        assert await page.evaluate("document.querySelector('#files-list audio').currentTime") < 30
        await page.locator("#files-list summary").focus()
        assert await reached_by_keyboard(page, ".words .entity")
        assert await reached_by_keyboard(page, ".results .sentence")
        await page.evaluate("document.activeElement.blur(); document.querySelector('main').scrollIntoView()")
        await picture(page, "analysis", whole=True)

        await page.reload()
        await page.locator("#files-list summary").click()
        await panel.locator("[data-result=questions]").wait_for()
        assert await entities(page, "#files-list .words") == found
        await holds(page, "document.getElementById('files-analyse').checked", within=LONG_S)
        assert not watched.complaints
        assert all(url.startswith((cluster.http(), "blob:")) for url in watched.requests)


async def test_a_live_session_is_analysed_and_nothing_comes_twice(cluster):
    sound = np.concatenate([np.tile(talk(), 10), quiet(600)])
    async with (
        Wire(cluster.ports[0]) as wire,
        chromium(sound) as browser,
        opened(browser, wire.url) as watched,
    ):
        page = watched.page
        await holds(page, "!document.getElementById('live-analyse').disabled", within=LONG_S)
        await page.check("#live-analyse")
        await page.click("#live-start")
        await holds(page, f"{QUESTIONS}.length > 0", within=LONG_S)
        for name in ("Margaret, person", "Americans, group"):
            await holds(page, f"{MARKS}.some((each) => each.ariaLabel === '{name}')", within=LONG_S)
        await holds(page, "document.querySelectorAll('#live-topics li').length > 0", within=LONG_S)
        await picture(page, "live-analysis")
        await page.click("#live-pause")
        before = await shown_once(page)
        assert any("Why did" in text for _, text in before)

        wire.down()
        await page.wait_for_selector("#live-state[data-state=reconnecting]", timeout=LONG_S * 1000)
        wire.up()
        await holds(page, f"{STATE} === 'Paused'", within=LONG_S)
        assert before <= await shown_once(page)

        await page.reload()
        wanted = len(before)
        await holds(page, f"{ITEMS}.length + {MARKS}.length >= {wanted}", within=LONG_S)
        assert before <= await shown_once(page)
        await holds(page, f"{STATE} === 'Paused'", within=LONG_S)
        assert await reached_by_keyboard(page, "#live-transcript .entity")

        await page.click("#live-digest", timeout=LONG_S * 1000)
        results = page.locator("#digest-results")
        await results.locator("[data-result=questions]").wait_for(timeout=LONG_S * 1000)
        assert "Why did" in await results.inner_text()
        assert "passages" in await page.inner_text("#digest-about")
        assert "Americans" in await results.locator("[data-result=entities]").inner_text()
        await picture(page, "digest")
        await page.keyboard.press("Escape")
        await page.click("#live-stop")
        await holds(page, f"{STATE} === 'Ended'", within=LONG_S)
        await page.click("#live-digest")  # the session can still be read
        await results.locator("[data-result=questions]").wait_for(timeout=LONG_S * 1000)


async def shown_once(page) -> set[tuple[str, str]]:
    """The questions, action items and entities of the Live view with their places; each is there once."""
    items = await page.evaluate(f"{ITEMS}.map((each) => [each.dataset.segment, each.textContent])")
    marks = await page.evaluate(f"{MARKS}.map((each) => [{PLACE}, each.ariaLabel])")
    shown = [tuple(each) for each in [*items, *marks]]
    assert len(shown) == len(set(shown))
    return set(shown)


async def test_the_pipeline_shows_each_step_and_a_task_is_opened_by_its_address(cluster, recording):
    async with chromium() as browser, opened(browser, "about:blank", height=1000) as watched:
        page = watched.page
        await page.add_init_script(NOTES)
        await page.goto(f"{cluster.http()}/#pipeline")
        await page.set_input_files("#pipeline-file", recording)
        await page.check("#pipeline-translate")
        await page.select_option("#pipeline-target", "de")
        with paused(cluster):
            await page.get_by_role("button", name="Analyse").click()
            await holds(page, f"{STATES}[1] === 'running'", within=LONG_S)
            assert await page.evaluate(STATES) == ["done", "running", *["waiting"] * 12]
        await holds(page, COMPLETED, within=LONG_S)
        assert any(await page.evaluate("grown"))
        states = await page.evaluate(STATES)
        assert states[4] == "unavailable"  # nothing translates into German here
        assert set(states) == {"done", "unavailable"}
        assert "LLM_MODEL" in await page.inner_text("#pipeline-steps [data-step=translation_complete]")
        assert "No summary" in await page.inner_text("#pipeline-steps [data-step=summarization_complete]")
        found = await entities(page, "#pipeline-transcript")
        assert {("Margaret", "Margaret, person"), ("Americans", "Americans, group")} <= found
        assert "Why did" in await page.inner_text("#pipeline-results [data-result=questions]")
        assert "English" in await page.inner_text("#pipeline-results [data-result=language]")
        assert await page.locator("#pipeline-cancel").is_hidden()
        await page.locator("#pipeline-results [data-result=questions] .sentence").click()
        assert "Why did" in await page.evaluate("document.activeElement.textContent")
        await page.focus("#pipeline-insights")
        assert await reached_by_keyboard(page, "#pipeline-transcript .entity")
        await page.evaluate("document.activeElement.blur()")
        await picture(page, "pipeline", whole=True)

        again = await visit(page.context, page.url)
        await holds(again.page, COMPLETED, within=LONG_S)
        assert await again.page.evaluate(STATES) == states
        assert await entities(again.page, "#pipeline-transcript") == found
        assert await again.page.inner_text("#pipeline-name") == "talk.flac"
        assert not watched.complaints + again.complaints
        await again.page.goto(f"{cluster.http()}/#pipeline/j_nobody")
        await again.page.get_by_text("has no task with this address").wait_for()


async def test_a_task_is_continued_in_another_page_and_cancelled(cluster, recording):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#pipeline") as watched:
        page = watched.page
        await page.set_input_files("#pipeline-file", recording)
        await page.uncheck("#pipeline-insights")
        with paused(cluster):
            await page.get_by_role("button", name="Analyse").click()
            await holds(page, f"{STATES}[1] === 'running'", within=LONG_S)
            assert (await page.evaluate(STATES))[3:5] == ["left_out", "left_out"]
            again = await visit(page.context, page.url)
            await holds(again.page, f"{STATES}[1] === 'running'", within=LONG_S)
            async with again.page.expect_response(lambda each: each.request.method == "DELETE") as answered:
                await again.page.get_by_role("button", name="Cancel").click()
            assert (await (await answered.value).json())["status"] == "cancelled"
            assert (await again.page.evaluate(STATES))[1] == "cancelled"
            await holds(page, f"{STATES}[1] === 'cancelled'", within=LONG_S)
        assert await page.inner_text("#pipeline-state") == "The task was cancelled"


async def test_markup_that_is_said_is_only_text(quoting, folder):
    path = folder / "markup.wav"
    soundfile.write(path, np.concatenate([quoted(), quiet(1)]), RATE)
    places = {("Ada Lovelace", "Ada Lovelace, person"), ("London", "London, place")}
    async with chromium() as browser, opened(browser, f"{quoting.http()}/#pipeline") as watched:
        page = watched.page
        await page.set_input_files("#pipeline-file", path)
        await page.check("#pipeline-translate")
        await page.select_option("#pipeline-target", "de")
        await page.get_by_role("button", name="Analyse").click()
        await holds(page, COMPLETED, within=LONG_S)
        assert set(await page.evaluate(STATES)) == {"done"}
        said = " ".join(await page.locator("#pipeline-transcript p > span").all_inner_texts())
        assert said == TEXT
        assert places <= await entities(page, "#pipeline-transcript")
        assert f"{MARKUP} 😀 ADA" in await page.inner_text("#pipeline-translation")
        results = await page.inner_text("#pipeline-results")
        for text in ("A summary.", "A point.", "A fact."):
            assert f"{MARKUP} {text}" in results
        assert "I will send you the report." in await page.inner_text(
            "#pipeline-results [data-result=actions]"
        )
        await picture(page, "pipeline-model", whole=True)

        await page.goto(f"{quoting.http()}/#files")
        await holds(page, "!document.getElementById('files-analyse').disabled", within=LONG_S)
        await page.check("#files-analyse")
        await page.set_input_files("#files-input", [path])
        await page.locator("#files-list summary").click(timeout=LONG_S * 1000)
        await page.locator("#files-list [data-result=actions]").wait_for(timeout=LONG_S * 1000)
        found = await entities(page, "#files-list .words")
        assert {name for _, name in places} <= {name for _, name in found}
        assert f"{MARKUP} A summary." in await page.inner_text("#files-list [data-result=summary]")
        assert await page.locator("img[src=x]").count() == 0
        assert not watched.complaints


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_serious_in_a_live_analysis_and_it_fits_a_phone(cluster, dark):
    axe = checker()
    sound = np.concatenate([np.tile(talk(), 10), quiet(600)])
    async with (
        chromium(sound) as browser,
        opened(browser, cluster.http(), dark=dark, width=360, height=740) as watched,
    ):
        page = watched.page
        await holds(page, "!document.getElementById('live-analyse').disabled", within=LONG_S)
        await page.check("#live-analyse")
        await page.click("#live-start")
        await holds(page, f"{QUESTIONS}.length > 0", within=LONG_S)
        await holds(page, "document.querySelectorAll('#live-transcript .entity').length > 1", within=LONG_S)
        found = await problems(watched, axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        if dark:
            await picture(page, "phone-live-analysis")
        await page.click("#live-digest")
        await page.locator("#digest-results [data-result=questions]").wait_for(timeout=LONG_S * 1000)
        assert not found + await problems(watched, axe)
        await page.keyboard.press("Escape")
        await page.click("#live-stop")
        assert not watched.complaints


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_serious_in_results_and_they_fit_a_phone(quoting, folder, dark):
    axe = checker()
    path = folder / "short.wav"
    soundfile.write(path, np.concatenate([quoted(), quiet(1)]), RATE)
    found = {}
    async with (
        chromium() as browser,
        opened(browser, f"{quoting.http()}/#files", dark=dark, width=360, height=740) as watched,
    ):
        page = watched.page
        await holds(page, "!document.getElementById('files-analyse').disabled", within=LONG_S)
        await page.check("#files-analyse")
        await page.set_input_files("#files-input", [path])
        await page.locator("#files-list summary").click(timeout=LONG_S * 1000)
        await page.locator("#files-list [data-result=actions]").wait_for(timeout=LONG_S * 1000)
        found["files"] = await problems(watched, axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360

        await page.goto(f"{quoting.http()}/#pipeline")
        await page.set_input_files("#pipeline-file", path)
        await page.check("#pipeline-translate")
        await page.get_by_role("button", name="Analyse").click()
        await holds(page, COMPLETED, within=LONG_S)
        found["pipeline"] = await problems(watched, axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        for colours in await page.evaluate(COLOURS):
            assert contrast(*colours) >= 4.5, colours
        assert not any(found.values()), found


async def test_without_an_analyzer_nothing_can_be_chosen():
    with Cluster(transcribers=1) as alone:
        async with chromium() as browser, opened(browser, f"{alone.http()}/#pipeline") as watched:
            page = watched.page
            await page.get_by_text("No analyzer is running").wait_for(timeout=LONG_S * 1000)
            for view in ("files", "live"):
                assert await page.locator(f"#{view}-analyse").is_disabled()
            assert await page.locator("#live-digest").is_disabled()
