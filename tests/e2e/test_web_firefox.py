"""The web app in Firefox: files with their player, every page's accessibility, the app without a network."""

import json

import pytest

from support.accessibility import RUN, checker, violations_of
from support.cluster import Cluster
from support.firefox import FIREFOX, firefox
from support.speech import JFK
from support.web_app import web_app

pytestmark = [pytest.mark.skipif(FIREFOX is None, reason="Firefox is not installed (Debian: firefox-esr)")]

CARD = "document.querySelector('#files-list > li')"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as running:
        yield running


async def test_a_file_is_transcribed_played_by_word_and_corrected(cluster):
    async with firefox() as page:
        await page.visit(f"{cluster.http()}/#files")
        await page.choose_files("#files-input", JFK)
        await page.holds("document.querySelectorAll('#files-list details').length === 1")
        assert "ask not what your country" in await page.evaluate(
            f"{CARD}.querySelector('summary').textContent"
        )
        await page.evaluate(f"{CARD}.querySelector('summary').click()")
        await page.holds(f"{CARD}.querySelectorAll('.words button').length > 15")
        painted = f"""((canvas) => {{
            const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.filter((each, n) => n % 4 === 3 && each === 255).length;
        }})({CARD}.querySelector("canvas"))"""
        await page.holds(f"{painted} > 1000")
        await page.evaluate(
            f"[...{CARD}.querySelectorAll('.words button')]"
            ".find((each) => each.textContent === 'country').click()"
        )
        audio = f"{CARD}.querySelector('audio')"
        await page.holds(f"{audio}.currentTime > 4.5 && !{audio}.paused")
        await page.evaluate(f"{audio}.pause()")
        await page.holds(f"{CARD}.querySelector('[aria-current]') !== null")
        await page.evaluate(f"""(() => {{
            const form = {CARD}.querySelector("form");
            const [find, replace] = form.querySelectorAll("input[type=text]");
            find.value = "country";
            replace.value = "family";
            form.dispatchEvent(new Event("input"));
            form.requestSubmit();
        }})()""")
        assert "your family can do for you" in await page.evaluate(
            f"{CARD}.querySelector('.words').textContent"
        )
        assert page.complaints == []


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_in_any_view(cluster, dark):
    axe = checker()
    found = {}
    async with firefox(dark=dark) as page:
        await page.resize(400)
        for view in ("live", "files", "pipeline", "songs", "cluster", "keys"):
            await page.visit(f"{cluster.http()}/?{view}#{view}")
            await page.holds(f"!document.getElementById('view-{view}').hidden")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 400, view
            await page.run(axe)
            found[view] = violations_of(await page.evaluate(RUN))
    assert not any(found.values()), json.dumps(found, indent=2)


async def test_the_app_opens_without_a_gateway():
    with web_app("/below/a-path") as served:
        async with firefox() as page:
            await page.visit(f"{served.url}/")
            active = "navigator.serviceWorker.getRegistration().then((found) => found?.active?.state)"
            await page.holds(f"({active}).then((state) => state === 'activated')")
            served.stop()
            await page.visit(f"{served.url}/#files")
            await page.visit(f"{served.url}/?again#files")
            await page.holds("document.querySelector('.pwa')?.textContent.includes('be reached')")
            assert await page.evaluate("!document.getElementById('view-files').hidden")
