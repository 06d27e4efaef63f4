"""Submits jobs within the limits of their key and owner."""

from typing import Final

from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from parlando.domain.job_options import JobOptions
from parlando.errors import AtCapacityError, ConflictError, QuotaExceededError, TooManyJobsError
from parlando.store.job_store import Source

REFUSED: Final = (AtCapacityError, ConflictError, QuotaExceededError, TooManyJobsError)
"""Errors after which the job isn't queued."""


async def submit_admitted(
    services: Services,
    job: str,
    source: Source,
    options: JobOptions,
    *,
    pool: str,
    caller: Principal,
    listed: bool = True,
) -> None:
    """Queue a job, if the caller's limits allow it.

    Raises
    ------
    TooManyJobsError, QuotaExceededError
        if a limit is reached.
    ConflictError, AtCapacityError, UnavailableError
        as `Jobs.submit`.

    """
    try:
        await services.limits.jobs.admit(caller.holder, job)
    except (QuotaExceededError, TooManyJobsError):
        if not await services.jobs.exists(job):  # a repeat answers with the job that was admitted before
            raise
    try:
        await services.jobs.submit(
            job, source, options, pool=pool, key=caller.owner, listed=listed, api_key=caller.key_id
        )
    except (AtCapacityError, ConflictError):
        await services.limits.jobs.refused(caller.holder, job)
        raise
