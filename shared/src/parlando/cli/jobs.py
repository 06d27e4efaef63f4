"""`parlando jobs list|show|cancel`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.gateway import Gateway
from parlando.cli.options import HERE, Key, Url

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")
Job = Annotated[str, typer.Argument(help="A job's id.")]


def _with(url: str, key: str | None, ask: Callable[[Gateway], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with Gateway(url, key) as gateway:
            return await ask(gateway)

    return asyncio.run(asked())


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
    limit: Annotated[int, typer.Option(min=1, max=200, help="So many, newest first.")] = 20,
) -> None:
    """The newest jobs of this key."""
    table = Table("job", "status", "done", "audio", "file", box=None)
    table.columns[0].no_wrap = True
    table.columns[0].min_width = 32
    for job in _with(url, key, lambda gateway: gateway.jobs(limit)):
        table.add_row(*_row(job))
    Console().print(table)


@app.command("show")
def show_command(job: Job, url: Url = HERE, key: Key = None) -> None:
    """Where a job stands, and its text once it's completed."""
    document = _with(url, key, lambda gateway: gateway.job(job))
    result = document.pop("result", None)
    for name, value in document.items():
        if value is not None:
            print(f"{name:<14} {value}")
    if result is not None:
        print(f"\n{result['text']}")


@app.command("cancel")
def cancel_command(job: Job, url: Url = HERE, key: Key = None) -> None:
    """Cancel a job, or delete one that has ended."""
    print(_with(url, key, lambda gateway: gateway.cancel(job))["status"])
