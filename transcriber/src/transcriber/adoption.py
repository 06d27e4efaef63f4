"""Adoption of sessions that were opened while no pool was known: they come into the queues of a pool."""

import asyncio
from typing import Final

import structlog

from parlando.errors import UnavailableError
from parlando.store.connection import BROKEN
from parlando.store.unassigned import Unassigned

LOOK_EVERY_S: Final = 1.0  # interval of looks for unassigned sessions, with up to …
LOOK_PARTITIONS: Final = 64  # … this many partitions; longer in proportion with more

log = structlog.get_logger(part="adoption")


async def adoption_loop(unassigned: Unassigned, pool: str, partitions: int) -> None:
    """Move unassigned sessions into the queues of `pool` if it is the preferred one for them."""
    while True:
        try:
            if moved := await unassigned.adopt_sessions(pool):
                log.info("sessions.adopted", pool=pool, sessions=moved)
        except (*BROKEN, UnavailableError) as error:
            log.warning("redis.unreachable", error=str(error))
        await asyncio.sleep(LOOK_EVERY_S * max(1.0, partitions / LOOK_PARTITIONS))
