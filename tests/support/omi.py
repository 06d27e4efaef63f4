"""Simulates Omi's backend as a sender: bursts of one-second bodies, its retries and its circuit breaker.

The rules are those of docs/omi.md. Pauses can be shortened with `speed`.
"""

import asyncio
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx

LADDER_S = (1.0, 5.0, 30.0)
BREAKER_FAILURES = 5
BREAKER_S = 30.0
RETRIED = {408, 429}


@dataclass
class Backend:
    """One process of Omi's backend; all users share the circuit breaker of a path."""

    base: str
    speed: float = 1.0
    seed: int = 0
    jitter_s: float = 0.003  # random network delay of a body
    ladder_s: tuple[float, ...] = LADDER_S  # pauses before a body is sent again
    patience_s: float | None = None  # for connecting and for an answer; None for Omi's own
    statuses: Counter = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    _failures: Counter = field(default_factory=Counter)
    _open_until: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(self.patience_s) if self.patience_s else httpx.Timeout(30.0, connect=2.0),
            limits=httpx.Limits(max_connections=64),
        )
        self.chance = random.Random(self.seed)

    async def burst(self, path: str, uid: str, rate: int, audio: bytes, *, lossy: float = 0.0) -> bool:
        """Send bodies of at most one second, one after another, as new versions do.

        With probability `lossy` an answer is lost and the body is sent again. False if the rest was dropped.
        """
        if self._open_until.get(path, 0) > time.monotonic():
            return False
        for at in range(0, len(audio), rate * 2):
            if not await self._deliver(path, uid, rate, audio[at : at + rate * 2], lossy):
                self._failures[path] += 1
                if self._failures[path] >= BREAKER_FAILURES:
                    self._open_until[path] = time.monotonic() + BREAKER_S / self.speed
                return False
        self._failures[path] = 0
        return True

    async def _deliver(self, path: str, uid: str, rate: int, body: bytes, lossy: float) -> bool:
        key = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        for pause in (*self.ladder_s, None):
            status = await self._post(path, uid, rate, body, {"Idempotency-Key": key})
            if status is not None and 200 <= status < 300 and self.chance.random() >= lossy:
                return True
            if status is not None and 400 <= status < 500 and status not in RETRIED:
                return False
            if pause is None:
                return False
            await asyncio.sleep(pause / self.speed)
        return False

    async def _post(self, path: str, uid: str, rate: int, body: bytes, headers: dict) -> int | None:
        await asyncio.sleep(self.chance.uniform(0, self.jitter_s))
        started = time.monotonic()
        try:
            answer = await self.client.post(
                f"{self.base}{path}",
                params={"sample_rate": rate, "uid": uid},
                content=body,
                headers={"Content-Type": "application/octet-stream", **headers},
            )
        except httpx.HTTPError:
            self.statuses["failed"] += 1
            return None
        self.times.append(time.monotonic() - started)
        self.statuses[answer.status_code] += 1
        return answer.status_code

    async def old(self, url: str, uid: str, rate: int, audio: bytes) -> int:
        """Send everything in one body, without retries, as old versions do; the query is appended."""
        glued = f"{self.base}{url}?sample_rate={rate}&uid={uid}"
        answer = await self.client.post(glued, content=audio, timeout=600)
        self.statuses[answer.status_code] += 1
        return answer.status_code

    async def close(self) -> None:
        await self.client.aclose()
