"""The cluster of the tests of the gateway's edge."""

from collections.abc import Iterator
from contextlib import contextmanager

from support.cluster import Cluster


@contextmanager
def edge_cluster() -> Iterator[Cluster]:
    """Gateway 0 has the usual limits; 1 is impatient, 2 takes few, 3 sits behind a proxy."""
    with Cluster(
        gateways=1,
        transcribers=1,
        processors=1,
        API_KEYS="one,two",
        CORS_ORIGINS="https://app.example",
        STT_ENGINE="support.perfect:engine",
        VAD="rms",
    ) as cluster:
        cluster.add_gateway(HEAD_TIMEOUT_S="1", BODY_TIMEOUT_S="1", KEEP_ALIVE_S="1")
        cluster.add_gateway(MAX_CONNECTIONS_PER_ADDRESS="8", TRUSTED_PROXIES="")
        cluster.add_gateway(MAX_CONNECTIONS_PER_ADDRESS="3", TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1")
        cluster.add_gateway(MAX_CONNECTIONS="64")
        cluster.wait_ready(1, 1)
        yield cluster
