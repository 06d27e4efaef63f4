"""The steps of a session's processing, queued in the order of the audio. Values only."""

import time
from dataclasses import dataclass, field

from parlando.domain.commands import End, Flush
from parlando.domain.config import SessionConfig
from parlando.store.session_log import Checkpoint
from transcriber.pipeline.segmenter import Utterance


@dataclass(frozen=True, slots=True)
class OpenStep:
    """Announce that a segment began."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class PartialStep:
    """Decode a partial of the window that ends at sample `end` (fixed interval only)."""

    utterance: Utterance
    end: int
    config: SessionConfig


@dataclass(frozen=True, slots=True)
class SpeculateStep:
    """Decode the segment as if it had ended; the result becomes the final if no more speech follows."""

    utterance: Utterance
    config: SessionConfig


@dataclass(frozen=True, slots=True)
class FinishStep:
    """Publish the final of `utterance`, if there is one, and store the checkpoint.

    `received`: samples received so far. `command`: a flush to answer, or the end that closes the session, in
    the same transaction. `detected_at`: when the endpoint was detected, in seconds of `time.monotonic`.
    """

    utterance: Utterance | None
    config: SessionConfig
    checkpoint: Checkpoint
    received: int
    command: Flush | End | None = None
    detected_at: float = field(default_factory=time.monotonic)


Step = OpenStep | PartialStep | SpeculateStep | FinishStep
