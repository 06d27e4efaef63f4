"""Three owners compete for the places of one transcriber: `python -m bench.shares [seconds]`.

Each has more clients than its share. A client opens a session of 5 to 20 s over a WebSocket, speaks, and then
opens the next one; if it is refused, it tries again after 2 to 5 s. In the second part the first owner pauses
for a third of the time. Prints the places that each owner had on average, sampled once a second.
"""

import asyncio
import json
import random
import sys
from collections import Counter

import websockets

from support.cluster import Cluster
from support.perfect import PERFECT, speak

PLACES = 12
CLIENTS = {"alpha": 8, "beta": 12, "gamma": 24}
FRAME = speak(1).tobytes()  # half a second


class Competition:
    """The clients of all owners. `held`: open sessions of each; `paused`: owners that open no sessions."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.held: Counter[str] = Counter()
        self.paused: set[str] = set()
        self.refused = self.reclaimed = 0

    async def client(self, owner: str, chance: random.Random) -> None:
        """Open one session after the other."""
        while True:
            if owner in self.paused:
                await asyncio.sleep(0.5)
                continue
            try:
                await self._session(owner, chance.uniform(5, 20))
            except websockets.ConnectionClosed:
                await asyncio.sleep(chance.uniform(2, 5))

    async def _session(self, owner: str, seconds: float) -> None:
        headers = {"X-API-Key": owner}
        async with websockets.connect(f"{self._url}/v1/stt/stream", additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "start"}))
            if json.loads(await socket.recv())["type"] == "error":
                self.refused += 1
                await socket.wait_closed()
                await socket.recv()  # raises
            self.held[owner] += 1
            try:
                await self._speak(socket, owner, seconds)
            finally:
                self.held[owner] -= 1

    async def _speak(self, socket: websockets.ClientConnection, owner: str, seconds: float) -> None:
        try:
            for _ in range(round(seconds * 2)):
                if owner in self.paused:
                    break
                await socket.send(FRAME)
                await asyncio.sleep(0.5)
            await socket.send(json.dumps({"type": "end"}))
            async for _ in socket:
                pass
        except websockets.ConnectionClosedError as error:
            self.reclaimed += error.rcvd is not None and error.rcvd.code == 1013
            raise


async def _sampled(competition: Competition, seconds: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for _ in range(seconds):
        await asyncio.sleep(1)
        total.update(competition.held)
    return total


def _line(name: str, total: Counter[str], seconds: int) -> str:
    means = "  ".join(f"{owner} {total[owner] / seconds:5.2f}" for owner in CLIENTS)
    return f"{name:<28}{means}   all {sum(total.values()) / seconds:5.2f} of {PLACES}"


async def compete(url: str, seconds: int) -> None:
    """Run both parts and print the means."""
    competition, chance = Competition(url), random.Random(7)
    tasks = [
        asyncio.create_task(competition.client(owner, random.Random(chance.random())))
        for owner, count in CLIENTS.items()
        for _ in range(count)
    ]
    await asyncio.sleep(20)
    print(_line("all compete", await _sampled(competition, seconds), seconds))
    part = seconds // 3
    competition.paused.add("alpha")
    await asyncio.sleep(20)
    print(_line("alpha pauses", await _sampled(competition, part), part))
    competition.paused.clear()
    await asyncio.sleep(20)
    print(_line("alpha is back, after 20 s", await _sampled(competition, part), part))
    print(f"refused {competition.refused}, places taken back {competition.reclaimed}")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Start a cluster and run the competition."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    settings = {"API_KEYS": ",".join(CLIENTS), "WORKER_SESSIONS": str(PLACES), "SHARE_RECLAIM_S": "10"}
    with Cluster(transcribers=1, **settings, **PERFECT) as cluster:
        asyncio.run(compete(cluster.url(), seconds))


if __name__ == "__main__":
    main()
