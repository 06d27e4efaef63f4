"""Delivery queues and delivery workers of gateways on one Redis."""

import asyncio
import time

from parlando.store.deliveries import Bounds, Deliveries, Selected
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.feed import Feed, FeedEntry
from parlando.store.keys import DeliveryKeys, feed
from parlando.store.slots import DeliveryLane
from parlando.tasks import end


async def until(condition, *, within_s: float = 60.0):
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true"
        await asyncio.sleep(0.01)


def working(partition: int) -> str:
    """The key of the deliveries in progress, sorted by the end of their lease."""
    return DeliveryKeys(partition, "test").index("working")


async def select(entry: FeedEntry) -> Selected:
    return Selected(entry.entry, DeliveryLane(entry.owner, entry.uid), {"n": entry.id})


async def happen(redis, number: int, *, owner: str = "a", to: str = "x", partition: int = 0, **more) -> None:
    """Add an event to deliver to `to`."""
    fields = {"kind": "closed", "id": number, "key": owner, "uid": to, "seq": number, "wanted": 1}
    await redis.xadd(feed(partition), fields, **more)


class Bench:
    """Delivery queues and delivery workers of gateways on one Redis."""

    def __init__(self, redis, partitions: int = 2) -> None:
        self.redis = redis
        self.partitions = partitions
        self.workers: list[DeliveryWorker] = []
        self.tasks: list[asyncio.Task[None]] = []

    def deliveries(
        self, *, attempts: int = 100, dead_ttl_s: int = 100, max_dead: int = 100, per_owner: int = 10_000
    ) -> Deliveries:
        bounds = Bounds(attempts, dead_ttl_s, max_dead, per_owner)
        return Deliveries(self.redis, "test", partitions=self.partitions, bounds=bounds)

    def start(self, attempt, *, delays_s=(0.05,), attempts=100, slots=16, lease_s=30.0, **bounds):
        """Start the delivery worker of a gateway."""
        name = f"w{len(self.workers)}"
        worker = DeliveryWorker(
            self.deliveries(attempts=attempts, **bounds),
            Feed(self.redis, "test", worker=name, partitions=self.partitions),
            Policy(delays_s=delays_s, attempts=attempts, age_s=1000, attempt_s=60),
            worker=name,
            slots=slots,
            attempt=attempt,
            select=select,
            every_s=0.02,
            lease_s=lease_s,
        )
        self.workers.append(worker)
        self.tasks.append(asyncio.create_task(worker.run()))
        return worker

    async def queue(self, count: int = 1, *, owner: str = "a", to: str = "x", partition: int = 0) -> None:
        for number in range(count):
            await happen(self.redis, number, owner=owner, to=to, partition=partition)

    async def unread(self) -> int:
        """The number of feed entries that the consumer group hasn't acknowledged."""
        count = 0
        for partition in range(self.partitions):
            if not await self.redis.exists(feed(partition)):
                continue
            [group] = await self.redis.xinfo_groups(feed(partition))
            newer = await self.redis.xrange(feed(partition), min=b"(" + group["last-delivered-id"])
            count += group["pending"] + len(newer)
        return count

    async def stop(self) -> None:
        await end(*self.tasks)


async def idle(bench: Bench) -> None:
    """Wait until no delivery is queued or in progress, and every feed entry is acknowledged."""
    looks = bench.deliveries()
    deadline = time.monotonic() + 60
    while await bench.unread() or any(look.waiting for look in await looks.poll()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
