"""Traces of live sessions by OpenTelemetry, sent by OTLP: one trace for a session, in all processes.

The ids of a trace follow from the session's id: every process has them without another field in Redis, and
all processes choose the same sessions. Without `configure` nothing is recorded. A span has no audio or text.
"""

import atexit
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

EXPORT_WITHIN_S: Final = 2.0
"""Seconds after which an export to a collector that doesn't answer is given up."""
EXIT_WITHIN_S: Final = 1.0
"""Seconds that the end of a process waits for its last spans to be sent."""

log = structlog.get_logger(part="tracing")

_provider: "TracerProvider | None" = None
_share = 0.0
_within: ContextVar["Context | None"] = ContextVar("parlando_trace", default=None)


def configure(service: str, *, endpoint: str | None, share: float) -> None:
    """Send spans of `service` to `endpoint`, for a `share` of the sessions; without an endpoint do nothing.

    If OpenTelemetry isn't installed, a warning says so, and the service runs without traces.
    """
    global _provider, _share
    if not endpoint:
        return
    if not all(_installed(name) for name in PACKAGES):
        log.warning("traces.off", why="OpenTelemetry isn't installed: pip install 'parlando[tracing]'")
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from parlando.trace_ids import PresetIds

    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_WITHIN_S)
    resource = Resource.create({"service.name": f"parlando-{service}"})
    _provider = TracerProvider(
        sampler=ALWAYS_ON, resource=resource, id_generator=PresetIds(), shutdown_on_exit=False
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _share = share
    _flush_at_exit(_provider)


def _flush_at_exit(provider: "TracerProvider") -> None:
    """Send the last spans when the process ends, within EXIT_WITHIN_S.

    The provider's own handler waits for as long as its exports last. The thread starts now, because none can
    start while the interpreter ends.
    """
    ending, sent = threading.Event(), threading.Event()

    def flush() -> None:
        ending.wait()
        provider.shutdown()
        sent.set()

    threading.Thread(target=flush, name="traces", daemon=True).start()

    def finish() -> None:
        ending.set()
        sent.wait(EXIT_WITHIN_S)

    atexit.register(finish)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def ids(sid: str) -> tuple[int, int]:
    """The ids of a session's trace (128 bits) and of its root span (64 bits)."""
    digest = hashlib.sha256(sid.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


def is_chosen(sid: str, share: float) -> bool:
    """Whether a session is among the `share` of sessions that are traced. All processes agree on it."""
    return ids(sid)[0] & (1 << 64) - 1 < share * (1 << 64)


@contextmanager
def session(sid: str) -> Iterator[None]:
    """In this block, and in the tasks that it starts, spans belong to the trace of session `sid`."""
    token = _within.set(_context(sid))
    try:
        yield
    finally:
        _within.reset(token)


@contextmanager
def root(sid: str, **attributes: Any) -> Iterator[None]:
    """As `session`; the block becomes the root span `session`. For the process that opens the session."""
    with session(sid):
        started = time.monotonic()
        try:
            yield
        finally:
            if _provider is not None and _within.get() is not None:
                from parlando.trace_ids import preset

                with preset(*ids(sid)):
                    _record("session", None, time.monotonic() - started, attributes)


def current() -> "Context | None":
    """The trace to which spans belong here; None if the session isn't traced."""
    return _within.get()


def note(name: str, seconds: float, *, within: "Context | None" = None, **attributes: Any) -> None:
    """Record a span that has ended now and lasted `seconds`.

    `within`: the result of `current` where the work was requested; without it, the one that applies here.
    """
    context = within or _within.get()
    if context is not None:
        _record(name, context, seconds, attributes)


def _context(sid: str) -> "Context | None":
    if _provider is None or not is_chosen(sid, _share):
        return None
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    trace_id, span_id = ids(sid)
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))


def _record(name: str, context: "Context | None", seconds: float, attributes: dict[str, Any]) -> None:
    from opentelemetry.context import Context

    assert _provider is not None
    ended = time.time_ns()
    _provider.get_tracer("parlando").start_span(
        name,
        context=context if context is not None else Context(),
        start_time=ended - round(max(0.0, seconds) * 1e9),
        attributes=attributes,
    ).end(ended)
