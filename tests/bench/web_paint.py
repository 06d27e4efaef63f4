"""When the first screen of the web app appears: python -m bench.web_paint [LOADS]

Real Chromium, a new profile for each load, and a gateway on the same machine. Networks and slower processors
are emulated by Chromium. First paint: First Contentful Paint, from the beginning of the navigation. Largest
paint: Largest Contentful Paint. Usable: the button that starts captions can be pressed. Default: nine loads.
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from playwright.async_api import Browser

from bench.results import Table
from support.browser import chromium, holds, opened
from support.cluster import Cluster

BAR_S = 1.0
OBSERVE = """
window.largest = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) largest = entry.startTime; })
  .observe({ type: "largest-contentful-paint", buffered: true });
window.usable = 0;
(function look() {
  const start = document.getElementById("live-start");
  if (start && !start.disabled && start.checkVisibility() && document.readyState === "complete")
    usable = performance.now();
  else requestAnimationFrame(look);
})();
"""
FIRST = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass(frozen=True)
class Profile:
    """A network and a processor. `kbit_s`: 0 for no limit. `slower`: factor of the processor's times."""

    name: str
    kbit_s: int = 0
    latency_ms: int = 0
    slower: int = 1


PROFILES = (
    Profile("as it is"),
    Profile("10 Mbit/s, 40 ms", 10_000, 40),
    Profile("1.6 Mbit/s, 150 ms", 1_600, 150),
    Profile("1.6 Mbit/s, 150 ms, processor 4 times slower", 1_600, 150, 4),
)


async def load(browser: Browser, url: str, profile: Profile) -> dict[str, float]:
    """Load the page with an empty cache, then once more with a full one. Milliseconds; bytes received."""
    async with opened(browser, "about:blank") as watched:
        page = watched.page
        await page.add_init_script(OBSERVE)
        cdp = await page.context.new_cdp_session(page)
        received: list[int] = []

        def add(done: dict[str, Any]) -> None:
            received.append(done["encodedDataLength"])

        cdp.on("Network.loadingFinished", add)
        await cdp.send("Network.enable")
        bytes_s = profile.kbit_s * 1000 / 8 if profile.kbit_s else -1
        limits = {"downloadThroughput": bytes_s, "uploadThroughput": bytes_s, "latency": profile.latency_ms}
        await cdp.send("Network.emulateNetworkConditions", {"offline": False, **limits})
        await cdp.send("Emulation.setCPUThrottlingRate", {"rate": profile.slower})
        found = {}
        for visit in ("first", "again"):
            await page.goto(url, wait_until="load")
            await holds(page, "usable > 0")
            await page.wait_for_load_state("networkidle")
            found[f"{visit} paint"] = await page.evaluate(FIRST)
            found[f"{visit} largest"] = await page.evaluate("largest")
            found[f"{visit} usable"] = await page.evaluate("usable")
            found[f"{visit} bytes"] = sum(received)
            received.clear()
            await page.goto("about:blank")
        return found


async def measure(url: str, loads: int) -> dict[str, dict[str, float]]:
    """The medians of each profile."""
    found: dict[str, list[dict[str, float]]] = {profile.name: [] for profile in PROFILES}
    async with chromium() as browser:
        await load(browser, url, PROFILES[0])  # the browser's own start
        for _ in range(loads):
            for profile in PROFILES:
                found[profile.name].append(await load(browser, url, profile))
    return {
        name: {what: float(np.median([each[what] for each in every])) for what in every[0]}
        for name, every in found.items()
    }


def main() -> None:
    """Measure, and publish the table."""
    loads = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with Cluster() as cluster:
        found = asyncio.run(measure(cluster.http(), loads))
    columns = (
        "network and processor", "first paint s", "largest paint s", "usable s", "KB received",
        "second visit: first paint s", "usable s", "KB received",
    )  # fmt: skip
    table = Table("web_paint", "The first screen of the web app", columns)
    for name, median in found.items():
        row: list[Any] = [name]
        for visit in ("first", "again"):
            shown = ("paint", "largest", "usable") if visit == "first" else ("paint", "usable")
            row += [median[f"{visit} {what}"] / 1000 for what in shown] + [median[f"{visit} bytes"] / 1000]
        table.rows.append(row)
    table.remarks.append(f"Medians of {loads} loads in turn. Bar of the first paint: {BAR_S:g} s.")
    table.publish()


if __name__ == "__main__":
    main()
