"""Watches the quotas of a running session: warns its client, and ends it behind the audio received so far."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from api_gateway.doors.base import ClientCommand, Notice, QuotaLow
from api_gateway.limits.sessions import CHECK_S, SessionMeter
from parlando.domain.commands import End, EndError
from parlando.errors import QuotaExceededError

Send = Callable[[Notice], Awaitable[None]]
Enqueue = Callable[[ClientCommand], None]
QuotaWatch = Callable[[Send, Enqueue], Coroutine[Any, Any, None]]
"""Watches the quotas of a session until they are used up, or it is cancelled."""


async def no_quotas(send: Send, enqueue: Enqueue) -> None:
    """The `QuotaWatch` of a session without quotas."""


def watch_of(meter: SessionMeter) -> QuotaWatch:
    """The `QuotaWatch` of a session. `meter`: checks its quotas."""

    async def watch(send: Send, enqueue: Enqueue) -> None:
        ended = False
        while True:  # also when it has ended: it is counted until all of its text is there
            try:
                for quota in await meter.check():
                    await send(QuotaLow(quota, quota.warning))
            except QuotaExceededError as error:
                if not ended:
                    cause = EndError(code=error.code, message=error.message)
                    enqueue(End(reason=error.code, error=cause))
                ended = True
            await asyncio.sleep(CHECK_S)

    return watch
