"""Runs all checks, and prints what they found."""

import asyncio
import json
import os
from dataclasses import asdict

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parlando.cli.doctor import machine, models, redis, software
from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Finding, Level, ok, problem
from parlando.models.store import ModelStore

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def run(url: str | None, key: str | None = None, *, as_json: bool) -> int:
    """Check this machine and, with `url`, a running cluster. Returns 1 if there is a problem, else 0.

    `key`: an API key or token for that cluster, with the scope `read`; without it the details may be missing.
    """
    configured = Configured()
    findings = [*software.check(configured), *models.check(configured, ModelStore())]
    findings += machine.check(configured)
    if configured.own_redis:
        findings += asyncio.run(redis.check(configured))
    if url:
        findings.append(cluster(url, key))
    show(findings, as_json=as_json)
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def cluster(url: str, key: str | None = None) -> Finding:
    """Whether the cluster behind a gateway is ready."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/ready", headers=headers, timeout=5).json()
        ready, needed = answer["ready"], answer.get("needed", {})
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return problem("cluster", f"no gateway answers at {url} ({error})", "start one: parlando up")
    running = ", ".join(f"{count} {kind}" for kind, count in needed.items())
    if ready:
        return ok("cluster", f"{url} is ready" + (f": {running}" if running else ""))
    if "missing" not in answer and "services" not in answer:
        return problem("cluster", f"{url} isn't ready", "for what is missing, give a key: --key")
    missing = ", ".join(answer.get("missing", [])) or f"Redis ({answer.get('services', {}).get('redis')})"
    return problem("cluster", f"{url} isn't ready; missing: {missing}", "start these, or see their logs")


def show(findings: list[Finding], *, as_json: bool) -> None:
    """Print the findings as a table, or as a JSON object."""
    worst = max((finding.level for finding in findings), key=list(Level).index, default=Level.OK)
    if as_json:
        print(json.dumps({"status": worst, "findings": [asdict(each) for each in findings]}, indent=2))
        return
    table = Table("", "check", "found", "what to do", box=None)
    for each in findings:
        table.add_row(
            f"[{COLOURS[each.level]}]{each.level}[/]", each.check, escape(each.found), escape(each.do)
        )
    width = None if os.isatty(1) else 160
    Console(width=width, highlight=False).print(table)
