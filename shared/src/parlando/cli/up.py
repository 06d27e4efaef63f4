"""`parlando up`: run Redis, gateway, audio-processor and transcribers under one supervisor."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import httpx
from pydantic import AliasChoices, Field

from parlando.cli import services
from parlando.embedded import redis_server
from parlando.embedded.ports import PortReservations
from parlando.embedded.supervisor import Service, Supervisor
from parlando.models.selection import ANALYZER, DEFAULT_WHISPER, ClusterEngines, Selection, selections
from parlando.settings import ServiceSettings

WYOMING_PORT: Final = "WYOMING_PORT"
WYOMING_USUAL: Final = 10300
GATEWAY_USUAL: Final = 8000
PROCESSOR_USUAL: Final = 8001
GATEWAY: Final = "gateway"
PROCESSOR: Final = "audio-processor"
READY_NEEDS: Final = "READY_NEEDS"
READY_WITHIN_S: Final = 120
# Numeric libraries use one thread, because there is one worker process per core.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Ports(ServiceSettings):
    """What is configured about the services' addresses; None, 0 or "" where nothing is."""

    host: str = ""
    port: int | None = None
    processor_port: int | None = None
    wyoming_port: int | None = None
    metrics_port: int = 0
    song_metrics_port: int = 0
    analyzer_metrics_port: int = 0
    ready_needs: str = ""
    tls_cert: str = ""
    api_keys: str = Field("", validation_alias=AliasChoices("api_keys", "api_key"))

    @property
    def scheme(self) -> str:
        """How the gateway is reached."""
        return "https" if self.tls_cert else "http"

    @property
    def reachable(self) -> str:
        """The host part of the gateway's URL on this machine: `HOST`, unless that means all addresses."""
        if self.host in ("", "0.0.0.0"):  # noqa: S104
            return "127.0.0.1"
        if self.host == "::":
            return "[::1]"
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request that may see the details of the gateway's health."""
        keys = [key.strip() for key in self.api_keys.split(",") if key.strip()]
        return {"Authorization": f"Bearer {keys[0]}"} if keys else {}


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
    configured = _Ports()
    durable = configured.redis_durable
    names = [name for name in services.MODULES if name != ANALYZER or settings.analyzer]
    with (
        redis_server.data_directory(durable=durable) as directory,
        PortReservations() as ports,
    ):
        environment = {**ONE_THREAD, **addresses(ports, configured, names)}
        if "redis_url" not in configured.model_fields_set:
            port = ports.any()
            environment["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
            command = redis_server.command(port, directory=directory, durable=durable)
            command += ["--loglevel", "warning"]
            supervisor.start(Service("redis", command))
        count = transcribers or os.cpu_count() or 1
        for name in names:
            if name == "transcriber":
                started = services.transcribers(environment, count=count, chosen=chosen)
                for service in with_metrics_ports(started, ports, configured.metrics_port):
                    supervisor.start(service)
            else:
                supervisor.start(Service(name, services.command(name), environment))
        announcing = asyncio.create_task(_announce(supervisor, environment, configured, _pools(chosen)))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([announcing, stopping], return_when=asyncio.FIRST_COMPLETED)
        ready = not announcing.done() or announcing.result()
        if ready and not stop.is_set():
            await stopping
        announcing.cancel()
        stopping.cancel()
        await supervisor.stop()
    return 0 if ready else 1


def addresses(ports: PortReservations, settings: _Ports, names: Sequence[str]) -> dict[str, str]:
    """The environment with the port of each service: the configured one, else the usual or the next free one.

    Raises
    ------
    ParlandoError
        if a port that is configured isn't free.

    """
    environment = {READY_NEEDS: settings.ready_needs or ",".join(n for n in names if n != GATEWAY)}
    served = (
        ("PORT", settings.port, GATEWAY_USUAL),
        ("PROCESSOR_PORT", settings.processor_port, PROCESSOR_USUAL),
    )
    # First those that are configured, so that none of them is chosen for another service.
    for name, configured in (
        *((name, port) for name, port, _ in served),
        (WYOMING_PORT, settings.wyoming_port),
    ):
        if configured:
            environment[name] = str(ports.require(configured, name))
    for name, configured, usual in served:
        if not configured:
            environment[name] = str(ports.choose(usual))
    if settings.wyoming_port is None and ports.take(WYOMING_USUAL):
        environment[WYOMING_PORT] = str(WYOMING_USUAL)
    for name, configured in (
        ("SONG_METRICS_PORT", settings.song_metrics_port),
        ("ANALYZER_METRICS_PORT", settings.analyzer_metrics_port),
    ):
        if configured:
            environment[name] = str(ports.choose(configured))
    return environment


def with_metrics_ports(started: Sequence[Service], ports: PortReservations, first: int) -> list[Service]:
    """The services, each with a port for its metrics, from `first` on; with 0 none has one."""
    if not first:
        return list(started)
    return [
        replace(service, environment={**service.environment, "METRICS_PORT": str(ports.choose(first))})
        for service in started
    ]


def _pools(chosen: Sequence[Selection]) -> int:
    """The number of different pools that the chosen engines make."""
    models = [(choice.whisper_model or DEFAULT_WHISPER).removeprefix("whisper-") for choice in chosen]
    return len({(choice.stt_engine, model) for choice, model in zip(chosen, models, strict=True)})


async def _announce(
    supervisor: Supervisor, environment: dict[str, str], configured: _Ports, pools: int
) -> bool:
    """Wait until the cluster is ready and has `pools`, then print the addresses.

    Returns False if that takes longer than READY_WITHIN_S. An audio-processor that answers but is not ready
    has no usable FFmpeg: it logs the reason, and the cluster serves 16 kHz PCM only.
    """
    gateway = f"{configured.scheme}://{configured.reachable}:{environment['PORT']}"
    processor = f"http://127.0.0.1:{environment['PROCESSOR_PORT']}"
    deadline = time.monotonic() + READY_WITHIN_S
    # The certificate has another name than this address, and these requests don't leave this machine.
    async with httpx.AsyncClient(timeout=2, headers=configured.headers, verify=False) as client:  # noqa: S501
        while True:
            names = await _running(client, gateway)
            missing = await _missing(client, gateway, processor)
            if len(names) >= pools and not missing:
                break
            if time.monotonic() > deadline:
                supervisor.print_line(
                    "parlando",
                    f"not ready after {READY_WITHIN_S} s (missing: {', '.join(missing) or 'a pool'}; "
                    f"pools: {', '.join(names) or 'none'}); see above",
                )
                return False
            await asyncio.sleep(0.2)
    redis = environment.get("REDIS_URL", configured.redis_url)
    usual = environment["PORT"] == str(configured.port or GATEWAY_USUAL)
    for line in (
        "ready.",
        *([] if usual else [f"port {GATEWAY_USUAL} is taken by another process; this cluster uses others"]),
        f"web app      {gateway}/",
        f"live audio   {gateway.replace('http', 'ws', 1)}/v1/stt/stream",
        f"API docs     {gateway}/docs",
        *(
            f"Wyoming      tcp://{configured.reachable}:{port}"
            for port in [environment.get(WYOMING_PORT)]
            if port
        ),
        f"health       {gateway}/health",
        f"processor    {processor}/health",
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


async def _missing(client: httpx.AsyncClient, gateway: str, processor: str) -> list[str]:
    """The kinds of processes that are needed and don't run."""
    try:
        answer = (await client.get(f"{gateway}/ready")).json()
        missing = list(answer.get("missing", [] if answer["ready"] else ["Redis"]))
    except (httpx.HTTPError, ValueError):
        return [GATEWAY]
    if PROCESSOR in missing and await _lacks_ffmpeg(client, processor):
        missing.remove(PROCESSOR)
    return missing


async def _lacks_ffmpeg(client: httpx.AsyncClient, processor: str) -> bool:
    """Whether the audio-processor runs, and isn't ready because it has no FFmpeg."""
    try:
        found = (await client.get(f"{processor}/health")).json()
    except (httpx.HTTPError, ValueError):
        return False
    return found["status"] != "healthy" and "needed" in found["services"]["ffmpeg"]
