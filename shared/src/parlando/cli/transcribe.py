"""`parlando transcribe FILE…`: files as jobs, several at a time, with a progress bar for each."""

import asyncio
import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from parlando.cli.media import AUDIO, VIDEO
from parlando.client import AnalysisClient, ClientError, JobsClient
from parlando.client.upload_journal import cache_folder
from parlando.client.uploads import RESUMABLE_FROM
from parlando.domain.subtitles import Format
from parlando.tasks import end

MEDIA: Final = AUDIO | VIDEO
ANSWER_S: Final = 5.0  # for the answer to a complete upload, when it is cancelled
SUFFIXES: Final = {form: form.value for form in Format} | {Format.TEXT: "txt", Format.KARAOKE: "vtt"}


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with each file. `form`: output format. `fields`: options of the job.

    `rules`: of subtitles; the query parameters of a result.
    """

    form: Format
    folder: Path | None
    fields: dict[str, str]
    rules: dict[str, str] = field(default_factory=dict)


def files_of(patterns: Sequence[str]) -> list[Path]:
    """Expand names, globs, and folders with their subfolders to files.

    Raises `ClientError` for a pattern without a match.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = sorted(
                each for each in path.rglob("*") if each.suffix.lower() in MEDIA and each.is_file()
            )
            if not files:
                raise ClientError("no_file", f"No audio or video files are in {pattern}")
        else:
            names = [path] if path.is_file() else sorted(map(Path, glob.glob(pattern, recursive=True)))
            files = [name for name in names if name.is_file()]
        if not files:
            raise ClientError("no_file", f"No file is called {pattern}")
        found += [file for file in files if file not in found]
    return found


def targets_of(files: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """Where the result of each file is written: no two have the same name.

    Of files with the same stem the whole name is used, of files with the same name also their folders, from
    the first one on in which they differ.
    """
    places = {file: file.absolute() for file in files}
    common = Path(os.path.commonpath([place.parent for place in places.values()])) if places else Path()
    stems, names = Counter(file.stem for file in files), Counter(file.name for file in files)
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file, place in places.items():
        if stems[file.stem] == 1:
            name = Path(file.stem)
        else:
            name = Path(file.name) if names[file.name] == 1 else place.relative_to(common)
        target, number = folder / name.with_name(f"{name.name}.{suffix}"), 2
        while target in taken:  # of a file whose own name is like that of another one's result
            target = folder / name.with_name(f"{name.name}-{number}.{suffix}")
            number += 1
        taken.add(target)
        targets[file] = target
    return targets


def progress_bars(console: Console) -> Progress:
    """The display of the files that are processed; nothing if `console` isn't a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


async def run(patterns: Sequence[str], order: Order, *, url: str, key: str | None, parallel: int) -> int:
    """Transcribe files. Returns 0, or 1 if a file failed.

    Raises `ClientError` for a binary format without a folder.
    """
    if order.form is Format.DOCX and order.folder is None:
        raise ClientError("no_folder", "A DOCX can't be printed; name a folder for it with --out")
    files = files_of(patterns)
    console, errors = Console(), Console(stderr=True)
    room = asyncio.Semaphore(parallel)
    failures = 0
    if order.folder is not None:
        order.folder.mkdir(parents=True, exist_ok=True)
    async with (
        JobsClient(url, api_key=key, uploads=cache_folder()) as gateway,
        AnalysisClient(url, api_key=key) as analyses,
    ):
        with progress_bars(errors) as progress:

            async def one(file: Path) -> tuple[Path, bytes | ClientError]:
                async with room:
                    bar = progress.add_task(file.name, total=1.0)
                    try:
                        return file, await transcribe_file(gateway, analyses, file, order, progress, bar)
                    except ClientError as error:
                        return file, error
                    finally:
                        progress.remove_task(bar)

            targets = targets_of(files, order.folder or Path(), SUFFIXES[order.form])
            tasks = [asyncio.create_task(one(file)) for file in files]
            for task in tasks:  # prints results in the order of the files
                file, result = await task
                if isinstance(result, ClientError):
                    failures += 1
                    errors.print(
                        f"[red]{escape(str(file))}:[/red] {escape(result.reason)}",
                        highlight=False,
                        soft_wrap=True,
                    )
                elif order.folder is not None:
                    target = targets[file]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(result)
                    errors.print(f"{file} → {target}", highlight=False, markup=False, soft_wrap=True)
                else:
                    if len(files) > 1:
                        errors.print(f"[bold]{escape(str(file))}[/bold]", highlight=False)
                    text = result.decode()
                    console.file.write(text if text.endswith("\n") else f"{text}\n")
    return 1 if failures else 0


async def transcribe_file(
    gateway: JobsClient, analyses: AnalysisClient, file: Path, order: Order, progress: Progress, bar: TaskID
) -> bytes:
    """Upload a file, follow its job, and fetch the result. On cancellation (Ctrl-C) the job is cancelled."""
    analyzed = "analyze" in order.fields
    job = await _submitted(gateway, file, order, progress, bar)
    try:
        async for event in gateway.events(job["job_id"]):
            progress.update(bar, description=file.name, completed=event["progress"])
        await gateway.wait(job["job_id"])
        if analyzed:
            async for update in analyses.updates(job["job_id"]):
                progress.update(bar, description=f"{file.name}: {update.message}")
    except asyncio.CancelledError:
        await gateway.cancel(job["job_id"])
        raise
    annotations = analyzed and order.form is Format.JSON
    return await gateway.written(job["job_id"], order.form, annotations=annotations, **order.rules)


async def _submitted(
    gateway: JobsClient, file: Path, order: Order, progress: Progress, bar: TaskID
) -> dict[str, Any]:
    """Upload a file; returns the job. On cancellation a job that has all of the file is cancelled."""
    size, uploaded = _size(file), False

    def sent(count: int) -> None:
        nonlocal uploaded
        uploaded = count >= size
        progress.update(bar, description=f"{file.name} ↑", completed=count / size)

    fields: dict[str, Any] = dict(order.fields)
    submitting = asyncio.create_task(gateway.submit(file, sent=sent, **fields))
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        if uploaded:
            await asyncio.wait([submitting], timeout=ANSWER_S)
        if submitting.done() and not submitting.cancelled() and submitting.exception() is None:
            await gateway.cancel(submitting.result()["job_id"])
        await end(submitting)
        if not uploaded and size >= RESUMABLE_FROM:
            progress.console.print(
                f"The upload of {file} is interrupted; the same command continues it within a day",
                highlight=False,
                soft_wrap=True,
            )
        raise


def _size(file: Path) -> int:
    return max(1, file.stat().st_size)
