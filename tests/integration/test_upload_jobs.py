"""Jobs of uploads: requests at the same time, and repeats with other options."""

from types import SimpleNamespace
from typing import Any

import pytest

from api_gateway.auth import Principal
from api_gateway.http.upload_jobs import job_of_upload
from parlando.domain.job_options import JobOptions
from parlando.errors import AtCapacityError, ConflictError
from parlando.store.job_store import Jobs
from parlando.store.uploads import Uploads
from support.pools import POOL
from support.unlimited import unlimited

OWNER, JOB = "o" * 64, "j_0"
PLAIN = JobOptions()


@pytest.fixture
def services(redis) -> Any:
    async def size(_: str) -> int:
        return 3

    uploads = Uploads(redis, ttl_s=60, limit=9, key_limit=9)
    jobs = Jobs(redis, partitions=1, ttl_s=60, limit=9)
    return SimpleNamespace(
        uploads=uploads,
        jobs=jobs,
        limits=unlimited(),
        blobs=SimpleNamespace(growing=SimpleNamespace(size=size)),
    )


async def _complete(services: Any) -> str:
    return (await services.uploads.create(OWNER, length=3, name="a.wav")).upload


async def _submit(services: Any, upload: str, options: JobOptions = PLAIN) -> Any:
    return await job_of_upload(services, Principal(OWNER), upload, options, job=JOB, pool=POOL)


async def test_a_repeat_that_is_refused_does_not_take_the_file_from_the_job(services, monkeypatch):
    upload = await _complete(services)
    submit = services.jobs.submit

    async def refused_late(*call: Any, **more: Any) -> bool:
        await submit(*call, **more)  # another request with the same body
        raise AtCapacityError("full")

    monkeypatch.setattr(services.jobs, "submit", refused_late)
    with pytest.raises(AtCapacityError):
        await _submit(services, upload)
    assert (await services.uploads.record(upload, OWNER)).job == JOB


async def test_an_accepted_job_keeps_the_file_that_a_refused_repeat_has_released(services, monkeypatch):
    upload = await _complete(services)
    submit = services.jobs.submit

    async def released_meanwhile(*call: Any, **more: Any) -> bool:
        accepted = await submit(*call, **more)
        await services.uploads.release(await services.uploads.record(upload, OWNER), JOB)
        return accepted

    monkeypatch.setattr(services.jobs, "submit", released_meanwhile)
    await _submit(services, upload)
    assert (await services.uploads.record(upload, OWNER)).job == JOB


async def test_a_job_that_is_refused_leaves_the_file_to_the_next_one(services, monkeypatch):
    upload = await _complete(services)

    async def refused(*_: Any, **__: Any) -> bool:
        raise AtCapacityError("full")

    monkeypatch.setattr(services.jobs, "submit", refused)
    with pytest.raises(AtCapacityError):
        await _submit(services, upload)
    assert (await services.uploads.record(upload, OWNER)).job == ""


async def test_a_repeat_with_other_options_is_refused(services):
    upload = await _complete(services)
    first = await _submit(services, upload)
    assert (await _submit(services, upload, JobOptions(words=False))).job == first.job
    with pytest.raises(ConflictError, match="has other options"):
        await _submit(services, upload, JobOptions(words=True))
