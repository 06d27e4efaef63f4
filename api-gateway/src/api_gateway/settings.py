"""The gateway's settings."""

from typing import Annotated

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from parlando.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Address, keys and limits of the front doors."""

    host: str = Field("0.0.0.0", description="Address to listen on; without keys always 127.0.0.1")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Keys that clients may use, separated by commas; none means loopback only"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins that may call from a browser, separated by commas"
    )
    buffer_max_s: float = Field(
        60,
        le=600,
        validation_alias=AliasChoices("buffer_max_s", "buffer_max_duration_s"),
        description="Seconds of a session's audio that may wait in Redis, at least 40 "
        "(also read as `BUFFER_MAX_DURATION_S`)",
    )
    idle_timeout_s: float = Field(
        300, gt=0, description="A socket that says nothing that long is closed (4408)"
    )
    stall_flush_s: float = Field(
        2, gt=0, description="An open segment is settled when no audio has come for that long"
    )
    ack_interval_ms: int = Field(250, ge=20, description="At most one `ack` in that time")
    max_message_kb: int = Field(16384, ge=64, description="Largest WebSocket message taken")

    @field_validator("buffer_max_s")
    @classmethod
    def _room_for_a_segment(cls, value: float) -> float:
        """A segment may last 28 s and needs 8 s before it; with less the session would wait for itself."""
        return max(value, 40.0)

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
