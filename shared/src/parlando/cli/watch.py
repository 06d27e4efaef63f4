"""`parlando transcribe --watch DIR`: transcribe recordings as they are put into a folder, until Ctrl-C."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from parlando.cli.hot_folder import JOURNAL, Journal, Settling, Version, free_name, recordings
from parlando.cli.transcribe import SUFFIXES, Order, progress_bars, transcribe_file
from parlando.client import AnalysisClient, ClientError, JobsClient
from parlando.client.upload_journal import cache_folder

POLL_S: Final = 1.0  # between two looks at the folder
END_S: Final = 10.0  # for cancelling the jobs at the end
TRIES: Final = 3  # of a recording that fails for a reason which may pass
LONGEST_PAUSE_S: Final = 60.0  # between two tries
UNFIT: Final = frozenset({"invalid_audio", "too_long", "too_big"})
"""Codes of errors that are the recording's own: it is finished."""
FATAL: Final = frozenset({"not_allowed", "unwritable"})
"""Codes of errors that end the watch."""
BUSY: Final = frozenset({"unreachable", "http", "at_capacity", "unavailable", "storage_unavailable"})
"""Codes of errors that are the cluster's: there is no limit of tries."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched. `order.folder`: for results. `moved_to`: for finished recordings; None: they stay."""

    folder: Path
    order: Order
    settle_s: float
    moved_to: Path | None


@dataclass(slots=True)
class _Failure:
    version: Version
    tries: int
    again_at: float


class Watcher:
    """Transcribes what is put into one folder."""

    def __init__(self, watched: Watched, journal: Journal, errors: Console) -> None:
        self._watched = watched
        self._journal = journal
        self._errors = errors
        self._settling = Settling(watched.settle_s)
        self._failures: dict[str, _Failure] = {}
        self._out = watched.order.folder or watched.folder

    def files(self) -> dict[str, Version]:
        """The recordings in the folder now. Raises `ClientError`."""
        without = [self._watched.moved_to] if self._watched.moved_to else []
        return recordings(self._watched.folder, without=without)

    def due(self, files: dict[str, Version], now: float) -> list[tuple[str, Version]]:
        """Those of `files` that are complete and not finished. `now`: seconds of any clock."""
        self._failures = {name: each for name, each in self._failures.items() if name in files}
        return [
            (name, files[name])
            for name in self._settling.settled(files, now)
            if not self._journal.has(name, files[name]) and not self._waits(name, files[name], now)
        ]

    def _waits(self, name: str, version: Version, now: float) -> bool:
        failure = self._failures.get(name)
        return failure is not None and failure.version == version and now < failure.again_at

    def finish(self, name: str, version: Version, content: bytes) -> None:
        """Write the result of a recording, unless that has changed meanwhile.

        Raises
        ------
        ClientError
            if it can't be written.

        """
        path = self._watched.folder / name
        if Version.of(path) != version:
            self._say(f"{path} has changed meanwhile and is transcribed again")
            return
        suffix = SUFFIXES[self._watched.order.form]
        result = free_name(self._out, name, suffix, own=self._journal.result_of(name))
        target = self._out / result
        written = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(content)
            os.replace(written, target)
            self._journal.add(name, version, result=result)
        except OSError as error:
            raise ClientError("unwritable", f"{target} can't be written: {error.strerror}") from error
        self._failures.pop(name, None)
        self._say(f"{path} → {target}")
        if self._watched.moved_to is not None:
            self._move(path, self._watched.moved_to / name)

    def _move(self, path: Path, to: Path) -> None:
        free, number = to, 2
        while free.exists():
            free = to.with_name(f"{to.stem}-{number}{to.suffix}")
            number += 1
        try:
            free.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, free)
        except OSError as error:  # another file system, or no permission
            self._say(f"[red]{path} can't be moved:[/red] {error.strerror}")

    def fail(self, name: str, version: Version, error: ClientError, now: float) -> None:
        """Note why a recording wasn't transcribed. Raises `ClientError` if no other one would be either."""
        if error.code in FATAL:
            raise error
        before = self._failures.get(name)
        tries = before.tries + 1 if before is not None and before.version == version else 1
        pause_s = min(LONGEST_PAUSE_S, 2.0**tries)
        what = f"; next try in {pause_s:.0f} s"
        if error.code in UNFIT:
            self._journal.add(name, version, error=error.code)
            what = ""
        elif error.code not in BUSY and tries >= TRIES:
            pause_s, what = float("inf"), "; not tried again until it changes, or until the next start"
        self._failures[name] = _Failure(version, tries, now + pause_s)
        self._say(f"[red]{escape(str(self._watched.folder / name))}:[/red] {escape(error.reason)}{what}")

    def _say(self, text: str) -> None:
        self._errors.print(text, highlight=False, soft_wrap=True)


async def run(watched: Watched, *, url: str, key: str | None, parallel: int) -> int:
    """Watch a folder until SIGINT or SIGTERM, which cancel the jobs that run. Returns 0.

    Raises `ClientError`.
    """
    folder, out = watched.folder, watched.order.folder or watched.folder
    if not folder.is_dir():
        raise ClientError("no_file", f"{folder} is not a folder")
    out.mkdir(parents=True, exist_ok=True)
    errors = Console(stderr=True)
    stop = asyncio.Event()
    with Journal(out / JOURNAL) as journal, _stopped_by_signals(stop):
        watcher = Watcher(watched, journal, errors)
        errors.print(
            f"Watching {folder}; results go to {out}. Ctrl-C ends it.", highlight=False, soft_wrap=True
        )
        async with (
            JobsClient(url, api_key=key, uploads=cache_folder()) as gateway,
            AnalysisClient(url, api_key=key) as analyses,
        ):
            with progress_bars(errors) as progress:
                await _watch(watcher, watched, gateway, analyses, progress, stop, parallel)
    return 0


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`; the next one has its usual effect."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def end() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _watch(
    watcher: Watcher,
    watched: Watched,
    gateway: JobsClient,
    analyses: AnalysisClient,
    progress: Progress,
    stop: asyncio.Event,
    parallel: int,
) -> None:
    running: dict[str, asyncio.Task[None]] = {}

    async def one(name: str, version: Version) -> None:
        path = watched.folder / name
        bar = progress.add_task(name, total=1.0)
        try:
            content = await transcribe_file(gateway, analyses, path, watched.order, progress, bar)
            watcher.finish(name, version, content)
        except ClientError as error:
            watcher.fail(name, version, error, time.monotonic())
        except OSError as error:  # it can't be read; if it is gone, nothing is left to try again
            failed = ClientError("unreadable", f"it can't be read: {error.strerror}")
            watcher.fail(name, version, failed, time.monotonic())
        finally:
            progress.remove_task(bar)

    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            files = await asyncio.to_thread(watcher.files)
            for name, version in watcher.due(files, time.monotonic()):
                if len(running) < parallel and name not in running:
                    running[name] = asyncio.create_task(one(name, version))
            await asyncio.wait(
                [stopping, *running.values()], timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED
            )
            for name in [name for name, task in running.items() if task.done()]:
                running.pop(name).result()
    finally:
        for task in (stopping, *running.values()):
            task.cancel()
        await asyncio.wait([stopping, *running.values()], timeout=END_S)
