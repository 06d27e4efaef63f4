"""A thousand clients that disconnect in different ways: python -m bench.leavers [clients] [minutes]

After the last one has disconnected, connections and sessions must end within the resume window and five
seconds, no FFmpeg process may remain, Redis must hold the same keys as before, and memory must not grow.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import orjson
import psutil
import websockets
from websockets.asyncio.client import ClientConnection

from bench.results import Table
from support.cluster import Cluster
from support.encoding import encoded
from support.perfect import PERFECT, speak
from support.speech import JFK

WINDOW_S = 10  # RESUME_WINDOW_S
GRACE_S = 5  # seconds after the resume window within which everything must end
TTL_S = 60  # SESSION_TTL_S: lifetime of an ended session's keys
WARM = 0.2  # share of the clients before the reference measurement of memory
MB = 1 << 20
FRAME = 640  # bytes: 20 ms
PCM = speak(20).tobytes()


class Client:
    """One client, with a method for each way to disconnect."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._url = url
        self._chance = chance
        self.refused = False

    async def _connect(self, query: str = "") -> ClientConnection:
        return await websockets.connect(f"{self._url}/v1/stt/stream?{query}", open_timeout=60)

    async def _greeted(self, query: str = "") -> tuple[ClientConnection, dict]:
        socket = await self._connect(query)
        greeting = orjson.loads(await socket.recv())
        if greeting["type"] != "connected":
            self.refused = True
            await socket.close()
            raise ConnectionRefusedError(greeting.get("code"))
        return socket, greeting

    async def _stream(self, socket: ClientConnection, data: bytes, size: int = FRAME) -> None:
        for at in range(0, self._chance.randrange(1, len(data)), size):
            await socket.send(data[at : at + size])
            await asyncio.sleep(0.02)

    async def closes(self) -> None:
        """Close the WebSocket in mid-stream."""
        socket, _ = await self._greeted()
        await self._stream(socket, PCM)
        await socket.close()

    async def aborts(self) -> None:
        """Reset the connection in mid-stream."""
        socket, _ = await self._greeted()
        await self._stream(socket, PCM)
        socket.transport.abort()

    async def leaves_when_connected(self) -> None:
        """Disconnect right after the server's first message."""
        socket, _ = await self._greeted()
        socket.transport.abort()

    async def leaves_before(self) -> None:
        """Disconnect before the server's first message."""
        (await self._connect()).transport.abort()

    async def leaves_in_a_resume(self) -> None:
        """Reconnect, and disconnect again during the resume."""
        socket, greeting = await self._greeted()
        await self._stream(socket, PCM)
        socket.transport.abort()
        query = f"session_id={greeting['session_id']}&resume={greeting['resume_token']}"
        again = await self._connect(query)
        await asyncio.sleep(self._chance.uniform(0, 0.05))
        again.transport.abort()

    async def ends_and_leaves(self) -> None:
        """Send `end` and disconnect without waiting for the answer."""
        socket, _ = await self._greeted()
        await self._stream(socket, PCM)
        await socket.send('{"type":"end"}')
        socket.transport.abort()

    async def leaves_in_a_container(self) -> None:
        """Disconnect while FFmpeg decodes the audio."""
        socket, _ = await self._greeted("encoding=container")
        await self._stream(socket, encoded(JFK, "webm_opus"), 2000)
        socket.transport.abort()

    async def stalls(self) -> None:
        """Send half a handshake, then nothing."""
        host, _, port = self._url.removeprefix("ws://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/stt/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: web")
        await writer.drain()
        await asyncio.sleep(self._chance.uniform(0, 1))
        writer.transport.abort()


WAYS = (
    Client.closes,
    Client.aborts,
    Client.leaves_when_connected,
    Client.leaves_before,
    Client.leaves_in_a_resume,
    Client.ends_and_leaves,
    Client.leaves_in_a_container,
    Client.stalls,
)


