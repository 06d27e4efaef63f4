"""Metrics shared by several services, and the histogram buckets used by all."""

from typing import Final

from prometheus_client import Counter

LATENCY_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""Seconds."""

REDIS_RETRIES: Final = Counter(
    "parlando_redis_retries_total", "Redis calls retried after a broken connection or failover"
)
