"""A recording that comes as one body is in one session, whole and once, however often it is sent."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from api_gateway.auth import Principal
from api_gateway.live import file_session
from api_gateway.live.file_session import send_file
from parlando.domain.config import SessionConfig
from parlando.domain.events import Closed
from parlando.errors import AtCapacityError, UnavailableError
from parlando.store.connection import connect
from parlando.store.http_audio import AcceptedBody, HttpAudio
from parlando.store.pools import Place
from parlando.store.session_log import SessionClaims
from parlando.store.sessions import Sessions, SessionWriter
from support.pools import POOL, alive

FILE = bytes(range(256)) * 40


class Gateway:
    """What of a gateway takes recordings, with connections of its own."""

    def __init__(self, url: str) -> None:
        self.redis = connect(url)
        self.sessions = Sessions(self.redis, partitions=1, ttl_s=100)
        self.bodies = HttpAudio(self.sessions, max_s=100, idle_s=60)
        self.room = 100

    async def take(self, file: bytes = FILE, name: str = "n") -> AcceptedBody:
        async def sending(sid: str) -> None:
            services: Any = SimpleNamespace(sessions=self.sessions)
            await send_file(
                services,
                file,
                places=[Place(POOL, self.room)],
                caller=Principal("k"),
                config=SessionConfig(),
                sid=sid,
                uid="u",
            )

        return await self.bodies.take_file("k", "u", name=name, named=True, sending=sending)

    async def stored(self) -> dict[str, bytes]:
        """The bytes of each session."""
        keys = await self.redis.keys("stt:{0}:raw:*")
        return {
            key.decode(): b"".join(f.get(b"p", b"") for _, f in await self.redis.xrange(key)) for key in keys
        }

    async def ends(self) -> int:
        found = [await self.redis.xrange(key) for key in await self.redis.keys("stt:{0}:raw:*")]
        return sum(b"c" in fields for entries in found for _, fields in entries)


@pytest.fixture
async def gateways(redis_server, monkeypatch):
    monkeypatch.setattr(file_session, "ENTRY", 1000)
    gateways = [Gateway(redis_server.url) for _ in range(3)]
    await alive(gateways[0].redis)
    yield gateways
    for gateway in gateways:
        await gateway.redis.aclose()


async def test_sent_to_three_gateways_at_once_it_is_stored_once(gateways):
    taken = await asyncio.gather(*(gateway.take() for gateway in gateways for _ in range(3)))
    again = await gateways[0].take()

    assert len({each.sid for each in taken}) == 1
    assert again == AcceptedBody(taken[0].sid, repeated=True)
    assert list((await gateways[0].stored()).values()) == [FILE]
    assert await gateways[0].ends() == 1
    assert await gateways[0].sessions.waiting() == 1


async def test_another_name_is_another_recording(gateways):
    first, second = await gateways[0].take(name="a"), await gateways[0].take(name="b")

    assert first.sid != second.sid
    assert not second.repeated
    assert list((await gateways[0].stored()).values()) == [FILE, FILE]


@pytest.mark.parametrize("entries", [0, 1, 5, 10])
async def test_what_a_gateway_left_off_is_completed_by_the_next(gateways, monkeypatch, entries):
    appended = SessionWriter.append
    left = entries

    async def dies(writer: SessionWriter, data: bytes, limit: int) -> Any:
        nonlocal left
        if left == 0:
            raise UnavailableError("the gateway dies")
        left -= 1
        return await appended(writer, data, limit)

    monkeypatch.setattr(SessionWriter, "append", dies)
    with pytest.raises(UnavailableError):
        await gateways[0].take()
    monkeypatch.setattr(SessionWriter, "append", appended)
    taken = await gateways[1].take()

    assert not taken.repeated
    assert list((await gateways[0].stored()).values()) == [FILE]
    assert await gateways[0].ends() == 1


async def test_what_found_no_room_is_taken_when_there_is_some(gateways):
    gateways[0].room = 0
    with pytest.raises(AtCapacityError):
        await gateways[0].take()
    taken = await gateways[1].take()

    assert not taken.repeated
    assert list((await gateways[0].stored()).values()) == [FILE]


async def test_a_session_that_is_done_is_not_opened_again(gateways, monkeypatch):
    """The gateway dies when all is stored, before it notes so; a worker ends the session."""
    run = gateways[0].bodies._scripts.run

    async def without_note(name: str, keys: list[str], args: list[Any]) -> Any:
        if name == "claim_file" and args[2] == 1:
            raise UnavailableError("the gateway dies")
        return await run(name, keys, args)

    monkeypatch.setattr(gateways[0].bodies._scripts, "run", without_note)
    with pytest.raises(UnavailableError):
        await gateways[0].take()
    claims = SessionClaims(gateways[0].redis, pool=POOL, worker="t", partitions=1, ttl_s=100)
    await claims.queue.ensure_groups()
    [claim] = await claims.take_new(block_ms=100)
    closed = Closed(session_id=claim.keys.sid, duration=1, segments=0, reason="end")
    await claims.own(claim).commit([closed], decoded=1, segments=0, close=True)
    taken = await gateways[1].take()

    assert taken.sid == claim.keys.sid
    assert await gateways[0].stored() == {}
    assert await gateways[0].sessions.waiting() == 0
