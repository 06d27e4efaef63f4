"""What a stage is: it adds to the partials and finals of the sessions that ask for it. One file per stage.

A stage object serves all sessions of a worker; what it knows of one session lies in that session's state,
which is stored with the session's checkpoint, so that another worker goes on with it.
"""

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from parlando.domain.audio import Float32
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial

State = dict[str, Any]
"""What a stage knows of a session: JSON-able values, empty at the session's beginning."""


@dataclass(frozen=True, slots=True)
class StageAudio:
    """A segment's audio. `pcm`: float32 of shape (n,), 16 kHz, in [-1, 1). `start`: seconds of the
    session.
    """

    pcm: Float32
    start: float


class Stage(ABC):
    """One stage.

    It may change `speaker`, `language`, `translations` and `words` of what it is given (`model_copy`); text
    and times are the engine's. What raises, or takes longer than `budget_s`, costs the stage's contribution
    to that segment only. Work that computes for longer than some milliseconds belongs into a thread.
    """

    name: ClassVar[str]
    """Its name in a session's `stages`."""

    budget_s: ClassVar[float] = 0.5
    """Seconds that one call may take. Finals wait for it."""

    def is_wanted(self, config: SessionConfig) -> bool:
        """Whether a session with this config asks for the stage."""
        return self.name in config.stage_names

    async def on_partial(self, segment: Partial, audio: StageAudio, state: State) -> Partial:
        """The partial with what the stage adds. Changes of `state` may be lost."""
        return segment

    async def on_final(self, segment: FinalTranscript, audio: StageAudio, state: State) -> FinalTranscript:
        """The final with what the stage adds. Changes of `state` are stored with the final, in one step."""
        return segment
