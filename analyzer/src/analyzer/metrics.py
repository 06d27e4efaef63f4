"""The analyzer's metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from parlando.metrics import LATENCY_BUCKETS

TASKS: Final = Gauge("parlando_analysis_tasks", "Tasks that this analyzer processes")
ENDED: Final = Counter("parlando_analysis_ended_total", "Tasks that ended, by their last update", ["end"])
STEPS: Final = Counter(
    "parlando_analysis_steps_total", "Steps, by outcome: done, unavailable, failed", ["step", "outcome"]
)
STEP_SECONDS: Final = Histogram(
    "parlando_analysis_step_seconds", "Duration of steps, with their repeats", ["step"]
)
LIVE_SECONDS: Final = Histogram(
    "parlando_analysis_live_seconds", "From a final to its last annotation", buckets=LATENCY_BUCKETS
)
TOKENS: Final = Counter("parlando_language_model_tokens_total", "Tokens of the language model", ["direction"])
