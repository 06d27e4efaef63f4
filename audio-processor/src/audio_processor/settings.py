"""The audio-processor's settings."""

from typing import Literal

from pydantic import Field

from parlando.blobs import BlobSettings


class ProcessorSettings(BlobSettings):
    """Address of the HTTP API, and limits."""

    processor_host: str = Field("127.0.0.1", description="Address that the audio-processor listens on")
    processor_port: int = Field(8001, ge=1, le=65535, description="Port that the audio-processor listens on")
    processor_sessions: int = Field(64, ge=1, description="Live sessions one audio-processor converts")
    processor_lease_s: float = Field(
        3,
        ge=1,
        description="Seconds without a renewal after which an audio-processor's sessions are taken over",
    )
    container_keep_mb: int = Field(
        64,
        ge=1,
        description="Megabytes of a container (WebM, MP3 …) that Redis keeps for a takeover; "
        "a session with more fails if its audio-processor dies",
    )
    processor_backlog_s: float = Field(
        60, ge=40, description="Seconds of converted audio that may wait for a transcriber"
    )
    processor_jobs: int = Field(
        4,
        ge=1,
        description="Jobs one audio-processor splits at a time (more for API keys without a running job)",
    )
    max_chunks: int = Field(
        64,
        ge=8,
        description="Chunks of jobs, a megabyte each, that may wait in Redis (per pool and partition)",
    )
    max_job_hours: float = Field(24, gt=0, description="Longest recording of a job")
    url_min_kb_per_s: float = Field(
        16,
        ge=0,
        description="Least kilobytes per second of a job's URL, on average after 30 s; "
        "a slower download fails the job",
    )
    vad: Literal["auto", "silero", "rms"] = Field(
        "auto", description="Voice detector; `auto` is Silero, or RMS if it can't be loaded"
    )
    convert_max_mb: int = Field(
        128,
        ge=1,
        description="Largest file accepted by `/v1/audio/probe` and `convert`; it is held in memory",
    )
