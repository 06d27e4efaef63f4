"""The song recognizer's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from parlando.metrics import LATENCY_BUCKETS

SESSIONS: Final = Gauge("parlando_song_sessions", "Live sessions in which this worker recognises songs")
CLAIMS: Final = Counter(
    "parlando_song_claims_total", "Sessions claimed for the recognition of songs", ["kind"]
)
FENCED: Final = Counter("parlando_song_fenced_total", "Such sessions lost to another worker")
WINDOWS: Final = Counter(
    "parlando_song_windows_total",
    "Windows of live audio, by outcome: silent, nothing, rejected, candidate, skipped",
    ["outcome"],
)
NAMED: Final = Counter("parlando_song_named_total", "Songs named in live sessions")
REQUESTS: Final = Counter(
    "parlando_song_requests_total", "Requests, by kind and outcome", ["kind", "outcome"]
)
RECOGNITION: Final = Histogram(
    "parlando_song_recognition_seconds", "Recognition of one window", buckets=LATENCY_BUCKETS
)
SONGS: Final = Gauge("parlando_songs", "Songs in the index")
