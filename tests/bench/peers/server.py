"""Starts a server, counts what its processes use, and stops it."""

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from whisper import _ALIGNMENT_HEADS

from bench.peers.system import ROOT, System
from bench.results import FOLDER
from parlando.models.openai_checkpoint import convert
from support.ports import free_port
from support.speech import JFK

START_S = 600  # a guard against a server that hangs
STOP_S = 20
NOWHERE = "http://127.0.0.1:9"  # the discard port: whatever wants to leave the machine fails at once
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
INHERITED = ("PATH", "LANG", "TMPDIR", "PARLANDO_MODELS", "LD_LIBRARY_PATH")  # no setting of any server


@dataclass
class Running:
    """A server that accepts connections. `port`: of its WebSocket."""

    port: int
    process: subprocess.Popen[bytes]
    _spent: dict[int, float] = field(default_factory=dict)  # CPU seconds by process id

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        for process in self._processes():
            try:
                self._spent[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        return sum(self._spent.values())

    def memory_mb(self) -> float:
        """Megabytes of all its processes; pages that several share are counted once."""
        total = 0
        for process in self._processes():
            try:
                found = process.memory_full_info()
            except psutil.Error:
                continue
            total += getattr(found, "pss", found.rss)
        return total / 2**20

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.Error:
            return []


@contextmanager
def serving(system: System, model: Path) -> Iterator[Running]:
    """The server with an empty home folder and without a way to other machines.

    Its log lies with the results. Raises `RuntimeError` with the end of it if the server ends before it
    accepts connections.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        checkpoint = Path(folder) / f"{model.name.removeprefix('whisper-')}.pt"
        if any("{checkpoint}" in part for part in system.command):
            convert(model, checkpoint)
        values = {
            "port": port,
            "second_port": free_port(),
            "model": model,
            "checkpoint": checkpoint,
            "heads": _ALIGNMENT_HEADS[checkpoint.stem].decode(),
            "warmup": JFK,
            "python": system.python,
        }
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        inherited.setdefault("PARLANDO_MODELS", str(model.parent))
        own = {name: text.format(**values) for name, text in system.environment.items()}
        log = FOLDER / f"peers-{'-'.join(re.findall(r'[a-z0-9]+', system.name.lower()))}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [part.format(**values) for part in system.command],
                cwd=ROOT,
                env={**inherited, "HOME": folder, **OFFLINE, **own},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            _wait(system, process, port, log)
            yield Running(port, process)
        except BaseException:
            print(f"--- {system.name}\n{log.read_text(errors='replace')[-3000:]}")
            raise
        finally:
            _stop(process)


def _wait(system: System, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"{system.name} ended with status {process.returncode} before it accepted connections: "
                f"{log.read_text(errors='replace')[-500:]}"
            )
        if _answers(port, system.ready_path):
            return
        time.sleep(0.5)
    raise RuntimeError(f"{system.name} accepts no connections after {START_S} s: see its log above")


def _answers(port: int, path: str) -> bool:
    """Whether it answers a GET with 200, or just listens if there is no path."""
    try:
        if path:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5, trust_env=False).status_code == 200
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except (OSError, httpx.HTTPError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, then whatever it has started and not ended."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(started, STOP_S)
