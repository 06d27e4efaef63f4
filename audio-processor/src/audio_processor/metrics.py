"""The audio-processor's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge

SESSIONS: Final = Gauge("parlando_processor_sessions", "Live sessions this audio-processor converts")
CLAIMS: Final = Counter("parlando_processor_claims_total", "Conversions claimed", ["kind"])
JOBS_HELD: Final = Gauge("parlando_processor_jobs_held", "Jobs this audio-processor splits into chunks")
JOBS_FENCED: Final = Counter("parlando_processor_jobs_fenced_total", "Jobs lost to another audio-processor")
JOBS: Final = Counter("parlando_processor_jobs_total", "Jobs claimed", ["kind"])
FENCED: Final = Counter("parlando_processor_fenced_total", "Conversions lost to another audio-processor")
