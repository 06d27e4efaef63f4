"""Ids of spans for OpenTelemetry: random ones, except for the root span of a session's trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_preset: ContextVar[tuple[int, int] | None] = ContextVar("parlando_trace_ids", default=None)


@contextmanager
def preset(trace_id: int, span_id: int) -> Iterator[None]:
    """In this block, a new span without a parent gets these ids."""
    token = _preset.set((trace_id, span_id))
    try:
        yield
    finally:
        _preset.reset(token)


class PresetIds(RandomIdGenerator):
    """Generates random ids outside of `preset`."""

    def generate_trace_id(self) -> int:
        """The id of a new trace."""
        ids = _preset.get()
        return super().generate_trace_id() if ids is None else ids[0]

    def generate_span_id(self) -> int:
        """The id of a new span."""
        ids = _preset.get()
        return super().generate_span_id() if ids is None else ids[1]
