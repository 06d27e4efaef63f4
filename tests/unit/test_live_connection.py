"""How a live connection ends when several things end it at once. Its socket, writer and relay are played."""

import asyncio
from types import SimpleNamespace

import orjson
import pytest

from api_gateway.dialects.native import Native
from api_gateway.live import ClientGone, Finished, LiveConnection
from api_gateway.settings import GatewaySettings
from parlando.errors import SessionClosedError, UnavailableError
from parlando.formats import KEPT
from parlando.redislog.published import Published

CLOSED = Published(orjson.dumps({"type": "closed", "seq": 9, "reason": "end"}))


class Played:
    """A connection's surroundings; `now` happens at once, what isn't told never does."""

    def __init__(self, *now: str, closed_after: float | None = None) -> None:
        self.now = now
        self.closed_after = closed_after
        self.sent: list[str] = []
        self.format, self.received, self.sid = KEPT, 100, "s"

    async def receive(self) -> str:
        if "gone" in self.now:
            raise ClientGone
        if "bug" in self.now:
            raise ZeroDivisionError
        return await asyncio.Future()

    async def send(self, message: str) -> None:
        self.sent.append(message)

    async def touch(self) -> None:
        if "ended" in self.now:
            raise SessionClosedError("Session s has ended")
        if "no redis" in self.now:
            raise UnavailableError("Redis is away")

    async def batches(self):
        if self.closed_after is None:
            await asyncio.Future()
        if self.closed_after:
            await asyncio.sleep(self.closed_after)
        yield [CLOSED]

    def connection(self) -> LiveConnection:
        relay = SimpleNamespace(batches=self.batches)
        return LiveConnection(self, self, relay, settings=GatewaySettings(), dialect=Native())


async def test_who_finds_its_session_ended_waits_for_the_event_that_says_why():
    played = Played("ended", closed_after=0.2)
    with pytest.raises(Finished):
        await asyncio.wait_for(played.connection().run(), 5)
    assert [orjson.loads(message)["type"] for message in played.sent] == ["closed"]


@pytest.mark.parametrize("also", ["gone", "no redis"])
async def test_the_end_of_a_session_matters_more_than_what_else_ends_the_connection(also):
    with pytest.raises(Finished) as end:
        await Played(also, closed_after=0).connection().run()
    assert end.value.code == 1000


async def test_a_client_that_goes_while_redis_does_is_gone():
    with pytest.raises(ClientGone):
        await Played("gone", "no redis").connection().run()


async def test_a_mistake_of_ours_is_not_hidden_by_an_end():
    with pytest.raises(ExceptionGroup) as mistake:
        await Played("bug", closed_after=0).connection().run()
    assert mistake.group_contains(ZeroDivisionError)


async def test_leaving_a_session_that_has_ended_is_nothing():
    await Played("ended").connection().leave()
