"""`parlando owners list|show|export|delete|retention`: owners and their data."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import OwnersClient

app = typer.Typer(no_args_is_help=True)
Owner = Annotated[str, typer.Argument(help="An owner's id, as `list` shows it, or `me`.")]


def _ask(url: str, key: str | None, ask: Callable[[OwnersClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with OwnersClient(url, api_key=key) as owners:
            return await ask(owners)

    return asyncio.run(run())


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in counts.items()) or "nothing"


@app.command("list")
def list_command(url: Url = HERE, key: Key = None) -> None:
    """List all owners, and how much they have. It needs a key with the scope admin."""
    table = Table("owner", "name", "has", box=None)
    table.columns[0].no_wrap = True
    for each in _ask(url, key, lambda owners: owners.list()):
        of = "a gateway without keys" if each["owner"] == "none" else "a key of API_KEYS"
        name = each["name"] or (of if each["configured"] else "")
        table.add_row(*cells(each["owner"], name, _numbers(each["counts"])))
    Console().print(table)


@app.command("show")
def show_command(owner: Owner = "me", url: Url = HERE, key: Key = None) -> None:
    """Show what an owner has, by kind."""
    found = _ask(url, key, lambda owners: owners.get(owner))
    typer.echo(f"owner {found['owner']} {found['name']}".rstrip())
    for kind, count in found["counts"].items():
        typer.echo(f"{kind.replace('_', ' '):16} {count}")


@app.command("export")
def export_command(
    owner: Owner = "me",
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write; by default parlando-<owner>.zip.")
    ] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Write everything of an owner to a zip archive: transcripts, jobs, annotations, names, usage."""
    path = out or Path(f"parlando-{owner}.zip")
    _ask(url, key, lambda owners: owners.export(path, owner))
    typer.echo(f"{path}  {path.stat().st_size} bytes")


@app.command("delete")
def delete_command(
    owner: Annotated[str, typer.Argument(help="An owner's id, as `list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Delete everything of an owner, its keys too. Exits with 1 if something is left."""
    if not yes:
        has = _ask(url, key, lambda owners: owners.get(owner))
        typer.echo(f"owner {has['owner']} {has['name']}: {_numbers(_some(has['counts']))}")
        typer.confirm("Delete all of it? It can't be undone", abort=True)
    done = _ask(url, key, lambda owners: owners.delete(owner))
    typer.echo(f"deleted: {_numbers(done['deleted'])}")
    typer.echo(f"left: {_numbers(done['remaining'])}")
    raise typer.Exit(0 if done["complete"] else 1)


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if count}


@app.command("retention")
def retention_command(
    owner: Owner = "me",
    transcripts: Annotated[
        int | None, typer.Option(min=0, help="Days for transcripts; 0 for the cluster's time.")
    ] = None,
    audio: Annotated[
        int | None, typer.Option(min=0, help="Days for audio; 0 for the cluster's time.")
    ] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Show for how long an owner's data is kept, or set it: with admin any time, else a shorter one."""
    if transcripts is not None or audio is not None:
        days: dict[str, int | None] = {"transcript_days": transcripts, "audio_days": audio}
        found = _ask(url, key, lambda owners: owners.set_retention(owner, **days))
    else:
        found = _ask(url, key, lambda owners: owners.retention(owner))
    for name in ("transcript_days", "audio_days"):
        days_kept = found[name]
        unit = "day" if days_kept == 1 else "days"
        kept = f"{days_kept} {unit}" if days_kept else "as long as the cluster's other settings say"
        typer.echo(f"{name.removesuffix('_days'):11} {kept}")
