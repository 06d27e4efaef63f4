"""The audio-processor's settings."""

from pydantic import Field

from parlando.settings import ServiceSettings


class ProcessorSettings(ServiceSettings):
    """Address of its HTTP side, and limits."""

    processor_host: str = Field("127.0.0.1", description="Address that the audio-processor listens on")
    processor_port: int = Field(8001, ge=1, le=65535, description="Port that the audio-processor listens on")
    processor_sessions: int = Field(64, ge=1, description="Live sessions one audio-processor converts")
    processor_lease_s: float = Field(
        3, ge=1, description="Seconds after which a silent audio-processor's sessions are taken over"
    )
    container_keep_mb: int = Field(
        64,
        ge=1,
        description="Megabytes of a container (WebM, MP3 …) that Redis keeps for a new audio-processor; "
        "a longer session doesn't survive the death of its audio-processor",
    )
    processor_backlog_s: float = Field(
        60, ge=40, description="Seconds of converted audio that may wait for a transcriber"
    )
    convert_max_mb: int = Field(
        128, ge=1, description="Largest file taken by `/v1/audio/probe` and `convert`; it is held in memory"
    )
