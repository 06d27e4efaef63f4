"""Runs the stages of one session in order, and isolates their failures from each other."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Final, TypeVar

import orjson
import structlog

from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial, PersistedEvent
from transcriber import metrics
from transcriber.pipeline.stages.base import Stage, StageAudio, State

if TYPE_CHECKING:
    from transcriber.speakers.known import KnownVoices

OF_PARTIALS: Final = ("speaker", "speaker_name", "language")
"""Fields of a partial that a stage may change."""
OF_FINALS: Final = (*OF_PARTIALS, "translations", "words", "recognised")
"""Fields of a final that a stage may change."""

log = structlog.get_logger(part="stages")
S = TypeVar("S", Partial, FinalTranscript)
T = TypeVar("T")


class StageChain:
    """Runs a session's stages. `states`: the state of each in the session's checkpoint."""

    def __init__(self, sid: str, stages: Sequence[Stage], states: dict[str, State] | None = None) -> None:
        self._sid = sid
        self._stages = stages
        self._states = states or {}

    def wanted(self, config: SessionConfig) -> list[Stage]:
        """The stages that the config requests, in the order of the table."""
        return [stage for stage in self._stages if stage.is_wanted(config)]

    def dump(self) -> dict[str, State]:
        """The states, JSON-able."""
        return self._states

    async def partial(self, partial: Partial, stages: Sequence[Stage], audio: StageAudio) -> Partial:
        """The partial with the changes of `stages`."""
        for stage in stages:
            state = deepcopy(self._states.get(stage.name, {}))
            found = await self._call(stage, stage.on_partial, partial, audio, state, OF_PARTIALS)
            partial = found or partial
        return partial

    async def final(
        self, final: FinalTranscript, stages: Sequence[Stage], audio: StageAudio
    ) -> FinalTranscript:
        """The final with the changes of `stages`."""
        for stage in stages:
            state = deepcopy(self._states.get(stage.name, {}))
            found = await self._call(stage, stage.on_final, final, audio, state, OF_FINALS)
            if found is not None:
                self._states[stage.name] = state
                final = found
        return final

    async def after_final(self, final: FinalTranscript, stages: Sequence[Stage]) -> list[PersistedEvent]:
        """The events of `stages` behind a final."""
        events: list[PersistedEvent] = []
        for stage in stages:
            state = deepcopy(self._states.get(stage.name, {}))
            found = await self._guarded(stage, "after_final", stage.after_final(final, state), state)
            if found is not None:
                self._states[stage.name] = state
                events += found
        return events

    async def end(self, config: SessionConfig, known: "KnownVoices | None" = None) -> list[PersistedEvent]:
        """The events of the stages at the end of the session. `known`: see `Stage.on_end`."""
        events: list[PersistedEvent] = []
        for stage in self.wanted(config):
            state = deepcopy(self._states.get(stage.name, {}))
            ending = stage.on_end(self._sid, config, state, known)
            found = await self._guarded(stage, "end", ending, state)
            events += found or ()
        return events

    async def _call(
        self,
        stage: Stage,
        call: Callable[[S, StageAudio, State], Awaitable[S]],
        segment: S,
        audio: StageAudio,
        state: State,
        fields: Sequence[str],
    ) -> S | None:
        """The segment with the `fields` as changed by the stage; None if it failed or took too long."""

        async def changed() -> S:
            found = await call(segment, audio, state)
            added = {name: getattr(found, name) for name in fields}
            return type(segment).model_validate({**segment.model_dump(), **added})

        return await self._guarded(stage, segment.type, changed(), state)

    async def _guarded(self, stage: Stage, kind: str, call: Awaitable[T], state: State) -> T | None:
        """What `call` returns; None if it failed, took too long, or left a state that can't be stored."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(stage.budget_s):
                found = await call
            orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY)
        except TimeoutError:
            why = "timeout"
            log.warning("stage.slow", stage=stage.name, session=self._sid, budget_s=stage.budget_s)
        except Exception:
            why = "error"
            log.exception("stage.failed", stage=stage.name, session=self._sid)
        else:
            return found
        finally:
            metrics.STAGE_SECONDS.labels(stage.name, kind).observe(time.monotonic() - started)
        metrics.STAGE_FAILURES.labels(stage.name, kind, why).inc()
        return None
