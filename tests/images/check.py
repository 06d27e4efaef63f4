"""Builds all images, writes their bills of materials, runs a cluster of them, and kills a worker.

`make images-check`: about ten minutes; needs root, buildah and debootstrap, and neither Docker nor a registry
of images. Everything listens on loopback. Prints the size of each image, without that of its base.
`--no-build` takes the images that the last run has built.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import redis.asyncio as redis_client

from images.base import NODE, PYTHON, ensure, run
from images.bills import check_bills
from images.container import Image, Service, name_of
from parlando.client import Parlando
from support.ports import free_port
from support.redis_server import RedisServer
from support.speech import JFK, fixture
from support.streaming import check_promises, stream

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("api-gateway", "audio-processor", "song-recognizer", "analyzer", "transcriber")
TRACED: Final = "api-gateway-tracing"
"""An image that is built with TRACING=1."""
WORK: Final = Path(os.environ.get("IMAGES_FOLDER") or Path(tempfile.gettempdir()) / "parlando-images")
WITHIN_S: Final = 300
BLOBS: Final = ("api-gateway", "audio-processor", "song-recognizer")
SESSION: Final = "taken-over"


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer of `condition`; an unreachable server counts as false."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if found := condition():
                return found
        except (httpx.HTTPError, KeyError):
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {WITHIN_S} s")
        time.sleep(0.5)


def build() -> None:
    """Build all images as compose does, and print their sizes."""
    for service in (*SERVICES, TRACED):
        started = time.monotonic()
        folder = service.removesuffix("-tracing")
        arguments = ["--build-arg", "TRACING=1"] if service == TRACED else []
        file = ROOT / folder / "Dockerfile"
        run(
            "buildah", "bud", "--layers", "--pull-never", "-f", file, "-t", name_of(service), *arguments, ROOT
        )
        print(f"{service}: built in {time.monotonic() - started:.0f} s", flush=True)
    sizes = {
        name.removesuffix(":latest"): image["size"]
        for image in json.loads(run("buildah", "images", "--json"))
        for name in image.get("names") or ()
    }
    for service in (*SERVICES, TRACED):
        print(f"{service}: {sizes[name_of(service)]}, of which {sizes[PYTHON]} is the base", flush=True)


def check_tracing(images: dict[str, Image]) -> None:
    """The packages that send traces are in an image if it was built with them, and only then."""
    look = "import importlib.util as u; print(bool(u.find_spec('opentelemetry.sdk')))"
    found = {name: images[name].output("python", "-c", look).strip() for name in ("api-gateway", TRACED)}
    assert found == {"api-gateway": "False", TRACED: "True"}, found
    images[TRACED].output("python", "-c", "import opentelemetry.exporter.otlp.proto.http.trace_exporter")
    print("tracing: in the image with TRACING=1 only", flush=True)


def start(redis: RedisServer, images: dict[str, Image], services: dict[str, Service]) -> str:
    """Start each service and a second transcriber, into `services`. Returns the gateway's URL."""
    port, processor = str(free_port()), str(free_port())
    shared = {"REDIS_URL": redis.url, "LOG_FORMAT": "json", "WORKER_SESSIONS": "12"}
    own: dict[str, dict[str, str]] = {
        "api-gateway": {"PORT": port, "READY_NEEDS": ",".join(SERVICES[1:])},
        "audio-processor": {"PROCESSOR_PORT": processor},
        "song-recognizer": {"PROCESSOR_PORT": processor, "SONG_METRICS_PORT": str(free_port())},
        "analyzer": {"ANALYZER_METRICS_PORT": str(free_port())},
        "transcriber": {"METRICS_PORT": str(free_port())},
        "transcriber.2": {"METRICS_PORT": str(free_port())},
    }
    for name, environment in own.items():
        service = name.partition(".")[0]
        volumes = {_writable("blobs"): "/blobs"} if service in BLOBS else {}
        if service == "api-gateway":
            volumes[_writable("data")] = "/data"
        log = WORK / f"{name}.log"
        services[name] = Service(name, images[service], log, volumes, shared | environment)
    return f"http://127.0.0.1:{port}"


def _writable(name: str) -> Path:
    """A folder for a volume, which the containers' user may write."""
    folder = WORK / name
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return folder


