"""`parlando jobs list|show|cancel`."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import Parlando

app = typer.Typer(no_args_is_help=True)
Job = Annotated[str, typer.Argument(help="A job's id.")]


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    seconds = job["audio_seconds"]
    return (
        job["job_id"],
        job["status"],
        f"{job['progress']:.0%}",
        f"{seconds:.1f} s" if seconds is not None else "",
        job["filename"] or "",
    )


@app.command("list")
def list_command(
    url: Url = HERE,
    key: Key = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number, newest first.")] = 20,
) -> None:
    """List the newest jobs of the key's owner."""
    table = Table("job", "status", "done", "audio", "file", box=None)
    table.columns[0].no_wrap = True
    table.columns[0].min_width = 32
    with Parlando(url, api_key=key) as parlando:
        for job in parlando.list(limit=limit):
            table.add_row(*cells(*_row(job)))
    Console().print(table)


@app.command("show")
def show_command(job: Job, url: Url = HERE, key: Key = None) -> None:
    """Show the state of a job, and its text if it is completed."""
    with Parlando(url, api_key=key) as parlando:
        document = parlando.job(job)
    result = document.pop("result", None)
    for name, value in document.items():
        if value is not None:
            print(f"{name:<14} {value}")
    if result is not None:
        print(f"\n{result['text']}")


@app.command("cancel")
def cancel_command(job: Job, url: Url = HERE, key: Key = None) -> None:
    """Cancel a job, or delete one that has ended."""
    with Parlando(url, api_key=key) as parlando:
        print(parlando.cancel(job)["status"])
