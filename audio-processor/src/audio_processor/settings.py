"""The audio-processor's settings."""

from pydantic import Field

from parlando.settings import ServiceSettings


class ProcessorSettings(ServiceSettings):
    """Address of its HTTP side."""

    processor_host: str = Field("127.0.0.1", description="Address that the audio-processor listens on")
    processor_port: int = Field(8001, ge=1, le=65535, description="Port that the audio-processor listens on")
