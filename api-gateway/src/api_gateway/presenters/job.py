"""A job as its submitter reads it: where it stands, and what was said in it."""

import time
from typing import Any

from api_gateway.presenters.openai import segment_fields
from api_gateway.presenters.session import iso
from parlando.domain.audio import SAMPLE_RATE, seconds
from parlando.domain.job_options import JobStatus
from parlando.domain.transcript import Transcript
from parlando.store.job_store import JobRecord, Jobs


def _iso(unix_ms: int) -> str | None:
    return iso(unix_ms) if unix_ms else None


async def transcript_of(jobs: Jobs, record: JobRecord) -> Transcript:
    """What was said, as far as it's known; the channels of a split job in the order in which they spoke."""
    segments = [segment async for segment in jobs.segments(record.job)]
    if record.options.channels == "split":
        segments.sort(key=lambda segment: (segment.start, segment.speaker))
    return Transcript.of(
        record.job,
        state=record.status,
        duration=seconds(record.duration),
        segments=[segment.model_copy(update={"segment": n}) for n, segment in enumerate(segments)],
        language=record.language,
    )


def result_of(record: JobRecord, transcript: Transcript) -> dict[str, Any]:
    """The result, with the fields that Whisper gives a segment."""
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
                    include={"confidence", "speaker", "translations", "words"}, exclude_defaults=True
                ),
            }
            for number, segment in enumerate(transcript.segments)
        ],
        "transcribed_at": _iso(record.ended_ms),
    }


def job_of(record: JobRecord, *, base: str = "") -> dict[str, Any]:
    """Where a job stands, without its result. `base`: what stands before paths in URLs."""
    url = f"{base}/v1/stt/jobs/{record.job}"
    known = record.duration or record.expected
    return {
        "job_id": record.job,
        "status": record.status.value,
        "progress": record.progress,
        "audio_seconds": seconds(known) if known else None,
        "eta_s": _eta(record),
        "attempts": record.attempts,
        "error": record.error,
        "filename": record.source.name or None,
        "size": record.source.size or None,
        "language": record.language,
        "options": record.options.model_dump(exclude={"eager"}, exclude_none=True, mode="json"),
        "created_at": _iso(record.created_ms),
        "started_at": _iso(record.started_ms),
        "updated_at": _iso(record.updated_ms),
        "ended_at": _iso(record.ended_ms),
        "status_url": url,
        "events_url": f"{url}/events",
        "result_url": f"{url}/result",
    }


def _eta(record: JobRecord) -> float | None:
    """Seconds until it's done, if it goes on as so far; None while nobody can tell."""
    if record.status.ended:
        return 0.0
    if not record.progress or not record.started_ms:
        return None
    spent = time.time() - record.started_ms / 1000
    return round(max(0.0, spent * (1 - record.progress) / record.progress), 1)


async def document_of(jobs: Jobs, record: JobRecord, *, base: str = "") -> dict[str, Any]:
    """Where a job stands, and its result once it's completed."""
    document = job_of(record, base=base)
    if record.status is JobStatus.COMPLETED:
        document["result"] = result_of(record, await transcript_of(jobs, record))
    return document


def whole_seconds(record: JobRecord) -> int:
    """Seconds of audio as they're billed: begun ones count."""
    return -(-record.duration // SAMPLE_RATE)
