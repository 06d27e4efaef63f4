"""One case for each Lua script on songs and notices, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import pytest

from parlando.domain.songs import RecognisedSong, Song
from parlando.store import song_index
from parlando.store.annotations import Annotations
from parlando.store.connection import Redis
from parlando.store.keys import UserKeys
from parlando.store.notice_limits import NoticeLimits
from parlando.store.session_claims import SessionClaim
from parlando.store.sessions import Sessions
from parlando.store.song_claims import SongClaim, SongClaims
from parlando.store.song_index import SongIndex
from support.pools import PLACE

LANDMARKS: Final = {5: [1, 2], 21: [3], 37: [9]}  # of one shard


class Stage(Protocol):
    redis: Redis
    sessions: Sessions

    def arm(self) -> None: ...


async def _begun(stage: Stage) -> tuple[SongIndex, int]:
    index = SongIndex(stage.redis)
    number, _ = await index.begin(content="a", file="f", fields={"title": "A"})
    return index, number


async def _registered(stage: Stage) -> tuple[SongIndex, int]:
    index, number = await _begun(stage)
    await index.append(number, LANDMARKS)
    await index.finish(number)
    return index, number


async def _claimed(stage: Stage) -> tuple[SongClaims, SongClaim]:
    """A session with `songs`, of a user who has sent audio."""
    claims = SongClaims(stage.redis, worker="r", partitions=1, ttl_s=100)
    await claims.queue.ensure_groups()
    user = UserKeys.of("k", "u", 1).user
    await stage.redis.hset(user, "sid", "s")
    await stage.redis.expire(user, 100)
    await stage.sessions.open("s", places=[PLACE], config={"songs": True}, token="t", key="k", uid="u")
    [claim] = await claims.take_new(block_ms=100)
    return claims, claim


async def _song_begin(stage: Stage) -> Any:
    index = SongIndex(stage.redis)
    stage.arm()
    return await index.begin(content="a", file="f", fields={"title": "A"})


async def _song_append(stage: Stage) -> Any:
    index, number = await _begun(stage)
    stage.arm()
    await index.append(number, LANDMARKS)
    return await index.records(LANDMARKS)


async def _song_finish(stage: Stage) -> Any:
    index, number = await _begun(stage)
    stage.arm()
    return await index.finish(number), await index.song(number)


async def _song_remove(stage: Stage) -> Any:
    index, number = await _registered(stage)
    stage.arm()
    await index.remove(number)
    return await index.count()


async def _song_sweep(stage: Stage) -> Any:
    index, number = await _registered(stage)
    await index.remove(number)
    stage.arm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(song_index, "SWEPT", 8000)
        patch.setattr(song_index, "SWEEP_PAUSE_S", 0)
        await index.sweep()
    return await index.records(LANDMARKS)


async def _song_leave(stage: Stage) -> Any:
    claims, claim = await _claimed(stage)
    stage.arm()
    await claims.leave(SessionClaim(claim.keys, claim.entry, claim.epoch))
    return await stage.redis.xlen(claim.keys.songs)


async def _user_song(stage: Stage) -> Any:
    claims, claim = await _claimed(stage)
    song = RecognisedSong.of(Song(id=1, title="A"), start=1, offset=2, matches=20, ratio=3)
    stage.arm()
    await claims.name(claim, song, by="songs")
    annotations = Annotations(stage.redis, partitions=1)
    return [each.data for each in [each async for each in annotations.all(claim.keys.annotations)]]


async def _admit_notice(stage: Stage) -> Any:
    limits = NoticeLimits(stage.redis, partitions=1)
    stage.arm()
    return await limits.admit("k" * 64, "u", notice="n", subject="1", lasts_s=60)


CASES: Final[dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "song_begin": _song_begin,
    "song_append": _song_append,
    "song_finish": _song_finish,
    "song_remove": _song_remove,
    "song_sweep": _song_sweep,
    "song_leave": _song_leave,
    "user_song": _user_song,
    "admit_notice": _admit_notice,
}
