"""The gateway's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from parlando.latencies import Latencies
from parlando.metrics import LATENCY_BUCKETS

LATENCIES: Final = Latencies()
"""The last minute, by stage, for the heartbeat: `store` (audio into Redis), and `deliver` (from a partial
being published to it being sent to the client, by the clocks of both machines)."""


def level(gauge: Gauge) -> float:
    """What a gauge without labels shows."""
    return next(iter(gauge.collect())).samples[0].value


VIEWERS: Final = Gauge("parlando_gateway_viewers", "Followers of sessions over HTTP")
CONNECTIONS: Final = Gauge("parlando_gateway_connections", "Open live sockets")
TCP_CONNECTIONS: Final = Gauge("parlando_gateway_tcp_connections", "Open connections of HTTP and WebSockets")
TCP_REFUSED: Final = Counter("parlando_gateway_tcp_refused_total", "Connections refused or cut", ["why"])
OPENED: Final = Counter("parlando_gateway_sessions_total", "Sessions opened or resumed", ["how"])
REFUSED: Final = Counter("parlando_gateway_refused_total", "Connections refused or cut", ["code"])
BYTES: Final = Counter("parlando_gateway_bytes_total", "Bytes of audio stored")
AUDIO: Final = Counter("parlando_gateway_audio_seconds_total", "Audio stored")
APPEND: Final = Histogram(
    "parlando_gateway_append_seconds", "Storing audio in Redis", buckets=LATENCY_BUCKETS
)
ARCHIVED: Final = Counter("parlando_gateway_archived_total", "Transcripts for the archive", ["outcome"])
PUSHED: Final = Counter("parlando_gateway_pushed_total", "Finals for the webhook", ["outcome"])
CALLED: Final = Counter("parlando_gateway_callbacks_total", "Ended jobs for a callback_url", ["outcome"])
WAITING: Final = Gauge(
    "parlando_gateway_deliveries_waiting", "Deliveries of the whole cluster that aren't done", ["queue"]
)
DEAD: Final = Gauge(
    "parlando_gateway_dead_letters", "Deliveries of the whole cluster that were given up", ["queue"]
)
BODIES: Final = Counter("parlando_gateway_bodies_total", "Bodies of the Omi webhook", ["outcome"])
THROTTLED: Final = Counter(
    "parlando_gateway_throttled_total", "Times a socket was not read for a full backlog"
)
