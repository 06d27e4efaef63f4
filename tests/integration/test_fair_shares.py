"""Owners compete for the places of live sessions, in a real Redis."""

import asyncio
import random
from collections import Counter

import pytest

from api_gateway import fair_shares
from api_gateway.fair_shares import WAITS_S, FairShares
from parlando.domain.commands import End
from parlando.domain.pools import UNASSIGNED
from parlando.errors import AtCapacityError
from parlando.store.live_places import LivePlaces
from parlando.store.owner_data import OwnerData
from parlando.store.pools import Place
from parlando.store.sessions import Sessions
from support.pools import POOL

PLACES = 12
OWNERS = ("alice", "bob", "carol")


class Room:
    """Sessions of some owners in a pool of `PLACES`. They end at once, as if a worker had closed them."""

    def __init__(self, redis, partitions: int, *, reclaim_s: float = 0.0, wait_s: float = 0.0) -> None:
        self.redis = redis
        self.sessions = Sessions(redis, partitions=partitions, ttl_s=100)
        kept_s = WAITS_S + reclaim_s + wait_s
        self.places = LivePlaces(redis, partitions=partitions, ttl_s=100, kept_s=kept_s)
        self.shares = FairShares(self.places, reclaim_s=reclaim_s, wait_s=wait_s)
        self.count = PLACES
        self.number = 0

    async def open(self, owner: str) -> str | None:
        """The id of a new session, or None if it is refused."""
        self.number += 1
        sid = f"{owner}-{self.number}"
        try:
            await self.shares.opened(
                owner,
                self.find,
                lambda limited: self.sessions.open(sid, places=limited, config={}, token="t", key=owner),
                wait=True,
            )
        except AtCapacityError:
            return None
        return sid

    async def find(self) -> list[Place]:
        return [Place(POOL, self.count)]

    async def close(self, sid: str) -> None:
        """End a session, with its entry in the queue."""
        keys = self.sessions.keys(sid)
        entry = await self.redis.hget(keys.session, "entry")
        await self.redis.hset(keys.session, "state", "closed")
        await self.redis.xdel(f"stt:{{{keys.partition}}}:sessions:{POOL}", entry)

    async def later(self, seconds: float) -> None:
        """Let time pass: what is cached is read again, and refusals are `seconds` older."""
        self.shares._reads.clear()
        for entry in await self.redis.zrange(f"stt:wanted:{POOL}", 0, -1):
            await self.redis.zincrby(f"stt:wanted:{POOL}", -seconds, entry)

    async def held(self) -> dict[str, int]:
        return (await self.places.held(POOL)).counts()

    async def state(self, sid: str) -> str:
        return (await self.redis.hget(self.sessions.keys(sid).session, "state")).decode()


@pytest.fixture(params=[1, 5])
def partitions(request):
    return request.param


async def _opened(room: Room, owner: str, count: int) -> list[str]:
    return [sid for sid in [await room.open(owner) for _ in range(count)] if sid]


async def test_an_owner_alone_gets_all_places_and_no_more_in_any_number_of_partitions(redis, partitions):
    room = Room(redis, partitions)
    assert len(await _opened(room, "alice", PLACES + 8)) == PLACES


async def test_a_place_that_becomes_free_goes_to_the_owner_below_its_share(redis, partitions):
    room = Room(redis, partitions)
    mine = await _opened(room, "alice", PLACES + 3)
    assert await room.open("bob") is None
    await room.close(mine[0])
    await room.later(0)

    assert await room.open("alice") is None, "it is bob's"
    assert await room.open("bob")
    assert (await room.held())["bob"] == 1


async def test_without_others_who_wait_a_free_place_is_anybodys(redis):
    room = Room(redis, 1)
    mine = await _opened(room, "alice", PLACES)
    await room.close(mine[0])
    assert await room.open("alice")


async def _refusals(room: Room) -> int:
    return await room.redis.zcard(f"stt:wanted:{POOL}")


async def _waiting(room: Room, owner: str, count: int = 1) -> list[asyncio.Task]:
    """Openings that are refused at first, and wait."""
    before = await _refusals(room)
    tasks = [asyncio.create_task(room.open(owner)) for _ in range(count)]
    while await _refusals(room) < before + count:
        await asyncio.sleep(0.01)
    return tasks


async def test_an_opening_waits_for_a_place_that_becomes_free(redis, partitions):
    room = Room(redis, partitions, wait_s=300)
    mine = await _opened(room, "alice", PLACES)
    [later] = await _waiting(room, "alice")
    await room.close(mine[0])
    assert await later
    assert await _refusals(room) == 0, "it got what it waited for"


async def test_an_opening_waits_for_capacity_that_grows(redis):
    room = Room(redis, 1, wait_s=300)
    await _opened(room, "alice", PLACES)
    [later] = await _waiting(room, "alice")
    room.count += 1
    assert await later


