"""`python -m bench.web_live`: what a long session costs the tab that shows it.

A real page in Chromium listens to a microphone. In place of the cluster's live socket a script answers,
with the words of `--minutes` of speech at `--speed` times their pace: a partial every 250 ms of speech,
and a final with timed words for each of its phrases. It reports, over the session: the JavaScript heap
after a collection, DOM nodes, tasks of more than 50 ms, and how often a frame came late. The sound
itself runs at its own pace, so the recording has the length of the run.
"""

import argparse
import asyncio
import json
import os
import random
import time
from typing import Any

from playwright.async_api import CDPSession, Page, WebSocketRoute

from support.browser import chromium, opened
from support.cluster import Cluster
from support.tones import RATE, TONES, phrases

WORDS_PER_S = 2.5
PHRASE = 12  # words
PARTIAL_S = 0.25
VOCABULARY = ("people", "of", "this", "country", "ask", "what", "they", "can", "do", "and", "where", "from")
WATCH = """
window.tasks = []; window.frames = { all: 0, late: 0 };
new PerformanceObserver((list) => { for (const task of list.getEntries()) tasks.push(task.duration); })
  .observe({ type: "longtask", buffered: true });
let before = performance.now();
requestAnimationFrame(function frame(now) {
  frames.all++;
  if (now - before > 34) frames.late++;
  before = now;
  requestAnimationFrame(frame);
});
"""


class Script:
    """Answers one live socket as a cluster does. `ended`: whether all words were sent."""

    def __init__(self, minutes: float, speed: float) -> None:
        self._count = int(minutes * 60 * WORDS_PER_S)
        self._speed = speed
        self._chance = random.Random(1)
        self._received = self._acknowledged = 0
        self.seconds = 0.0
        self.ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def answer(self, socket: WebSocketRoute) -> None:
        socket.on_message(lambda message: self._hear(socket, message))
        self._send(
            socket, type="connected", session_id="s_bench", resume_token="t", engine="script", model="none",
            received=0, received_ms=0, seq=0, epoch=1,
        )  # fmt: skip
        self._task = asyncio.create_task(self._speak(socket))

    @staticmethod
    def _send(socket: WebSocketRoute, **message: Any) -> None:
        socket.send(json.dumps(message))

    def _hear(self, socket: WebSocketRoute, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._received += len(message) // 2
            if self._received - self._acknowledged >= RATE:
                self._acknowledged = self._received
                at = {"received": self._received, "received_ms": self._received * 1000 // RATE}
                self._send(socket, type="ack", **at, settled=at["received"], settled_ms=at["received_ms"])
        elif json.loads(message)["type"] == "end":
            self._send(socket, type="closed", seq=10**6, duration=self.seconds, reason="end", epoch=1)

    async def _speak(self, socket: WebSocketRoute) -> None:
        for segment in range(self._count // PHRASE):
            words = [self._chance.choice(VOCABULARY) for _ in range(PHRASE)]
            start = segment * PHRASE / WORDS_PER_S
            self._send(socket, type="speech_started", segment=segment, start=start)
            for step in range(1, int(PHRASE / WORDS_PER_S / PARTIAL_S)):
                await asyncio.sleep(PARTIAL_S / self._speed)
                said = max(1, int(step * PARTIAL_S * WORDS_PER_S))
                end = start + step * PARTIAL_S
                stable, text = " ".join(words[: max(0, said - 2)]), " ".join(words[:said])
                place = {"segment": segment, "start": start, "end": end}
                self._send(socket, type="partial", **place, text=text, stable=stable, lag_ms=20)
            timed = [
                {"word": word, "start": start + n / WORDS_PER_S, "end": start + (n + 1) / WORDS_PER_S}
                for n, word in enumerate(words)
            ]
            self.seconds = timed[-1]["end"]
            place = {"segment": segment, "start": start, "end": self.seconds, "seq": segment + 1, "epoch": 1}
            speaker = f"SPEAKER_0{segment // 5 % 3}"
            self._send(socket, type="final", **place, text=" ".join(words), words=timed, speaker=speaker)
        self.ended.set()


async def measured(page: Page, devtools: CDPSession, script: Script) -> dict[str, float]:
    """The page's memory now, and what happened since the last call."""
    await devtools.send("HeapProfiler.collectGarbage")
    heap = await devtools.send("Runtime.getHeapUsage")
    nodes = await devtools.send("Memory.getDOMCounters")
    seen = await page.evaluate(
        "(() => { const seen = { tasks, frames }; tasks = []; frames = { all: 0, late: 0 }; return seen })()"
    )
    return {
        "minute": script.seconds / 60,
        "heap_mb": heap["usedSize"] / 1e6,
        "dom_nodes": nodes["nodes"],
        "long_tasks": len(seen["tasks"]),
        "longest_ms": max(seen["tasks"], default=0),
        "late_frames_percent": 100 * seen["frames"]["late"] / max(1, seen["frames"]["all"]),
        "frames": seen["frames"]["all"],
    }


async def run(minutes: float, speed: float, rows: int) -> list[dict[str, float]]:
    """Measure a session of `minutes` at `speed` times its pace, in `rows` parts."""
    script, found = Script(minutes, speed), []
    with Cluster(transcribers=1, **TONES) as cluster:
        sound = phrases(40, behind=5)
        async with chromium(sound) as browser, opened(browser, "about:blank", width=1280) as watched:
            page = watched.page
            await page.route_web_socket("**/v1/stt/stream**", script.answer)
            await page.add_init_script(WATCH)
            await page.goto(cluster.http())
            devtools = await page.context.new_cdp_session(page)
            await page.click("#live-start")
            for row in range(1, rows + 1):
                while script.seconds < minutes * 60 * row / rows and not script.ended.is_set():
                    await asyncio.sleep(0.2)
                found.append(await measured(page, devtools, script))
                print(json.dumps({k: round(v, 1) for k, v in found[-1].items()}), flush=True)
            await page.click("#live-stop")
            assert not watched.complaints, watched.complaints
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="length of the session (default 30)")
    parser.add_argument(
        "--speed", type=float, default=10, help="times its pace; 1 for a real one (default 10)"
    )
    parser.add_argument("--rows", type=int, default=6, help="how often to measure (default 6)")
    given = parser.parse_args()
    began = time.monotonic()
    asyncio.run(run(given.minutes, given.speed, given.rows))
    took, load = time.monotonic() - began, os.getloadavg()[0]
    print(f"{took:.0f} s, on {os.cpu_count()} CPUs with a load of {load:.1f}")


if __name__ == "__main__":
    main()
