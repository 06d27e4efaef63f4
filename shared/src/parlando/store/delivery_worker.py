"""A gateway's loop over one queue of deliveries: count, lease, attempt, renew, end.

Attempts are independent: each has its own task and slot. Any exception of an attempt is a failed attempt of
that delivery only.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import structlog

from parlando.errors import DeliveryFailedError, ParlandoError, UnavailableError
from parlando.store.connection import BROKEN
from parlando.store.deliveries import PAGE, Deliveries, Delivery, Selected
from parlando.store.feed import Feed, FeedEntry
from parlando.store.slots import DeliveryLane, Slots
from parlando.store.work_queue import Delivered
from parlando.tasks import finish

LEASE_S: Final = 15.0  # longer than a failover of Redis takes
CLEANUP_INTERVAL_S: Final = 3600.0
CLOSE_S: Final = 3.0  # for handing back interrupted attempts
JITTER: Final = 0.2  # relative, in both directions, so that joint failures are not retried at the same time
MAX_DETAIL: Final = 300  # characters
UNKNOWN: Final = DeliveryLane("unknown", "unknown")  # of undecodable deliveries; their attempts will fail

log = structlog.get_logger(part="deliveries")


@dataclass(frozen=True, slots=True)
class Policy:
    """Retries of deliveries.

    `delays_s[n]`: seconds between the end of attempt n + 1 and the next one; the last value repeats.
    `attempts`, `age_s`: after so many failed attempts, or at this age in seconds, it becomes a dead letter.
    `attempt_s`: time-out of an attempt.
    """

    delays_s: Sequence[float]
    attempts: int
    age_s: float
    attempt_s: float

    def delay_s(self, attempt: int, roll: float) -> float:
        """Seconds to wait after a failed attempt (from 1). `roll`: a random number from 0 to 1."""
        base = self.delays_s[min(attempt, len(self.delays_s)) - 1]
        return base * (1 - JITTER + 2 * JITTER * roll)

    def is_exhausted(self, attempt: int, age_s: float) -> bool:
        """Whether a failed attempt was the last one."""
        return attempt >= self.attempts or age_s >= self.age_s


class DeliveryWorker:
    """Works on `deliveries` with up to `slots` concurrent attempts.

    `attempt`: makes one attempt; raises if it fails (`DeliveryFailedError.permanent`: a retry would fail
    too).
    `select`: the delivery to create from a feed entry, or None.
    `counted`: called with each outcome: "sent", "failed" or "given_up".
    """

    def __init__(
        self,
        deliveries: Deliveries,
        feed: Feed,
        policy: Policy,
        *,
        worker: str,
        slots: int,
        attempt: Callable[[Delivery], Awaitable[None]],
        select: Callable[[FeedEntry], Awaitable[Selected | None]],
        counted: Callable[[str], None] = lambda _: None,
        every_s: float = 0.2,
        lease_s: float = LEASE_S,
    ) -> None:
        self.queue = deliveries.queue
        self.deliveries = deliveries
        self._feed = feed
        self.waiting = 0
        self.dead = 0
        self.failures = 0
        self.last_error: str | None = None
        """Code of the last attempt's error; None if it succeeded."""
        self._policy = policy
        self._worker = worker
        self._slots = Slots(slots)
        self._try = attempt
        self._select = select
        self._counted = counted
        self._every_s = every_s * max(1.0, deliveries.partitions / 16)
        self._lease_s = lease_s
        self._tokens = count()
        self._after = [""] * deliveries.partitions  # the last lane served, by partition
        self._running: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()

    @property
    def at_work(self) -> int:
        """Number of running attempts."""
        return len(self._running)

    async def run(self) -> None:
        """Work until cancelled. Interrupted attempts are handed back, so that others can retry at once."""
        renewing = asyncio.create_task(self._renew())
        try:
            while True:
                self._wake.clear()
                if await self._safely(self._poll):
                    self._wake.set()
                try:
                    async with asyncio.timeout(self._every_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            renewing.cancel()
            await finish(self._close(), within_s=CLOSE_S)

    async def _safely(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """The result of `step`, or False if it raised; failures are logged."""
        try:
            return await step()
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.unreachable", queue=self.queue, error=str(error))
        except Exception:
            log.exception("deliveries.failed", queue=self.queue)
        return False

    # --- taking -------------------------------------------------------------------------------

    async def _poll(self) -> bool:
        """Start all deliveries that can start now. Returns whether more may start at once."""
        full = await self._accept(await self._feed.take(PAGE))
        polled = await self.deliveries.poll()
        self.waiting = sum(poll.waiting for poll in polled)
        self.dead = sum(poll.dead for poll in polled)
        startable = [number for number, poll in enumerate(polled) if poll.startable]
        random.shuffle(startable)
        for partition in startable:
            if self._slots.free > 0:
                await self._take(partition)
        return full and self._slots.free > 0

    async def _accept(self, delivered: Sequence[Delivered]) -> bool:
        """Create deliveries from feed entries. Returns whether a partition may have more entries."""
        by_partition: dict[int, list[Delivered]] = {}
        for each in delivered:
            by_partition.setdefault(each.partition, []).append(each)
        for partition, entries in by_partition.items():
            found = [(entry, await self._selected(entry)) for entry in entries]
            await self._feed.done(partition, *(entry.entry for entry, each in found if each is None))
            await self.deliveries.accept(partition, [each for _, each in found if each is not None])
        return any(len(entries) == PAGE for entries in by_partition.values())

    async def _selected(self, delivered: Delivered) -> Selected | None:
        try:
            return await self._select(FeedEntry.of(delivered))
        except (*BROKEN, UnavailableError):
            raise
        except Exception:
            log.exception("delivery.unreadable", queue=self.queue, entry=delivered.entry)
            return Selected(delivered.entry, UNKNOWN, {})

    async def _take_over(self) -> bool:
        """Take over feed entries that another gateway took and did not process."""
        return await self._accept(await self._feed.take_over(PAGE))

    async def _take(self, partition: int) -> None:
        self._after[partition], taken = await self.deliveries.take(
            partition,
            token=f"{self._worker}-{next(self._tokens)}",
            slots=self._slots,
            lease_s=self._lease_s,
            after=self._after[partition],
        )
        for delivery in taken:
            self._slots.begin(delivery.lane)
            task = asyncio.create_task(self._work(delivery))
            self._running[delivery.token + delivery.id] = (delivery, task)

    # --- an attempt ---------------------------------------------------------------------------

    async def _work(self, delivery: Delivery) -> None:
        failure: DeliveryFailedError | None = None
        try:
            failure = await self._attempt(delivery)
            await self._decide(delivery, failure)
        except UnavailableError as error:  # retried after its lease expires
            log.warning("delivery.undecided", queue=self.queue, delivery=delivery.id, error=error.message)
        finally:
            self._slots.end(delivery.lane, failed=failure is not None)
            del self._running[delivery.token + delivery.id]
            self._wake.set()

    async def _attempt(self, delivery: Delivery) -> DeliveryFailedError | None:
        """Make an attempt. Returns the error, or None for success."""
        try:
            async with asyncio.timeout(self._policy.attempt_s):
                await self._try(delivery)
        except DeliveryFailedError as error:
            return error
        except ParlandoError as error:
            return DeliveryFailedError(error.code, error.message)
        except TimeoutError:
            return DeliveryFailedError(
                "timeout", f"The attempt took longer than {self._policy.attempt_s:g} s"
            )
        except Exception as error:
            log.exception("delivery.fault", queue=self.queue, delivery=delivery.id)
            return DeliveryFailedError("internal", f"{type(error).__name__}: {error}")
        return None

    async def _decide(self, delivery: Delivery, failure: DeliveryFailedError | None) -> None:
        """End the attempt: done, retry later, or dead letter. Raises `UnavailableError`."""
        if failure is None:
            self.last_error = None
            self._counted("sent")
            await self.deliveries.end(delivery, "done")
            return
        detail = failure.message[:MAX_DETAIL]
        self.failures += 1
        self.last_error = failure.code
        self._counted("failed")
        age_s = time.time() - delivery.queued_ms / 1000
        dead = failure.permanent or self._policy.is_exhausted(delivery.attempt, age_s)
        log.warning(
            "delivery.failed",
            queue=self.queue,
            delivery=delivery.id,
            attempt=delivery.attempt,
            code=failure.code,
            error=detail,
            dead=dead,
        )
        if dead:
            self._counted("given_up")
        delay_s = 0.0 if dead else self._policy.delay_s(delivery.attempt, random.random())
        await self.deliveries.end(
            delivery, "dead" if dead else "later", delay_s=delay_s, error=failure.code, detail=detail
        )

    # --- leases -------------------------------------------------------------------------------

    async def _renew(self) -> None:
        cleaned = -math.inf
        while True:
            await asyncio.sleep(self._lease_s / 4)
            await self._safely(self._renew_all)
            await self._safely(self._take_over)
            if time.monotonic() - cleaned >= CLEANUP_INTERVAL_S:
                cleaned = time.monotonic()
                await self._safely(self._clean_up)

    async def _clean_up(self) -> bool:
        """Delete the consumers of gateways that are gone from the feed's group."""
        await self._feed.delete_idle_consumers()
        return False

    async def _renew_all(self) -> bool:
        running = [delivery for delivery, _ in self._running.values()]
        if running:
            for delivery in await self.deliveries.renew(running, self._lease_s):
                if found := self._running.get(delivery.token + delivery.id):
                    log.warning("delivery.lease_lost", queue=self.queue, delivery=delivery.id)
                    found[1].cancel()
        return False

    async def _close(self) -> None:
        """Cancel running attempts and hand their deliveries back."""
        interrupted = list(self._running.values())
        for _, task in interrupted:
            task.cancel()
        if not interrupted:
            return
        await asyncio.wait([task for _, task in interrupted], timeout=CLOSE_S / 2)
        try:
            await asyncio.gather(*(self.deliveries.end(delivery, "ready") for delivery, _ in interrupted))
        except (*BROKEN, UnavailableError) as error:
            log.warning("deliveries.not_handed_back", queue=self.queue, error=str(error))