async def test_an_opening_is_refused_once_if_no_place_becomes_free(redis):
    room = Room(redis, 1, wait_s=1)
    await _opened(room, "alice", PLACES)
    begin = asyncio.get_running_loop().time()
    assert await room.open("bob") is None
    assert asyncio.get_running_loop().time() - begin > 0.5
    assert await _refusals(room) == 1


async def test_only_so_many_openings_wait(redis, monkeypatch):
    monkeypatch.setattr(fair_shares, "MAX_WAITING", 4)  # 2 of one owner
    room = Room(redis, 1, wait_s=300)
    await _opened(room, "alice", PLACES)
    waiting = await _waiting(room, "alice", 2)
    assert await room.open("alice") is None, "at once"
    waiting += await _waiting(room, "bob", 2)
    assert await room.open("carol") is None, "at once"
    room.count += 40
    assert all(await asyncio.gather(*waiting))
    assert await _refusals(room) == 2, "of the two that were refused"


async def test_an_opening_that_is_given_up_is_not_wanted_any_more(redis):
    room = Room(redis, 1, wait_s=300)
    await _opened(room, "alice", PLACES)
    [later] = await _waiting(room, "bob")
    later.cancel()
    await asyncio.wait([later])
    assert await _refusals(room) == 0


async def test_lent_places_are_taken_back_for_those_who_wait(redis, partitions):
    room = Room(redis, partitions, reclaim_s=0.001)
    mine = await _opened(room, "alice", PLACES)
    await asyncio.gather(*(room.open("bob") for _ in range(20)))
    await room.later(1)
    await redis.delete(f"stt:wanted:{POOL}:lock")
    assert await room.open("bob") is None

    states = [await room.state(sid) for sid in mine]
    assert states.count("ending") == len(mine) - PLACES // 2, "only what is beyond alice's share"
    opened = [int(await redis.hget(room.sessions.keys(sid).session, "opened")) for sid in mine]
    ended = [at for at, state in zip(opened, states, strict=True) if state == "ending"]
    stay = [at for at, state in zip(opened, states, strict=True) if state == "open"]
    assert max(stay) <= min(ended), "the latest ones end"
    keys = room.sessions.keys(mine[states.index("ending")])
    [(_, fields)] = await redis.xrange(keys.pcm)
    assert End.model_validate_json(fields[b"c"]).error.code == "at_capacity"


async def test_by_default_an_owner_waits_a_minute_before_others_lose_places(redis):
    room = Room(redis, 1, reclaim_s=60)
    mine = await _opened(room, "alice", PLACES)
    assert await room.open("bob") is None
    assert await room.open("bob") is None
    assert {await room.state(sid) for sid in mine} == {"open"}


async def test_those_without_a_client_end_first(redis):
    room = Room(redis, 1, reclaim_s=0.001)
    mine = await _opened(room, "alice", PLACES)
    await redis.hincrby(room.sessions.keys(mine[2]).session, "seen", -60)
    assert await room.open("bob") is None
    await room.later(1)
    assert await room.open("bob") is None

    assert await room.state(mine[2]) == "ending"


async def test_three_owners_who_compete_get_equal_shares(redis):
    """Each wants a third or more, with sessions of different lengths; one pauses. A step is a second."""
    room, chance = Room(redis, 1), random.Random(3)
    wanted = {"alice": 8, "bob": 10, "carol": 20}
    clients: dict[tuple[str, int], tuple[str | None, int]] = {}
    for owner, count in wanted.items():
        clients.update({(owner, n): (None, 0) for n in range(count)})
    total: Counter[str] = Counter()
    for step in range(150):
        order = list(clients)
        chance.shuffle(order)
        for name in order:
            sid, until = clients[name]
            if sid and until <= step:
                await room.close(sid)
                clients[name] = (None, 0)
        await room.later(1)
        for name in order:
            paused = name[0] == "alice" and 80 <= step < 120
            if clients[name][0] is None and not paused and chance.random() < 0.3:
                clients[name] = (await room.open(name[0]), step + chance.randint(2, 12))
        held = await room.held()
        assert sum(held.values()) <= PLACES
        if 20 <= step < 80:
            total.update(held)
        if step == 115:
            assert held["bob"] + held["carol"] >= PLACES - 2, "the idle share is lent"
    each = sum(total.values()) / 3
    assert sum(total.values()) >= 0.85 * 60 * PLACES, "places are not kept empty"
    assert all(abs(total[owner] - each) <= 0.1 * each for owner in OWNERS), total
    assert (await room.held())["alice"] >= PLACES // 3 - 1, "and given back"


@pytest.mark.parametrize("owner", ["", "a" * 64])
async def test_a_deleted_owners_refused_openings_are_forgotten_and_those_of_others_are_not(redis, owner):
    places = LivePlaces(redis, partitions=1, ttl_s=100, kept_s=100)
    for each in ("", "a" * 64, "b" * 64):
        await places.refuse(UNASSIGNED, each)
    await OwnerData(redis, partitions=1).erase_traces(owner[:16], set())
    assert (await places.wanted(UNASSIGNED)).times.keys() == {"", "a" * 64, "b" * 64} - {owner}
