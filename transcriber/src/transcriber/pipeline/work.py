"""What a session has to do for its audio, in the order of the audio. Values only."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from parlando.domain.config import SessionConfig
from parlando.store.session_log import Checkpoint
from transcriber.pipeline.segmenter import Utterance


@dataclass(frozen=True, slots=True)
class Begin:
    """A segment opened."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Tick:
    """Decode a partial of the window that ends at `end` (fixed cadence only)."""

    utterance: Utterance
    end: int
    config: SessionConfig


@dataclass(frozen=True, slots=True)
class Speculate:
    """Decode as if the segment had ended; it's the final if no more speech comes."""

    utterance: Utterance
    config: SessionConfig


@dataclass(frozen=True, slots=True)
class End:
    """Why no more audio comes. `error` is what the client is told; `lost` counts samples thrown away."""

    reason: str
    error: dict[str, Any] | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """Publish the final of `utterance`, if there is one, and store the checkpoint.

    `then`: answer a flush, or close the session as `end` says, in the same step. `heard_at`: when the
    endpoint was heard, in seconds of `time.monotonic`.
    """

    utterance: Utterance | None
    config: SessionConfig
    checkpoint: Checkpoint
    received: int
    then: Literal["flush", "end"] | None = None
    end: End | None = None
    heard_at: float = field(default_factory=time.monotonic)


Work = Begin | Tick | Speculate | Settle