def said(text: str) -> None:
    """Check the words of the clip."""
    words = re.sub(r"[^a-z ]", "", text.lower())
    assert "ask what you can do for your country" in words, text


def check_doors(url: str) -> None:
    """The native door, a job, and OpenAI's route."""
    heard = asyncio.run(stream(url.replace("http", "ws", 1), fixture("jfk.flac"), speed=2))
    check_promises(heard)
    said(heard.text)
    print("live: ok", flush=True)
    with Parlando(url) as client:
        said(client.transcribe(JFK)["text"])
    print("job: ok", flush=True)
    with JFK.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": file}, timeout=300
        )
    said(answer.raise_for_status().json()["text"])
    print("OpenAI's route: ok", flush=True)


async def check_kill(url: str, redis: RedisServer, services: dict[str, Service]) -> None:
    """SIGKILL the transcriber that has a session, while it is open; the other one claims and finishes it."""
    clip = fixture("jfk.flac")
    speaking = asyncio.create_task(
        stream(url.replace("http", "ws", 1), np.concatenate([clip, clip, clip]), session_id=SESSION)
    )
    workers = [services["transcriber"], services["transcriber.2"]]
    store = redis_client.Redis.from_url(redis.url, decode_responses=True)

    async def owner(excluded: str = "") -> str:
        while True:
            assert not speaking.done(), "the session ended before its transcriber was known"
            found: Any = store.hget(f"stt:{{0}}:session:{SESSION}", "owner")
            if (name := await found) and name != excluded:
                return str(name)
            await asyncio.sleep(0.1)

    async with asyncio.timeout(WITHIN_S):
        first = await owner()
        await asyncio.sleep(3)  # some audio is decoded
        first = await owner()
        [victim] = [each for each in workers if first in each.log.read_text()]
        [other] = [each for each in workers if each is not victim]
        assert victim.runs
        assert other.runs
        assert not speaking.done()
        victim.kill()
        assert victim.process.returncode == -9, victim.process.returncode
        print(f"killed in the session: {victim.name} ({first})", flush=True)
        second = await owner(excluded=first)
        assert second in other.log.read_text(), f"{second} isn't the other transcriber"
        assert not speaking.done(), "the session ended before it was taken over"
        heard = await speaking
    await store.aclose()
    check_promises(heard)
    words = re.sub(r"[^a-z ]", "", heard.text.lower())
    found = [words.count(said) for said in ("fellow americans", "your country")]
    assert found == [3, 6], heard.text  # on a busy machine some other words are misheard
    assert '"takeover"' in other.log.read_text()
    print(f"taken over by {other.name} ({second}), no word lost", flush=True)


def check_cluster(images: dict[str, Image], services: dict[str, Service]) -> None:
    """Start all services, and check what they do and that they stop."""
    redis = RedisServer()
    redis.start()
    try:
        url = start(redis, images, services)
        until(lambda: httpx.get(f"{url}/ready").status_code == 200, "ready")
        print(f"ready: {httpx.get(f'{url}/ready').json()['needed']}", flush=True)
        check_doors(url)
        for each in services.values():
            each.check_rights()
        print("user, capabilities and read-only root of each container: ok", flush=True)
        asyncio.run(check_kill(url, redis, services))
        for name, each in services.items():
            if each.runs:
                status = each.stop()
                assert status == 0, f"{name} ended with {status}"
        print("stopped: ok", flush=True)
    except BaseException:
        for name, each in services.items():
            print(f"--- {name}: {each.process.poll()}\n{each.log.read_text()[-2000:]}")
        raise
    finally:
        for each in services.values():
            each.kill()
        redis.stop(check=False)


def main() -> int:
    """Build, run and check. Returns 0; ends with an error, and the services' logs, otherwise."""
    WORK.mkdir(parents=True, exist_ok=True)
    ensure(WORK)
    print(f"base images: {PYTHON}, {NODE}", flush=True)
    if "--no-build" not in sys.argv:
        build()
    images: dict[str, Image] = {}
    try:
        for service in (*SERVICES, TRACED):
            images[service] = Image(name_of(service))
        check_bills(images, WORK)
        check_tracing(images)
        check_cluster(images, {})
    finally:
        for image in images.values():
            image.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
