"""Firefox, driven by WebDriver BiDi over a WebSocket, which it serves itself: no driver is needed."""

import asyncio
import itertools
import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import websockets

FIREFOX: Final = shutil.which("firefox-esr") or shutil.which("firefox")
START_S: Final = 300
COMMAND_S: Final = 300
_PREFERENCES: Final = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disabled": True,  # nothing is asked of other machines
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One page. `complaints`: its errors and warnings so far."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._context = ""
        self.complaints: list[str] = []

    async def listen(self) -> None:
        """Read what the browser sends, until it closes the connection."""
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "event":
                entry = message["params"]
                if entry.get("level") in ("error", "warn"):
                    self.complaints.append(str(entry.get("text")))
            elif (waiting := self._answers.pop(message["id"], None)) and not waiting.done():
                waiting.set_result(message)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, COMMAND_S)
        assert message["type"] == "success", message
        return message["result"]

    async def begin(self) -> None:
        """Begin the session; the browser's first tab is the page."""
        await self.command("session.new", capabilities={})
        tree = await self.command("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        await self.command("session.subscribe", events=["log.entryAdded"])

    async def visit(self, url: str) -> None:
        """Load a page."""
        await self.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def resize(self, width: int, height: int = 800) -> None:
        """Give the page a size in CSS pixels."""
        size = {"width": width, "height": height}
        await self.command("browsingContext.setViewport", context=self._context, viewport=size)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise, as JSON has it."""
        found = await self._evaluate(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()")
        return json.loads(found["value"])

    async def run(self, script: str) -> None:
        """Run statements, such as a library."""
        await self._evaluate(f"{script}; null")

    async def _evaluate(self, expression: str) -> dict[str, Any]:
        result = await self.command(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] != "success":
            raise AssertionError(f"{result['exceptionDetails']['text']}: {expression[:200]}")
        return result["result"]

    async def holds(self, expression: str, *, within: float = 600) -> None:
        """Wait until an expression is true. One that fails counts as false."""
        deadline = time.monotonic() + within
        while True:
            try:
                found = await self.evaluate(expression)
                if found:
                    return
            except AssertionError as error:
                found = error
            if time.monotonic() > deadline:
                page = await self.evaluate("document.body.innerText")
                raise AssertionError(f"{found} after {within} s: {expression}; the page says: {page}")
            await asyncio.sleep(0.1)

    async def choose_files(self, selector: str, *paths: Path) -> None:
        """Choose files in a file input."""
        element = await self._evaluate(f"document.querySelector({json.dumps(selector)})")
        await self.command(
            "input.setFiles",
            context=self._context,
            element={"sharedId": element["sharedId"]},
            files=[str(path) for path in paths],
        )


@asynccontextmanager
async def firefox(*, dark: bool = False) -> AsyncIterator[Firefox]:
    """A browser with a new profile."""
    assert FIREFOX is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        preferences = _PREFERENCES | {"ui.systemUsesDarkTheme": int(dark)}
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        process = await asyncio.create_subprocess_exec(
            FIREFOX, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            address = await asyncio.wait_for(_address(process), START_S)
            async with websockets.connect(f"{address}/session", max_size=None) as socket:
                page = Firefox(socket)
                listening = asyncio.create_task(page.listen())
                await page.begin()
                try:
                    yield page
                finally:
                    listening.cancel()
        finally:
            process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    """The WebSocket that Firefox names in its output."""
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode(errors="replace"):
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError(f"{FIREFOX} ended without serving WebDriver BiDi")
