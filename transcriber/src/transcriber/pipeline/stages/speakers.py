"""The stage that labels segments with their speakers, in sessions with `diarize`.

Its computations are loaded at the first use: a process without such sessions doesn't load the model.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

from parlando import plugins
from parlando.domain.config import SessionConfig
from parlando.domain.events import (
    FinalTranscript,
    Partial,
    PersistedEvent,
    SpeakerOfSegment,
    SpeakersRevised,
    Status,
)
from transcriber.pipeline.stages.base import Stage, StageAudio, State

if TYPE_CHECKING:
    from transcriber.pipeline.stages.diarizer import Diarizer
    from transcriber.speakers.known import KnownVoices


OVERHEAD_S: Final = 1.5  # for all but the wait
COARSE_FOR: Final = 5
"""Finals without load after which the labels count as complete again."""


class SpeakersStage(Stage):
    """See the module. Its state has the voices of the session's speakers, some 100 KB at most."""

    name: ClassVar[str] = "speakers"

    def __init__(self, wait_s: float = 0.6) -> None:
        """`wait_s`: how long a final waits for its speaker."""
        self._wait_s = wait_s
        self.budget_s = wait_s + OVERHEAD_S

    def is_wanted(self, config: SessionConfig) -> bool:
        """See `Stage`."""
        return config.diarize

    @cached_property
    def _diarizer(self) -> "Diarizer":
        made: Diarizer = plugins.load("transcriber.pipeline.stages.diarizer:Diarizer")(self._wait_s)
        return made

    async def on_partial(self, segment: Partial, audio: StageAudio, state: State) -> Partial:
        """See `Stage`."""
        return await self._diarizer.partial(segment, audio, state)

    async def on_final(self, segment: FinalTranscript, audio: StageAudio, state: State) -> FinalTranscript:
        """See `Stage`."""
        before = state.get("coarse", 0)
        state["coarse"] = COARSE_FOR if audio.hurried else max(0, before - 1)
        if bool(before) != bool(state["coarse"]):
            state["untold"] = True
        return await self._diarizer.final(segment, audio, state)

    async def after_final(self, segment: FinalTranscript, state: State) -> Sequence[PersistedEvent]:
        """See `Stage`: revisions of earlier segments; a notice when the load makes the labels coarser."""
        events: list[PersistedEvent] = []
        if state.pop("untold", False):
            status = "speakers_coarse" if state["coarse"] else "speakers_complete"
            events.append(Status(session_id=segment.session_id, status=status, reason="load"))
        return [*events, *self._revised(segment.session_id, self._diarizer.revisions(state))]

    async def on_end(
        self, sid: str, config: SessionConfig, state: State, known: "KnownVoices | None" = None
    ) -> Sequence[PersistedEvent]:
        """See `Stage`."""
        return self._revised(sid, await self._diarizer.end(sid, state, config, known))

    @staticmethod
    def _revised(sid: str, found: Sequence[SpeakerOfSegment]) -> list[PersistedEvent]:
        return [SpeakersRevised(session_id=sid, segments=list(found))] if found else []
