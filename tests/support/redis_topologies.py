"""Several Redis servers: a cluster of three masters, and a master and a replica with Sentinels."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from parlando.embedded.redis_server import command, find
from support.lifetimes import complain, staying
from support.ports import free_port

SLOTS = 16_384


class _Servers:
    """Redis processes on this machine, in memory only, each with its own folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def _spawn(self, port: int, arguments: list[str]) -> None:
        log = (Path(self._folder.name) / f"{port}.log").open("wb")
        self._processes[port] = subprocess.Popen(arguments, stdout=log, stderr=log)

    def _serve(self, port: int, *options: str) -> None:
        folder = Path(self._folder.name) / str(port)
        folder.mkdir()
        self._spawn(port, [*command(port, directory=folder), *options])
        _until(lambda: redis.Redis(port=port).ping())

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait()

    def stop(self, *, check: bool = True) -> None:
        """Stop the servers. If `check`, fails when a key lacks a required time to live."""
        alive = [port for port in self.holding if self._processes[port].poll() is None] if check else []
        left = [key for port in alive for key in staying(port)]
        for port in self._processes:
            self.kill(port)
        self._folder.cleanup()
        complain(left)

    @property
    def holding(self) -> list[int]:
        """The ports of the servers that hold keys."""
        raise NotImplementedError


class RedisClusterServers(_Servers):
    """Three masters with a third of the slots each."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = [free_port() for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self) -> None:
        bounds = [SLOTS * n // 3 for n in range(4)]
        for number, port in enumerate(self.ports):
            self._serve(port, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            node = redis.Redis(port=port)
            node.execute_command("CLUSTER ADDSLOTS", *range(bounds[number], bounds[number + 1]))
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for port in self.ports[1:]:
            redis.Redis(port=self.ports[0]).execute_command("CLUSTER MEET", "127.0.0.1", port)
        for port in self.ports:
            _until(lambda port=port: redis.Redis(port=port).cluster("INFO")["cluster_state"] == "ok")

    @property
    def holding(self) -> list[int]:
        return self.ports

    def client(self) -> redis.RedisCluster:
        return redis.RedisCluster(host="127.0.0.1", port=self.ports[0], decode_responses=True)


class SentinelServers(_Servers):
    """A master, a replica, and three Sentinels that detect a failure within a second."""

    def __init__(self) -> None:
        super().__init__()
        self.master, self.replica = free_port(), free_port()
        self.sentinels = [free_port() for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.sentinels) + "/captions/0"

    def start(self) -> None:
        self._serve(self.master)
        self._serve(self.replica, "--replicaof", "127.0.0.1", str(self.master))
        _until(lambda: redis.Redis(port=self.replica).info("replication")["master_link_status"] == "up")
        for port in self.sentinels:
            config = Path(self._folder.name) / f"sentinel-{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor captions 127.0.0.1 {self.master} 2\n"
                "sentinel down-after-milliseconds captions 1000\n"
                "sentinel failover-timeout captions 5000\n"
            )
            self._spawn(port, [find(), str(config), "--sentinel"])
        for port in self.sentinels:
            _until(lambda port=port: self._knows_all(port))

    @property
    def holding(self) -> list[int]:
        return [self.master, self.replica]

    def _knows_all(self, port: int) -> bool:
        told = redis.Redis(port=port).sentinel_master("captions")
        return told["num-other-sentinels"] == 2 and told["num-slaves"] == 1


def _until(holds: Callable[[], object], *, within: float = 20) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            if holds():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("Redis didn't come up")
        time.sleep(0.05)
