"""Writes the audit log: one loop per gateway stores in batches what requests hand over.

A request waits for its entry, so that whoever has an answer has an entry. If Redis doesn't answer within
`WAIT_S`, the entry waits in memory and the request goes on. Live connections never wait for it.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from api_gateway import metrics
from api_gateway.audit_table import AUDITED, Action
from api_gateway.auth import Principal
from parlando.errors import UnavailableError
from parlando.store.audit import AuditEntry, AuditLog

WAIT_S: Final = 1.0
"""Seconds for which a request waits until its entry is stored."""
BATCH: Final = 200
MAX_WAITING: Final = 10_000
"""Maximum entries that wait in memory; further ones are lost, which is logged and counted."""
MAX_CHARS: Final = 200
RETRY_S: Final = 0.5
LAST_S: Final = 3.0  # for what waits when the gateway ends

log = structlog.get_logger(part="audit")


@dataclass(slots=True)
class Note:
    """What is known of a request for its entry. `about` overrides the table's object.

    `action`: None until the caller is known, and if the route isn't noted.
    """

    action: Action | None = None
    params: dict[str, Any] = field(default_factory=dict)
    caller: Principal = field(default_factory=Principal)
    viewer: str = ""
    about: str = ""

    def of(self, route: str, params: dict[str, Any], caller: Principal, *, viewer: str = "") -> None:
        """The caller of `route` is known. `viewer`: id of the viewer's token that it sent."""
        self.action, self.params, self.caller, self.viewer = AUDITED[route], params, caller, viewer

    def skip(self) -> None:
        """The request did nothing that is noted."""
        self.action = None

    def entry(self, status: int, *, address: str, request: str) -> AuditEntry | None:
        """The entry of an answered request; None if it isn't noted."""
        if self.action is None:
            return None
        about = self.about or self.action.about.format(**self.params)
        return AuditEntry(
            at_ms=round(time.time() * 1000),
            owner=self.caller.owner[:16] or "none",
            key=f"viewer:{self.viewer}" if self.viewer else self.caller.key_label,
            key_name=self.caller.key_name,
            token=self.caller.by_token,
            action=self.action.name,
            object=about[:MAX_CHARS],
            address=address,
            outcome=_outcome(status),
            status=status,
            request=request,
        )


def _outcome(status: int) -> str:
    if 0 < status < 400:
        return "ok"
    return {401: "refused", 403: "refused", 404: "not_found"}.get(status, "failed")


@dataclass(slots=True)
class _Waiting:
    entry: AuditEntry
    stored: asyncio.Event = field(default_factory=asyncio.Event)


class Auditor:
    """Stores entries in the order in which they come. `run` must be running."""

    def __init__(self, log_: AuditLog) -> None:
        self.log = log_
        self._waiting: deque[_Waiting] = deque()
        self._more = asyncio.Event()
        self._failing = False

    @property
    def waiting(self) -> int:
        """The number of entries that aren't stored yet."""
        return len(self._waiting)

    def add(self, entry: AuditEntry) -> asyncio.Event:
        """Hand over an entry. Returns the event that it is stored."""
        waiting = _Waiting(entry)
        if len(self._waiting) >= MAX_WAITING:
            self._lost(entry)
        else:
            self._waiting.append(waiting)
            self._more.set()
        return waiting.stored

    async def record(self, entry: AuditEntry) -> None:
        """Hand over an entry, and wait up to `WAIT_S` until it is stored."""
        stored = self.add(entry)
        try:
            async with asyncio.timeout(WAIT_S):
                await stored.wait()
        except TimeoutError:
            metrics.AUDIT.labels("late").inc()

    async def run(self) -> None:
        """Store what is handed over, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                if not await self._store(within_s=8.0):
                    await asyncio.sleep(RETRY_S)

    async def aclose(self) -> None:
        """Store what waits; what Redis doesn't take within `LAST_S` is lost."""
        until = time.monotonic() + LAST_S
        while self._waiting and time.monotonic() < until:
            if not await self._store(within_s=max(0.1, until - time.monotonic())):
                await asyncio.sleep(0.1)
        while self._waiting:
            self._lost(self._waiting.popleft().entry)

    async def _store(self, *, within_s: float) -> bool:
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        try:
            await self.log.append([each.entry for each in batch], within_s=within_s)
        except UnavailableError as error:
            self._failed(error.message)
            return False
        except Exception as error:
            if not self._failing:
                log.exception("audit.failed")
            self._failed(str(error))
            return False
        self._failing = False
        metrics.AUDIT.labels("stored").inc(len(batch))
        for each in batch:
            self._waiting.popleft()
            each.stored.set()
        return True

    def _failed(self, why: str) -> None:
        metrics.AUDIT.labels("failed").inc()
        if not self._failing:
            log.error("audit.not_written", error=why, waiting=self.waiting, effect="it is tried again")
        self._failing = True

    @staticmethod
    def _lost(entry: AuditEntry) -> None:
        """The log line is what remains of the entry."""
        metrics.AUDIT.labels("lost").inc()
        log.error("audit.lost", **entry.model_dump())
