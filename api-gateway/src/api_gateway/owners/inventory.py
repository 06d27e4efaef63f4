"""Counts what owners have: in Redis, and documents in the archive."""

from collections import Counter, defaultdict
from typing import Final

from api_gateway.deliveries.archive import explained
from api_gateway.owners.parts import Parts
from parlando.store.owner_data import KINDS

ALL_KINDS: Final = (
    "sessions",
    "jobs",
    "uploads",
    "users",
    "known_speakers",
    "usage_records",
    "deliveries",
    "archived",
    "keys",
    "lists",
)
"""Kinds of data. `lists`: keys of Redis that only name other data; `keys`: API keys."""


class Inventory:
    """Looks at all keys of Redis and at the archive: seconds for a million keys, without blocking others."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def of(self, owner: str) -> dict[str, int]:
        """What one owner has, by kind. Raises `UnavailableError`."""
        counts = (await self._counted(owner))[owner]
        with explained():
            counts["archived"] = sum([1 async for _ in self._parts.archive.owned(owner)])
        return {kind: counts[kind] for kind in ALL_KINDS}

    async def all(self) -> dict[str, dict[str, int]]:
        """What each owner has, by kind, except archived documents, of which owners are named only."""
        counts = await self._counted(None)
        with explained():
            for owner in await self._parts.archive.owners():
                counts[owner]["archived"] += 0
        return {
            owner: {kind: found[kind] for kind in ALL_KINDS if kind != "archived"}
            for owner, found in counts.items()
        }

    async def _counted(self, owner: str | None) -> defaultdict[str, Counter[str]]:
        parts, counts = self._parts, defaultdict[str, Counter[str]](Counter)
        seen: set[str] = set()
        for kind, found in (
            ("sessions", parts.data.sessions(owner)),
            ("jobs", parts.data.jobs(owner)),
            ("uploads", parts.data.uploads(owner)),
        ):
            async for held in found:
                if held.id not in seen:  # Redis may name a key twice
                    seen.add(held.id)
                    counts[held.prefix][kind] += 1
            seen.clear()
        async for name, kind, prefix in parts.data.named(owner):
            if name not in seen and kind != "known-speakers":
                seen.add(name)
                counts[prefix][KINDS.get(kind, "lists")] += 1
        async for _, prefix, _ in parts.data.days_of_usage(owner):
            counts[prefix]["usage_records"] += 1
        for prefix in [*counts] if owner is None else [owner]:
            counts[prefix]["known_speakers"] = len(await parts.known_speakers.all(prefix))

        async for listed in parts.queues.all():
            prefix = listed.delivery.owner[:16]
            if listed.id not in seen and (owner is None or prefix == owner):
                seen.add(listed.id)
                counts[prefix]["deliveries"] += 1
        for key in (await parts.ring.keys.all()).values():
            if owner is None or key.owner[:16] == owner:
                counts[key.owner[:16]]["keys"] += 1
        return counts
