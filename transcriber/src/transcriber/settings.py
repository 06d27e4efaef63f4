"""The transcriber's settings."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, samples
from parlando.models.selection import EngineSettings
from transcriber.pipeline.batching import BatchOptions
from transcriber.pipeline.segmenter import SegmenterOptions


class TranscriberSettings(EngineSettings):
    """Engine, voice activity, partials and leases."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where Whisper runs")
    vad: Literal["auto", "silero", "rms"] = Field(
        "auto", description="Voice detector; `auto` is Silero, or RMS if it can't be loaded"
    )
    vad_silence_ms: int = Field(
        500,
        ge=100,
        le=5000,
        validation_alias=AliasChoices("vad_silence_ms", "vad_silence_threshold_ms"),
        description="Silence that ends a segment (also read as `VAD_SILENCE_THRESHOLD_MS`)",
    )
    max_segment_s: float = Field(15, ge=6, le=28, description="Seconds after which a segment is cut")
    partial_interval_ms: int = Field(
        500,
        ge=200,
        le=5000,
        description="New audio between two partials of a session; half of it at low load, more at high load",
    )
    whisper_accumulation_s: float | None = Field(
        None, ge=0.2, le=5, description="Replaces `PARTIAL_INTERVAL_MS` if set; in seconds"
    )
    partial_cadence: Literal["adaptive", "fixed"] = Field(
        "adaptive",
        description="`fixed` counts partials in samples: the same audio gives the same partials and finals",
    )
    openai_base_url: str = Field(
        "https://api.groq.com/openai/v1",
        description="Base URL of the engine `openai`: any compatible endpoint",
    )
    openai_api_key: str = Field(
        "",
        validation_alias=AliasChoices("openai_api_key", "groq_api_key"),
        description="API key of that endpoint (also read as `GROQ_API_KEY`)",
    )
    openai_model: str = Field("whisper-large-v3-turbo", description="Model requested from that endpoint")
    openai_timeout_s: float = Field(60, gt=0, description="Time-out of a request to that endpoint")
    openai_retries: int = Field(4, ge=0, description="Retries of such a request; `Retry-After` is honoured")
    openai_least_billed_s: float = Field(10, ge=0, description="Seconds billed for the shortest request")
    batch_duration_seconds: float = Field(
        120, gt=0, description="`OMI_MODE=batch`: audio is recognised when it has waited this many seconds …"
    )
    max_batch_size_mb: float = Field(20, gt=0, description="… or when this many megabytes of it wait")
    stages: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Additional stages, separated by commas: `package.module:Class` (docs/extending.md)",
    )
    speaker_wait_s: float = Field(
        0.6,
        gt=0,
        le=60,
        description="Longest time that a final of a session with `diarize` waits for its speaker; later, a "
        "revision has it (docs/speakers.md)",
    )
    worker_sessions: int = Field(
        0,
        ge=0,
        description="Live sessions one worker takes; 0 to estimate the number from measured engine time",
    )
    lease_s: float = Field(
        3, ge=1, description="Seconds without a renewal after which a worker's sessions are taken over"
    )
    drain_s: float = Field(10, gt=0, description="Seconds to release sessions after SIGTERM")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port for `/metrics` of a worker; 0 for none")

    @field_validator("stages", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def batch(self) -> BatchOptions:
        """When the audio of batch sessions is read."""
        limit = int(self.max_batch_size_mb * (1 << 20)) // BYTES_PER_SAMPLE
        return BatchOptions(self.batch_duration_seconds, limit)

    @property
    def segmenter(self) -> SegmenterOptions:
        """The segmenter's options, in samples."""
        hard = int(self.max_segment_s * SAMPLE_RATE)
        return SegmenterOptions(
            silence=samples(self.vad_silence_ms), soft=min(8 * SAMPLE_RATE, hard), hard=hard
        )

    @property
    def partial_interval(self) -> int:
        """Samples of new audio between two partials."""
        if self.whisper_accumulation_s is not None:
            return int(self.whisper_accumulation_s * SAMPLE_RATE)
        return samples(self.partial_interval_ms)
