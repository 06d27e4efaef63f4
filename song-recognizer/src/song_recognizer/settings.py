"""The song recognizer's settings."""

from pydantic import AliasChoices, Field

from parlando.blobs import BlobSettings


class SongSettings(BlobSettings):
    """Windows, limits and the address of the audio-processor."""

    song_window_s: float = Field(
        10,
        ge=3,
        le=30,
        validation_alias=AliasChoices("song_window_s", "min_audio_length"),
        description="Seconds of live audio in which a song is recognised (also read as `MIN_AUDIO_LENGTH`)",
    )
    song_step_s: float = Field(5, ge=1, le=30, description="Seconds between two such windows")
    song_buffer_s: float = Field(
        60,
        ge=30,
        le=600,
        validation_alias=AliasChoices("song_buffer_s", "max_buffer_duration"),
        description="Seconds of a session's audio that may wait for the recognition of songs; older audio is "
        "skipped (also read as `MAX_BUFFER_DURATION`)",
    )
    song_sessions: int = Field(
        64, ge=1, description="Live sessions in which one song-recognizer recognises songs"
    )
    song_lease_s: float = Field(
        3,
        ge=1,
        description="Seconds without a renewal after which a song-recognizer's sessions are taken over",
    )
    processor_url: str = Field(
        "",
        description="URL of an audio-processor, which decodes songs; empty for this machine's "
        "(`PROCESSOR_PORT`)",
    )
    processor_port: int = Field(8001, ge=1, le=65535, description="Port that the audio-processor listens on")
    song_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port for `/metrics` of a song-recognizer; 0 for none"
    )

    @property
    def decoder_url(self) -> str:
        """The URL of the audio-processor."""
        return self.processor_url.rstrip("/") or f"http://127.0.0.1:{self.processor_port}"
