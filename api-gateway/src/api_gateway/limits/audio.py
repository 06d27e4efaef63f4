"""Quotas of audio: seconds a day and a month, of a key and of an owner."""

import time
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol

from api_gateway.coalesced import CoalescedRead
from api_gateway.limits.allowances import EACH, Allowances, remedy
from parlando.domain.limits import Quota, end_of_day, end_of_month
from parlando.errors import QuotaExceededError
from parlando.store.held import Holder

DAY: Final = "audio_seconds_day"
MONTH: Final = "audio_seconds_month"
FRESH_S: Final = 1.0
"""Seconds for which today's usage is valid, …"""
EARLIER_S: Final = 300.0
"""… and that of the month before today."""
READ_S: Final = 5.0
MAX_CACHED: Final = 2000
"""Callers whose usage a gateway remembers."""


class AudioUsage(Protocol):
    """Reads the usage of audio."""

    async def audio_s(self, owner: str, first: date, last: date, *, key: str | None = None) -> float:
        """Seconds of audio of an owner, or of one of its keys, in these days, inclusive."""
        ...

    async def uncounted_ms(self, sid: str) -> int:
        """Milliseconds of audio of a live session that the usage doesn't contain yet."""
        ...


class _Reader:
    """The usage of one key or owner: today's is read often, that of the days before seldom."""

    def __init__(self, usage: AudioUsage, owner: str, key: str | None) -> None:
        self._usage = usage
        self._owner = owner
        self._key = key
        self._earlier: tuple[date, float, float] = (date.min, 0.0, 0.0)  # today, seconds before it, read at
        self._read = CoalescedRead(self._both, fresh_s=FRESH_S, within_s=READ_S)

    async def used(self) -> tuple[float, float]:
        """Seconds of audio today, and this month. Raises `UnavailableError`."""
        return await self._read.get()

    async def _both(self) -> tuple[float, float]:
        today = datetime.now(UTC).date()
        of_today = await self._usage.audio_s(self._owner, today, today, key=self._key)
        known_for, before, read_at = self._earlier
        if known_for != today or time.monotonic() - read_at > EARLIER_S:
            before = 0.0
            if today.day > 1:
                yesterday = today - timedelta(days=1)
                first = today.replace(day=1)
                before = await self._usage.audio_s(self._owner, first, yesterday, key=self._key)
            self._earlier = (today, before, time.monotonic())
        return of_today, before + of_today


class AudioQuotas:
    """The quotas of callers, with what is used of them."""

    def __init__(self, usage: AudioUsage, allowances: Allowances) -> None:
        self._usage = usage
        self._allowances = allowances
        self._readers: OrderedDict[tuple[str, str | None], _Reader] = OrderedDict()

    async def quotas(self, caller: Holder, pending_s: dict[str, float] | None = None) -> list[Quota]:
        """The quotas of a caller; none if its audio isn't limited. Raises `UnavailableError`.

        `pending_s`: seconds of its live sessions that aren't in the usage yet, by `key` and `owner`.
        """
        allowance = self._allowances.of(caller)
        found: list[Quota] = []
        for of in EACH:
            limits = {name: limit for name in (DAY, MONTH) if (limit := allowance.value(name, of))}
            if not limits:
                continue
            day_s, month_s = await self._reader(caller, of).used()
            pending = (pending_s or {}).get(of, 0.0)
            today = datetime.now(UTC).date()
            used_s = {DAY: (day_s, end_of_day(today)), MONTH: (month_s, end_of_month(today))}
            for name, limit in limits.items():
                used, end = used_s[name]
                found.append(Quota(name, of, limit, used + pending, end))
        return found

    async def check(self, caller: Holder) -> None:
        """Refuse more audio when a quota is used up. Raises `QuotaExceededError`, `UnavailableError`."""
        for quota in await self.quotas(caller):
            if quota.exhausted:
                raise exceeded(quota)

    def _reader(self, caller: Holder, of: str) -> _Reader:
        name = (caller.owner, caller.key_id if of == "key" else None)
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = _Reader(self._usage, *name)
            while len(self._readers) > MAX_CACHED:
                self._readers.popitem(last=False)
        self._readers.move_to_end(name)
        return reader


def exceeded(quota: Quota) -> QuotaExceededError:
    """The error of a quota that is used up."""
    period = "today" if quota.name == DAY else "this month"
    until = f"{quota.resets_at:%Y-%m-%dT%H:%M:%SZ}" if quota.resets_at else ""
    return QuotaExceededError(
        f"The {quota.of} has used up its {quota.limit} s of audio for {period}; the next begins at {until}"
        f"{remedy(quota.name, quota.of)}",
        limit=quota.name,
        of=quota.of,
        retry_after_s=quota.seconds_left(datetime.now(UTC)),
    )
