"""The overview of the cluster as metrics, for alerts and dashboards."""

import asyncio
from typing import Any, Final

import structlog

from api_gateway import metrics
from api_gateway.cluster import SHOWN_AS, Cluster
from parlando.errors import UnavailableError

EVERY_S: Final = 2.0

log = structlog.get_logger(part="cluster")


async def observe(cluster: Cluster) -> None:
    """Set the gauges every `EVERY_S` seconds, until cancelled."""
    while True:
        try:
            show(await cluster.overview(), cluster)
        except UnavailableError:
            metrics.CLUSTER_REDIS.set(0)
        except Exception:  # the gauges must not stop: whatever it is, Redis isn't known to answer
            metrics.CLUSTER_REDIS.set(0)
            log.exception("observe.failed")
        await asyncio.sleep(EVERY_S)


def show(overview: dict[str, Any], cluster: Cluster) -> None:
    """Set the gauges to an overview."""
    metrics.CLUSTER_REDIS.set(1)
    metrics.CLUSTER_WORKERS.labels("gateway").set(len(overview["gateways"]))
    for kind, name in SHOWN_AS.items():
        metrics.CLUSTER_WORKERS.labels(kind).set(len(overview[name]))
    for kind, count in cluster.needed(overview).items():
        metrics.CLUSTER_MISSING.labels(kind).set(not count)
    sessions, jobs = overview["sessions"], overview["jobs"]
    for state in ("open", "unclaimed", "unassigned"):
        metrics.CLUSTER_SESSIONS.labels(state).set(sessions[state])
    for state in ("waiting", "unassigned"):
        metrics.CLUSTER_JOBS.labels(state).set(jobs[state])
    metrics.CLUSTER_CAPACITY.set(sessions["capacity"])
