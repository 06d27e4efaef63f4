"""What a session has to do for its audio, in the order of the audio. Values only."""

from dataclasses import dataclass
from typing import Literal

from parlando.config import SessionConfig
from parlando.redislog.owner import Checkpoint
from transcriber.segmenter import Utterance


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
class Settle:
    """Publish the final of `utterance`, if there is one, and store the checkpoint.

    `then`: answer a flush, or close the session with `reason`, in the same step.
    """

    utterance: Utterance | None
    config: SessionConfig
    checkpoint: Checkpoint
    received: int
    then: Literal["flush", "end"] | None = None
    reason: str = ""


Work = Begin | Tick | Speculate | Settle
