"""Speakers in the web app, in a real browser: turns, names, shares, the filter; and the API of the names."""

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from parlando.client import ClientError, SpeakersClient, connect
from support.accessibility import checker, problems
from support.browser import CHROMIUM, chromium, downloaded, holds, opened, picture, visit
from support.cluster import Cluster
from support.jobs import transcribe, wav
from support.perfect import silence
from support.speech import FIXTURES, fixture

ANNA, BEN = ("533-1066-0002.flac", "533-1066-0006.flac"), "1688-142285-0003.flac"
KEY = {"Authorization": "Bearer alpha"}
SIGN_IN = "localStorage.setItem('parlando.key', 'alpha')"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def dialogue() -> np.ndarray:
    """Two speakers, 17 s: one, the other, the first again."""
    return np.concatenate(
        [part for name in (ANNA[0], BEN, ANNA[1]) for part in (silence(0.5), fixture(name))] + [silence(1)]
    )


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, analyzers=1, API_KEYS="alpha,beta") as running:
        yield running


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speakers") / "dialogue.wav"
    path.write_bytes(wav(dialogue()))
    return path


# --- the API of the names -----------------------------------------------------------------------------


async def test_a_name_is_in_every_export_of_a_job_until_it_is_taken_away(cluster, recording):
    result = await asyncio.to_thread(transcribe, cluster.http(), recording, key="alpha", diarize="true")
    assert {s["speaker"] for s in result["segments"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert not any("speaker_name" in s for s in result["segments"])
    base = f"{cluster.http()}/v1/stt/jobs/{result['job_id']}"
    async with SpeakersClient(cluster.http(), api_key="alpha") as speakers, httpx.AsyncClient() as client:

        async def written(form: str) -> str:
            return (await client.get(f"{base}/result", params={"format": form}, headers=KEY)).text

        names = await speakers.rename("SPEAKER_00", " Anna <A&B> ", job=result["job_id"])
        assert names == {"SPEAKER_00": "Anna <A&B>"} == await speakers.names(job=result["job_id"])
        found = json.loads(await written("json"))["segments"]
        assert {(s["speaker"], s.get("speaker_name")) for s in found} == {
            ("SPEAKER_00", "Anna <A&B>"), ("SPEAKER_01", None)
        }  # fmt: skip
        for form, name in (
            ("text", "Anna <A&B>: "),
            ("srt", "Anna <A&B>: "),
            ("tsv", "Anna <A&B>: "),
            ("vtt", "<v Anna &lt;A&amp;B&gt;>"),
            ("ass", "Default,Anna <A&B>,"),
        ):
            text = await written(form)
            assert name in text, form
            assert "SPEAKER_01" in text, form
            assert "SPEAKER_00" not in text, form
        assert (await client.get(base, headers=KEY)).json()["result"]["segments"] == found

        same = await speakers.rename("SPEAKER_01", "Anna <A&B>", job=result["job_id"])
        assert len(same) == 2
        assert (await written("srt")).count("Anna <A&B>: ") == 1, "one person, who has one turn"
        assert await speakers.rename("SPEAKER_00", None, job=result["job_id"]) == {"SPEAKER_01": "Anna <A&B>"}
        assert "SPEAKER_00: " in await written("text")


async def test_only_the_owner_names_speakers_and_viewers_see_it_at_once(cluster):
    async with connect(cluster.url(), api_key="alpha", speaker="Host", annotations=True) as session:
        await session.send(fixture("jfk.flac").tobytes())
        await session.flush()
        while (event := await anext(aiter(session)))["type"] != "flushed":
            pass
        base = f"{cluster.http()}/v1/stt/sessions/{session.id}"
        async with httpx.AsyncClient(timeout=600) as client:
            viewer = (await client.post(f"{base}/viewers", headers=KEY)).json()["token"]
            place = f"{base}/speakers/Host"
            for headers, status in (
                ({}, 401),
                ({"Authorization": f"Bearer {viewer}"}, 401),
                ({"Authorization": "Bearer beta"}, 404),
            ):
                answers = [
                    await client.put(place, headers=headers, json={"name": "Eve"}),
                    await client.delete(place, headers=headers),
                ]
                assert [answer.status_code for answer in answers] == [status] * 2
            for body in ({}, {"name": " "}, {"name": "x" * 101}, {"name": "a\nb"}, {"name": 1}):
                assert (await client.put(place, headers=KEY, json=body)).status_code == 422, body
            long = await client.put(f"{base}/speakers/{'x' * 101}", headers=KEY, json={"name": "Eve"})
            assert long.status_code == 422

            query = {"token": viewer, "annotations": "true"}
            async with client.stream("GET", f"{base}/events", params=query) as stream:
                lines = stream.aiter_lines()
                await client.put(place, headers=KEY, json={"name": "Jack"})
                while not (line := await anext(lines)).startswith('data: {"number"'):
                    pass
            note = json.loads(line.removeprefix("data: "))
            assert (note["kind"], note["data"]) == ("speaker_name", {"speaker": "Host", "name": "Jack"})
            while (event := await anext(aiter(session)))["type"] != "annotation":
                pass
            assert event["data"] == note["data"]
            names = await client.get(f"{base}/speakers", params={"token": viewer})
            assert names.json() == {"names": {"Host": "Jack"}}
            text = await client.get(f"{base}/transcript", params={"format": "text", "token": viewer})
            assert text.text.startswith("Jack: ")
            await session.end()
        with pytest.raises(ClientError, match="job_not_found"):
            async with SpeakersClient(cluster.http(), api_key="alpha") as speakers:
                await speakers.rename("Host", "Jack", job=f"j_{'0' * 30}")


# --- the web app --------------------------------------------------------------------------------------


LINES = """(root) => [...document.querySelectorAll(root)].filter((line) => !line.hidden && line.dataset.voice)
  .map((line) => [line.firstElementChild.textContent, line.dataset.voice])"""


async def rename(page, was: str, name: str) -> None:
    await page.get_by_role("button", name=f"Rename {was}").click()
    await page.locator("dialog.rename").get_by_label("Name", exact=True).fill(name)
    await page.keyboard.press("Enter")
    await page.locator("dialog.rename").wait_for(state="detached")


@needs_chromium
async def test_a_live_session_names_its_speakers_for_all_who_watch(cluster):
    sound = np.concatenate([dialogue(), silence(120)])
    axe = checker()
    async with chromium(sound) as browser, opened(browser, "about:blank") as live:
        page = live.page
        await page.add_init_script(SIGN_IN)
        await page.goto(cluster.http())
        await page.check("#live-diarize")
        await page.click("#live-start")
        await page.wait_for_selector("#live-state[data-state=open]")
        session = await page.evaluate("JSON.parse(sessionStorage.getItem('parlando.live')).id")
        answer = httpx.post(f"{cluster.http()}/v1/stt/sessions/{session}/viewers", headers=KEY).json()
        viewer = await visit(page.context, answer["url"])
        two = f"new Set(({LINES})('[role=log] .line').map(([, voice]) => voice)).size > 1"
        for watched in (page, viewer.page):
            await holds(watched, two, within=120)
        await page.focus(".speakers .toggle")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.type") == "checkbox"
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.locator("dialog.rename[open]").wait_for()
        await page.keyboard.press("Escape")
        await page.locator("dialog.rename").wait_for(state="detached")
        await rename(page, "Speaker 1", "Anna")
        anna = "document.querySelector('[role=log] .speaker:not([hidden])').textContent === 'Anna'"
        await holds(page, anna)
        await holds(viewer.page, anna)
        assert await viewer.page.locator("button", has_text="Rename").count() == 0, "viewers only read"

        await holds(page, f"({LINES})('[role=log] .line').filter(([name]) => name).length >= 3", within=120)
        await rename(page, "Speaker 2", "Ben")
        assert "Anna" in await page.inner_text("#live-speakers")
        assert "%" in await page.inner_text("#live-speakers")
        await picture(page, "speakers")
        found = {"live": await problems(live, axe)}
        _, vtt = await downloaded(page.locator("[data-download=vtt]"))
        assert b"<v Anna>" in vtt
        assert b"<v Ben>" in vtt

        await page.get_by_role("checkbox", name="Anna").focus()
        await page.keyboard.press("Space")
        names = {name for name, _ in await page.evaluate(f"({LINES})('[role=log] .line')")}
        assert "Ben" in names
        assert "Anna" not in names
        await page.click("#live-stop")
        await holds(page, "document.getElementById('live-state').textContent === 'Ended'", within=60)
        await rename(page, "Ben", "Benjamin")  # after the end
        await viewer.page.evaluate("dispatchEvent(new Event('focus'))")
        await holds(viewer.page, "document.querySelector('[role=log]').textContent.includes('Benjamin')")
        await viewer.page.set_viewport_size({"width": 360, "height": 740})
        await viewer.page.click(".speakers .toggle")
        found["watch"] = await problems(viewer, axe)
        assert await viewer.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert not any(found.values()), json.dumps(found, indent=2)
        assert not live.complaints + viewer.complaints


@needs_chromium
async def test_files_and_the_pipeline_show_who_speaks(cluster, recording):
    axe = checker()
    async with SpeakersClient(cluster.http(), api_key="alpha") as speakers:
        await speakers.enrol("Anna", FIXTURES / "speech" / ANNA[0])
    async with chromium() as browser, opened(browser, "about:blank", dark=True, width=360) as watched:
        page = watched.page
        await page.add_init_script(SIGN_IN)
        await page.goto(f"{cluster.http()}/#files")
        await page.check("#files-diarize")
        await page.select_option("#files-speaker-count", "2")
        await page.check("#files-recognise")
        await page.set_input_files("#files-input", recording)
        await page.locator("#files-list summary", has_text="sure").click(timeout=120_000)
        await page.click("#files-list .speakers .toggle")
        await rename(page, "Speaker 2", "Ben")
        lines = await page.evaluate(f"({LINES})('#files-list .words p')")
        assert [name for name, _ in lines if name] == ["Anna", "Ben", "Anna"]
        known = page.locator("#files-list .speakers li .speaker", has_text="Anna")
        assert (await known.get_attribute("title")).startswith("Recognised by the voice, score 0.")
        assert {voice for _, voice in lines} == {"0", "1"}
        found = {"files": await problems(watched, axe)}
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await page.locator("#files-list").get_by_role("button", name="Export").click()
        await page.select_option("#export select", "srt")
        _, written = await downloaded(page.get_by_role("button", name="Download"))
        assert b"Ben: " in written
        await page.reload()
        await page.locator("#files-list summary", has_text="sure").click()
        await holds(page, f"({LINES})('#files-list .words p').some(([name]) => name === 'Ben')")

        await page.goto(f"{cluster.http()}/#pipeline")
        await page.check("#pipeline-diarize")
        await page.set_input_files("#pipeline-file", recording)
        await page.get_by_role("button", name="Analyse").click()
        await holds(page, f"({LINES})('#pipeline-transcript p').length > 2", within=120)
        await page.click("#pipeline-speakers .toggle")
        await rename(page, "Speaker 1", "Anna")
        names = [name for name, _ in await page.evaluate(f"({LINES})('#pipeline-transcript p')") if name]
        assert names == ["Anna", "Speaker 2", "Anna"]
        found["pipeline"] = await problems(watched, axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert not any(found.values()), json.dumps(found, indent=2)
        assert not watched.complaints


REVISED = """
async () => {
  const { TranscriptView } = await import("/app/transcript.js");
  const { Speakers } = await import("/app/speakers.js");
  const { SpeakersPanel } = await import("/app/speakers-view.js");
  const root = document.getElementById("watch-transcript");
  const speakers = new Speakers();
  const view = new TranscriptView(root, { speakers });
  const panel = new SpeakersPanel(speakers);
  const say = (segment) =>
    ({ segment, speaker: "SPEAKER_00", start: segment, end: segment + 1, text: `It was said ${segment}` });
  for (let segment = 0; segment < 200; segment++) view.final(say(segment));
  const shown = (each) => each.offsetParent;
  const heads = () => [...root.querySelectorAll("[role=log] .speaker")].filter(shown).length;
  const line = (segment) => root.querySelector(`[data-segment="${segment}"]`).lastElementChild;
  root.scrollTop += line(100).getBoundingClientRect().top - root.getBoundingClientRect().top;
  const place = () => line(110).getBoundingClientRect().top;
  const found = { heads: [heads()], moved: [] };
  const before = place();
  const changes = [
    () => speakers.revise(Array.from({ length: 50 }, (_, n) => ({ segment: 2 * n, speaker: "SPEAKER_01" }))),
    () => speakers.rename("SPEAKER_01", "Bartholomew with a very long name ".repeat(3).trim()),
    () => speakers.rename("SPEAKER_01", null),
    () => speakers.show(["SPEAKER_01"], false),
    () => speakers.show(["SPEAKER_01"], true),
  ];
  for (const change of changes) {
    change();
    await new Promise(requestAnimationFrame);
    found.heads.push(heads());
    found.moved.push(Math.abs(place() - before));
  }
  found.voices = [0, 1, 2].map((segment) => line(segment).parentElement.dataset.voice);
  found.before = speakers.people().map(({ name, turns, share }) => [name, turns, share]);
  speakers.rename("SPEAKER_00", "Anna");
  speakers.rename("SPEAKER_01", "Anna");
  found.after = speakers.people().map(({ name, turns, share }) => [name, turns, share]);
  found.figures = panel.list.innerText || panel.list.textContent;
  view.partial({ segment: 200, stable: "", text: "Now", start: 200, speaker: "SPEAKER_02" });
  found.open = root.querySelector(".open").innerText.split("\\n")[0];
  return found;
}
"""


@needs_chromium
async def test_a_revision_moves_nothing_that_is_read_and_one_name_is_one_person(cluster):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/watch/nobody") as watched:
        await watched.page.wait_for_selector("#watch-state[data-state=failed]")
        found = await watched.page.evaluate(REVISED)
    assert found["heads"] == [1, 100, 100, 100, 1, 100]
    assert max(found["moved"]) <= 1, found["moved"]
    assert found["voices"] == ["1", "0", "1"]
    assert found["before"] == [["Speaker 1", 50, 0.75], ["Speaker 2", 50, 0.25]]
    assert found["after"] == [["Anna", 1, 1]]
    assert "100 %, 1 turn, 3:20" in found["figures"]
    assert found["open"] == "Speaker 3"
