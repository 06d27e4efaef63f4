"""Live sessions at once, and the quotas of audio in running sessions."""

import asyncio
from typing import Final

import structlog

from api_gateway.limits.allowances import Allowance, Allowances, remedy
from api_gateway.limits.audio import DAY, MONTH, AudioQuotas, AudioUsage, exceeded
from parlando.domain.limits import Quota
from parlando.errors import TooManySessionsError, UnavailableError
from parlando.store.held import Count, Held, Holder

CHECK_S: Final = 2.0
"""Seconds between two checks of a running session."""
SHORTEST_S: Final = 15.0
"""Seconds, at least, for which a session counts without being renewed: a gateway may be paused."""
RETRY_S: Final = 5
"""Seconds after which clients should try again."""

log = structlog.get_logger(part="limits")


class LiveSessions:
    """Admits live sessions, and counts them as long as they are open."""

    def __init__(self, held: Held, allowances: Allowances, quotas: AudioQuotas, usage: AudioUsage) -> None:
        self._held = held
        self._allowances = allowances
        self._quotas = quotas
        self._usage = usage

    async def admit(self, caller: Holder, sid: str, *, window_s: float, attached: bool = False) -> None:
        """Count a session that is to be opened. `attached`: it is open already, and counts in any case.

        `window_s`: seconds that it stays open without a client.

        Raises
        ------
        TooManySessionsError, QuotaExceededError, UnavailableError

        """
        allowance = self._tracked(caller)
        if allowance is None:
            return
        count = await self._hold(caller, sid, window_s, allowance, unless_full=not attached)
        if count.reached:
            raise _refused(count.reached, allowance)
        if attached:
            return  # the meter checks the quota
        try:
            for quota in await self._quotas.quotas(caller, _pending_s(count)):
                if quota.exhausted:
                    raise exceeded(quota)
        except BaseException:
            await self._held.release(caller, [sid])
            raise

    async def release(self, caller: Holder, sid: str) -> None:
        """The session has ended, or wasn't opened. Without Redis it counts until its time ends."""
        if self._tracked(caller) is None:
            return
        try:
            await self._held.release(caller, [sid])
        except UnavailableError as error:
            log.warning("limits.session_not_released", error=error.message, effect="it counts for a while")

    def meter(self, caller: Holder, sid: str, *, window_s: float) -> "SessionMeter":
        """The meter of a session."""
        return SessionMeter(self, caller, sid, window_s)

    async def renew(self, caller: Holder, sid: str, window_s: float) -> list[Quota]:
        """Count a running session for a while longer. Returns the caller's quotas.

        Raises `UnavailableError`.
        """
        allowance = self._tracked(caller)
        if allowance is None:
            return []
        pending = await self._usage.uncounted_ms(sid) if allowance.has(DAY, MONTH) else None
        count = await self._hold(caller, sid, window_s, allowance, unless_full=False, pending_ms=pending)
        return await self._quotas.quotas(caller, _pending_s(count))

    async def count(self, caller: Holder) -> dict[str, int]:
        """How many sessions are open, by whose they are: `key`, `owner`. Raises `UnavailableError`."""
        count = await self._held.count(caller)
        return {"owner": count.owner, "key": count.key}

    def _tracked(self, caller: Holder) -> Allowance | None:
        allowance = self._allowances.of(caller)
        return allowance if allowance.has("sessions", DAY, MONTH) else None

    async def _hold(
        self,
        caller: Holder,
        sid: str,
        window_s: float,
        allowance: Allowance,
        *,
        unless_full: bool,
        pending_ms: int | None = None,
    ) -> Count:
        return await self._held.hold(
            caller,
            sid,
            seconds=max(window_s, SHORTEST_S),
            owner_limit=allowance.value("sessions", "owner"),
            key_limit=allowance.value("sessions", "key"),
            unless_full=unless_full,
            pending_ms=pending_ms,
        )


class SessionMeter:
    """Watches the quotas of one running session."""

    def __init__(self, sessions: LiveSessions, caller: Holder, sid: str, window_s: float) -> None:
        self._sessions = sessions
        self._caller = caller
        self._sid = sid
        self._window_s = window_s
        self._warned: dict[tuple[str, str], int] = {}
        self._released = False
        self._asking = asyncio.Lock()  # a session that is released must not be counted again

    async def check(self) -> list[Quota]:
        """The quotas that have reached another of `WARNINGS`. While Redis can't be reached there are none.

        Raises `QuotaExceededError` when one is used up.
        """
        async with self._asking:
            if self._released:
                return []
            try:
                quotas = await self._sessions.renew(self._caller, self._sid, self._window_s)
            except UnavailableError as error:
                log.warning("limits.session_not_checked", error=error.message, effect="it goes on")
                return []
        low = []
        for quota in quotas:
            if quota.exhausted:
                raise exceeded(quota)
            name = (quota.name, quota.of)
            if quota.warning > self._warned.get(name, 0):
                low.append(quota)
            self._warned[name] = quota.warning
        return low

    async def release(self) -> None:
        """The session has ended."""
        async with self._asking:
            self._released = True
            await self._sessions.release(self._caller, self._sid)


def _pending_s(count: Count) -> dict[str, float]:
    return {"owner": count.owner_ms / 1000, "key": count.key_ms / 1000}


def _refused(of: str, allowance: Allowance) -> TooManySessionsError:
    limit = allowance.value("sessions", "key" if of == "key" else "owner")
    return TooManySessionsError(
        f"The {of} has {limit} live sessions open, which is its limit; end one, or try again later"
        f"{remedy('sessions', of)}",
        limit="sessions",
        of=of,
        retry_after_s=RETRY_S,
    )
