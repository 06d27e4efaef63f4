"""The command `parlando`: its subcommands, one file each."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from parlando.cli import models, status, transcribe, up
from parlando.errors import ParlandoError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Live speech to text on your own machines.",
)
app.add_typer(models.app, name="models", help="Model weights: list, pull, path.")

Url = Annotated[str, typer.Option("--url", envvar="PARLANDO_URL", help="A gateway.")]
Key = Annotated[str | None, typer.Option("--key", envvar="PARLANDO_API_KEY", help="An API key.")]
HERE = "http://127.0.0.1:8000"


@app.command("transcribe")
def transcribe_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Any audio file.")],
    url: Url = HERE,
    key: Key = None,
    fast: Annotated[bool, typer.Option("--fast", help="As fast as it goes, not in real time.")] = False,
    language: Annotated[str | None, typer.Option(help="ISO 639-1; none to detect it.")] = None,
    prompt: Annotated[str, typer.Option(help="Names and terms that will be spoken.")] = "",
) -> None:
    """Stream a file through the live path; stable text is bold, the rest may still change."""
    asyncio.run(transcribe.run(file, url=url, key=key, fast=fast, language=language, prompt=prompt))


@app.command("status")
def status_command(url: Url = HERE) -> None:
    """How the cluster is: Redis, engine, workers, lag."""
    raise typer.Exit(status.run(url))


@app.command("up")
def up_command(
    transcribers: Annotated[
        int, typer.Option(envvar="STREAMING_WORKERS", min=0, help="Worker processes; 0 for one per core.")
    ] = 0,
) -> None:
    """Run the whole cluster on this machine until Ctrl-C (what `make run` does)."""
    raise typer.Exit(asyncio.run(up.run(transcribers)))


def main() -> None:
    """The entry point; our own errors are one sentence, not a traceback."""
    try:
        app()
    except ParlandoError as error:
        Console(stderr=True).print(f"[red]parlando:[/red] {error.message}", highlight=False)
        sys.exit(1)
