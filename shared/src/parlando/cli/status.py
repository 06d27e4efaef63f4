"""`parlando status`: a gateway's /health as a table."""

from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from parlando.cli.cells import cells
from parlando.domain.pools import MANY
from parlando.errors import UnavailableError


def run(url: str, key: str | None = None) -> int:
    """Print the health. Returns 0 if the cluster is healthy, else 1.

    Raises
    ------
    UnavailableError
        if no gateway answers.

    """
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{url.rstrip('/')}/health"
        report = httpx.get(address, headers=headers, timeout=5).raise_for_status().json()
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"No gateway answers at {url} ({error}); start one with: parlando up"
        ) from error
    table = Table(show_header=False, box=None)
    healthy = report["status"] == "healthy"
    table.add_row("status", f"[{'green' if healthy else 'red'}]{report['status']}[/]")
    if services := report.get("services"):
        table.add_row(*cells("redis", services["redis"]))
    else:
        table.add_row("details", "need a key with the scope read: --key")
    for engine in report.get("engines", []):
        table.add_row(*cells("engine", f"{engine['engine']} {engine['model']} ({engine['why']})"))
    for pool in report.get("pools", []):
        load = f"{pool['workers']} transcribers, {pool['sessions']} of {pool['capacity']} sessions"
        table.add_row(*cells("pool", f"{pool['name']}: {_languages(pool['languages'])}, {load}"))
    if waiting := _unassigned(report):
        table.add_row("unassigned", f"{waiting} (no running transcriber can do them yet)")
    if workers := report.get("workers"):
        table.add_row(
            "workers", f"{workers['alive']} alive, {workers['sessions']} of {workers['capacity']} sessions"
        )
        table.add_row("queue delay", f"{workers['queue_delay_ms']} ms")
        table.add_row("lag", f"{report['lag_ms']} ms")
    if (analyzers := report.get("analyzers", {})).get("alive"):
        table.add_row("analyzers", f"{analyzers['alive']} alive, {analyzers['analyses']} analyses")
    Console().print(table)
    return 0 if healthy else 1


def _unassigned(report: dict[str, Any]) -> str:
    """The numbers of sessions and jobs that have no pool yet; "" if there are none."""
    counts = {kind: report.get(kind, {}).get("unassigned", 0) for kind in ("sessions", "jobs")}
    return ", ".join(f"{kind}: {count}" for kind, count in counts.items() if count)


def _languages(codes: list[str]) -> str:
    if len(codes) > MANY:
        return f"{len(codes)} languages"
    return ", ".join(codes) or "any language"
