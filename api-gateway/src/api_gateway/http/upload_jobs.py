"""Jobs of complete uploads: the job takes the file over where it is, so that no byte is stored twice."""

from contextlib import suppress

from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from api_gateway.http.job_admission import REFUSED, submit_admitted
from parlando.domain.job_options import JobOptions
from parlando.errors import ConflictError, JobNotFoundError, UploadNotFoundError
from parlando.store.job_store import JobRecord, Source
from parlando.store.uploads import UploadRecord, unknown_upload


async def job_of_upload(
    services: Services, caller: Principal, upload: str, options: JobOptions, *, job: str, pool: str
) -> JobRecord:
    """Submit a job for an upload of the caller; a repeat returns the first job. `job`: its id.

    Raises
    ------
    UploadNotFoundError
        if there is no such upload, or its job has ended and been deleted.
    ConflictError
        if it is incomplete, another job has it, or its job has other options.
    AtCapacityError, TooManyJobsError, QuotaExceededError, StorageError, UnavailableError

    """
    record = await services.uploads.record(upload, caller.owner)
    if record.job == job:
        try:
            return _same(await services.jobs.record(job), upload, options)
        except JobNotFoundError:
            pass  # the gateway died before it submitted the job, or the job is gone with its file
    size = await services.blobs.growing.size(upload)
    if not size:
        raise unknown_upload(upload)
    if size < record.length:
        raise ConflictError(f"The upload {upload} has {size} of {record.length} bytes; send the others first")
    await services.uploads.claim(record, job)
    source = Source(upload, record.name, record.length, digest=upload)
    try:
        await submit_admitted(services, job, source, options, pool=pool, caller=caller)
    except REFUSED:  # after any other error the job may be queued
        await _release(services, record, job)
        raise
    await services.uploads.claim(record, job)  # a repeat that was refused may have released it meanwhile
    return _same(await services.jobs.record(job), upload, options)


async def _release(services: Services, record: UploadRecord, job: str) -> None:
    """Take the file back from a job that was refused, unless a repeat was accepted meanwhile."""
    await services.uploads.release(record, job)
    with suppress(JobNotFoundError, ConflictError, UploadNotFoundError):
        if (await services.jobs.record(job)).source.blob == record.upload:
            await services.uploads.claim(record, job)


def _same(found: JobRecord, upload: str, options: JobOptions) -> JobRecord:
    """The job that was found, if it has these options. Raises `ConflictError`."""
    if found.options.model_dump() != options.model_dump():
        raise ConflictError(
            f"The job {found.job} of the upload {upload} has other options; upload the file again for a job "
            "with these"
        )
    return found
