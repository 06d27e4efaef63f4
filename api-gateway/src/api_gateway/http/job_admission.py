"""Files and jobs within the limits of their key and owner."""

from typing import Final

from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from parlando.domain.job_options import JobOptions
from parlando.errors import AtCapacityError, ConflictError, QuotaExceededError, TooManyJobsError
from parlando.ids import file_name, new_job_id
from parlando.store.job_store import Source

REFUSED: Final = (AtCapacityError, ConflictError, QuotaExceededError, TooManyJobsError)
"""Errors after which the job isn't queued."""


async def source_at(url: str, services: Services, caller: Principal) -> Source:
    """A file that an audio-processor will fetch, as far as the caller may upload one of its size.

    Raises
    ------
    RefusedAddressError
        if nothing may be fetched from there.

    """
    await services.outbound.check(url)
    limit = services.limits.upload_bytes(caller.holder)
    return Source(new_job_id(), file_name(url), digest=url, url=url, max_bytes=limit)


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
