"""Deletes the usage of days that are older than `USAGE_DAYS`."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from parlando.errors import UnavailableError
from parlando.store.usage import Usage, days_between
from parlando.store.usage_keys import today

EVERY_S: Final = 3600.0
NEW: Final = 2
"""Days that may have got counters since the last round."""

log = structlog.get_logger(part="usage")


async def keep_usage(usage: Usage, days: int) -> None:
    """Have the usage of each day deleted after `days` days: of all days at first, then of new ones."""
    span = days
    while True:
        try:
            await usage.keep(days_between(today() - timedelta(days=span), today()), for_days=days)
            span = NEW
        except UnavailableError as error:
            log.warning("usage.lifetime_not_set", error=error.message)
        await asyncio.sleep(EVERY_S)
