"""A stage that fails costs its contribution and nothing else."""

import asyncio

import numpy as np
import pytest

from parlando.domain.config import SessionConfig
from support.events import final, partial
from transcriber import metrics
from transcriber.pipeline.stages.base import Stage, StageAudio
from transcriber.pipeline.stages.chain import StageChain

AUDIO = StageAudio(np.zeros(16_000, np.float32), 0.0)


class Naming(Stage):
    name = "naming"

    async def on_partial(self, segment, audio, state):
        return segment.model_copy(update={"speaker": f"{state.get('count', 0)}?", "text": "changed"})

    async def on_final(self, segment, audio, state):
        state["count"] = state.get("count", 0) + 1
        return segment.model_copy(update={"speaker": str(state["count"]), "text": "changed", "start": 9.0})


class Translating(Stage):
    name = "translating"

    async def on_final(self, segment, audio, state):
        return segment.model_copy(update={"translations": {"de": segment.text.upper()}})


def failing(how) -> Stage:
    class Failing(Stage):
        name = "failing"
        budget_s = 0.05

        async def on_final(self, segment, audio, state):
            state["touched"] = True
            return await how(segment, state)

        async def on_partial(self, segment, audio, state):
            return await how(segment, state)

    return Failing()


async def _raise(segment, state):
    raise ZeroDivisionError


async def _wait(segment, state):
    await asyncio.sleep(600)


async def _nothing(segment, state):
    return None


async def _nonsense(segment, state):
    return segment.model_copy(update={"speaker": 5})


async def _unstorable(segment, state):
    state["what"] = object()
    return segment


async def test_stages_add_one_after_the_other_and_change_nothing_else():
    stages = [Naming(), Translating()]
    chain = StageChain("s", stages)
    first = await chain.final(final(text="hello"), stages, AUDIO)
    shown = await chain.partial(partial(1, "wor"), stages, AUDIO)
    second = await chain.final(final(2, 1, text="world"), stages, AUDIO)

    assert (first.speaker, first.translations, first.text, first.start) == (
        "1",
        {"de": "HELLO"},
        "hello",
        0.0,
    )
    assert (shown.speaker, shown.text) == ("1?", "wor")
    assert (second.speaker, second.translations) == ("2", {"de": "WORLD"})
    assert chain.dump() == {"naming": {"count": 2}, "translating": {}}


async def test_another_worker_goes_on_with_the_states():
    stages = [Naming()]
    before = StageChain("s", stages)
    await before.final(final(text="a"), stages, AUDIO)
    after = StageChain("s", stages, before.dump())
    assert (await after.final(final(text="b"), stages, AUDIO)).speaker == "2"


@pytest.mark.parametrize("how", [_raise, _wait, _nothing, _nonsense, _unstorable])
async def test_a_stage_that_fails_costs_its_contribution_only(how):
    stages = [Naming(), failing(how), Translating()]
    chain = StageChain("s", stages)
    counted = metrics.STAGE_FAILURES.labels("failing", "final", "timeout" if how is _wait else "error")
    before = counted._value.get()
    made = await chain.final(final(text="hello"), stages, AUDIO)

    assert (made.speaker, made.translations) == ("1", {"de": "HELLO"})
    assert "failing" not in chain.dump(), "what it noted before it failed is forgotten"
    assert counted._value.get() == before + 1
    assert (await chain.partial(partial(0, "x"), stages, AUDIO)).speaker == "1?"


def test_a_session_has_the_stages_that_its_config_names():
    chain = StageChain("s", [Naming(), Translating()])
    assert [stage.name for stage in chain.wanted(SessionConfig(stages="translating,other"))] == [
        "translating"
    ]
    assert chain.wanted(SessionConfig()) == []
