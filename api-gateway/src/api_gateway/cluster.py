"""The overview of the cluster, from the heartbeats of all processes; and this gateway's own heartbeat."""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any, Final

import structlog

from api_gateway import metrics
from api_gateway.admission import Admission
from api_gateway.coalesced import CoalescedRead
from parlando.domain.audio import milliseconds
from parlando.domain.events import now
from parlando.domain.pools import UNASSIGNED, Pool, pools_of
from parlando.errors import UnavailableError
from parlando.ids import new_worker_id
from parlando.latencies import merge, quantile
from parlando.store.connection import BROKEN, Redis
from parlando.store.heartbeat import beat, delete_heartbeat
from parlando.store.history import History, SessionRecord
from parlando.store.job_store import Jobs
from parlando.store.schema import SchemaError, check_live_workers
from parlando.store.sessions import Sessions

BEAT_EVERY_S: Final = 1.0
FRESH_S: Final = 0.9  # how long an overview is cached, for all readers
READ_TIMEOUT_S: Final = 0.9  # for reading it from Redis: health probes must be answered within a second
MAX_WATCHED: Final = 1000  # API keys whose live sessions are cached
STAGES: Final = ("store", "queue", "engine", "final", "deliver")
"""Stages whose latency is measured, in the order in which audio passes them."""

SHOWN_AS: Final = {
    "transcriber": "transcribers",
    "audio-processor": "audio_processors",
    "song-recognizer": "song_recognizers",
    "analyzer": "analyzers",
    "follower": "followers",
}
"""Kind of worker, as `READY_NEEDS` names it → its list in the overview."""

log = structlog.get_logger(part="cluster")


