"""Those who follow a job or a session when Redis loses its data: none waits for ever."""

import asyncio
from functools import partial

import pytest

from api_gateway.http.sse import Position, ReaderStart, respond
from parlando.domain.job_options import JobOptions
from parlando.errors import JobNotFoundError
from parlando.ids import new_job_id
from parlando.store.envelope import AccessChanged
from parlando.store.history import History
from parlando.store.job_store import Jobs, Source
from parlando.store.pubsub import Channels
from parlando.store.relay import Relay
from parlando.store.sessions import Sessions
from parlando.store.viewers import Viewers
from parlando.tasks import end
from support.pools import PLACE, POOL


@pytest.fixture
async def channels(redis):
    channels = Channels(redis)
    running = asyncio.create_task(channels.run())
    yield channels
    await end(running)
    await channels.aclose()


async def lose(redis, channel: str) -> None:
    """Redis is emptied, and subscribers are told to read again, as after a lost subscription."""
    await redis.flushall()
    await redis.publish(channel, AccessChanged().model_dump_json())


async def followed(relay: Relay, started: asyncio.Event) -> None:
    async with relay:
        started.set()
        async for _ in relay.batches():
            pass


async def test_who_waits_for_a_job_that_is_lost_is_told(redis, channels):
    history, jobs = History(redis, partitions=1), Jobs(redis, partitions=1, ttl_s=100, limit=10)
    job, started = new_job_id(), asyncio.Event()
    await jobs.submit(job, Source("blob", "a.wav", 10), JobOptions(), pool=POOL, key="k")
    relay = Relay(history, channels, job, after=0, admitted=partial(jobs.known, job))
    following = asyncio.create_task(followed(relay, started))
    await started.wait()
    await lose(redis, history.keys(job).events)

    with pytest.raises(JobNotFoundError, match="REDIS_DURABLE"):
        async with asyncio.timeout(600):
            await following


async def frames(response) -> list[bytes]:
    return [frame async for frame in response.body_iterator]


@pytest.mark.parametrize("how", ["lost", "revoked"])
async def test_a_viewer_of_a_session_that_is_lost_has_not_been_revoked(redis, channels, how):
    history, viewers = History(redis, partitions=1), Viewers(redis, partitions=1)
    await Sessions(redis, partitions=1, ttl_s=100).open("meeting", places=[PLACE], config={}, token="t")
    viewer, token = await viewers.add("meeting")
    looked = asyncio.Event()

    async def admitted() -> bool:
        looked.set()
        return await viewers.admits("meeting", token)

    relay = Relay(history, channels, "meeting", after=0, admitted=admitted)
    following = asyncio.create_task(frames(respond(relay, ReaderStart(Position()))))
    await looked.wait()
    if how == "lost":
        await lose(redis, history.keys("meeting").events)
    else:
        await viewers.revoke("meeting", viewer.id)
    async with asyncio.timeout(600):
        said = b"".join(await following)
    assert (b"revoked" in said) == (how == "revoked")


async def test_a_viewer_s_token_is_known_again_when_the_owner_gives_it_again(redis):
    viewers, sessions = Viewers(redis, partitions=1), Sessions(redis, partitions=1, ttl_s=100)
    await sessions.open("meeting", places=[PLACE], config={}, token="t")
    viewer, token = await viewers.add("meeting", "audience")
    await redis.flushall()
    await sessions.open("meeting", places=[PLACE], config={}, token="t")
    assert not await viewers.admits("meeting", token)
    again, same = await viewers.add("meeting", "audience", token)
    assert (again.id, same) == (viewer.id, token)
    assert await viewers.admits("meeting", token)
