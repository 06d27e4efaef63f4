"""The delivery queues as operators see them: delivery ids, documents, counts."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from api_gateway import metrics
from api_gateway.presenters.session import iso
from api_gateway.settings import GatewaySettings
from parlando.errors import DeliveryNotFoundError
from parlando.store.deliveries import Bounds, Delivery
from parlando.store.delivery_worker import DeliveryWorker

DELIVERY_ID_PATTERN: Final = r"^(archive|callback|push|notice|song)-[0-9]{1,4}-[0-9]{1,20}-[0-9]{1,20}$"


def bounds(settings: GatewaySettings, attempts: int) -> Bounds:
    """The bounds of a queue by the settings."""
    return Bounds(attempts, settings.dead_letter_ttl_s, settings.max_dead_letters)


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery and its queue."""

    queue: DeliveryWorker
    delivery: Delivery

    @property
    def id(self) -> str:
        """The id, unique among all queues."""
        return f"{self.queue.queue}-{self.delivery.partition}-{self.delivery.id}"

    def document(self) -> dict[str, Any]:
        """The delivery as a JSON document for its owner."""
        each = self.delivery
        return {
            "id": self.id,
            "queue": self.queue.queue,
            "state": each.state,
            "destination": each.destination,
            **_subject(each),
            "queued_at": iso(each.queued_ms),
            "attempts": each.attempts,
            "next_attempt_at": None if each.next_ms is None else iso(each.next_ms),
            "error": {"code": each.error, "message": each.detail} if each.error else None,
        }


def _subject(delivery: Delivery) -> dict[str, str | None]:
    """The ids of the job or session that it delivers."""
    fields = delivery.fields
    sid = fields.get("sid")
    if "e" in fields:
        try:
            sid = str(orjson.loads(fields["e"])["session_id"])
        except (ValueError, KeyError, TypeError):
            sid = None
    return {"job_id": fields.get("job"), "session_id": sid}


class Queues:
    """All queues of deliveries."""

    def __init__(self, workers: Iterable[DeliveryWorker]) -> None:
        self._workers = {worker.queue: worker for worker in workers}
        for worker in self._workers.values():
            metrics.WAITING.labels(worker.queue).set_function(lambda worker=worker: float(worker.waiting))  # type: ignore[misc]
            metrics.DEAD.labels(worker.queue).set_function(lambda worker=worker: float(worker.dead))  # type: ignore[misc]

    def counts(self) -> dict[str, dict[str, int]]:
        """Waiting deliveries (with those in progress) and dead letters of the whole cluster, by queue."""
        return {
            name: {"waiting": worker.waiting, "dead": worker.dead} for name, worker in self._workers.items()
        }

    async def listed(self, owner: str, *, queue: str | None, dead: bool, limit: int) -> list[Listed]:
        """Up to `limit` deliveries of an owner (hashed API key), newest first. Raises `UnavailableError`."""
        found = [
            Listed(worker, delivery)
            for name, worker in self._workers.items()
            if queue in (None, name)
            for delivery in await worker.deliveries.find(owner, dead=dead, limit=limit)
        ]
        return sorted(found, key=lambda each: each.delivery.queued_ms, reverse=True)[:limit]

    async def all(self) -> AsyncIterator[Listed]:
        """All deliveries of all owners, in no order. One may come twice. Raises `UnavailableError`."""
        for worker in self._workers.values():
            async for delivery in worker.deliveries.all():
                yield Listed(worker, delivery)

    async def erase(self, unwanted: Callable[[Delivery], bool]) -> int:
        """Delete the deliveries that are `unwanted`. Returns their number. Raises `UnavailableError`."""
        found = {each.id: each async for each in self.all() if unwanted(each.delivery)}
        for each in found.values():
            with suppress(DeliveryNotFoundError):  # it is done meanwhile
                await each.queue.deliveries.drop(each.delivery)
        return len(found)

    async def get(self, identifier: str, owner: str) -> Listed:
        """A delivery of an owner. Those of other owners are not found.

        Raises
        ------
        DeliveryNotFoundError, UnavailableError

        """
        name, partition, entry = identifier.split("-", 2)
        found = Listed(self._workers[name], await self._workers[name].deliveries.get(int(partition), entry))
        if found.delivery.owner != owner:
            raise DeliveryNotFoundError(
                f"No delivery {identifier} is known; it may be done, dropped or expired"
            )
        return found
