"""Stages for tests."""

from transcriber.pipeline.stages.base import Stage


class Uppercase(Stage):
    """Adds the same text in capitals as the German translation."""

    name = "uppercase"

    async def on_final(self, segment, audio, state):
        return segment.model_copy(update={"translations": {"de": segment.text.upper()}})


class Counting(Stage):
    """Numbers the finals; the number is the speaker."""

    name = "counting"

    async def on_final(self, segment, audio, state):
        state["count"] = state.get("count", 0) + 1
        return segment.model_copy(update={"speaker": f"SPEAKER_{state['count']:02d}"})
