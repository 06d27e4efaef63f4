"""Followers annotate sessions and jobs; readers get annotations once and in order, beside the events."""

import asyncio
from contextlib import aclosing

import pytest

from parlando.domain.annotations import Annotation
from parlando.domain.job_options import JobOptions
from parlando.errors import ConflictError, JobNotFoundError, SessionNotFoundError
from parlando.ids import new_job_id
from parlando.store import annotations as module
from parlando.store.annotations import Annotations
from parlando.store.history import History
from parlando.store.job_store import Jobs, Source
from parlando.store.pubsub import Channels
from parlando.store.relay import AnnotationsFrom, Relay
from parlando.store.sessions import Sessions
from parlando.tasks import end
from support.pools import PLACE, POOL


@pytest.fixture
def annotations(redis):
    return Annotations(redis, partitions=1)


@pytest.fixture
async def session(redis):
    return await Sessions(redis, partitions=1, ttl_s=100).open("s", places=[PLACE], config={}, token="t")


@pytest.fixture
async def channels(redis):
    listening = Channels(redis)
    task = asyncio.create_task(listening.run())
    yield listening
    await end(task)
    await listening.aclose()


async def _add(annotations: Annotations, name: str, **data: object) -> int:
    return await annotations.add(
        annotations.of_session("s"), name=name, kind="count", by="counter", data=data
    )


async def test_annotations_have_numbers_of_their_own_and_none_is_added_twice(annotations, session, redis):
    assert [await _add(annotations, name, n=n) for n, name in enumerate("aabca")] == [1, 1, 2, 3, 1]

    found = await annotations.dumped(annotations.of_session("s"))
    assert [(each["number"], each["data"]) for each in found] == [(1, {"n": 0}), (2, {"n": 2}), (3, {"n": 3})]
    assert {each["epoch"] for each in found} == {session.epoch}
    record = await History(redis, partitions=1).record("s")
    assert record.seq == 0, "the owner's numbers are untouched"
    keys = annotations.of_session("s")
    assert all([0 < await redis.ttl(key) <= 100 for key in keys.beside_hash])


async def test_what_is_gone_can_not_be_annotated(annotations, session, redis, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANNOTATIONS", 2)
    await _add(annotations, "a")
    await _add(annotations, "b")
    with pytest.raises(ConflictError, match="the maximum"):
        await _add(annotations, "c")
    await History(redis, partitions=1).forget("s")
    with pytest.raises(SessionNotFoundError):
        await _add(annotations, "d")
    with pytest.raises(JobNotFoundError):
        await annotations.add(annotations.of_job("j"), name="a", kind="count", by="counter", data={})
    assert not await redis.exists(*annotations.of_session("s").beside_hash)


async def test_a_job_is_annotated_too(annotations, redis):
    jobs, job = Jobs(redis, partitions=1, ttl_s=100, limit=10), new_job_id()
    await jobs.submit(job, Source("b", "f"), JobOptions(), pool=POOL, key="k")
    keys = annotations.of_job(job)
    assert await annotations.add(keys, name="x", kind="summary", by="analyzer", data={"text": "Hi."}) == 1

    [found] = [each async for each in annotations.all(keys)]
    assert (found.session_id, found.data) == (job, {"text": "Hi."})
    record = await jobs.record(job)
    assert found.epoch == record.created_ms
    await jobs.cancel(record)
    await jobs.forget(record)
    assert not await redis.exists(*keys.beside_hash)


async def _numbers(relay: Relay, count: int) -> list[int]:
    numbers: list[int] = []
    async with relay, aclosing(relay.batches()) as batches:
        async for batch in batches:
            numbers += [each.message.number for each in batch if isinstance(each.message, Annotation)]
            if len(numbers) >= count:
                return numbers
    raise AssertionError("the relay ended")


async def test_readers_get_each_once_whether_it_comes_before_or_behind_them(
    annotations, session, redis, channels
):
    history = History(redis, partitions=1)
    for n in range(3):
        await _add(annotations, f"early{n}")

    def relay(after: int) -> Relay:
        wanted = AnnotationsFrom(annotations, annotations.of_session("s"), after)
        return Relay(history, channels, "s", after=0, annotations=wanted)

    reading = [asyncio.create_task(_numbers(relay(after), 303 - after)) for after in (0, 2)]
    for n in range(300):  # more than an outbox holds
        await _add(annotations, f"late{n}")
    async with asyncio.timeout(600):
        assert await reading[0] == list(range(1, 304))
        assert await reading[1] == list(range(3, 304))


async def test_who_does_not_ask_gets_none(annotations, session, redis, channels):
    history = History(redis, partitions=1)
    async with Relay(history, channels, "s", after=0) as relay, aclosing(relay.batches()) as batches:
        await _add(annotations, "a")
        reading = asyncio.create_task(anext(batches))
        _, waiting = await asyncio.wait([reading], timeout=0.3)
        assert waiting, "nothing is there for it"
        await end(reading)


async def test_a_speaker_has_the_last_name_that_it_was_given(annotations, session, redis):
    keys, history = annotations.of_session("s"), History(redis, partitions=1)
    await annotations.name_speaker(keys, "SPEAKER_00", "Anna")
    names = await annotations.name_speaker(keys, "SPEAKER_01", "Älva / 1")
    assert names == {"SPEAKER_00": "Anna", "SPEAKER_01": "Älva / 1"}
    assert (await history.record("s")).speaker_names == names
    for name in ("Anne", "Anne", None, None):
        names = await annotations.name_speaker(keys, "SPEAKER_00", name)
    assert (await history.record("s")).speaker_names == names == {"SPEAKER_01": "Älva / 1"}

    found = [each.data for each in [each async for each in annotations.all(keys)]]
    assert [(each["speaker"][-1], each["name"]) for each in found] == [
        ("0", "Anna"), ("1", "Älva / 1"), ("0", "Anne"), ("0", None)
    ]  # fmt: skip
    assert await annotations.name_speaker(keys, "SPEAKER_01", None) == {}


async def test_names_of_speakers_are_limited(annotations, session, redis, monkeypatch):
    monkeypatch.setattr(module, "MAX_NAMES", 2)
    monkeypatch.setattr(module, "MAX_NAME_CHANGES", 4)
    keys = annotations.of_session("s")
    await annotations.name_speaker(keys, "a", "A")
    await annotations.name_speaker(keys, "b", "B")
    with pytest.raises(ConflictError, match="2 speakers"):
        await annotations.name_speaker(keys, "c", "C")
    await annotations.name_speaker(keys, "a", None)
    await annotations.name_speaker(keys, "c", "C")
    with pytest.raises(ConflictError, match="renamed 4 times"):
        await annotations.name_speaker(keys, "c", "D")
    monkeypatch.setattr(module, "MAX_NAME_CHANGES", 5)
    monkeypatch.setattr(module, "MAX_ANNOTATIONS", 4)
    with pytest.raises(ConflictError, match="4 annotations"):
        await annotations.name_speaker(keys, "c", "D")
    await History(redis, partitions=1).forget("s")
    with pytest.raises(SessionNotFoundError):
        await annotations.name_speaker(keys, "a", "A")
    with pytest.raises(JobNotFoundError):
        await annotations.name_speaker(annotations.of_job("j"), "a", "A")
