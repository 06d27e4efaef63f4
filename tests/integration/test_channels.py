"""One subscription connection for many listeners, with a real Redis."""

import asyncio

import pytest
from redis import exceptions as broken

from parlando.store.connection import connect
from parlando.store.pubsub import Channels
from parlando.tasks import end


@pytest.fixture
async def channels(redis_server):
    client = connect(redis_server.url)
    channels = Channels(client)
    running = asyncio.create_task(channels.run())
    yield channels
    await end(running)
    await channels.aclose()
    await client.aclose()


class Heard(list):
    """A listener that notes the data of its messages; None where some may have been missed."""

    __hash__ = object.__hash__

    def __call__(self, message) -> None:
        self.append(None if message is None else message.raw)


async def _until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never")


async def test_every_listener_that_has_subscribed_gets_what_is_published_then(redis, channels):
    """The second listener of a channel used to return while the first one's SUBSCRIBE was under way."""
    for round_ in range(20):
        listeners = [Heard() for _ in range(5)]
        channel = f"c{round_}"

        async def subscribe(listener, channel=channel) -> None:
            await channels.subscribe(channel, listener)
            assert await redis.pubsub_numsub(channel) == [(channel.encode(), 1)]

        await asyncio.gather(*(subscribe(listener) for listener in listeners))
        await redis.publish(channel, '{"type":"final"}')
        await _until(lambda listeners=listeners: all(len(listener) == 1 for listener in listeners))


async def test_a_subscription_while_redis_is_away_is_confirmed_when_it_is_back(redis, redis_server, channels):
    first, second = Heard(), Heard()
    await channels.subscribe("a", first)
    redis_server.kill()
    subscribing = asyncio.create_task(channels.subscribe("b", second))
    await asyncio.sleep(0.1)
    assert not subscribing.done()
    redis_server.start()
    await subscribing
    await redis.publish("a", '{"type":"final"}')
    await redis.publish("b", '{"type":"final"}')
    await _until(lambda: first[-1:] == [b'{"type":"final"}'] == second[-1:])
    assert None in first  # it is told that it may have missed some


async def test_a_listener_whose_subscription_failed_or_was_cancelled_is_forgotten(channels, monkeypatch):
    async def fails(*channels):
        raise broken.ConnectionError("no")

    monkeypatch.setattr("parlando.store.pubsub.CONFIRMED_S", 0.2)
    monkeypatch.setattr(channels._pubsub, "subscribe", fails)
    monkeypatch.setattr(channels, "_new", lambda: channels._pubsub)
    with pytest.raises(Exception, match="no subscription was confirmed"):
        await channels.subscribe("a", Heard())
    monkeypatch.setattr("parlando.store.pubsub.CONFIRMED_S", 60)
    waiting = asyncio.create_task(channels.subscribe("b", Heard()))
    await asyncio.sleep(0.05)
    await end(waiting)
    assert channels._subscriptions == {}


async def test_a_channel_that_is_left_and_joined_again_at_once_is_heard(redis, channels):
    for _ in range(50):
        left, joined = Heard(), Heard()
        await channels.subscribe("c", left)
        await asyncio.gather(channels.unsubscribe("c", left), channels.subscribe("c", joined))
        await redis.publish("c", '{"type":"final"}')
        await _until(lambda joined=joined: joined == [b'{"type":"final"}'])
        await channels.unsubscribe("c", joined)


async def test_a_reader_that_leaves_while_it_subscribes_takes_nothing_from_the_next_one(redis, redis_server):
    """A SUBSCRIBE cancelled while it connected left an answer to wait for: later ones were not confirmed."""
    for steps in range(60):
        client = connect(redis_server.url)
        channels = Channels(client)
        running = asyncio.create_task(channels.run())
        joined = Heard()
        leaving = asyncio.create_task(channels.subscribe("c", Heard()))
        for _ in range(steps):
            await asyncio.sleep(0)
        await end(leaving)
        async with asyncio.timeout(60):
            await channels.subscribe("c", joined)
        await redis.publish("c", '{"type":"final"}')
        await _until(lambda joined=joined: b'{"type":"final"}' in joined)
        await end(running)
        await channels.aclose()
        await client.aclose()
