"""Cancellation, time limits and full pools of the Redis clients, with a real Redis."""

import asyncio
import random
import shutil

import pytest
from redis import exceptions as broken

from api_gateway.live.connection import LiveConnection
from api_gateway.live.transport import ClientDisconnected
from api_gateway.settings import GatewaySettings
from parlando.errors import UnavailableError
from parlando.store.clients import WritesRefusedError
from parlando.store.connection import connect, retried
from parlando.store.history import History
from parlando.store.pubsub import Channels
from parlando.store.relay import Relay
from parlando.store.sessions import Sessions
from parlando.tasks import end
from support.events import native
from support.pools import PLACE


class LeavingClient:
    """A client that sends `frames` frames of 20 ms and then leaves without a word."""

    def __init__(self, frames: int) -> None:
        self._frames = frames

    async def receive(self) -> bytes:
        if not self._frames:
            raise ClientDisconnected
        self._frames -= 1
        await asyncio.sleep(0.002)
        return bytes(640)

    async def send(self, message: str) -> None:
        await asyncio.sleep(0)


async def test_connections_of_clients_that_leave_in_mid_stream_all_end(redis, redis_server):
    """Before, a cancellation that met a finished write was dropped, and a third of them stayed for ever."""
    sessions, history = Sessions(redis, partitions=1, ttl_s=100), History(redis, partitions=1)
    other = connect(redis_server.url)
    channels = Channels(other)
    running = asyncio.create_task(channels.run())
    chance = random.Random(14)

    async def client(number: int) -> None:
        writer = await sessions.open(f"s{number}", places=[PLACE], config={}, token="t")
        async with Relay(history, channels, writer.sid, after=0) as relay:
            socket = LeavingClient(chance.randint(0, 40))
            settings = GatewaySettings(redis_url=redis_server.url)
            await LiveConnection(socket, writer, relay, settings=settings, protocol=native()).run()

    clients = [asyncio.create_task(client(number)) for number in range(100)]
    ended, alive = await asyncio.wait(clients, timeout=600)
    await end(running, *alive)
    await other.aclose()

    assert not alive
    assert all(isinstance(task.exception(), ClientDisconnected) for task in ended)


async def test_one_cancellation_ends_a_loop_of_redis_calls(redis):
    """Whatever the moment at which it comes."""

    async def loop(number: int) -> None:
        while True:
            await retried(lambda: redis.set(f"k{number}", "v"))

    loops = [asyncio.create_task(loop(number)) for number in range(50)]
    for task in loops:
        await asyncio.sleep(0.003)
        task.cancel()
    _, alive = await asyncio.wait(loops, timeout=600)
    for task in alive:
        task.cancel()

    assert not alive


async def test_a_call_beyond_the_pool_waits_for_a_connection(redis_server):
    small = connect(redis_server.url, connections=3)
    assert all(await asyncio.gather(*(small.set(f"k{n}", "v") for n in range(300))))
    assert len(await small.keys("k*")) == 300
    await small.aclose()


async def test_a_pool_gets_the_connections_of_cancelled_calls_back(redis_server):
    small = connect(redis_server.url, connections=2)
    for _ in range(5):
        waiting = [asyncio.create_task(small.blpop("nothing", timeout=2)) for _ in range(6)]
        await asyncio.sleep(0.02)
        await end(*waiting)
    assert await small.ping()
    await small.aclose()


async def test_an_answer_that_does_not_come_is_an_error_and_the_next_call_is_answered(redis, monkeypatch):
    monkeypatch.setattr(type(redis), "answer_s", 0.2)
    with pytest.raises(broken.TimeoutError, match="gave no answer within"):
        await redis.blpop("nothing", timeout=600)
    monkeypatch.undo()
    assert await redis.ping()


async def test_a_redis_that_can_not_write_its_disk_is_waited_for(redis, redis_server):
    """Its refusal of writes is no error of ours. Here its folder is missing."""
    await redis.config_set("save", "3600 1")
    await redis.set("key", 1, ex=600)
    shutil.rmtree(redis_server.folder)
    await redis.bgsave()
    while (await redis.info("persistence"))["rdb_last_bgsave_status"] == "ok":
        await asyncio.sleep(0.02)
    assert await redis.get("key") == b"1", "reads are answered"
    with pytest.raises(WritesRefusedError, match="make room"):
        await redis.set("key", 2, ex=600)
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.set("key", 2, ex=600)
        with pytest.raises(WritesRefusedError):
            await pipeline.execute()
    with pytest.raises(WritesRefusedError):
        await redis.eval("return redis.call('SET', KEYS[1], 2, 'EX', 600)", 1, "key")
    with pytest.raises(UnavailableError, match="make room"):
        await retried(lambda: redis.set("key", 2, ex=600), within=0.2)
    waiting = asyncio.create_task(retried(lambda: redis.set("key", 3, ex=600), within=600))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await redis.config_set("stop-writes-on-bgsave-error", "no")
    assert await waiting
    assert await redis.get("key") == b"3"
