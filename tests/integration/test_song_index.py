"""The index of songs in a real Redis, and in a Redis Cluster."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from parlando.errors import ConflictError, SongNotFoundError
from parlando.store import song_index, song_keys
from parlando.store.connection import connect
from parlando.store.song_index import SongIndex
from song_recognizer.landmarks import landmarks
from song_recognizer.recognition import Recogniser
from support.music import RATE, music, pcm16
from support.redis_topologies import RedisClusterServers


@pytest.fixture(autouse=True)
def quick_sweep(monkeypatch):
    monkeypatch.setattr(song_index, "SWEPT", 8000)
    monkeypatch.setattr(song_index, "SWEEP_PAUSE_S", 0)


LANDMARKS = {5: [1, 2], 77: [3], 0xFFFFF: [65_535]}


async def add(index: SongIndex, content: str, landmarks=LANDMARKS, *, file: str = "", **fields) -> int:
    number, registered = await index.begin(content=content, file=file, fields={"title": content, **fields})
    assert not registered
    await index.append(number, landmarks)
    assert await index.finish(number)
    return number


def records(number: int, *frames: int) -> bytes:
    return b"".join(number.to_bytes(3, "little") + frame.to_bytes(2, "little") for frame in frames)


async def test_a_registered_song_is_found_by_its_hashes_and_by_its_file(redis):
    index = SongIndex(redis)
    number = await add(index, "a", file="f" * 64, artist="x", duration=12.5)
    song = await index.song(number)
    assert (song.id, song.title, song.artist, song.duration) == (number, "a", "x", 12.5)
    assert await index.by_file("f" * 64) == song
    assert await index.by_file("0" * 64) is None
    assert await index.records([5, 77, 78, 0xFFFFF]) == {
        5: records(number, 1, 2),
        77: records(number, 3),
        0xFFFFF: records(number, 65_535),
    }
    assert await index.count() == 1


async def test_the_same_audio_is_registered_once(redis):
    index = SongIndex(redis)
    number = await add(index, "a")
    assert await index.begin(content="a", file="1" * 64, fields={"title": "other"}) == (number, True)
    assert (await index.by_file("1" * 64)).title == "a"
    assert await index.count() == 1


async def test_an_interrupted_registration_is_not_a_song_and_can_be_repeated(redis):
    index = SongIndex(redis)
    number, _ = await index.begin(content="a", fields={"title": "a"})
    await index.append(number, {5: [1]})
    with pytest.raises(SongNotFoundError):
        await index.song(number)
    again = await add(index, "a")
    assert again != number
    assert await index.sweep() == 1
    assert await index.records([5]) == {5: records(again, 1, 2)}
    assert not await index.finish(number)  # the first attempt has no effect any more
    assert [song.id for song in await index.page(after=0, limit=10)] == [again]


async def test_a_removed_song_is_unknown_at_once_and_its_records_are_swept(redis):
    index = SongIndex(redis)
    first, second = await add(index, "a", file="a" * 64), await add(index, "b")
    await index.remove(first)
    with pytest.raises(SongNotFoundError):
        await index.song(first)
    with pytest.raises(SongNotFoundError):
        await index.remove(first)
    assert await index.by_file("a" * 64) is None
    assert await index.sweep() == 4
    assert await index.sweep() == 0
    assert await index.records(LANDMARKS) == {
        value: records(second, *frames) for value, frames in LANDMARKS.items()
    }
    await index.remove(second)
    await index.sweep()
    assert not [key async for key in redis.scan_iter("stt:{songs:*") if b":answer:" not in key]
    assert await add(index, "a") > second  # numbers don't recur


async def test_too_common_a_hash_is_capped(redis, monkeypatch):
    monkeypatch.setattr(song_index, "MAX_RECORDS", 3)
    index = SongIndex(redis)
    numbers = [await add(index, str(each), {9: [each]}) for each in range(5)]
    expected = b"".join(records(number, each) for each, number in enumerate(numbers[:3]))
    assert await index.records([9]) == {9: expected}


async def test_pages(redis):
    index = SongIndex(redis)
    numbers = [await add(index, str(each)) for each in range(5)]
    first = await index.page(after=0, limit=3)
    assert [song.id for song in first] == numbers[:3]
    assert [song.id for song in await index.page(after=first[-1].id, limit=3)] == numbers[3:]


async def test_an_index_of_other_parameters_is_refused(redis):
    index = SongIndex(redis)
    await index.check({"version": 1, "rate": 11_025})
    await index.check({"rate": 11_025, "version": 1})
    with pytest.raises(ConflictError, match="other parameters"):
        await index.check({"version": 2, "rate": 11_025})


async def test_concurrent_registrations_of_the_same_audio_leave_one_song(redis):
    index = SongIndex(redis)

    async def register() -> None:
        number, registered = await index.begin(content="a", fields={"title": "a"})
        if not registered:
            await index.append(number, LANDMARKS)
            await index.finish(number)

    await asyncio.gather(*(register() for _ in range(5)))
    [song] = await index.page(after=0, limit=10)
    await index.sweep()
    assert await index.records([77]) == {77: records(song.id, 3)}


async def test_the_same_in_a_redis_cluster():
    servers = RedisClusterServers()
    servers.start()
    redis = connect(servers.url)
    try:
        index = SongIndex(redis)
        await index.check({"version": 1})
        many = {value: [value % 1000] for value in range(0, 40_000, 7)}
        number = await add(index, "a", many)
        found = await index.records(many)
        assert found == {value: records(number, *frames) for value, frames in many.items()}
        assert len({song_keys.bucket(value).partition("}")[0] for value in many}) == song_keys.SHARDS
        await index.remove(number)
        assert await index.sweep() == len(many)
    finally:
        await redis.aclose()
        servers.stop()


async def test_a_song_that_was_removed_and_registered_again_is_recognised_before_the_sweep(redis):
    index, piece = SongIndex(redis), pcm16(music(3, 20))
    hashes = landmarks(piece).by_hash()
    removed = await add(index, "a", hashes)
    await index.remove(removed)
    with ThreadPoolExecutor(1) as thread:
        recogniser = Recogniser(index, thread)
        excerpt = piece[5 * RATE : 15 * RATE]
        assert await recogniser.candidate(excerpt, start=0) is None
        again = await add(index, "a", hashes)
        assert await index.removed() == {removed}
        found = await recogniser.candidate(excerpt, start=0)
    assert found is not None
    assert found.song_id == again
    await index.sweep()
    assert await index.removed() == frozenset()
