"""What a session is told besides audio, as it lies in Redis between the audio frames.

The gateway, and a session's owner, write commands; the audio-processor carries them from a client's bytes
over to the PCM; the transcriber obeys them at their place in the audio.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from parlando.domain.config import SessionConfig


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True)


class Flush(_Command):
    """Settle what was sent so far, and answer with `flushed`."""

    type: Literal["flush"] = "flush"


class Settle(_Command):
    """End the open segment, because no audio comes. Nothing is answered."""

    type: Literal["settle"] = "settle"


class Configure(_Command):
    """Change the session's config from here on. `changes` holds fields of `SessionConfig`, None to reset
    one.
    """

    type: Literal["config"] = "config"
    changes: dict[str, Any]

    @field_validator("changes")
    @classmethod
    def _valid(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if unknown := changes.keys() - SessionConfig.model_fields.keys():
            raise ValueError(f"expected fields of the session's config, but got {', '.join(sorted(unknown))}")
        SessionConfig(**changes)
        return changes


class EndError(_Command):
    """Why a session ends before its time, as its client is told."""

    code: str
    message: str
    retryable: bool = False


class End(_Command):
    """No audio follows.

    `error`: what went wrong. `lost`: samples of audio that were thrown away. `discard`: whether what isn't
    converted yet is thrown away, instead of being recognised first.
    """

    type: Literal["end"] = "end"
    reason: str = "end"
    error: EndError | None = None
    lost: int = 0
    discard: bool = False


SessionCommand = Flush | Settle | Configure | End
_COMMANDS: TypeAdapter[SessionCommand] = TypeAdapter(Annotated[SessionCommand, Field(discriminator="type")])


def decode(command: bytes) -> SessionCommand:
    """A command as `encode` wrote it. Raises ValueError."""
    return _COMMANDS.validate_json(command)


def encode(command: SessionCommand) -> bytes:
    """A command as JSON, without what is as by default."""
    return orjson.dumps({"type": command.type, **command.model_dump(exclude_defaults=True)})
