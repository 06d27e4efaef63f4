"""The web app's Songs view, and songs between the lines of the Live view, in a real browser."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from support.browser import CHROMIUM, chromium, holds, opened, picture
from support.cluster import Cluster
from support.music import music
from support.perfect import PERFECT
from support.speech import RATE

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
ROWS = "document.querySelectorAll('#songs-table tbody tr')"
WORDS = "document.getElementById('live-transcript').textContent"
HOUR_S = 3600


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, recognizers=1, **PERFECT) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Three songs, one of them with markup in its name, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("songs")
    names = ("First song", "Second song", "<img src=x onerror=alert(1)>")
    for number, name in enumerate(names, start=1):
        soundfile.write(folder / f"{name.replace('/', '_')}.flac", music(number), RATE, subtype="PCM_16")
    (folder / "no audio.mp3").write_bytes(b"text" * 100)
    return sorted(folder.iterdir())


async def test_songs_are_registered_listed_and_removed(cluster, files):
    async with chromium() as browser, opened(browser, f"{cluster.http()}/#songs") as watched:
        page = watched.page
        await holds(page, "document.getElementById('songs-count').textContent.startsWith('No songs')")
        await page.set_input_files("#songs-input", files)
        await holds(page, f"{ROWS}.length === 3", within=HOUR_S)
        notice = await page.inner_text("#songs-notice")
        assert "3 of 4 registered" in notice
        assert "no audio.mp3" in notice
        titles = await page.locator("#songs-table tbody tr td:first-child").all_inner_texts()
        assert sorted(titles) == ["<img src=x onerror=alert(1)>", "First song", "Second song"]
        await picture(page, "songs")
        await page.get_by_role("button", name="Remove Second song").click()
        await holds(page, f"{ROWS}.length === 2", within=HOUR_S)
        listed = httpx.get(f"{cluster.http()}/songs", timeout=600).json()["songs"]
        assert sorted(song["title"] for song in listed) == ["<img src=x onerror=alert(1)>", "First song"]

        excerpt = files[1].with_name("excerpt.wav")
        soundfile.write(excerpt, music(1)[12 * RATE : 22 * RATE], RATE)
        await page.set_input_files("#songs-file", excerpt)
        await holds(
            page, "document.getElementById('songs-found').textContent.includes('First song')", within=HOUR_S
        )
        assert "at 0:12" in await page.inner_text("#songs-found")


async def test_the_microphone_names_the_song(cluster, files):
    await asyncio.to_thread(register, cluster, files[1])
    sound = np.tile(music(1), 3)
    async with chromium(sound) as browser, opened(browser, f"{cluster.http()}/#songs") as watched:
        await watched.page.click("#songs-listen")
        await holds(
            watched.page,
            "document.getElementById('songs-found').textContent.includes('First song')",
            within=HOUR_S,
        )


async def test_songs_are_shown_between_the_lines_of_live_captions(cluster, files):
    await asyncio.to_thread(register, cluster, files[1])
    sound = np.tile(music(1), 4)
    async with chromium(sound) as browser, opened(browser, cluster.http()) as watched:
        page = watched.page
        await page.check("#live-songs")
        await page.click("#live-start")
        await holds(page, f"{WORDS}.includes('♫ First song')", within=HOUR_S)
        await picture(page, "live-songs")
        await page.click("#live-stop")


def register(cluster: Cluster, path: Path) -> None:
    files = {"file": (path.name, path.read_bytes())}
    answer = httpx.post(f"{cluster.http()}/songs", files=files, timeout=600)
    assert answer.is_success, answer.text
