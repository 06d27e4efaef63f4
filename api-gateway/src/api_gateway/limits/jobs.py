"""Jobs that wait. A job waits from its submission until an audio-processor decodes its file."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from api_gateway.limits.allowances import Allowances, remedy
from api_gateway.limits.audio import AudioQuotas
from parlando.errors import TooManyJobsError
from parlando.store.held import Count, Held, Holder
from parlando.store.keys import LONG_TTL_S

RETRY_S: Final = 10
"""Seconds after which clients should try again."""
NEW_S: Final = 60.0
"""Seconds for which a job counts that was admitted and isn't known: it is being submitted."""


class WaitingJobs:
    """Admits jobs. `waiting`: says of jobs whether they still wait; it omits those that aren't known."""

    def __init__(
        self,
        held: Held,
        allowances: Allowances,
        quotas: AudioQuotas,
        waiting: Callable[[Sequence[str]], Awaitable[dict[str, bool]]],
    ) -> None:
        self._held = held
        self._allowances = allowances
        self._quotas = quotas
        self._waiting = waiting

    async def admit(self, caller: Holder, job: str) -> None:
        """Count a job that is to be submitted; a repeat counts once.

        Raises
        ------
        TooManyJobsError, QuotaExceededError, UnavailableError

        """
        await self._quotas.check(caller)
        allowance = self._allowances.of(caller)
        if not allowance.has("jobs_waiting"):
            return

        async def hold() -> Count:
            return await self._held.hold(
                caller,
                job,
                seconds=LONG_TTL_S,
                owner_limit=allowance.value("jobs_waiting", "owner"),
                key_limit=allowance.value("jobs_waiting", "key"),
            )

        count = await hold()
        if count.reached and await self._release_others(caller):
            count = await hold()
        if of := count.reached:
            limit = allowance.value("jobs_waiting", "key" if of == "key" else "owner")
            raise TooManyJobsError(
                f"{limit} jobs of the {of} wait, which is its limit; try again when one is being processed"
                f"{remedy('jobs_waiting', of)}",
                limit="jobs_waiting",
                of=of,
                retry_after_s=RETRY_S,
            )

    async def refused(self, caller: Holder, job: str) -> None:
        """The job wasn't submitted: count it no longer."""
        if self._allowances.of(caller).has("jobs_waiting"):
            await self._held.release(caller, [job])

    async def count(self, caller: Holder) -> dict[str, int]:
        """How many jobs wait, by whose they are: `key`, `owner`. Raises `UnavailableError`."""
        await self._release_others(caller)
        count = await self._held.count(caller)
        return {"owner": count.owner, "key": count.key}

    async def _release_others(self, caller: Holder) -> bool:
        """Release the jobs that don't wait any more; False if there are none."""
        held = await self._held.held(caller)
        waiting = await self._waiting([*held])
        new_since = time.time() + LONG_TTL_S - NEW_S
        gone = [job for job, until in held.items() if not waiting.get(job, until > new_since)]
        await self._held.release(caller, gone)
        return bool(gone)
