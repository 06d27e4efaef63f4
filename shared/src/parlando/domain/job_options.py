"""Options and states of a job: the transcription of one recorded file."""

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from parlando.domain.decode_options import DecodeOptions
from parlando.domain.languages import LanguageCode

LONGEST_CHUNK_S: Final = 28
"""Maximum length of a chunk in seconds; an engine's window is 30 s."""
INTERNAL_FIELDS: Final = frozenset({"eager", "enrol", "presentation"})
"""Fields of `JobOptions` that clients can't set."""
MAX_TRACK: Final = 1000
"""Highest number of an audio track that can be asked for."""
MAX_ATTEMPTS: Final = 3
"""Maximum attempts at a job or at one of its chunks."""


class JobStatus(StrEnum):
    """The states of a job, in order. A job can fail or be cancelled in any state before its end."""

    UPLOADED = "uploaded"
    PROCESSING_AUDIO = "processing_audio"
    AUDIO_READY = "audio_ready"
    TRANSCRIBING = "transcribing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job is in an end state."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Priority(StrEnum):
    """Weight of a job in the fair queue of waiting jobs."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def weight(self) -> float:
        """The relative share; see `submit_job.lua`."""
        return {Priority.LOW: 0.25, Priority.NORMAL: 1.0, Priority.HIGH: 4.0}[self]


class JobOptions(DecodeOptions):
    """The options of a job.

    `eager`: end a chunk at every pause, so that the first results come early; else chunks are long.
    `enrol`: the file is a clip of one person, whose voice is the result; nothing is transcribed.
    `presentation`: how another service's API shows the result to `callback_url`; empty for our own document.
    """

    task: Literal["transcribe", "translate", "detect_language"] = Field(
        "transcribe",
        description="`translate`: into English; `detect_language`: only the language of the first speech",
    )
    channels: Literal["mix", "split"] = Field(
        "mix", description="`split`: each channel is a separate speaker"
    )
    track: int | None = Field(
        None,
        ge=1,
        le=MAX_TRACK,
        description="Audio track of a file with several, from 1; without it the one in `language`, else the "
        "default track",
    )
    callback_url: str | None = Field(
        None, max_length=2000, description="URL that receives the result as a POST"
    )
    target_language: LanguageCode = Field(
        "en",
        description="Language of the step `translation`: ISO 639 code, language tag or English name",
    )
    priority: Priority = Field(Priority.NORMAL, description="Among all jobs of all keys")
    eager: bool = False
    enrol: bool = False
    presentation: str = Field("", max_length=20_000)

    @property
    def labels_speakers(self) -> bool:
        """Whether voices are compared. Channels that are split are speakers already."""
        return self.diarize and self.channels == "mix" and self.task != "detect_language"

    @property
    def required_task(self) -> str:
        """The task that the engine must support; who can translate can also transcribe."""
        return "translate" if self.translations and self.task == "transcribe" else self.task
