"""A stage that "translates" into German: the same text in capitals."""

from transcriber.pipeline.stages.base import Stage


class Uppercase(Stage):
    """Adds `translations["de"]` to finals."""

    name = "uppercase"

    async def on_final(self, segment, audio, state):
        return segment.model_copy(update={"translations": {"de": segment.text.upper()}})
