"""One case for each Lua script on deliveries, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from parlando.store.connection import Redis
from parlando.store.deliveries import Bounds, Deliveries, Delivery, Selected
from parlando.store.feed import Feed
from parlando.store.keys import feed
from parlando.store.slots import DeliveryLane, Slots


class Stage(Protocol):
    redis: Redis

    def arm(self) -> None: ...


def _deliveries(stage: Stage, *, max_dead: int = 10) -> Deliveries:
    return Deliveries(stage.redis, "callback", partitions=1, bounds=Bounds(5, 100, max_dead, 3))


async def _queued(stage: Stage, count: int = 4) -> None:
    for number in range(count):
        fields = {"kind": "job_completed", "id": f"j{number}", "key": "k", "uid": "", "seq": 1, "wanted": 1}
        await stage.redis.xadd(feed(0), fields, id=f"1700000000000-{number}")


async def _selected(stage: Stage) -> list[Selected]:
    """All entries of the feed, read by a gateway."""
    taken = Feed(stage.redis, "callback", worker="w", partitions=1)
    await taken.take(10)  # creates the consumer group
    return [Selected(each.entry, DeliveryLane("k", "host"), {}) for each in await taken.take(10)]


async def _accept(stage: Stage, deliveries: Deliveries) -> int:
    return await deliveries.accept(0, await _selected(stage))


async def _taken(stage: Stage, deliveries: Deliveries, count: int = 4) -> list[Delivery]:
    await _queued(stage, count)
    await _accept(stage, deliveries)
    _, taken = await deliveries.take(0, token="t", slots=Slots(16), lease_s=60, after="")
    return taken


async def _poll(stage: Stage) -> Any:
    deliveries = _deliveries(stage, max_dead=1)
    for each in await _taken(
        stage, deliveries, 3
    ):  # a fourth would be dead at once, maybe in the same millisecond
        await deliveries.end(each, "dead", error="no", detail="No")
    stage.arm()
    [look] = await deliveries.poll()
    return look.waiting, look.dead


async def _accepted(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    await _queued(stage)
    entries = await _selected(stage)
    stage.arm()
    await deliveries.accept(0, entries)


async def _take(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    await _queued(stage)
    await _accept(stage, deliveries)
    stage.arm()
    lane, taken = await deliveries.take(0, token="t", slots=Slots(8), lease_s=60, after="")
    return lane, taken


async def _renew(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    taken = await _taken(stage, deliveries)
    stage.arm()
    return await deliveries.renew(taken, 100)


async def _end(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    [first, *_] = await _taken(stage, deliveries)
    stage.arm()
    await deliveries.end(first, "later", delay_s=50, error="http_503", detail="Not now")


async def _retry(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    [first, *_] = await _taken(stage, deliveries)
    await deliveries.end(first, "dead", error="no", detail="No")
    stage.arm()
    return await deliveries.retry(first)


async def _drop(stage: Stage) -> Any:
    deliveries = _deliveries(stage)
    [first, *_] = await _taken(stage, deliveries)
    stage.arm()
    return await deliveries.drop(first)


CASES: Final[dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "delivery_look": _poll,
    "delivery_accept": _accepted,
    "delivery_take": _take,
    "delivery_renew": _renew,
    "delivery_end": _end,
    "delivery_retry": _retry,
    "delivery_drop": _drop,
}
