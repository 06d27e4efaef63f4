"""Known speakers as a transcriber keeps them: how long, how many, and what a failed read does."""

import asyncio

import numpy as np
import pytest
from redis.exceptions import ResponseError

from parlando.domain.known_speakers import KnownSpeaker
from parlando.errors import UnavailableError
from transcriber import known_speakers
from transcriber.known_speakers import ENTRIES, LASTS_S, KnownSpeakersCache
from transcriber.speakers.embedding import DIMENSIONS
from transcriber.speakers.known import clip_of


class Store:
    """Stands for Redis: returns `people`, raises `error`, or doesn't answer while `hangs`."""

    def __init__(self, *names: str) -> None:
        self.people = [person(name) for name in names]
        self.error: Exception | None = None
        self.hangs = False
        self.reads = 0

    async def all(self, owner: str) -> list[KnownSpeaker]:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return self.people


class Kept(KnownSpeakersCache):
    """The cache, with a clock that the test sets."""

    def __init__(self, store: Store) -> None:
        self.now = 100.0
        super().__init__(store, clock=lambda: self.now)

    async def names(self, owner: str = "k", option: str = "true", **how: bool) -> tuple[str, ...] | None:
        found = await self.voices(owner, option, **how)
        return None if found is None else found.names

    @property
    def count(self) -> int:
        return len(self._kept)


def person(name: str) -> KnownSpeaker:
    clip = clip_of(np.eye(1, DIMENSIONS, dtype=np.float32), np.ones(1), seconds=6.0)
    return KnownSpeaker(name=name, created_ms=0, clips=(clip,))


async def test_sessions_get_a_change_after_seconds_and_jobs_at_once():
    store = Store()
    kept = Kept(store)
    assert await kept.names() == ()
    store.people = [person("Anna"), person("Ben")]
    kept.now += LASTS_S - 0.1
    assert await kept.names() == ()
    kept.now += 0.1
    assert await kept.names() == ("Anna", "Ben")
    assert await kept.names(option="Ben") == ("Ben",)
    store.people = []
    assert await kept.names() == ("Anna", "Ben")
    assert await kept.names(newest=True) == ()


@pytest.mark.parametrize("error", [UnavailableError("down"), ResponseError("WRONGTYPE"), KeyError("clips")])
async def test_after_a_failed_read_a_session_knows_nothing_for_seconds_and_does_not_read_again(error):
    store = Store("Anna")
    kept = Kept(store)
    store.error = error
    assert await kept.names() is None
    assert await kept.names() is None
    assert store.reads == 1
    store.error = None
    kept.now += LASTS_S
    assert await kept.names() == ("Anna",)


async def test_a_session_does_not_wait_long_for_redis(monkeypatch):
    monkeypatch.setattr(known_speakers, "READ_S", 0.01)
    store = Store("Anna")
    store.hangs = True
    async with asyncio.timeout(10):
        assert await Kept(store).names() is None


async def test_a_job_is_tried_again_if_redis_is_unreachable_and_done_without_names_on_bad_data():
    store = Store("Anna")
    store.error = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await Kept(store).names(newest=True)
    store.error = ResponseError("WRONGTYPE")
    assert await Kept(store).names(newest=True) is None


async def test_expired_voices_are_removed_without_another_read(monkeypatch):
    monkeypatch.setattr(known_speakers, "SWEEP_S", 0.0)
    kept = Kept(Store("Anna"))
    await kept.names("one")
    kept.now += LASTS_S / 2
    await kept.names("two")
    kept.now += LASTS_S / 2
    sweeping = asyncio.create_task(kept.run())
    async with asyncio.timeout(10):
        while kept.count > 1:
            await asyncio.sleep(0)
    assert kept.count == 1
    kept.now += LASTS_S
    sweeping.cancel()
    await kept.names("three")
    assert kept.count == 1


async def test_the_number_of_entries_is_bounded():
    kept = Kept(Store())
    for number in range(ENTRIES + 5):
        await kept.names(str(number))
    assert kept.count == ENTRIES
