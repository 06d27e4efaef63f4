"""Commands of a session, stored in its Redis streams between the audio frames.

The gateway and the session's owner write commands. The audio-processor forwards them from the raw stream to
the PCM stream. The transcriber executes each at its position in the audio.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from parlando.domain.config import SessionConfig


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True)


class Flush(_Command):
    """Settle all audio before the command, and reply with `flushed`."""

    type: Literal["flush"] = "flush"


class Settle(_Command):
    """End the open segment because no audio arrives. Has no reply."""

    type: Literal["settle"] = "settle"


class Configure(_Command):
    """Change the session's config from this position on.

    `changes`: fields of `SessionConfig` with their new values, None to reset a field.
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
    """The error that ends a session early, as sent to its client."""

    code: str
    message: str
    retryable: bool = False


class End(_Command):
    """End the session: no audio follows.

    `error`: the cause of an early end. `lost`: samples of audio that were dropped. `discard`: whether audio
    that is not converted yet is dropped instead of being recognised.
    """

    type: Literal["end"] = "end"
    reason: str = "end"
    error: EndError | None = None
    lost: int = 0
    discard: bool = False


SessionCommand = Flush | Settle | Configure | End
_COMMANDS: TypeAdapter[SessionCommand] = TypeAdapter(Annotated[SessionCommand, Field(discriminator="type")])


def decode(command: bytes) -> SessionCommand:
    """Decode a command written by `encode`. Raises ValueError."""
    return _COMMANDS.validate_json(command)


def encode(command: SessionCommand) -> bytes:
    """Encode a command as JSON without fields that have their default value."""
    return orjson.dumps({"type": command.type, **command.model_dump(exclude_defaults=True)})
