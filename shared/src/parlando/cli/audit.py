"""`parlando audit`: who did what."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import AuditClient

UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}


def _since(text: str) -> str:
    """A span before now (`90m`, `24h`, `7d`) as a time; times as they are."""
    number, unit = text[:-1], text[-1:]
    if unit in UNITS and number.isdigit():
        return (datetime.now(UTC) - timedelta(seconds=int(number) * UNITS[unit])).isoformat()
    return text


def audit_command(
    since: Annotated[str, typer.Option(help="From when on: 90m, 24h, 7d, or an ISO 8601 time.")] = "24h",
    action: Annotated[
        str | None, typer.Option(help="One action, or all of a kind: key.create, key, transcript.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who acted: an owner's id, or me.")] = None,
    follows: Annotated[bool, typer.Option("--follow", help="Show also what comes, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Show the audit log: with a key of scope admin of all owners, else of one's own."""
    asked: dict[str, Any] = {"since": _since(since), "action": action, "owner": owner, "follow": follows}
    console = Console(soft_wrap=True)

    async def run() -> None:
        async with AuditClient(url, api_key=key) as audit:
            async for entry in audit.entries(**asked):
                if as_json:
                    typer.echo(json.dumps(entry, ensure_ascii=False))
                else:
                    console.print(*cells(*_row(entry)), highlight=False)

    with suppress(KeyboardInterrupt):
        asyncio.run(run())


def _row(entry: dict[str, Any]) -> list[str]:
    by = f"{entry['key']} ({entry['key_name']})" if entry["key_name"] else entry["key"]
    return [
        entry["at"],
        f"{entry['outcome']:9}",
        f"{entry['action']:26}",
        entry["object"] or "-",
        f"owner={entry['owner']}",
        f"key={by}{' token' if entry['token'] else ''}",
        f"from={entry['address']}",
        f"request={entry['request_id']}",
    ]
