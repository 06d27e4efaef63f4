"""The interface of stages, which add to the partials and finals of the sessions that request them.

One stage object serves all sessions of a worker. What it remembers of a session must be in that session's
state, which is stored with the session's checkpoint, so that another worker can continue. One file per stage.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from parlando.domain.audio import Float32
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial, PersistedEvent

if TYPE_CHECKING:
    from transcriber.speakers.known import KnownVoices

State = dict[str, Any]
"""A stage's state of one session: JSON-able values, empty at the session's beginning."""


@dataclass(frozen=True, slots=True)
class StageAudio:
    """A segment's audio. `pcm`: float32 of shape (n,), 16 kHz, in [-1, 1). `start`: seconds since the
    session's beginning. `config`: the session's. `hurried`: whether the engine has hardly time for partials;
    a stage should then do less. `known`: the voices of known speakers, of finals in sessions that ask for it;
    None if they are unknown at present.
    """

    pcm: Float32
    start: float
    config: SessionConfig = field(default_factory=SessionConfig)
    hurried: bool = False
    known: "KnownVoices | None" = None


class Stage(ABC):
    """The base class of stages.

    A stage may change `speaker`, `language`, `translations` and `words` of a segment (`model_copy`), not its
    text and times, and may add events. If a call raises or takes longer than `budget_s`, the segment is
    published without the stage's changes. Computations of more than a few milliseconds must run in a thread.
    """

    name: ClassVar[str]
    """Its name in a session's `stages`."""

    budget_s: float = 0.5
    """Seconds that one call may take. Finals wait for it."""

    def is_wanted(self, config: SessionConfig) -> bool:
        """Whether a session with this config requests the stage."""
        return self.name in config.stage_names

    async def on_partial(self, segment: Partial, audio: StageAudio, state: State) -> Partial:
        """The partial with the stage's changes. Changes of `state` are not stored."""
        return segment

    async def on_final(self, segment: FinalTranscript, audio: StageAudio, state: State) -> FinalTranscript:
        """The final with the stage's changes. Changes of `state` are stored with the final, atomically.

        If the stage gives words different speakers, the final is divided between them, and the segments
        after it are numbered on; see `speaker_runs.divided`.
        """
        return segment

    async def after_final(self, segment: FinalTranscript, state: State) -> Sequence[PersistedEvent]:
        """Events that are published behind a final, with it. `segment`: as all stages have changed it."""
        return ()

    async def on_end(
        self, sid: str, config: SessionConfig, state: State, known: "KnownVoices | None" = None
    ) -> Sequence[PersistedEvent]:
        """Events that are published before `closed`, behind the last final. `known`: see `StageAudio`."""
        return ()
