"""`parlando songs register|list|remove|recognise`."""

import asyncio
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import soundfile
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.media import AUDIO
from parlando.cli.microphone import recorded
from parlando.cli.options import HERE, Key, Url
from parlando.client import ClientError, SongsClient
from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.songs import label

LISTENS_S: Final = 10
TOLD_EVERY: Final = 50
"""Files after which the progress is printed where there is no terminal."""

app = typer.Typer(no_args_is_help=True)


@app.command("register")
def register_command(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, help="Files, or folders with their subfolders.")
    ],
    url: Url = HERE,
    key: Key = None,
    parallel: Annotated[int, typer.Option(min=1, max=16, help="Files sent at a time.")] = 2,
) -> None:
    """Register songs. Files that are registered already are skipped: an interrupted command can be repeated.

    Exits with 1 if a file failed.
    """
    raise typer.Exit(asyncio.run(_register(paths, url=url, key=key, parallel=parallel)))


@app.command("list")
def list_command(url: Url = HERE, key: Key = None) -> None:
    """List the registered songs."""
    asyncio.run(_list(url, key))


@app.command("remove")
def remove_command(
    numbers: Annotated[list[int], typer.Argument(help="Numbers of songs, as `list` shows them.")],
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Remove songs."""

    async def run() -> None:
        async with SongsClient(url, api_key=key) as songs:
            for number in numbers:
                await songs.remove(number)
                typer.echo(f"{number} removed")

    asyncio.run(run())


@app.command("recognise")
def recognise_command(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="Audio file of any format.")
    ] = None,
    listen: Annotated[
        bool, typer.Option("--listen", help=f"Record {LISTENS_S} s with the microphone instead.")
    ] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Print which song is in a file, or is playing. Exits with 1 if none is recognised."""
    if (file is None) != listen:
        raise typer.BadParameter("Expected a file or --listen")
    data = file.read_bytes() if file else _wav(recorded(LISTENS_S))

    async def run() -> dict[str, Any] | None:
        async with SongsClient(url, api_key=key) as songs:
            return await songs.recognise_bytes(data, file.name if file else "microphone.wav")

    song = asyncio.run(run())
    if song is None:
        typer.echo("no song recognised", err=True)
        raise typer.Exit(1)
    album = f" ({song['album']})" if song["album"] else ""
    typer.echo(f"{label(song)}{album}, at {song['offset']:.1f} s, {song['matches']} matches")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files to register: those given, and those with a suffix of `AUDIO` in folders, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in AUDIO and each.is_file())
        found |= dict.fromkeys(inside if path.is_dir() else [path])
    if not found:
        raise ClientError("no_file", f"No audio files are in {', '.join(map(str, paths))}")
    return [*found]


async def _register(paths: Sequence[Path], *, url: str, key: str | None, parallel: int) -> int:
    files = files_of(paths)
    errors = Console(stderr=True)
    room = asyncio.Semaphore(parallel)
    counts = {"registered": 0, "skipped": 0, "failed": 0}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )

    def tell(text: str) -> None:
        errors.print(text, highlight=False, soft_wrap=True)

    async with SongsClient(url, api_key=key) as songs:
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
            bar = progress.add_task("songs", total=len(files))

            async def one(file: Path) -> None:
                async with room:
                    progress.update(bar, description=file.name[:40])
                    try:
                        counts[await _send(songs, file)] += 1
                    except (ClientError, OSError) as error:
                        counts["failed"] += 1
                        reason = error.reason if isinstance(error, ClientError) else str(error)
                        tell(f"[red]{escape(str(file))}:[/red] {escape(reason)}")
                    progress.advance(bar)
                    done = sum(counts.values())
                    if not errors.is_terminal and done % TOLD_EVERY == 0:
                        tell(f"{done} of {len(files)}: {_told(counts)}")

            try:
                await asyncio.gather(*(one(file) for file in files))
            except asyncio.CancelledError:
                tell(f"interrupted: {_told(counts)} of {len(files)}; repeat the command to continue")
                raise
    typer.echo(_told(counts))
    return 1 if counts["failed"] else 0


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


async def _send(songs: SongsClient, file: Path) -> str:
    """Register a file, unless it is registered. Returns what was done."""
    digest = await asyncio.to_thread(_sha256, file)
    if await songs.registered(digest) is not None:
        return "skipped"
    await songs.register(file)
    return "registered"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def _list(url: str, key: str | None) -> None:
    table = Table("id", "artist", "album", "title", "length", box=None)
    async with SongsClient(url, api_key=key) as songs:
        async for song in songs.list():
            minutes, seconds = divmod(round(song["duration"]), 60)
            names = (song["artist"], song["album"], song["title"])
            table.add_row(*cells(song["id"], *names, f"{minutes}:{seconds:02}"))
    Console().print(table)


def _wav(pcm: bytes) -> bytes:
    """16 kHz mono s16le as a WAV file."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as out:
        out.buffer_write(pcm, "int16")
    return file.getvalue()
