"""Real processes of the services on this machine, which tests can kill, pause and query."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx
import redis as redis_client

from support.forkserver import forked
from support.ports import free_port
from support.redis_server import RedisServer
from support.redis_topologies import RedisClusterServers, SentinelServers

TESTS = Path(__file__).parents[1]


class Process:
    """One service process, which logs to a file."""

    forks = False
    """Whether processes are forked from one that has imported the service. Measurements start new ones."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self.log = log
        environment = {**os.environ, **environment}
        self.process = (forked(module, environment, log) if self.forks else None) or started(
            module, environment, log
        )

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = 600) -> int:
        """Send SIGTERM and wait. Returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)


def started(module: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A new process that runs `module`, with exactly this environment."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", module], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )


class Cluster:
    """Redis, gateways and workers. Use as a context manager."""

    def __init__(
        self,
        *,
        gateways: int = 1,
        transcribers: int = 1,
        processors: int = 0,
        recognizers: int = 0,
        analyzers: int = 0,
        redis: RedisServer | RedisClusterServers | SentinelServers | None = None,
        **environment: str,
    ) -> None:
        self.redis = redis or RedisServer()
        self._folder = tempfile.TemporaryDirectory()
        self.blobs = Path(self._folder.name) / "blobs"
        self.environment = {
            "REDIS_URL": self.redis.url,
            "PYTHONPATH": str(TESTS),
            "LOG_FORMAT": "json",
            "OMP_NUM_THREADS": "1",
            "BLOB_URL": str(self.blobs),
            "READY_NEEDS": "transcriber",
            "WORKER_SESSIONS": "12",  # the measured capacity depends on the machine's load
            **environment,
        }
        self._counts = (gateways, transcribers, processors, recognizers, analyzers)
        self.gateways: list[Process] = []
        self.ports: list[int] = []
        self.transcribers: list[Process] = []
        self.processors: list[Process] = []
        self.recognizers: list[Process] = []
        self.analyzers: list[Process] = []
        self.processor_port = 0  # port of the audio-processor added last

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException as error:  # nothing that was started may go on running
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _start(self) -> None:
        self.redis.start()
        gateways, transcribers, processors, recognizers, analyzers = self._counts
        for _ in range(gateways):
            self.add_gateway()
        for _ in range(transcribers):
            self.add_transcriber()
        for _ in range(processors):
            self.add_processor()
        for _ in range(recognizers):
            self.add_recognizer()
        for _ in range(analyzers):
            self.add_analyzer()
        self.wait_ready(transcribers, processors, recognizers, analyzers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.signal(signal.SIGCONT)
                process.kill()
        if error is not None:
            for process in self.processes:
                print(f"--- {process.log.name}\n{process.log.read_text()[-3000:]}")
        self._folder.cleanup()
        self.redis.stop(check=error is None)

    @property
    def processes(self) -> list[Process]:
        """All processes that were started, besides Redis."""
        workers = [self.transcribers, self.processors, self.recognizers, self.analyzers]
        return [process for kind in [self.gateways, *workers] for process in kind]

    def _process(self, module: str, name: str, **environment: str) -> Process:
        return Process(module, {**self.environment, **environment}, Path(self._folder.name) / f"{name}.log")

    def add_gateway(self, **environment: str) -> Process:
        port = free_port()
        process = self._process("api_gateway", f"gateway{len(self.gateways)}", PORT=str(port), **environment)
        self.gateways.append(process)
        self.ports.append(port)
        return process

    def restart_gateway(self, gateway: int = 0) -> None:
        """Restart a killed gateway on its old port."""
        environment = {**self.environment, "PORT": str(self.ports[gateway])}
        self.gateways[gateway] = Process("api_gateway", environment, self.gateways[gateway].log)

    def add_transcriber(self, **environment: str) -> Process:
        process = self._process("transcriber", f"transcriber{len(self.transcribers)}", **environment)
        self.transcribers.append(process)
        return process

    def add_processor(self, **environment: str) -> Process:
        self.processor_port = free_port()
        environment = {"PROCESSOR_PORT": str(self.processor_port), **environment}
        process = self._process("audio_processor", f"processor{len(self.processors)}", **environment)
        self.processors.append(process)
        return process

    def add_recognizer(self, **environment: str) -> Process:
        environment = {"PROCESSOR_PORT": str(self.processor_port), **environment}
        process = self._process("song_recognizer", f"recognizer{len(self.recognizers)}", **environment)
        self.recognizers.append(process)
        return process

    def add_analyzer(self, **environment: str) -> Process:
        process = self._process("analyzer", f"analyzer{len(self.analyzers)}", **environment)
        self.analyzers.append(process)
        return process

    def url(self, gateway: int = 0) -> str:
        return f"ws://127.0.0.1:{self.ports[gateway]}"

    def http(self, gateway: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[gateway]}"

    def health(self, gateway: int = 0) -> dict:
        return httpx.get(f"{self.http(gateway)}/health", timeout=600).json()

    def connections(self, gateway: int = 0) -> int:
        """The number of WebSocket connections of a gateway."""
        text = httpx.get(f"{self.http(gateway)}/metrics", timeout=600).text
        [value] = re.findall(r"^parlando_gateway_connections ([0-9.]+)", text, re.MULTILINE)
        return int(float(value))

    def wait_ready(
        self,
        transcribers: int,
        processors: int = 0,
        recognizers: int = 0,
        analyzers: int = 0,
        timeout: float = 600,
    ) -> None:
        """Wait until every gateway answers and reports at least this many workers."""
        deadline = time.monotonic() + timeout
        for gateway in range(len(self.gateways)):
            while True:
                try:
                    found = self.health(gateway)
                    if (
                        found["workers"]["alive"] >= transcribers
                        and found["audio_processors"]["alive"] >= processors
                        and found["song_recognizers"]["alive"] >= recognizers
                        and found["analyzers"]["alive"] >= analyzers
                    ):
                        break
                except (httpx.HTTPError, KeyError):
                    pass
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not ready: {self.gateways[gateway].log.read_text()[-2000:]}")
                time.sleep(0.05)

    def store(self) -> redis_client.Redis:
        """A client of the cluster's Redis."""
        return redis_client.Redis.from_url(self.redis.url, decode_responses=True)

    def owner(self, sid: str) -> Process | None:
        """The transcriber that owns a session; None if no transcriber of this cluster does."""
        owner = self.store().hget(f"stt:{{0}}:session:{sid}", "owner")
        for process in self.transcribers:
            if owner and owner in process.log.read_text():
                return process
        return None
