"""The last step of a job with voices, which fails: what becomes of the job."""

import pytest

from api_gateway.http.job_answers import check_completed
from parlando.domain.job_options import JobStatus
from parlando.errors import EngineError
from support.script_stage import JOB, Stage


@pytest.fixture
async def stage(redis_server):
    stage = Stage(redis_server.url, "return_chunk", lossy=False)
    for claims in (stage.processor, stage.chunks):
        await claims.queue.ensure_groups()
    yield stage
    await stage.redis.aclose()


async def fail_last_step(stage: Stage, **options: bool) -> None:
    """A job whose chunk is decoded, and whose last step fails three times."""
    claim = await stage.chunk(**options)
    await stage.chunks.done(claim, [], "en", voices=b"[]")
    for _ in range(3):
        [last] = await stage.chunks.take_new(block_ms=100)
        assert last.labels_speakers
        await stage.chunks.failed(last, EngineError("it broke"))


async def test_an_enrolment_whose_voice_cannot_be_computed_fails(stage):
    await fail_last_step(stage, diarize=True, enrol=True)
    record = await stage.jobs.record(JOB)
    assert record.status is JobStatus.FAILED
    with pytest.raises(EngineError, match=r"^The computation of the voice failed 3 times: it broke$"):
        check_completed(record)


async def test_another_job_is_complete_without_speakers(stage):
    await fail_last_step(stage, diarize=True)
    check_completed(await stage.jobs.record(JOB))
