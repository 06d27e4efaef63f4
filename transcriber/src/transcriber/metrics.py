"""The transcriber's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from parlando.latencies import Latencies
from parlando.metrics import LATENCY_BUCKETS

SESSIONS: Final = Gauge("parlando_transcriber_sessions", "Live sessions this worker owns")
CLAIMS: Final = Counter("parlando_transcriber_claims_total", "Sessions claimed", ["kind"])
FENCED: Final = Counter("parlando_transcriber_fenced_total", "Sessions lost to another worker")
QUEUE_DELAY: Final = Histogram(
    "parlando_queue_delay_seconds", "Wait for the engine, by lane", ["lane"], buckets=LATENCY_BUCKETS
)
INFERENCE: Final = Histogram("parlando_inference_seconds", "One call of the engine", buckets=LATENCY_BUCKETS)
SETTLED: Final = Counter("parlando_segments_total", "Finals published, by outcome", ["outcome"])
REDECODES: Final = Counter(
    "parlando_redecodes_total", "Further decodes of finals with a low confidence, by outcome", ["outcome"]
)
ENGINE_ERRORS: Final = Counter("parlando_engine_errors_total", "Windows on which the engine failed")
BILLED: Final = Counter("parlando_billed_seconds_total", "Audio that a paid engine has billed")
CHUNKS: Final = Counter("parlando_chunks_total", "Chunks of jobs decoded, by outcome", ["outcome"])
CHUNKS_HELD: Final = Gauge("parlando_transcriber_chunks", "Chunks of jobs this worker owns")
CHUNK_CLAIMS: Final = Counter("parlando_transcriber_chunk_claims_total", "Chunks claimed", ["kind"])
CHUNKS_FENCED: Final = Counter("parlando_transcriber_chunks_fenced_total", "Chunks lost to another worker")
STAGE_SECONDS: Final = Histogram(
    "parlando_stage_seconds", "One call of a stage", ["stage", "kind"], buckets=LATENCY_BUCKETS
)
STAGE_FAILURES: Final = Counter(
    "parlando_stage_failures_total", "Calls of a stage that failed or took too long", ["stage", "kind", "why"]
)
LATENCIES: Final = Latencies()
"""Latencies of the last minute for the heartbeat: `queue` (waiting for the engine), `engine`, and `final`
(from the detection of the endpoint to the publication of the final)."""

LAG: Final = Gauge("parlando_lag_seconds", "The greatest lag among this worker's sessions")
