"""`parlando deliveries list|retry|drop`: undelivered results for an archive, webhook or `callback_url`."""

from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.cli.options import HERE, Key, Url
from parlando.client.http import refusal
from parlando.errors import UnavailableError

TIMEOUT_S = 30.0
MAX_PAGE = 1000  # maximum deliveries that a gateway lists at once

app = typer.Typer(no_args_is_help=True)
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of deliveries, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters of the key's owner.")]


def _ask(method: str, path: str, url: str, key: str | None, **params: Any) -> dict[str, Any]:
    """The gateway's response as JSON. Raises `ClientError`, `UnavailableError`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = f"{url.rstrip('/')}/v1/deliveries{path}"
    try:
        answer = httpx.request(method, address, params=params, headers=headers, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"No gateway answers at {url} ({error}); start one with: parlando up"
        ) from error
    if answer.is_error:
        raise refusal(answer)
    found: dict[str, Any] = answer.json()
    return found


def _each(method: str, path: str, ids: list[str] | None, every: bool, url: str, key: str | None) -> None:
    """Send the same request for each of `ids`, or for all dead letters."""
    if bool(ids) == every:
        raise typer.BadParameter("Expected either ids or --all")
    while True:
        page = ids or [
            each["id"] for each in _ask("GET", "", url, key, state="dead", limit=MAX_PAGE)["deliveries"]
        ]
        for identifier in page:
            answer = _ask(method, f"/{identifier}{path}", url, key)
            print(f"{answer['id']}  {answer['status']}")
        if ids or len(page) < MAX_PAGE:
            return


@app.command("list")
def list_command(
    url: Url = HERE,
    key: Key = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Show waiting and running deliveries instead of dead letters.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Maximum number, newest first.")] = 100,
) -> None:
    """List the dead letters of the key's owner: deliveries that are no longer retried."""
    table = Table("delivery", "to", "about", "attempts", "queued", "next attempt", "error", box=None)
    table.columns[0].no_wrap = True
    state = "waiting" if waiting else "dead"
    for each in _ask("GET", "", url, key, state=state, limit=limit)["deliveries"]:
        row = (
            each["id"],
            each["destination"],
            each["job_id"] or each["session_id"] or "",
            each["attempts"],
            each["queued_at"],
            each["next_attempt_at"] or "",
            f"{each['error']['code']}: {each['error']['message']}" if each["error"] else "",
        )
        table.add_row(*cells(*row))
    Console().print(table)


@app.command("retry")
def retry_command(ids: Ids = None, every: All = False, url: Url = HERE, key: Key = None) -> None:
    """Retry deliveries now."""
    _each("POST", "/retry", ids, every, url, key)


@app.command("drop")
def drop_command(ids: Ids = None, every: All = False, url: Url = HERE, key: Key = None) -> None:
    """Delete deliveries; they are not retried."""
    _each("DELETE", "", ids, every, url, key)
