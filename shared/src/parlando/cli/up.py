"""`parlando up`: run Redis, gateway, audio-processor and transcribers under one supervisor."""

import asyncio
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from parlando.embedded import redis_server
from parlando.embedded.supervisor import Service, Supervisor
from parlando.settings import ServiceSettings

READY_WITHIN_S: Final = 120
# Numeric libraries use one thread, because there is one worker process per core.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def read_procfile(path: Path) -> dict[str, list[str]]:
    """Parse a Procfile into name → command. `python` is replaced by the current interpreter."""
    commands = {}
    for line in path.read_text().splitlines():
        name, colon, command = line.partition(":")
        if colon and not line.startswith("#"):
            words = shlex.split(command)
            commands[name.strip()] = [sys.executable if word == "python" else word for word in words]
    return commands


async def run(transcribers: int) -> int:
    """Run until SIGINT or SIGTERM. Returns 0, or 1 if the cluster does not become ready in time."""
    count = transcribers or os.cpu_count() or 1
    stop = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    supervisor = Supervisor()
    durable = ServiceSettings().redis_durable
    with redis_server.data_directory(durable=durable) as directory:
        environment = dict(ONE_THREAD)
        if not os.environ.get("REDIS_URL"):
            port = redis_server.free_port()
            environment["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
            command = redis_server.command(port, directory=directory, durable=durable)
            command += ["--loglevel", "warning"]
            supervisor.start(Service("redis", command))
        for name, command in read_procfile(Path("Procfile")).items():
            copies = count if name == "transcriber" else 1
            for number in range(1, copies + 1):
                label = f"{name}.{number}" if copies > 1 else name
                supervisor.start(Service(label, command, environment))
        announcing = asyncio.create_task(_announce(supervisor, environment))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([announcing, stopping], return_when=asyncio.FIRST_COMPLETED)
        ready = not announcing.done() or announcing.result()
        if ready and not stop.is_set():
            await stopping
        announcing.cancel()
        stopping.cancel()
        await supervisor.stop()
    return 0 if ready else 1


async def _announce(supervisor: Supervisor, environment: dict[str, str]) -> bool:
    """Wait until the gateway is ready and the audio-processor answers, then print the addresses.

    Returns False if either takes longer than READY_WITHIN_S. An audio-processor that answers but is not ready
    has no usable FFmpeg: it logs the reason, and the cluster serves 16 kHz PCM only.
    """
    gateway = f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    processor = f"http://127.0.0.1:{os.environ.get('PROCESSOR_PORT') or 8001}"
    deadline = time.monotonic() + READY_WITHIN_S
    async with httpx.AsyncClient(timeout=2) as client:
        for base, enough in ((gateway, {200}), (processor, {200, 503})):
            while await _status(client, f"{base}/ready") not in enough:
                if time.monotonic() > deadline:
                    supervisor.print_line(
                        "parlando", f"{base}/ready: not ready after {READY_WITHIN_S} s; see above"
                    )
                    return False
                await asyncio.sleep(0.2)
    redis = environment.get("REDIS_URL") or os.environ["REDIS_URL"]
    for line in (
        "ready.",
        f"live audio   {gateway.replace('http', 'ws', 1)}/v1/stt/stream",
        f"API docs     {gateway}/docs",
        f"health       {gateway}/health",
        f"Redis        {redis}",
        "stop with Ctrl-C",
    ):
        supervisor.print_line("parlando", line)
    return True


async def _status(client: httpx.AsyncClient, url: str) -> int:
    """The status code of a GET, or 0 without a response in time."""
    try:
        return (await client.get(url)).status_code
    except httpx.HTTPError:
        return 0
