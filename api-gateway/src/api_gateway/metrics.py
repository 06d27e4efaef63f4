"""The gateway's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

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
