"""Versions of Python, packages and FFmpeg; a Redis server for `parlando up`."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from parlando.cli import services
from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Finding, ok, problem, warning
from parlando.embedded import redis_server
from parlando.errors import ModelError, ParlandoError

MIN_PYTHON: Final = (3, 11)
MIN_FFMPEG: Final = (4, 2)


def check(configured: Configured) -> Iterator[Finding]:
    """All findings about software."""
    yield python(sys.version_info[:2])
    yield from packages(configured)
    yield from extras(configured)
    yield ffmpeg(list(ffmpegs()))
    if not configured.own_redis:
        yield redis_program()


def python(found: tuple[int, ...]) -> Finding:
    """The version of Python."""
    if found < MIN_PYTHON:
        return problem(
            "python", platform.python_version(), "install Python 3.11 or newer, then: make clean run"
        )
    return ok("python", platform.python_version())


def packages(configured: Configured) -> Iterator[Finding]:
    """The packages of the services that are on this machine; all must have one version."""
    own = version("parlando")
    for service in services.wanted(configured):
        if find_spec(services.MODULES[service]) is None:
            install = services.installation(configured)
            yield warning("packages", f"{service} isn't installed here", f"{install}, if it shall run here")
            continue
        try:
            found = version(f"parlando-{service}")
        except PackageNotFoundError:
            found = own  # on the path without being installed
        if found != own:
            yield problem("packages", f"{service} {found}, parlando {own}", "install both from one checkout")
            return
    yield ok("packages", f"parlando {own}")


def extras(configured: Configured) -> Iterator[Finding]:
    """What the selected engines import. Nothing if ENGINES is wrong, which the check of the models finds."""
    with suppress(ModelError):
        for extra in services.missing_extras(configured):
            yield problem(
                "packages",
                f"the settings select {extra}, whose packages aren't installed",
                f"make run, or: {services.installation_of(extra)}",
            )


def ffmpegs() -> Iterator[tuple[str, str]]:
    """Path and output of `-version` of each FFmpeg, in the order of their use."""
    paths = [shutil.which("ffmpeg")]
    if find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe

        with suppress(RuntimeError):  # no binary for this platform
            paths.append(str(get_ffmpeg_exe()))
    for path in filter(None, paths):
        try:
            done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            yield path, str(error)
        else:
            yield path, done.stdout


def ffmpeg(found: list[tuple[str, str]]) -> Finding:
    """The first usable FFmpeg."""
    for path, output in found:
        numbers = re.search(r"^ffmpeg version n?(\d+)\.(\d+)", output)
        built = re.search(r"^ffmpeg version (N-\S+|git-\S+|\S+)", output)
        if (numbers and (int(numbers[1]), int(numbers[2])) >= MIN_FFMPEG) or (built and not numbers):
            return ok("ffmpeg", f"{(numbers or built or [''])[0].removeprefix('ffmpeg version ')} at {path}")
    unusable = "; ".join(f"{path}: {output.splitlines()[0][:80] if output else ''}" for path, output in found)
    return problem(
        "ffmpeg",
        unusable or "none",
        "install FFmpeg 4.2 or newer (apt-get install ffmpeg), or: pip install imageio-ffmpeg; without it "
        "only 16 kHz PCM is served",
    )


def redis_program() -> Finding:
    """The server that `parlando up` starts."""
    try:
        return ok("redis", f"REDIS_URL isn't set: parlando up starts {redis_server.find()}")
    except ParlandoError as error:
        return problem("redis", "no server on this machine", error.message)
