"""`parlando speakers add|list|remove`: known speakers."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import SpeakersClient

app = typer.Typer(no_args_is_help=True)


@app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(help="The person's name.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            exists=True, dir_okay=False, help="Clips of the voice alone, each with 4 s of speech."
        ),
    ],
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Enrol a known speaker, or add clips to one. Ask people before you enrol them."""

    async def run() -> None:
        async with SpeakersClient(url, api_key=key) as speakers:
            added = await speakers.enrol(name, *files)
            typer.echo(f"{added['name']}: {added['clips']} clips, {added['seconds']:.1f} s of speech")

    asyncio.run(run())


@app.command("list")
def list_command(url: Url = HERE, key: Key = None) -> None:
    """List the known speakers of the key."""

    async def run() -> None:
        async with SpeakersClient(url, api_key=key) as speakers:
            table = Table("name", "clips", "seconds of speech", "enrolled")
            for each in await speakers.known():
                row = (each["name"], each["clips"], f"{each['seconds']:.1f}", each["created_at"])
                table.add_row(*cells(*row))
            Console().print(table)

    asyncio.run(run())


@app.command("remove")
def remove_command(
    names: Annotated[list[str], typer.Argument(help="Names, as `list` shows them.")],
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Delete known speakers and their voices."""

    async def run() -> None:
        async with SpeakersClient(url, api_key=key) as speakers:
            for name in names:
                await speakers.forget(name)
                typer.echo(f"{name} deleted")

    asyncio.run(run())
