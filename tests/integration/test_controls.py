"""Flush, config and end in a stream: how many may wait, and what becomes of those that were taken in."""

import pytest

from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.formats import AudioFormat
from parlando.errors import TooManyControlsError
from parlando.store.audio_streams import Control, Frame, StreamReader, position_at
from parlando.store.conversion_claims import ConversionClaims
from parlando.store.history import History
from parlando.store.session_log import Checkpoint, SessionClaims
from parlando.store.sessions import Sessions
from support.pools import PLACE, POOL

SECOND = b"\1\0" * 16_000
MOST = 1 << 30
FLUSH = Flush()


@pytest.fixture
def sessions(redis, monkeypatch):
    for module in ("sessions", "session_log"):
        monkeypatch.setattr(f"parlando.store.{module}.MAX_CONTROLS", 5)
    return Sessions(redis, partitions=1, ttl_s=100)


async def _owned(redis):
    claims = SessionClaims(redis, pool=POOL, worker="a", partitions=1, ttl_s=100)
    await claims.queue.ensure_groups()
    [claim] = await claims.take_new(block_ms=100)
    return claim, claims.own(claim)


async def _numbers(redis, key: str) -> list[int]:
    entries = (await StreamReader(redis).read({key: position_at(0)}, block_ms=10)).get(key, [])
    return [entry.number for entry in entries if isinstance(entry, Control)]


async def test_too_many_that_wait_are_refused_until_some_are_taken_in(redis, sessions):
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    _, owned = await _owned(redis)
    for _ in range(5):
        await writer.command(FLUSH)
    with pytest.raises(TooManyControlsError, match="5 flush or config messages are unprocessed"):
        await writer.command(FLUSH)
    await owned.settle(0)  # the owner's own counts as well
    assert await _numbers(redis, sessions.keys("s").pcm) == [1, 2, 3, 4, 5]
    await owned.commit([], decoded=0, segments=0, checkpoint=Checkpoint(0, {}, control=3))

    for _ in range(3):
        await writer.command(FLUSH)
    with pytest.raises(TooManyControlsError):
        await writer.command(FLUSH)
    await writer.command(End())  # never refused
    assert await _numbers(redis, sessions.keys("s").pcm) == [4, 5, 6, 7, 8, 9]


async def test_what_was_taken_in_is_deleted_also_behind_the_checkpoint(redis, sessions):
    """A checkpoint lies before the audio that a new owner needs, and the controls behind that audio."""
    writer = await sessions.open("s", places=[PLACE], config={}, token="t")
    _, owned = await _owned(redis)
    key = sessions.keys("s").pcm
    for round_ in range(1, 21):
        for _ in range(5):
            await writer.command(FLUSH)
        await writer.append(SECOND, MOST)
        await owned.commit([], decoded=0, segments=0, checkpoint=Checkpoint(8000, {}, control=5 * round_))

    assert await _numbers(redis, key) == []
    assert await redis.xlen(key) == 20  # the audio
    assert not [name for name in await redis.hkeys(sessions.keys("s").session) if name.startswith(b"at:")]


async def test_controls_among_bytes_are_bounded_in_the_same_way(redis, sessions):
    writer = await sessions.open(
        "s", places=[PLACE], config={}, token="t", form=AudioFormat(encoding=Encoding.MULAW)
    )
    _, owned = await _owned(redis)
    intakes = ConversionClaims(redis, worker="p", partitions=1, ttl_s=100)
    await intakes.queue.ensure_groups()
    [claim] = await intakes.take_new(block_ms=100)
    intake, keys = intakes.own(claim), sessions.keys("s")
    await writer.append(b"bytes", MOST)
    for _ in range(5):
        await writer.command(FLUSH)
    await intake.forward(FLUSH, 1)
    await intake.forward(FLUSH, 2)
    assert await _numbers(redis, keys.raw) == [3, 4, 5]
    assert await _numbers(redis, keys.pcm) == [1, 2]
    with pytest.raises(TooManyControlsError):  # carried over is not taken in
        await writer.command(FLUSH)
    await owned.commit([], decoded=0, segments=0, checkpoint=Checkpoint(0, {}, control=2))

    await writer.command(FLUSH)
    assert await _numbers(redis, keys.pcm) == []
    assert await _numbers(redis, keys.raw) == [3, 4, 5, 6]


async def test_a_change_of_the_config_is_shown_at_once_and_heard_in_its_place(redis, sessions):
    writer = await sessions.open(
        "s",
        places=[PLACE],
        config={"title": "old", "language": "en", "words": True, "vad_silence_ms": 300},
        token="t",
    )
    changes = {"title": "neu «ä»", "language": None, "interim": False}
    await writer.append(SECOND, MOST)
    await writer.command(Configure(changes=changes))
    shown = {"title": "neu «ä»", "words": True, "vad_silence_ms": 300, "interim": False}

    assert (await History(redis, partitions=1).record("s")).config == shown
    assert (await sessions.attach("s", token="t")).config == shown
    claim, _ = await _owned(redis)
    assert claim.config == {"title": "old", "language": "en", "words": True, "vad_silence_ms": 300}
    key = sessions.keys("s").pcm
    [frame, control] = (await StreamReader(redis).read({key: position_at(0)}, block_ms=10))[key]
    assert isinstance(frame, Frame)
    assert control.command == Configure(changes=changes)
