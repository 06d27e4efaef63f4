"""Options that live sessions and jobs have in common. Pure."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from parlando.domain.analysis import STEPS_PATTERN, step_names
from parlando.domain.known_speakers import wanted
from parlando.domain.languages import LanguageChoice, codes

ENGLISH: Final = "en"
"""The language that the task `translate` translates into."""
MOST_SPEAKERS: Final = 32
"""Highest number of speakers that can be asked for."""


class DecodeOptions(BaseModel):
    """What the engine is told about the speech, and what it shall return.

    `language`: None for any, else codes separated by commas, among which it is detected.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: LanguageChoice = Field(
        None,
        description="ISO 639 code, language tag or English name; several, separated by commas, to detect it "
        "among these; none or `auto` to detect it",
    )
    translations: Literal["", "en"] = Field(
        "", description="`en`: each segment is also translated into English, in its `translations`"
    )
    prompt: str = Field("", max_length=2000, description="Text that precedes the speech: topic, names, style")
    hotwords: str = Field(
        "",
        max_length=1000,
        description="Names and terms that may be spoken, separated by commas or spaces; not all engines use "
        "them",
    )
    words: bool = Field(False, description="Segments contain word times")
    diarize: bool = Field(False, description="Segments have the label of their speaker (docs/speakers.md)")
    speaker_count: int | None = Field(
        None, ge=1, le=MOST_SPEAKERS, description="How many people speak, if it is known; with `diarize`"
    )
    min_speakers: int | None = Field(
        None, ge=1, le=MOST_SPEAKERS, description="At least this many people speak"
    )
    max_speakers: int | None = Field(
        None, ge=1, le=MOST_SPEAKERS, description="At most this many people speak"
    )
    known_speakers: Annotated[str, BeforeValidator(wanted)] = Field(
        "",
        max_length=2000,
        description="With `diarize`: known speakers to recognise, as names separated by commas; `true` for "
        "all (docs/speakers.md)",
    )
    analyze: str = Field(
        "",
        max_length=200,
        pattern=STEPS_PATTERN,
        description="Steps of the analysis of the text, separated by commas, whose results are annotations "
        "(docs/analysis.md)",
    )

    @model_validator(mode="after")
    def _speakers_fit(self) -> Self:
        if (self.min_speakers or 1) > (self.max_speakers or MOST_SPEAKERS):
            raise ValueError("expected max_speakers to be at least min_speakers")
        return self

    @property
    def timed(self) -> bool:
        """Whether the times of words are needed."""
        return self.words or self.diarize

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes in `language`; empty for any."""
        return codes(self.language)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names in `analyze`."""
        return step_names(self.analyze)

    @property
    def only_language(self) -> str | None:
        """The language, if there is one only; None if it is to be detected."""
        return self.languages[0] if len(self.languages) == 1 else None

    def with_default_language(self, language: str | None) -> Self:
        """These options in `language`, if they were made without one. `auto` counts as one."""
        if language is None or "language" in self.model_fields_set:
            return self
        return self.model_copy(update={"language": language})


def written_in(spoken: str | None, task: str) -> str | None:
    """The language of the text that `task` makes of speech in the language `spoken`."""
    return ENGLISH if task == "translate" else spoken
