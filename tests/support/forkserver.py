"""Processes of the services that are forked from one that has imported them already.

Importing a service takes one to two seconds of processor time, which the tests would spend some hundreds
of times. A process has the interface of `subprocess.Popen`, as far as the tests use it.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parents[1]
IMPORTED_WITH: Final = {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
"""Variables that are read when modules are imported; a process with other values isn't forked."""
REQUEST_BYTES: Final = 1 << 20


class Request(NamedTuple):
    """What a process gets: its environment, its working directory and the file of its output."""

    environment: dict[str, str]
    folder: str
    log: str


class Forked:
    """A process that the fork server has started. The server writes its exit status into `status`."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._ended = select.poll()
        self._ended.register(status, select.POLLIN)

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._ended.poll(None if timeout is None else timeout * 1000):
            answer = self._status.recv(100)
            self._status.close()
            self.returncode = (
                int(answer) if answer else -signal.SIGKILL
            )  # the server has ended, and all with it
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Starts processes of one module. It ends, with all of them, when the process that made it ends."""

    def __init__(self, module: str) -> None:
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._connection, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forkserver", module, str(theirs.fileno())],
                env={**os.environ, **IMPORTED_WITH},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.stop)

    def start(self, environment: dict[str, str], log: Path) -> Forked:
        """Fork a process with this environment, which appends its output to `log`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps(Request(environment, os.getcwd(), str(log))).encode()
        with theirs, self._lock:
            socket.send_fds(self._connection, [request], [theirs.fileno()])
            answer = self._connection.recv(100)
        if not answer:
            raise RuntimeError(f"The fork server has ended with {self._process.wait()}")
        return Forked(int(answer), ours)

    def stop(self) -> None:
        self._connection.close()
        self._process.wait()


_servers: dict[str, ForkServer] = {}


def forked(module: str, environment: dict[str, str], log: Path) -> Forked | None:
    """A process that runs `module` as its main module; None if its environment doesn't allow a fork."""
    if any(environment.get(name) != value for name, value in IMPORTED_WITH.items()):
        return None
    if module not in _servers:
        _servers[module] = ForkServer(module)
    return _servers[module].start(environment, log)


# --- the server ---------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> Request | None:
    """Fork a process for each request. Returns a process's request in that process, and None at the end."""
    children: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        for ready in select.select([connection, woken], [], [])[0]:
            if ready is woken:
                woken.recv(1000)
                _reap(children)
                continue
            message, [*received], _, _ = socket.recv_fds(connection, REQUEST_BYTES, 1)
            if not message:
                _end(children)
                return None
            status = socket.socket(fileno=received[0])
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for inherited in (connection, woken, wake, status, *children.values()):
                    inherited.close()
                return Request(*json.loads(message))
            children[pid] = status
            connection.send(str(pid).encode())


def _reap(children: dict[int, socket.socket]) -> None:
    """Say the exit status of each child that has ended."""
    for pid in list(children):
        ended, state = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as status, suppress(OSError):  # perhaps nobody waits for it
                status.send(str(os.waitstatus_to_exitcode(state)).encode())


def _end(children: dict[int, socket.socket]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    while children:
        time.sleep(0.01)
        _reap(children)


def become(request: Request) -> None:
    """Give this process what a new one would have."""
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for wanted, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, wanted)
    os.close(null)
    os.close(log)


def main(module: str, connection: socket.socket) -> None:
    importlib.import_module(f"{module}.__main__")
    del sys.modules[f"{module}.__main__"]  # it is run as the main module, of which nobody may have a copy
    gc.collect()
    gc.freeze()
    request = serve(connection)
    if request is not None:
        become(request)
        sys.argv[:] = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
