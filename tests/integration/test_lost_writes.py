"""A Redis that was killed may come back without its last writes: the append-only file lags behind."""

import asyncio

import pytest

from parlando.domain.audio import Encoding
from parlando.domain.commands import Flush
from parlando.domain.events import FinalTranscript
from parlando.domain.formats import AudioFormat
from parlando.errors import FencedError, SessionLostError, SupersededError
from parlando.store.conversion_claims import ConversionClaims
from parlando.store.session_log import Checkpoint, SessionClaims
from support.pools import PLACE, POOL

SECOND = bytes(32_000)
MOST = 1 << 30
MULAW = AudioFormat(encoding=Encoding.MULAW, sample_rate=8000)


class Disk:
    """What Redis will have when it comes back."""

    def __init__(self, redis) -> None:
        self._redis = redis
        self._kept: dict[bytes, tuple[bytes, int]] = {}

    async def write(self) -> None:
        keys = await self._redis.keys("stt:*")
        self._kept = {key: (await self._redis.dump(key), max(0, await self._redis.pttl(key))) for key in keys}

    async def read(self) -> None:
        await self._redis.flushall()
        for key, (value, ttl) in self._kept.items():
            await self._redis.restore(key, ttl, value)


@pytest.fixture
def disk(redis):
    return Disk(redis)


@pytest.mark.parametrize("form", [AudioFormat(), MULAW])
async def test_a_client_whose_audio_was_lost_is_asked_to_send_it_again(disk, sessions, form):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t", form=form)
    await writer.append(SECOND, MOST)
    await disk.write()
    await writer.append(SECOND, MOST)
    await disk.read()
    with pytest.raises(SessionLostError, match="without the last seconds"):
        await writer.append(SECOND, MOST)


async def test_a_connection_that_redis_has_forgotten_is_not_taken_for_an_old_one(disk, sessions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    await disk.write()
    first = (await sessions.attach("s", token="t")).writer
    second = (await sessions.attach("s", token="t")).writer
    with pytest.raises(SupersededError):
        await first.touch()
    await disk.read()
    for call in (
        second.append(SECOND, MOST),
        second.touch(),
        second.command(Flush()),
        second.reformat(MULAW),
    ):
        with pytest.raises(SessionLostError):
            await call


async def test_an_owner_whose_events_were_lost_leaves_them_to_be_made_again(redis, disk, sessions):
    await sessions.open("s", places=[PLACE], config={}, token="t")
    claims = SessionClaims(redis, pool=POOL, worker="t", partitions=1, ttl_s=100, lease_s=0.01)
    await claims.queue.ensure_groups()
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)

    async def commit(segment: int) -> None:
        final = FinalTranscript(session_id="s", segment=segment, text="x", start=0.0, end=1.0)
        await owned.commit([final], decoded=segment, segments=segment + 1, checkpoint=Checkpoint(segment, {}))

    await commit(0)
    await disk.write()
    await commit(1)
    await disk.read()
    with pytest.raises(FencedError, match="without the last events"):
        await commit(2)
    await asyncio.sleep(0.05)  # until the lease has run out
    [again] = await claims.take_over(1)
    assert (again.seq, again.segments, again.checkpoint.offset) == (1, 1, 0)


async def test_a_processor_whose_audio_was_lost_leaves_it_to_be_converted_again(redis, disk, sessions):
    await sessions.open("s", places=[PLACE], config={}, token="t", form=MULAW)
    claims = ConversionClaims(redis, worker="p", partitions=1, ttl_s=100, lease_s=0.01)
    await claims.queue.ensure_groups()
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)

    async def emit(at: int) -> None:
        await owned.emit(SECOND, max_backlog=MOST, converted=at, needed=at, state={})

    await emit(8000)
    await disk.write()
    await emit(16_000)
    await disk.read()
    with pytest.raises(FencedError, match="without the last audio"):
        await emit(24_000)
    await asyncio.sleep(0.05)  # until the lease has run out
    [again] = await claims.take_over(1)
    assert again.emitted == 16_000
