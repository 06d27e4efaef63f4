"""Deque's checker of accessibility."""

import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.browser import Watched

RUN = 'axe.run({rules: {"skip-link": {enabled: false}}})'
"""The call that checks a page. `skip-link` mistakes scrolled out links of the navigation for skip links."""


@cache
def checker() -> str:
    """The checker's script; skips the test if npm is not installed."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = ["npm", "pack", "axe-core@4.14.1", "--silent", "--pack-destination", name]
        subprocess.run(packed, check=True, cwd=folder, capture_output=True, timeout=90)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            return archive.extractfile("package/axe.min.js").read().decode()


async def problems(watched: Watched, axe: str) -> list[str]:
    """What it finds in the page. `axe`: the script."""
    await watched.page.evaluate(f"{axe}; null")
    return violations_of(await watched.page.evaluate(RUN))


def violations_of(found: dict[str, Any]) -> list[str]:
    """The violations in a result of `axe.run()`, of any impact: WCAG 2 A and AA, best practices."""
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {each['nodes'][0]['html'][:120]}"
        for each in found["violations"]
    ]
