"""The options of a session."""

from typing import Literal

from pydantic import Field

from parlando.domain.decode_options import DecodeOptions


class SessionConfig(DecodeOptions):
    """Options of a session. A change applies from its position in the audio on."""

    title: str = Field("", max_length=200, description="Title shown to viewers above the captions")
    speaker: str = Field("", max_length=100, description="Name of the only speaker, for partials and finals")
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="`translate`: partials and finals are in English"
    )
    interim: bool = Field(True, description="Partials are sent")
    batch: bool = Field(False, description="Not live: audio is collected and split into long segments")
    stages: str = Field(
        "",
        max_length=200,
        pattern=r"^[a-z0-9_,-]*$",
        description="Names of the stages that process each segment, separated by commas",
    )
    songs: bool = Field(
        False, description="Songs are recognised and named in annotations; takes effect at the opening only"
    )
    vad_silence_ms: int | None = Field(
        None, ge=100, le=5000, description="Silence that ends a segment; none for the worker's default"
    )

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names in `stages`."""
        return tuple(name for name in self.stages.split(",") if name)

    @property
    def required_task(self) -> str:
        """The task that the session's engine must support; who can translate can also transcribe."""
        return "translate" if self.translations else self.task
