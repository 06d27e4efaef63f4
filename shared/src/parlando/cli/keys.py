"""`parlando keys create|list|show|rotate|revoke|limit|token`: API keys of a cluster."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client import KeysClient
from parlando.domain.access import Scope
from parlando.domain.limits import NAMES

SCOPES: Final = ", ".join(Scope)

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="A key's id, as `list` shows it.")]
Document = dict[str, Any]
LimitOptions = Annotated[
    list[str] | None,
    typer.Option("--limit", help=f"<limit>=<number>, repeatable: {', '.join(NAMES)}; 0 for no limit."),
]


def _ask(url: str, key: str | None, ask: Callable[[KeysClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with KeysClient(url, api_key=key) as keys:
            return await ask(keys)

    return asyncio.run(run())


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _limits(options: list[str] | None) -> dict[str, int]:
    """The limits of options such as `sessions=2`."""
    found: dict[str, int] = {}
    for option in options or []:
        name, _, value = option.partition("=")
        if name not in NAMES or not value.isdecimal():
            known = ", ".join(NAMES)
            raise typer.BadParameter(f"expected <limit>=<number> with a limit of {known}, got {option}")
        found[name] = int(value)
    return found


def _show_secret(made: Document) -> None:
    """The secret alone on the standard output, so that a script can take it."""
    Console(stderr=True).print(
        f"Key {made['id']} ({made['name']}). It is shown only now:", highlight=False, markup=False
    )
    typer.echo(made["key"])


@app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(help="Name for the list, such as the device that uses the key.")],
    scopes: Annotated[str, typer.Option(help=f"Separated by commas, of: {SCOPES}.")] = "live,jobs,read",
    owner: Annotated[
        str | None, typer.Option(help="Whom what is made with it belongs to; none for the owner of --key.")
    ] = None,
    doors: Annotated[
        str, typer.Option(help="Protocols that accept it, separated by commas; none for all.")
    ] = "",
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires.")] = None,
    limits: LimitOptions = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Create a key and print its secret, which can't be read again."""
    expires_at = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    more: dict[str, Any] = {"owner": owner, "doors": _parts(doors), "expires_at": expires_at}
    more["limits"] = _limits(limits)
    _show_secret(_ask(url, key, lambda keys: keys.create(name, scopes=_parts(scopes), **more)))


@app.command("list")
def list_command(url: Url = HERE, key: Key = None) -> None:
    """List all keys of the cluster, without their secrets."""
    table = Table("id", "name", "owner", "scopes", "doors", "status", "last used", "expires", box=None)
    table.columns[0].no_wrap = True
    for each in _ask(url, key, lambda keys: keys.list()):
        what = (each["id"], each["name"], each["owner"], " ".join(each["scopes"]), " ".join(each["doors"]))
        when = (each["last_used_at"] or "never", each["expires_at"] or "never")
        table.add_row(*cells(*what, each["status"], *when))
    Console().print(table)


@app.command("show")
def show_command(key_id: Id, url: Url = HERE, key: Key = None) -> None:
    """Show a key, without its secret."""
    for name, value in _ask(url, key, lambda keys: keys.get(key_id)).items():
        if isinstance(value, dict):
            value = [f"{limit}={number}" for limit, number in value.items()]
        shown = " ".join(value) or "-" if isinstance(value, list) else value or "-"
        typer.echo(f"{name:13} {shown}")


@app.command("rotate")
def rotate_command(
    key_id: Id,
    grace_s: Annotated[
        int, typer.Option("--grace", min=0, help="Seconds for which the old secret is accepted.")
    ] = 0,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Give a key another secret, and print it. What the key has made stays its owner's."""
    _show_secret(_ask(url, key, lambda keys: keys.rotate(key_id, grace_seconds=grace_s)))


@app.command("revoke")
def revoke_command(key_id: Id, url: Url = HERE, key: Key = None) -> None:
    """Revoke a key. Connections that use it or its tokens end within two seconds."""
    revoked = _ask(url, key, lambda keys: keys.revoke(key_id))
    typer.echo(f"{revoked['id']} {revoked['status']}")


@app.command("limit")
def limit_command(
    limits: LimitOptions = None,
    key_id: Annotated[str | None, typer.Option("--id", help="The key whose limits are set.")] = None,
    owner: Annotated[str | None, typer.Option(help="The owner whose limits are set.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the limits that are set.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Set all limits of a key or an owner; without --limit and --remove, show them."""
    if (key_id is None) == (owner is None):
        raise typer.BadParameter("expected --id <key> or --owner <owner>")
    wanted = _limits(limits)

    async def ask(keys: KeysClient) -> Document:
        if key_id is not None:
            return await (keys.limit(key_id, wanted) if wanted or remove else keys.get(key_id))
        if wanted or remove:
            return await keys.limit_owner(owner or "", None if remove else wanted)
        return await keys.owner_limits(owner or "")

    found = _ask(url, key, ask)
    for name, value in found.get("effective", found["limits"]).items():
        typer.echo(f"{name:20} {value or 'no limit'}")


@app.command("token")
def token_command(
    scopes: Annotated[str, typer.Option(help=f"Separated by commas, of: {SCOPES}, except admin.")] = "live",
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="Seconds within which it may be used.")] = 60,
    sessions: Annotated[int | None, typer.Option(min=1, help="Live sessions that it may open.")] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Print a short-lived token that stands for --key, for a browser or an app."""
    wanted: dict[str, Any] = {"scopes": _parts(scopes), "seconds": seconds, "sessions": sessions}
    typer.echo(_ask(url, key, lambda keys: keys.token(**wanted))["token"])
