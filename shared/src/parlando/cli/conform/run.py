"""Runs a driver with the bundled clip, and prints the results of the checks as a table."""

import asyncio
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table
from websockets.exceptions import WebSocketException

from parlando.cli.cells import cells
from parlando.cli.conform.checks import Result, checked
from parlando.cli.conform.drivers.base import Driver, Target
from parlando.cli.conform.drivers.table import DRIVERS
from parlando.domain.audio import SAMPLE_RATE, Pcm16
from parlando.errors import InvalidRequestError

SAID: Final = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
"""The words of the bundled clip: J. F. Kennedy, 1961 (public domain)."""
PASSED, FAILED, UNREACHABLE = 0, 1, 2
MOST_S: Final = 600.0  # a service that never ends the session


def load(file: Path | None) -> Pcm16:
    """A clip's samples. Raises `InvalidRequestError` unless it is 16 kHz mono."""
    if file is None:
        with as_file(files("parlando.cli.conform") / "clip.flac") as bundled:
            return load(bundled)
    samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise InvalidRequestError(
            f"Expected a clip of {SAMPLE_RATE} Hz, mono, but got {rate} Hz, {samples.shape[1]} channels"
        )
    return np.ascontiguousarray(samples[:, 0])


async def run(dialect: str, target: Target, *, file: Path | None = None, said: str = SAID) -> int:
    """Check one dialect of a host; returns the exit status. `file`, `said`: another clip, and its words."""
    driver = _driver(dialect, target)
    clip = load(file)
    try:
        async with asyncio.timeout(MOST_S):
            received = await driver.transcribe(clip)
    except TimeoutError:
        received = driver.received
        received.errors.append(f"the session had not ended after {MOST_S:g} s")
    except (OSError, WebSocketException) as error:
        if not driver.received.utterances:
            print(f"{target.url} can't be reached: {error}", file=sys.stderr)
            return UNREACHABLE
        received = driver.received
        received.errors.append(f"the connection broke: {error}")
    results = checked(received, said, len(clip) / SAMPLE_RATE)
    _show(f"{driver.summary}: {target.url}", results, received.texts)
    return FAILED if any(result.passed is False for result in results) else PASSED


def _driver(dialect: str, target: Target) -> Driver:
    if dialect not in DRIVERS:
        raise InvalidRequestError(f"Expected a dialect ({', '.join(DRIVERS)}), but got {dialect!r}")
    return DRIVERS[dialect](target)


def _show(title: str, results: list[Result], texts: list[str]) -> None:
    console = Console()
    table = Table(title=title, title_justify="left")
    for column in ("check", "result", "detail"):
        table.add_column(column, overflow="fold")
    names = {True: "[green]passed[/green]", False: "[red]failed[/red]", None: "not applicable"}
    for result in results:
        table.add_row(result.check, names[result.passed], *cells(result.detail))
    console.print(table)
    console.print(f"received: {' '.join(texts)}", highlight=False, markup=False, soft_wrap=True)
