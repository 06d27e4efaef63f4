"""What happened to a job, as it lies in Redis and goes to clients (docs/protocols.md)."""

from typing import Any, Literal

from pydantic import BaseModel

JobEventType = Literal["progress", "segments", "completed", "failed", "cancelled"]


class JobEvent(BaseModel):
    """One event of a job. `seq` counts a job's events from 1; `progress` is a share of 1.

    `epoch`: of the numbering: when the job was submitted, in unix milliseconds.

    `segments`: results that follow those of the events before, in order, each as `FinalSegment` without its
    number.
    """

    type: JobEventType
    seq: int
    epoch: int = 0
    job_id: str
    status: str
    progress: float
    segments: tuple[dict[str, Any], ...] = ()
    error: dict[str, str] | None = None
