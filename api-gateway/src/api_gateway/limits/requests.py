"""Requests a minute. While Redis doesn't answer, requests are admitted."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from api_gateway.limits.allowances import Allowances, remedy
from api_gateway.limits.windows import WINDOW_S, RequestWindows, Window
from parlando.errors import RateLimitedError, UnavailableError
from parlando.store.held import Holder
from parlando.store.limit_keys import owner_id

ANSWER_S: Final = 2.0
"""Seconds within which Redis must answer; then the request is admitted, …"""
REST_S: Final = 5.0
"""… and so are others for this long, without asking."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that was counted, in the windows of its key and its owner. `refusal`: why it is refused."""

    windows: Sequence[Window] = ()
    refusal: RateLimitedError | None = None

    def check(self) -> None:
        """Raises `RateLimitedError` if the request is refused."""
        if self.refusal is not None:
            raise self.refusal


NOT_LIMITED: Final = Taken()

log = structlog.get_logger(part="limits")


class RequestRate:
    """Counts requests, and refuses those beyond the limits of their key or owner."""

    def __init__(self, windows: RequestWindows, allowances: Allowances) -> None:
        self._windows = windows
        self._allowances = allowances
        self._resting_until = 0.0

    async def take(self, caller: Holder) -> Taken:
        """Count a request."""
        limits = self._allowances.of(caller).of("requests_minute")
        if not limits or time.monotonic() < self._resting_until:
            return NOT_LIMITED
        found: list[Window] = []
        try:
            async with asyncio.timeout(ANSWER_S):
                for of, limit in limits:
                    taken, window = await self._windows.take(_name(caller, of), limit)
                    found.append(window)
                    if not taken:
                        return Taken(found, _refused(of, window))
                return Taken(found)
        except (UnavailableError, TimeoutError) as error:
            now = time.monotonic()
            if now >= self._resting_until:  # once, not for each request that was waiting
                log.warning("limits.requests_not_counted", error=str(error), effect="requests are admitted")
            self._resting_until = now + REST_S
            return NOT_LIMITED

    async def look(self, caller: Holder) -> dict[str, Window]:
        """The windows, by whose they are: `key`, `owner`. Raises `UnavailableError`."""
        limits = self._allowances.of(caller).of("requests_minute")
        return {of: await self._windows.look(_name(caller, of), limit) for of, limit in limits}


def _name(caller: Holder, of: str) -> str:
    return f"key-{caller.key_id}" if of == "key" else f"owner-{owner_id(caller.owner)}"


def _refused(of: str, window: Window) -> RateLimitedError:
    wait = min(WINDOW_S, max(1, round(window.resets_at - time.time() + 0.5)))
    return RateLimitedError(
        f"The {of} has made {window.limit} requests in the last minute, which is its limit; try again in "
        f"{wait} s{remedy('requests_minute', of)}",
        limit="requests_minute",
        of=of,
        retry_after_s=wait,
    )
