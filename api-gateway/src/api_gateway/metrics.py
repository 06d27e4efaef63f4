"""The gateway's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from parlando import tracing
from parlando.domain.events import FinalTranscript, Partial, age_s
from parlando.latencies import Latencies
from parlando.metrics import LATENCY_BUCKETS

LATENCIES: Final = Latencies()
"""Latencies of the last minute by stage, for the heartbeat: `store` (audio into Redis), and `deliver` (from
the publication of a partial until it is sent to the client, by the clocks of both machines)."""


def level(gauge: Gauge) -> float:
    """The value of a gauge without labels."""
    return next(iter(gauge.collect())).samples[0].value


VIEWERS: Final = Gauge("parlando_gateway_viewers", "Open event streams of sessions over HTTP")
CONNECTIONS: Final = Gauge("parlando_gateway_connections", "Open live connections")
TCP_CONNECTIONS: Final = Gauge(
    "parlando_gateway_tcp_connections", "Open connections of HTTP, WebSockets and TCP doors"
)
TCP_REFUSED: Final = Counter(
    "parlando_gateway_tcp_refused_total", "TCP connections refused or closed by a limit", ["why"]
)
OPENED: Final = Counter("parlando_gateway_sessions_total", "Sessions opened or resumed", ["how"])
REFUSED: Final = Counter(
    "parlando_gateway_refused_total", "Live connections refused or ended by an error", ["code"]
)
RECLAIMED: Final = Counter(
    "parlando_gateway_places_reclaimed_total",
    "Sessions ended because an owner below its share needed the place",
)
BYTES: Final = Counter("parlando_gateway_bytes_total", "Bytes of audio stored")
AUDIO: Final = Counter("parlando_gateway_audio_seconds_total", "Seconds of audio stored")
APPEND: Final = Histogram(
    "parlando_gateway_append_seconds", "Time to store audio in Redis", buckets=LATENCY_BUCKETS
)
ARCHIVED: Final = Counter("parlando_gateway_archived_total", "Transcripts sent to the archive", ["outcome"])
PUSHED: Final = Counter("parlando_gateway_pushed_total", "Finals sent to the webhook", ["outcome"])
CALLED: Final = Counter("parlando_gateway_callbacks_total", "Callbacks of ended jobs", ["outcome"])
SONG_NOTICES: Final = Counter(
    "parlando_gateway_song_notices_total", "Notices of songs, by queue and outcome", ["queue", "outcome"]
)
WAITING: Final = Gauge(
    "parlando_gateway_deliveries_waiting",
    "Deliveries of the whole cluster that wait or are in progress",
    ["queue"],
)
DEAD: Final = Gauge("parlando_gateway_dead_letters", "Dead letters of the whole cluster", ["queue"])
BODIES: Final = Counter("parlando_gateway_bodies_total", "Request bodies of the Omi webhook", ["outcome"])
THROTTLED: Final = Counter(
    "parlando_gateway_throttled_total", "Times a connection was not read because its backlog was full"
)
AUDIT: Final = Counter(
    "parlando_gateway_audit_total",
    "Entries of the audit log that were stored or lost, attempts to store some that failed, and requests "
    "that didn't wait any longer (late)",
    ["outcome"],
)
for _outcome in ("stored", "failed", "late", "lost"):
    AUDIT.labels(_outcome)  # so that the first one is an increase
CLUSTER_REDIS: Final = Gauge("parlando_cluster_redis_up", "Whether Redis answers this gateway: 1 or 0")
CLUSTER_WORKERS: Final = Gauge(
    "parlando_cluster_workers", "Live processes of the whole cluster, by kind", ["kind"]
)
CLUSTER_MISSING: Final = Gauge(
    "parlando_cluster_missing", "Whether a needed kind of worker (READY_NEEDS) is missing: 1 or 0", ["kind"]
)
CLUSTER_SESSIONS: Final = Gauge(
    "parlando_cluster_sessions",
    "Live sessions of the whole cluster: open, and of these unclaimed and unassigned",
    ["state"],
)
CLUSTER_CAPACITY: Final = Gauge("parlando_cluster_capacity", "Live sessions that the transcribers take")
CLUSTER_JOBS: Final = Gauge(
    "parlando_cluster_jobs", "Jobs of the whole cluster: waiting, and of these unassigned", ["state"]
)


def observe_store(took_s: float, size: int) -> None:
    """A write of `size` bytes of audio to Redis took `took_s` seconds."""
    APPEND.observe(took_s)
    LATENCIES.observe("store", took_s)
    tracing.note("store", took_s, bytes=size)


def observe_delivery(event: object) -> None:
    """An event has been sent to the client of its session."""
    if isinstance(event, Partial):
        LATENCIES.observe("deliver", age_s(event.timestamp))
    elif isinstance(event, FinalTranscript):
        tracing.note("deliver", age_s(event.timestamp), segment=event.segment)
