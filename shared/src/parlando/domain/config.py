"""The options of a session."""

from pydantic import BaseModel, ConfigDict, Field


class SessionConfig(BaseModel):
    """Options of a session. A change applies from its position in the audio on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: str | None = Field(
        None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="ISO 639-1; none to detect it"
    )
    title: str = Field("", max_length=200, description="Title shown to viewers above the captions")
    prompt: str = Field("", max_length=2000, description="Names and terms that will be spoken")
    words: bool = Field(False, description="Finals contain word times")
    interim: bool = Field(True, description="Partials are sent")
    batch: bool = Field(False, description="Not live: audio is collected and split into long segments")
    stages: str = Field(
        "",
        max_length=200,
        pattern=r"^[a-z0-9_,-]*$",
        description="Names of the stages that process each segment, separated by commas",
    )
    vad_silence_ms: int | None = Field(
        None, ge=100, le=5000, description="Silence that ends a segment; none for the worker's default"
    )

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names in `stages`."""
        return tuple(name for name in self.stages.split(",") if name)
