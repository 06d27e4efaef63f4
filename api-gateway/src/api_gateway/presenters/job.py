"""The JSON documents of a job: its status and its result."""

import asyncio
import time
from typing import Any

from api_gateway.presenters.openai import segment_fields
from api_gateway.presenters.session import iso
from parlando.domain.audio import SAMPLE_RATE, seconds
from parlando.domain.job_options import INTERNAL_FIELDS, JobStatus
from parlando.domain.transcript import Transcript
from parlando.store.job_store import JobRecord, Jobs


def _iso(unix_ms: int) -> str | None:
    return iso(unix_ms) if unix_ms else None


def result_of(record: JobRecord, transcript: Transcript) -> dict[str, Any]:
    """The result, whose segments have Whisper's fields."""
    return {
        "job_id": record.job,
        "text": transcript.text,
        "language": transcript.language,
        "duration": transcript.duration,
        "segments": [
            {
                **segment_fields(number, segment),
                "text": segment.text,
                **segment.model_dump(
                    include={
                        "confidence",
                        "speaker",
                        "speaker_name",
                        "speaker_score",
                        "translations",
                        "words",
                    },
                    exclude_defaults=True,
                ),
            }
            for number, segment in enumerate(transcript.segments)
        ],
        "transcribed_at": _iso(record.ended_ms),
    }


def job_of(record: JobRecord, *, base: str = "") -> dict[str, Any]:
    """A job's status, without its result. `base`: scheme and host of the URLs in it."""
    url = f"{base}/v1/stt/jobs/{record.job}"
    duration = record.duration or record.expected
    return {
        "job_id": record.job,
        "status": record.status.value,
        "progress": record.progress,
        "audio_seconds": seconds(duration) if duration else None,
        "eta_s": _eta(record),
        "attempts": record.attempts,
        "error": record.error,
        "filename": record.source.name or None,
        "size": record.source.size or None,
        "pool": record.pool,
        "language": record.language,
        "options": record.options.model_dump(exclude=set(INTERNAL_FIELDS), exclude_none=True, mode="json"),
        "created_at": _iso(record.created_ms),
        "started_at": _iso(record.started_ms),
        "updated_at": _iso(record.updated_ms),
        "ended_at": _iso(record.ended_ms),
        "status_url": url,
        "events_url": f"{url}/events",
        "result_url": f"{url}/result",
    }


def _eta(record: JobRecord) -> float | None:
    """Estimated seconds until it ends, from its progress so far; None without progress."""
    if record.status.ended:
        return 0.0
    if not record.progress or not record.started_ms:
        return None
    elapsed = time.time() - record.started_ms / 1000
    return round(max(0.0, elapsed * (1 - record.progress) / record.progress), 1)


async def document_of(jobs: Jobs, record: JobRecord, *, base: str = "") -> dict[str, Any]:
    """A job's status, and its result if it is completed."""
    document = job_of(record, base=base)
    if record.status is JobStatus.COMPLETED:
        document["result"] = await whole_result(record, await jobs.transcript(record))
    return document


async def whole_result(record: JobRecord, transcript: Transcript) -> dict[str, Any]:
    """`result_of`, computed in a thread: that of ten hours takes a second."""
    return await asyncio.to_thread(result_of, record, transcript)


def whole_seconds(record: JobRecord) -> int:
    """Seconds of audio, rounded up as for billing."""
    return -(-record.duration // SAMPLE_RATE)
