"""The events of a job, as stored in Redis and sent to clients (docs/protocols.md)."""

from typing import Any, Literal

from pydantic import BaseModel

from parlando.domain.known_speakers import VoiceClip
from parlando.domain.transcript import SpeakerRun

JobEventType = Literal["progress", "segments", "speakers", "voice", "completed", "failed", "cancelled"]


class JobEvent(BaseModel):
    """One event of a job. `seq` counts the job's events from 1; `progress` is from 0 to 1.

    `epoch`: identifies the numbering: when the job was submitted, in unix milliseconds.
    `segments`: results that follow those of earlier events, in order, each a `FinalSegment` without its
    number.
    `speakers`: for each segment so far, in order, the runs of its words with one speaker.
    `voice`: of a job that enrols a speaker.
    """

    type: JobEventType
    seq: int
    epoch: int = 0
    job_id: str
    status: str
    progress: float
    segments: tuple[dict[str, Any], ...] = ()
    speakers: tuple[tuple[SpeakerRun, ...], ...] = ()
    voice: VoiceClip | None = None
    error: dict[str, str] | None = None
