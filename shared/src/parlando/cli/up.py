"""`parlando up`: run Redis, gateway, audio-processor and transcribers under one supervisor."""

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from parlando.embedded import redis_server
from parlando.embedded.supervisor import Service, Supervisor
from parlando.models.selection import ANALYZER, DEFAULT_WHISPER, ClusterEngines, Selection, selections
from parlando.settings import ServiceSettings

WYOMING_PORT: Final = "WYOMING_PORT"
WYOMING_USUAL: Final = 10300
READY_WITHIN_S: Final = 120
# Numeric libraries use one thread, because there is one worker process per core.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Ports(ServiceSettings):
    wyoming_port: int | None = None


def read_procfile(path: Path) -> dict[str, list[str]]:
    """Parse a Procfile into name → command. `python` is replaced by the current interpreter."""
    commands = {}
    for line in path.read_text().splitlines():
        name, colon, command = line.partition(":")
        if colon and not line.startswith("#"):
            words = shlex.split(command)
            commands[name.strip()] = [sys.executable if word == "python" else word for word in words]
    return commands


def transcriber_services(
    command: list[str], environment: Mapping[str, str], *, count: int, chosen: Sequence[Selection]
) -> list[Service]:
    """The transcribers: `count` processes, divided equally among the chosen engines, at least one each.

    The first engines get one more if they can't be divided equally.
    """
    share, left = divmod(count, len(chosen))
    engines = [
        {"STT_ENGINE": selection.stt_engine, "WHISPER_MODEL": selection.whisper_model or ""}
        for place, selection in enumerate(chosen)
        for _ in range(max(1, share + (place < left)))
    ]
    return [
        Service(
            f"transcriber.{number}" if len(engines) > 1 else "transcriber", command, {**environment, **engine}
        )
        for number, engine in enumerate(engines, start=1)
    ]


async def run(transcribers: int) -> int:
    """Run until SIGINT or SIGTERM. Returns 0, or 1 if the cluster does not become ready in time.

    `transcribers`: their number, 0 for one per core.

    Raises
    ------
    ModelError
        if ENGINES names an unknown engine.

    """
    settings = ClusterEngines()
    chosen = selections(settings)
    stop = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    supervisor = Supervisor()
    durable = ServiceSettings().redis_durable
    with redis_server.data_directory(durable=durable) as directory:
        environment = {**ONE_THREAD, **_wyoming()}
        if not os.environ.get("REDIS_URL"):
            port = redis_server.free_port()
            environment["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
            command = redis_server.command(port, directory=directory, durable=durable)
            command += ["--loglevel", "warning"]
            supervisor.start(Service("redis", command))
        for name, command in read_procfile(Path("Procfile")).items():
            if name == "transcriber":
                count = transcribers or os.cpu_count() or 1
                for service in transcriber_services(command, environment, count=count, chosen=chosen):
                    supervisor.start(service)
            elif name != ANALYZER or settings.analyzer:
                supervisor.start(Service(name, command, environment))
        announcing = asyncio.create_task(_announce(supervisor, environment, _pools(chosen)))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([announcing, stopping], return_when=asyncio.FIRST_COMPLETED)
        ready = not announcing.done() or announcing.result()
        if ready and not stop.is_set():
            await stopping
        announcing.cancel()
        stopping.cancel()
        await supervisor.stop()
    return 0 if ready else 1


def _wyoming() -> dict[str, str]:
    """The environment that opens Wyoming's usual port on this machine, if it is free and none is set."""
    if _Ports().wyoming_port is not None or not redis_server.is_free(WYOMING_USUAL):
        return {}
    return {WYOMING_PORT: str(WYOMING_USUAL)}


def _pools(chosen: Sequence[Selection]) -> int:
    """The number of different pools that the chosen engines make."""
    models = [(choice.whisper_model or DEFAULT_WHISPER).removeprefix("whisper-") for choice in chosen]
    return len({(choice.stt_engine, model) for choice, model in zip(chosen, models, strict=True)})


async def _announce(supervisor: Supervisor, environment: dict[str, str], pools: int) -> bool:
    """Wait until the gateway has `pools` and the audio-processor answers, then print the addresses.

    Returns False if either takes longer than READY_WITHIN_S. An audio-processor that answers but is not ready
    has no usable FFmpeg: it logs the reason, and the cluster serves 16 kHz PCM only.
    """
    gateway = f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    processor = f"http://127.0.0.1:{os.environ.get('PROCESSOR_PORT') or 8001}"
    deadline = time.monotonic() + READY_WITHIN_S
    async with httpx.AsyncClient(timeout=2) as client:
        while len(names := await _running(client, gateway)) < pools or not await _answers(client, processor):
            if time.monotonic() > deadline:
                supervisor.print_line(
                    "parlando", f"not ready after {READY_WITHIN_S} s (pools: {names}); see above"
                )
                return False
            await asyncio.sleep(0.2)
    redis = environment.get("REDIS_URL") or os.environ["REDIS_URL"]
    for line in (
        "ready.",
        f"live audio   {gateway.replace('http', 'ws', 1)}/v1/stt/stream",
        f"API docs     {gateway}/docs",
        *(f"Wyoming      tcp://127.0.0.1:{port}" for port in [environment.get(WYOMING_PORT)] if port),
        f"health       {gateway}/health",
        f"pools        {', '.join(names)}",
        f"Redis        {redis}",
        "stop with Ctrl-C",
    ):
        supervisor.print_line("parlando", line)
    return True


async def _running(client: httpx.AsyncClient, gateway: str) -> list[str]:
    """The pools that have a transcriber; none while the gateway doesn't answer."""
    try:
        health = (await client.get(f"{gateway}/health")).json()
    except (httpx.HTTPError, ValueError):
        return []
    return [pool["name"] for pool in health.get("pools", ()) if pool["workers"]]


async def _answers(client: httpx.AsyncClient, processor: str) -> bool:
    try:
        return (await client.get(f"{processor}/ready")).status_code in (200, 503)
    except httpx.HTTPError:
        return False