class Cluster:
    """The heartbeat of this gateway, and the overview of the cluster.

    `active_s`: seconds without audio after which a user no longer counts as active. `needs`: the kinds of
    workers of which one must be alive (`READY_NEEDS`).
    """

    def __init__(
        self,
        redis: Redis,
        admission: Admission,
        sessions: Sessions,
        jobs: Jobs,
        history: History,
        *,
        active_s: float,
        needs: Sequence[str],
    ) -> None:
        self.id = new_worker_id("gateway")
        self._redis = redis
        self._admission = admission
        self._sessions = sessions
        self._jobs = jobs
        self._history = history
        self._active_s = active_s
        self._needs = needs
        self._overview = CoalescedRead(self._read, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)
        self._sessions_of: dict[str, CoalescedRead[list[dict[str, Any]]]] = {}
        self.failed = False
        """Whether the process ends because Redis holds data of another schema."""

    async def run(self) -> None:
        """Write this gateway's heartbeat every second, until cancelled."""
        compatible = False  # whether no process with another Redis schema was found
        try:
            while True:
                try:
                    if not compatible:
                        await check_live_workers(self._redis)
                        compatible = True
                    await beat(self._redis, self.id, _self_report())
                except SchemaError as error:  # a gateway of another schema must not look alive
                    log.critical("gateway.failed", error=error.message)
                    self.failed = True
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                except (*BROKEN, UnavailableError) as error:
                    log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(BEAT_EVERY_S)
        finally:
            try:
                async with asyncio.timeout(1):
                    await delete_heartbeat(self._redis, self.id)
            except (*BROKEN, TimeoutError):
                log.info("redis.unreachable")  # the heartbeat expires

    async def overview(self) -> dict[str, Any]:
        """The overview without the caller's sessions. Raises `UnavailableError` within `READ_TIMEOUT_S`."""
        return await self._overview.get()

    def needed(self, overview: dict[str, Any]) -> dict[str, int]:
        """Of an overview: the number of live workers of each kind that is needed."""
        return {kind: len(overview[SHOWN_AS[kind]]) for kind in self._needs}

    async def _read(self) -> dict[str, Any]:
        workers = await self._admission.workers_now()
        kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
        for worker in sorted(workers, key=lambda worker: str(worker["worker"])):
            kinds.setdefault(worker["kind"], []).append(
                {k: v for k, v in worker.items() if k not in _NOT_SHOWN}
            )
        transcribers = kinds["transcriber"]
        opened = await self._sessions.open_by_pool()
        waiting = sum(opened.values())
        owned = sum(worker["sessions"] for worker in transcribers)
        paces = [w["real_time_factor"] for w in transcribers if w["real_time_factor"] is not None]
        return {
            "at": now(),
            "sessions": {
                "open": waiting,
                "unclaimed": max(0, waiting - owned),
                "unassigned": opened.get(UNASSIGNED, 0),
                "capacity": sum(worker["capacity"] for worker in transcribers),
            },
            "active_users": await self._history.active_users(self._active_s),
            "viewers": sum(worker["viewers"] for worker in kinds["gateway"]),
            "jobs": {
                "waiting": await self._jobs.waiting(),
                "unassigned": await self._jobs.unassigned(),
                "being_cut": sum(worker["jobs"] for worker in kinds["processor"]),
                "chunks_being_heard": sum(worker["chunks"] for worker in transcribers),
            },
            "lag_ms": max((worker["lag_ms"] for worker in transcribers), default=0),
            "queue_delay_ms": max((worker["queue_delay_ms"] for worker in transcribers), default=0),
            "engine_load": _mean([worker["engine_load"] for worker in transcribers]),
            "real_time_factor": _mean(paces),
            "latency_ms": _latencies(workers),
            "languages": sorted({code for worker in workers for code in worker.get("languages", ())}),
            "pools": self._pools(workers, await self._admission.known_now(), opened),
            "gateways": kinds["gateway"],
            "audio_processors": kinds["processor"],
            "transcribers": transcribers,
            "followers": kinds["follower"],
            "song_recognizers": kinds["song-recognizer"],
            "analyzers": kinds["analyzer"],
        }

    @staticmethod
    def _pools(
        workers: list[dict[str, Any]], known: list[Pool], opened: dict[str, int]
    ) -> list[dict[str, Any]]:
        """The pools that have a live transcriber or open sessions."""
        pools = {pool.name: pool for pool in [*known, *pools_of(workers)]}
        return [
            {
                "name": pool.name,
                "engine": pool.engine,
                "model": pool.model,
                "languages": sorted(pool.languages),
                "tasks": sorted(pool.tasks),
                "metered": pool.metered,
                "workers": pool.workers,
                "sessions": opened.get(pool.name, 0),
                "capacity": pool.capacity,
                "chunks": pool.chunks,
            }
            for pool in pools.values()
            if pool.workers or opened.get(pool.name)
        ]

    async def sessions_of(self, key: str) -> list[dict[str, Any]]:
        """The newest live sessions of an API key (hashed), cached for all readers with this key."""

        async def read() -> list[dict[str, Any]]:
            return [_session(record) for record in await self._history.live(key)]

        if key not in self._sessions_of:
            while len(self._sessions_of) >= MAX_WATCHED:
                self._sessions_of.pop(next(iter(self._sessions_of)))
            self._sessions_of[key] = CoalescedRead(read, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)
        return await self._sessions_of[key].get()


_KINDS: Final = ("gateway", "processor", "transcriber", "follower", "song-recognizer", "analyzer")
_NOT_SHOWN: Final = frozenset({"kind", "schema", "at", "latencies", "languages", "tasks"})


def _self_report() -> dict[str, Any]:
    return {
        "kind": "gateway",
        "connections": int(metrics.level(metrics.CONNECTIONS)),
        "viewers": int(metrics.level(metrics.VIEWERS)),
        "latencies": metrics.LATENCIES.report(),
    }


def _latencies(workers: list[dict[str, Any]]) -> dict[str, dict[str, float | int | None]]:
    merged = merge(worker.get("latencies", {}) for worker in workers)
    return {
        stage: {
            "p50": _ms(quantile(merged.get(stage, {}), 0.5)),
            "p95": _ms(quantile(merged.get(stage, {}), 0.95)),
            "count": sum(merged.get(stage, {}).values()),
        }
        for stage in STAGES
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _session(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.sid,
        "title": record.config.get("title") or None,
        "state": record.state,
        "created_at": record.created,
        "received_ms": milliseconds(record.received),
        "lag_ms": milliseconds(record.lag),
        "segments": record.segments,
        "pool": record.pool,
        "worker": record.owner or None,
    }
