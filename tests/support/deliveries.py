"""Queues of deliveries, and gateways' workers over one Redis."""

import asyncio
import time

from parlando.store.deliveries import Bounds, Deliveries, Queued
from parlando.store.delivery_worker import DeliveryWorker, Policy
from parlando.store.slots import Lane
from parlando.tasks import end


async def until(condition, *, within_s: float = 60.0):
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true"
        await asyncio.sleep(0.01)


def inbox(partition: int) -> str:
    return f"stt:{{{partition}}}:test"


async def lane_of(entry: Queued) -> Lane:
    return Lane(entry.fields["owner"], entry.fields["to"])


class Bench:
    """Queues and gateways' workers over one Redis."""

    def __init__(self, redis, partitions: int = 2) -> None:
        self.redis = redis
        self.partitions = partitions
        self.workers: list[DeliveryWorker] = []
        self.tasks: list[asyncio.Task[None]] = []

    def deliveries(
        self, *, attempts: int = 100, dead_ttl_s: int = 100, max_dead: int = 100, per_owner: int = 10_000
    ) -> Deliveries:
        bounds = Bounds(attempts, dead_ttl_s, max_dead, per_owner)
        return Deliveries(self.redis, inbox, partitions=self.partitions, bounds=bounds)

    def start(self, attempt, *, delays_s=(0.05,), attempts=100, slots=16, lease_s=30.0, **bounds):
        """A gateway's worker, at work."""
        worker = DeliveryWorker(
            "test",
            self.deliveries(attempts=attempts, **bounds),
            Policy(delays_s=delays_s, attempts=attempts, age_s=1000, attempt_s=60),
            worker=f"w{len(self.workers)}",
            slots=slots,
            attempt=attempt,
            lane_of=lane_of,
            every_s=0.02,
            lease_s=lease_s,
        )
        self.workers.append(worker)
        self.tasks.append(asyncio.create_task(worker.run()))
        return worker

    async def queue(self, count: int = 1, *, owner: str = "a", to: str = "x", partition: int = 0) -> None:
        for number in range(count):
            await self.redis.xadd(inbox(partition), {"owner": owner, "to": to, "n": number})
        await self.redis.expire(inbox(partition), 1000)

    async def stop(self) -> None:
        await end(*self.tasks)


async def idle(bench: Bench) -> None:
    """Wait until nothing waits or is worked on."""
    looks = bench.deliveries()
    deadline = time.monotonic() + 60
    while any(look.waiting for look in await looks.look()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
