"""Sends audio as clients do, and records the messages received."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parlando.client import ClientSession, connect
from parlando.domain.transcript import FinalSegment, text_of

RATE = 16_000


@dataclass
class Heard:
    """All messages a client received, with the time since its first audio."""

    events: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    session: ClientSession | None = None

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return self.of("final")

    @property
    def text(self) -> str:
        """The finals as they were sent."""
        return " ".join(final["text"] for final in self.finals if final["text"])

    @property
    def sentences(self) -> str:
        """The finals as transcripts join them."""
        return text_of(FinalSegment(**final) for final in self.finals)

    @property
    def words(self) -> list[str]:
        return self.text.split()


async def send(
    session: ClientSession, pcm: np.ndarray, *, frame_ms: int = 20, speed: float | None = 1.0
) -> None:
    """Send int16 samples in frames at `speed` times real time, or as fast as possible (None)."""
    step = frame_ms * RATE // 1000
    started = time.monotonic()
    for at in range(0, len(pcm), step):
        await session.send(pcm[at : at + step].tobytes())
        if speed is not None:
            await asyncio.sleep(max(0.0, started + (at + step) / RATE / speed - time.monotonic()))


async def stream(
    url: str | list[str],
    pcm: np.ndarray,
    *,
    frame_ms: int = 20,
    speed: float | None = 1.0,
    end: bool = True,
    timeout: float = 600,
    **options: Any,
) -> Heard:
    """One complete session: sends all audio. Returns all messages received until `closed`."""
    heard = Heard()
    async with asyncio.timeout(timeout), connect(url, **options) as session:
        heard.session = session
        started = time.monotonic()

        async def talk() -> None:
            await send(session, pcm, frame_ms=frame_ms, speed=speed)
            if end:
                await session.end()

        talking = asyncio.create_task(talk())
        async for event in session:
            heard.events.append(event)
            heard.times.append(time.monotonic() - started)
        await talking
    return heard


def check_promises(heard: Heard) -> None:
    """Check the invariants of every session (docs/architecture.md, "What always holds")."""
    finals = heard.finals
    assert [final["segment"] for final in finals] == list(range(len(finals))), (
        "one final per segment, in order"
    )
    seqs = [event["seq"] for event in heard.events if "seq" in event and event["type"] != "connected"]
    assert seqs == list(range(1, len(seqs) + 1)), "seq counts up by one"
    settled: dict[int, str] = {final["segment"]: final["text"] for final in finals}
    stable: dict[int, str] = {}
    done: set[int] = set()
    for event in heard.events:
        if event["type"] == "partial":
            segment = event["segment"]
            assert segment not in done, "no partial behind its final"
            assert event["stable"].startswith(stable.get(segment, "")), "stable text only grows"
            assert event["text"].startswith(event["stable"])
            stable[segment] = event["stable"]
        elif event["type"] == "connected" and event.get("reopened"):
            stable.clear()  # an open segment whose state Redis has lost is recognised again
        elif event["type"] == "final":
            done.add(event["segment"])
            assert event["text"].startswith(stable.get(event["segment"], "")), (
                "a final begins with the stable text"
            )
    closed = heard.of("closed")
    assert len(closed) == 1
    assert heard.events[-1]["type"] == "closed"
    at = 0.0
    for final in finals:
        assert at <= final["start"] <= final["end"] <= closed[0]["duration"] + 1e-3, (
            "times rise, inside the audio"
        )
        at = final["end"]
        assert final["text"] == settled[final["segment"]]
        assert final["text"] or final.get("reason")
