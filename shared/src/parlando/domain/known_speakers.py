"""Known speakers: people whose voices a client has registered, to be recognised by name. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

EVERYBODY: Final = "true"
"""Value of the option `known_speakers` that stands for all known speakers of the key."""
YES: Final = frozenset({EVERYBODY, "1", "yes", "on"})
"""Texts that mean it too, in any case."""
NO: Final = frozenset({"", "false", "0", "no", "off"})
"""Texts that stand for no speaker, in any case."""
MAX_SPEAKERS: Final = 100
"""Maximum known speakers of one owner."""
MAX_CLIPS: Final = 10
"""Maximum clips of one known speaker."""
LEAST_S: Final = 4.0
"""Least speech in a clip, in seconds."""


class VoiceClip(BaseModel):
    """What is kept of a clip: no audio, and no text.

    `seconds`: its speech. `vector`: base64 of the voice, 192 values as int8. `digest`: SHA-256 of the file,
    by which a repeated upload is noticed. `narrow`: whether it is a telephone's.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    vector: str
    digest: str = ""
    narrow: bool = False


class KnownSpeaker(BaseModel):
    """A person with the clips of the voice. `created_ms`: unix milliseconds."""

    model_config = ConfigDict(frozen=True)

    name: str
    created_ms: int
    clips: tuple[VoiceClip, ...]


class Recognised(BaseModel):
    """The known speaker that a label was recognised as. `score`: cosine of the two voices, 1 if equal."""

    model_config = ConfigDict(frozen=True)

    name: str
    score: float


def wanted(value: object) -> object:
    """The option `known_speakers` as names, as `EVERYBODY`, or empty.

    True, false and lists of names are allowed in JSON, and booleans in text in their usual spellings.
    """
    if isinstance(value, bool):
        return EVERYBODY if value else ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(name) for name in value)
    if isinstance(value, str) and is_boolean(value):
        return EVERYBODY if _plain(value) in YES else ""
    return value


def is_boolean(text: str) -> bool:
    """Whether a text is a boolean of the option `known_speakers`, so that no speaker can be called that."""
    return _plain(text) in YES | NO


def _plain(text: str) -> str:
    return text.strip().lower()


def chosen(speakers: Iterable[KnownSpeaker], option: str) -> list[KnownSpeaker]:
    """The speakers that the option `known_speakers` names; names that don't exist are ignored."""
    if not option:
        return []
    names = {name.strip() for name in option.split(",")}
    return [speaker for speaker in speakers if option == EVERYBODY or speaker.name in names]
