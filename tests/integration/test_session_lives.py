"""A session id that is opened again: its events are numbered on, and only the new words are shown."""

import asyncio
from contextlib import aclosing

import pytest

from parlando.domain.audio import Encoding
from parlando.domain.events import Closed, FinalTranscript
from parlando.domain.formats import AudioFormat
from parlando.errors import FencedError, SessionTakenError, SupersededError
from parlando.store.audio_streams import Frame, StreamReader, position_at
from parlando.store.conversion_claims import ConversionClaims
from parlando.store.history import History
from parlando.store.pubsub import Channels
from parlando.store.relay import Relay
from parlando.store.session_log import Checkpoint
from parlando.store.sessions import Continued
from parlando.tasks import end
from support.pools import PLACE

SECOND = b"\1\0" * 16_000


@pytest.fixture
def history(redis):
    return History(redis, partitions=1)


async def _say(owned, *texts: str) -> None:
    finals = [FinalTranscript(session_id="meeting", segment=0, text=text, start=0, end=1) for text in texts]
    await owned.commit(finals, decoded=1, segments=len(texts))


async def _live_and_close(sessions, claims, *texts: str) -> None:
    await sessions.open("meeting", places=[PLACE], config={}, token="t", key="k")
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)
    await _say(owned, *texts)
    closed = Closed(session_id="meeting", duration=1, segments=len(texts), reason="end")
    await owned.commit([closed], decoded=1, segments=len(texts), close=True)


async def _followed(relay: Relay, count: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    async with relay, aclosing(relay.batches()) as batches:
        async for batch in batches:
            found += [(event.seq, event.message.text) for event in batch]
            if len(found) >= count:
                return found
    raise AssertionError("the relay ended")


@pytest.mark.parametrize("seen", [0, 2, 3])
async def test_a_viewer_of_the_first_life_misses_nothing_of_the_second(
    redis, sessions, claims, history, seen
):
    await _live_and_close(sessions, claims, "old", "words")  # seq 1 and 2, and 3 for closed
    writer = await sessions.open("meeting", places=[PLACE], config={}, token="t", key="k")
    assert writer.seq == 3
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)
    await _say(owned, "new")
    channels = Channels(redis)
    running = asyncio.create_task(channels.run())
    relay = Relay(history, channels, "meeting", after=seen)
    following = asyncio.create_task(_followed(relay, 2))
    await _say(owned, "more")

    assert await following == [(4, "new"), (5, "more")]
    await end(running)
    await channels.aclose()


async def test_a_transcript_holds_the_words_of_this_life_only(sessions, claims, history):
    await _live_and_close(sessions, claims, *("old" for _ in range(600)))  # more than a page
    await sessions.open("meeting", places=[PLACE], config={}, token="t", key="k")
    [claim] = await claims.take_new(block_ms=100)
    assert [event async for event in history.all_events("meeting")] == []
    await _say(claims.own(claim), *(f"new {n}" for n in range(1100)))

    assert len([event async for event in history.all_events("meeting")]) == 1100


async def test_a_session_that_redis_lost_goes_on_where_its_client_says(sessions, claims, redis, history):
    writer = await sessions.open(
        "meeting",
        places=[PLACE],
        config={},
        token="t",
        continued=Continued(seq=41, segments=7, position=160_000, settled=160_300),
    )
    assert (writer.seq, writer.received) == (41, 160_000)
    await writer.append(SECOND, 16_000)
    record = await history.record("meeting")
    [claim] = await claims.take_new(block_ms=100)

    assert (record.received, record.decoded, record.seq, record.segments) == (176_000, 160_000, 41, 7)
    assert claim.floor == 160_300
    assert (claim.start, claim.seq, claim.segments, claim.decoded) == (160_000, 41, 7, 160_000)
    key = sessions.keys("meeting").pcm
    [frame] = (await StreamReader(redis).read({key: position_at(claim.start)}, block_ms=10))[key]
    assert isinstance(frame, Frame)
    assert frame.start == 160_000


async def test_a_conversion_that_goes_on_counts_its_own_samples_from_zero(sessions, redis, history):
    form = AudioFormat(sample_rate=8000, encoding=Encoding.PCM_S16LE)
    writer = await sessions.open(
        "meeting", places=[PLACE], config={}, token="t", form=form, continued=Continued(position=80_000)
    )
    assert writer.received == 0  # bytes of this life
    assert writer.position == 80_000  # the client's samples
    claims = ConversionClaims(redis, worker="p", partitions=1, ttl_s=100)
    await claims.queue.ensure_groups()
    [claim] = await claims.take_new(block_ms=100)
    assert claim.emitted == 0
    await claims.own(claim).emit(SECOND, max_backlog=16_000, converted=1, needed=0, state={})

    assert (await history.record("meeting")).received == 176_000


async def test_owners_and_connections_of_a_life_that_redis_lost_are_fenced(sessions, claims, redis):
    """Each life counts them from one; the numbers of a life that goes on must be others."""
    writer = await sessions.open("meeting", places=[PLACE], config={}, token="t")
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)
    await _say(owned, "one")
    await redis.flushall()
    await claims.queue.ensure_groups()
    again = await sessions.open("meeting", places=[PLACE], config={}, token="t", continued=Continued(seq=1))
    [new] = await claims.take_new(block_ms=100)

    with pytest.raises(FencedError):
        await _say(owned, "two")
    with pytest.raises(SupersededError):
        await writer.append(SECOND, 16_000)
    assert (await again.append(SECOND, 16_000)).stored
    await _say(claims.own(new), "two")


@pytest.mark.parametrize("seen", [Continued(seq=2, position=0), Continued(seq=1, position=16_000)])
async def test_an_older_state_of_a_session_gives_way_to_what_its_client_knows(
    sessions, claims, history, seen
):
    """A Redis that keeps an append-only file may lose its last second."""
    await sessions.open("meeting", places=[PLACE], config={}, token="t")
    [claim] = await claims.take_new(block_ms=100)
    await _say(claims.own(claim), "one")
    attached = await sessions.attach("meeting", token="t")
    assert attached.behind(seen)
    assert not attached.behind(Continued(seq=1))

    with pytest.raises(SessionTakenError):
        await sessions.open("meeting", places=[PLACE], config={}, token="stranger", continued=seen)
    with pytest.raises(SessionTakenError):
        await sessions.open("meeting", places=[PLACE], config={}, token="t", continued=Continued(seq=1))
    writer = await sessions.open("meeting", places=[PLACE], config={}, token="t", continued=seen)
    [new] = await claims.take_new(block_ms=100)
    await _say(claims.own(new), "new")

    assert (writer.seq, writer.position) == (seen.seq, seen.position)
    assert len([event async for event in history.all_events("meeting")]) == 2


async def test_an_append_tells_what_is_settled_and_by_which_event(sessions, claims):
    writer = await sessions.open("meeting", places=[PLACE], config={}, token="t")
    [claim] = await claims.take_new(block_ms=100)
    owned = claims.own(claim)
    await writer.append(SECOND, 160_000)
    assert writer.settled == (0, 0)
    final = FinalTranscript(session_id="meeting", segment=0, text="one", start=0, end=0.5, covers=9000)
    await owned.commit([final], decoded=9000, segments=1, checkpoint=Checkpoint(8000, {}, settled=9000))
    await writer.append(SECOND, 160_000)
    assert writer.settled == (9000, 1)
    await owned.commit([], decoded=9000, segments=1, checkpoint=Checkpoint(12_000, {}, settled=12_000))
    await writer.append(SECOND, 160_000)
    assert writer.settled == (12_000, 1)
