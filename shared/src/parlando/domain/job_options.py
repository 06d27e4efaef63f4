"""A job: one recorded file on its way to words. What its submitter chose, and where it stands."""

from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_CHUNK_S: Final = 28
"""Seconds of a chunk; engines hear no more than 30 at once."""
MAX_ATTEMPTS: Final = 3
"""Workers that may fail on a job or on one of its chunks."""


class JobStatus(StrEnum):
    """What becomes of a job, in this order; it may fail or be cancelled at any point before its end."""

    UPLOADED = "uploaded"
    PROCESSING_AUDIO = "processing_audio"
    AUDIO_READY = "audio_ready"
    TRANSCRIBING = "transcribing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Priority(StrEnum):
    """How large a share of its key's jobs a job gets."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def weight(self) -> float:
        """Its share against that of others."""
        return {Priority.LOW: 0.25, Priority.NORMAL: 1.0, Priority.HIGH: 4.0}[self]


class JobOptions(BaseModel):
    """What the submitter chose.

    `eager`: cut at every pause, so that the first words come early; else chunks are long.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: str | None = Field(
        None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="ISO 639-1; none to detect it"
    )
    prompt: str = Field("", max_length=2000, description="Names and terms that are spoken")
    words: bool = Field(False, description="Segments carry word times")
    task: Literal["transcribe", "translate"] = Field("transcribe", description="`translate`: into English")
    channels: Literal["mix", "split"] = Field(
        "mix", description="`split`: every channel is a speaker of its own"
    )
    callback_url: str | None = Field(None, max_length=2000, description="Gets the result as a POST")
    priority: Priority = Field(Priority.NORMAL, description="Among all jobs of all keys")
    eager: bool = False
