"""`parlando usage`: audio, sessions, jobs, tokens and costs per day."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import UsageClient

DAY = ["%Y-%m-%d"]


def usage_command(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=DAY, help="First day, UTC; none for this month.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last day, UTC; none for today.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Another owner, or `*` for all; needs a key with the scope admin.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Show seconds of audio, sessions, jobs, tokens and costs per day."""
    asked: dict[str, Any] = {
        "first": first.date() if first else None,
        "last": last.date() if last else None,
        "owner": owner,
    }

    async def ask() -> Any:
        async with UsageClient(url, api_key=key) as usage:
            return await (usage.csv(**asked) if as_csv else usage.get(**asked))

    found = asyncio.run(ask())
    if as_csv:
        typer.echo(found, nl=False)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    """The kinds of audio for one owner, only the sums for several: the table has 80 columns."""
    several = len({day["owner"] for day in found["days"]}) > 1
    kinds = {"audio": ""} if several else {"audio": "", "live": "live_", "jobs": "job_", "Omi": "omi_"}
    table = Table("day", *(["owner"] if several else []), box=None)
    table.columns[0].no_wrap = True
    for name in (*kinds, "sessions", "tokens", "US$"):
        table.add_column(name, justify="right", no_wrap=True)
    for day in found["days"]:
        owner = [day["owner_name"] or day["owner"]] if several else []
        table.add_row(*cells(day["day"], *owner, *_amounts(day, kinds.values())))
    owner = [""] if several else []
    table.add_row(*cells("total", *owner, *_amounts(found["total"], kinds.values())))
    Console().print(table)


def _amounts(used: dict[str, Any], kinds: Iterable[str]) -> list[Any]:
    audio = (_clock(used[f"{kind}audio_s"]) for kind in kinds)
    tokens = f"{used['llm_input_tokens']}/{used['llm_output_tokens']}"
    return [*audio, used["sessions"], tokens, f"{used['cost_usd']:.2f}"]


def _clock(seconds: float) -> str:
    """3661.5 → "1:01:01"; whole seconds, because the table is an overview."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
