"""Chromium with a recording as its microphone, and pages whose errors and requests are recorded."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    async_playwright,
)

from support.speech import RATE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IMAGES = Path(__file__).parents[2] / "docs" / "images"

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
)


@asynccontextmanager
async def chromium(sound: np.ndarray | None = None, *, shared: str = "") -> AsyncIterator[Browser]:
    """A browser. `sound`: int16 samples at 16 kHz that its microphone plays once, from when it is opened.

    `shared`: the title of the tab that is selected in the dialogue for tab sharing.
    """
    with tempfile.TemporaryDirectory() as folder:
        if shared:
            flags, unwanted = [f"--auto-select-tab-capture-source-by-title={shared}"], ["--mute-audio"]
        else:
            flags, unwanted = ["--use-fake-ui-for-media-stream"], []
        if sound is not None:
            path = Path(folder) / "microphone.wav"
            soundfile.write(path, sound, RATE)
            flags.append(f"--use-file-for-fake-audio-capture={path}%noloop")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*_FLAGS, *flags], ignore_default_args=unwanted
            )
            try:
                yield browser
            finally:
                await browser.close()


@dataclass
class Watched:
    """A page, its warnings and errors (`complaints`), and the URLs that it requested."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def said(self, message: ConsoleMessage) -> None:
        """Record a message of the console, with the address that a failed request had.

        Not 503: Redis may take longer than its time-out on a busy machine. The pages repeat such requests.
        """
        if message.type in ("error", "warning") and "a status of 503" not in message.text:
            address = message.location.get("url", "") if message.text.startswith("Failed to load") else ""
            self.complaints.append(f"{message.text} {address}".strip())


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, dark: bool = False, width: int = 1100, height: int = 760, **options: object
) -> AsyncIterator[Watched]:
    """One page in a new profile."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        permissions=["microphone", "clipboard-read", "clipboard-write"],
        **options,
    )
    try:
        yield await visit(context, url)
    finally:
        await context.close()


async def visit(context: BrowserContext, url: str) -> Watched:
    """Another page in the same profile."""
    watched = Watched(await context.new_page())
    page = watched.page
    page.set_default_timeout(600_000)
    page.on("console", watched.said)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    await page.goto(url)
    return watched


async def holds(page: Page, expression: str, *, within: float = 120) -> None:
    """Wait until `expression` is true. Playwright's own wait uses `eval`, which the pages' policy forbids.

    An expression that fails counts as false: the page may be loading.
    """
    deadline = time.monotonic() + within
    while True:
        found: object
        try:
            found = await page.evaluate(expression)
            if found:
                return
        except Error as error:
            found = error
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{found} after {within} s: {expression}; the page says: {await page.inner_text('body')}"
            )
        await asyncio.sleep(0.05)


async def downloaded(button: Locator) -> tuple[str, bytes]:
    """Press a button; the name and the content of the file that the page then downloads."""
    async with button.page.expect_download() as coming:
        await button.click()
    file = await coming.value
    return file.suggested_filename, await asyncio.to_thread(Path(await file.path()).read_bytes)


async def picture(page: Page, name: str, *, whole: bool = False) -> None:
    """Save a screenshot for the documentation, if `SCREENSHOTS` is set."""
    if os.environ.get("SCREENSHOTS"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=IMAGES / f"{name}.png", full_page=whole)