@dataclass
class Left:
    """What remains after the clients have disconnected."""

    left_s: float = 0.0
    """Seconds from the last disconnection until no connection, session and FFmpeg remained; inf: never."""
    connections: int = 0
    sessions: int = 0
    ffmpegs: int = 0
    keys: set[str] = field(default_factory=set)
    """Keys in Redis that didn't exist before."""
    refused: int = 0
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Megabytes of each process at the reference measurement and at the end."""

    @property
    def clean(self) -> bool:
        """Whether nothing remains."""
        return not (self.connections or self.sessions or self.ffmpegs or self.keys)


def _gauge(text: str, name: str) -> int:
    return int(
        sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
        )
    )


def _poll(cluster: Cluster, left: Left) -> None:
    metrics = httpx.get(f"{cluster.http()}/metrics", timeout=60).text
    left.connections = _gauge(metrics, "parlando_gateway_connections")
    left.sessions = httpx.get(f"{cluster.http()}/health", timeout=60).json()["sessions"]["open"]
    children = psutil.Process(cluster.processors[0].process.pid).children(recursive=True)
    left.ffmpegs = len(children)


def _memory(cluster: Cluster) -> dict[str, float]:
    named = {"gateway": cluster.gateways[0], "audio-processor": cluster.processors[0]}
    named |= {f"transcriber {n}": each for n, each in enumerate(cluster.transcribers, 1)}
    sizes = {name: psutil.Process(each.process.pid).memory_info().rss / MB for name, each in named.items()}
    return {**sizes, "redis": psutil.Process(cluster.redis.pid).memory_info().rss / MB}


async def leave(
    cluster: Cluster, clients: int, seconds: float, *, seed: int = 14, expire: bool = True
) -> Left:
    """Connect and disconnect `clients` within `seconds`, and measure what remains.

    `expire`: wait until the keys of ended sessions have expired, and count those that haven't.
    """
    chance = random.Random(seed)
    before = set(cluster.store().scan_iter())
    left, warm = Left(), {}
    tasks: list[asyncio.Task[None]] = []
    started = time.monotonic()

    async def run(client: Client, way: Callable[[Client], Awaitable[None]]) -> None:
        try:
            await way(client)
        except (ConnectionRefusedError, websockets.WebSocketException, OSError):
            left.refused += client.refused

    for number in range(clients):
        client = Client(cluster.url(), random.Random(chance.random()))
        tasks.append(asyncio.create_task(run(client, WAYS[number % len(WAYS)])))
        await asyncio.sleep(max(0.0, started + seconds * (number + 1) / clients - time.monotonic()))
        if number == int(clients * WARM):
            warm = _memory(cluster)
    await asyncio.gather(*tasks)
    gone = time.monotonic()
    while time.monotonic() - gone < 10 * (WINDOW_S + GRACE_S):
        await asyncio.to_thread(_poll, cluster, left)
        if not (left.connections or left.sessions or left.ffmpegs):
            left.left_s = time.monotonic() - gone
            break
        await asyncio.sleep(0.25)
    else:
        left.left_s = float("inf")
    for _ in range(2 * TTL_S if expire else 0):
        left.keys = {key for key in cluster.store().scan_iter() if key not in before and not _stays(key)}
        if not left.keys:
            break
        await asyncio.sleep(1)
    now = _memory(cluster)
    left.memory = {name: (warm.get(name, size), size) for name, size in now.items()}
    return left


def _stays(key: str) -> bool:
    """Whether a key is kept on purpose: queues with their groups, heartbeats, usage."""
    return key.split(":")[-1] in ("sessions", "intake", "workers", "shares") or ":usage:" in key


def cluster_of(**environment: str) -> Cluster:
    """The cluster that the clients connect to."""
    settings = {
        "RESUME_WINDOW_S": str(WINDOW_S),
        "SESSION_TTL_S": str(TTL_S),
        "WORKER_SESSIONS": "200",
        "PROCESSOR_SESSIONS": "200",
        **PERFECT,
        **environment,
    }
    return Cluster(transcribers=2, processors=1, **settings)


def main() -> None:
    """Measure, and publish the table."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    with cluster_of() as cluster:
        left = asyncio.run(leave(cluster, clients, minutes * 60))
    table = Table(
        "leavers",
        f"{clients} clients that leave in {len(WAYS)} ways, within {minutes:g} minutes",
        ("what", "warm", "at the end"),
    )
    table.rows = [
        ("seconds until nothing is left", None, left.left_s),
        ("connections left", None, left.connections),
        ("sessions left", None, left.sessions),
        ("FFmpeg processes left", None, left.ffmpegs),
        ("keys left in Redis", None, len(left.keys)),
        *((f"{name}, MB", *sizes) for name, sizes in left.memory.items()),
    ]
    table.remarks.append(
        f"RESUME_WINDOW_S={WINDOW_S}; bar: nothing is left {WINDOW_S + GRACE_S} s after the last one. "
        f"{left.refused} were refused for lack of capacity."
    )
    table.publish()
    if not left.clean:
        print(f"left in Redis: {sorted(left.keys)[:20]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
