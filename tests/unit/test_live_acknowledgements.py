"""What a live connection acknowledges. Its socket, writer and relay are played."""

import asyncio
from types import SimpleNamespace

import orjson
import pytest

from api_gateway.live.transport import ClientDisconnected
from support.events import enveloped, final
from support.played import Played, Said, ended


async def test_an_ack_tells_only_what_is_settled_by_finals_that_were_sent():
    """Else a client would drop audio whose final it might never see."""
    played, acks = Played(), []
    turn: asyncio.Queue[str] = asyncio.Queue()  # what the client does next
    acknowledged = asyncio.Event()

    async def receive() -> str:
        if await turn.get() == "leave":
            raise ClientDisconnected
        return '{"type":"audio","chunk":"AAAA","index":0}'

    async def append(pcm: bytes, limit: int) -> SimpleNamespace:
        played.settled = (2100, 4)  # as soon as the final is in Redis
        return SimpleNamespace(stored=True, backlog=0)

    async def batches():
        await acknowledged.wait()  # the channel is slower than the append
        yield [enveloped(final(4, covers=2100))]
        await asyncio.Future()

    async def send(message: str) -> None:
        said = orjson.loads(message)
        if said["type"] == "final":
            turn.put_nowait("speak")
            return
        acks.append(said)
        acknowledged.set()
        if len(acks) == 2:
            turn.put_nowait("leave")

    played.receive, played.append, played.batches, played.send = receive, append, batches, send
    turn.put_nowait("speak")
    with pytest.raises(ClientDisconnected):
        await asyncio.wait_for(played.connection().run(), 60)
    assert [(ack["settled"], ack["settled_ms"]) for ack in acks] == [(0, 0), (2048, 131)]


async def test_all_audio_is_acknowledged_though_no_more_follows():
    """A client that has sent as much as may be unacknowledged waits for it."""
    client, second = Said(), asyncio.Event()
    client.received, client.position, client.settled = 0, 0, (0, 0)
    frames = 2

    async def receive() -> bytes:
        nonlocal frames
        frames -= 1
        if frames == 0:
            await second.wait()
        elif frames < 0:
            await asyncio.Future()
        return bytes(3200)

    async def append(pcm: bytes, limit: int) -> SimpleNamespace:
        client.received += len(pcm) // 2
        client.position = client.received
        return SimpleNamespace(stored=True, backlog=0)

    client.receive, client.append = receive, append
    running = asyncio.create_task(client.connection().run())
    assert (await client.sent.get())["received"] == 1600
    second.set()  # within the interval between two acknowledgements
    assert (await client.sent.get())["received"] == 3200
    await ended(running)
