"""The pool of tests that need one, and heartbeats of transcribers that don't run."""

from typing import Any, Final

from parlando.domain.pools import pool_name
from parlando.store.connection import Redis
from parlando.store.heartbeat import beat
from parlando.store.pools import Place

POOL: Final = "perfect-script"
"""The pool of `support.perfect`."""
PLACE: Final = Place(POOL)


def report(engine: str = "perfect", model: str = "script", **fields: Any) -> dict[str, Any]:
    """A transcriber's heartbeat, as `Worker.report` makes it: by default of `support.perfect`, idle."""
    return {
        "kind": "transcriber",
        "worker": f"transcriber-of-{engine}-{model}",
        "pool": pool_name(engine, model),
        "engine": engine,
        "model": model,
        "languages": [],
        "tasks": ["transcribe"],
        "stages": [],
        "metered": False,
        "sessions": 0,
        "capacity": 12,
        "chunks": 0,
        "why": "",
        "vad": "",
        "vad_why": "",
        "lag_ms": 0,
        "queue_delay_ms": 0,
        "engine_load": 0.0,
        "real_time_factor": None,
        "latencies": {},
        **fields,
    }


async def alive(redis: Redis, *reports: dict[str, Any]) -> None:
    """Store heartbeats of transcribers; without `reports`, of the default one."""
    for each in reports or (report(),):
        await beat(redis, each["worker"], each)
