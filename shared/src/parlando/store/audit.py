"""The audit log: who did what, in one Redis stream that is only appended to and trimmed.

`stt:{audit}:entries` is bounded by time and by length. An entry is JSON in the field `e`; its id is the time
at which Redis stored it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from parlando.store.connection import Redis, Scripts, retried

AUDIT: Final = "stt:{audit}:entries"
CURSOR_PATTERN: Final = r"^[0-9]{1,16}-[0-9]{1,10}$"
PAGE: Final = 500
LOOKED_AT: Final = 10_000
"""Maximum number of entries that one page looks at: with a rare filter it may be empty, and more follow."""


class AuditEntry(BaseModel):
    """One action. It has no secrets and no text of a transcript.

    `at_ms`: unix milliseconds, by the clock of the gateway. `owner`: first 16 digits of the owner's
    fingerprint, or `none`. `key`: id of the stored key, `configured` for one of API_KEYS, `viewer:<id>` for a
    viewer's token, `none` without keys. `token`: whether the caller sent an access token of that key.
    `object`: kind and name of what it concerns. `address`: of the caller, as the gateway knows it.
    `status`: of the HTTP answer; 0 if the caller left before it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at_ms: int
    owner: str
    key: str
    key_name: str = ""
    token: bool = False
    action: str
    object: str = ""
    address: str = ""
    outcome: str
    status: int = 0
    request: str = ""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries with their ids, oldest first. `next`: cursor of the following page. `more`: whether to ask."""

    entries: Sequence[tuple[str, AuditEntry]]
    next: str
    more: bool


class AuditLog:
    """The audit log. `days`, `limit`: how long entries are kept, and how many. Raises `UnavailableError`."""

    def __init__(self, redis: Redis, *, days: int, limit: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._kept_s = days * 86_400
        self._limit = limit

    async def append(self, entries: Sequence[AuditEntry], *, within_s: float = 8.0) -> None:
        """Append entries, retrying for `within_s` seconds."""
        encoded = [entry.model_dump_json() for entry in entries]
        await self._scripts.run("audit", [AUDIT], [self._limit, self._kept_s, *encoded], within=within_s)

    async def page(
        self, *, since_ms: int, cursor: str = "", limit: int, wanted: Callable[[AuditEntry], bool]
    ) -> AuditPage:
        """Up to `limit` entries that are `wanted`, oldest first: after `cursor`, or from `since_ms` on."""
        since_ms = max(since_ms, round((time.time() - self._kept_s) * 1000), 0)
        last, start = cursor or f"{since_ms}-0", f"({cursor}" if cursor else f"{since_ms}-0"
        found: list[tuple[str, AuditEntry]] = []
        for _ in range(LOOKED_AT // PAGE):
            page: Any = await retried(lambda start=start: self._redis.xrange(AUDIT, min=start, count=PAGE))  # type: ignore[misc]
            for name, fields in page:
                last = name.decode()
                entry = AuditEntry.model_validate_json(fields[b"e"])
                if wanted(entry):
                    found.append((last, entry))
                    if len(found) == limit:
                        return AuditPage(found, last, more=True)
            if len(page) < PAGE:
                return AuditPage(found, last, more=False)
            start = f"({last}"
        return AuditPage(found, last, more=True)
