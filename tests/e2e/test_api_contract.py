"""Whatever is sent to the documented routes: no 500, and no status that isn't documented."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from support.cluster import Cluster
from support.perfect import PERFECT

SLOW = ("/v1/cluster/events", "/audio/process-stream")
"""Routes whose answer never ends, or takes 2 s at least."""
HOOKS = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks",
}
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def test_schemathesis_finds_nothing(tmp_path):
    with Cluster(processors=1, recognizers=1, analyzers=1, **PERFECT) as cluster:
        command = [
            SCHEMATHESIS,
            "run",
            f"{cluster.http()}/openapi.json",
            "--checks=not_a_server_error,status_code_conformance",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=20",
            "--request-timeout=20",
            "--continue-on-failure",
            "--generation-database=none",
            "--no-color",
            *(f"--exclude-path={path}" for path in SLOW),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=800, env=HOOKS)
        print(done.stdout[-8000:])
        assert done.returncode == 0
        paths = httpx.get(f"{cluster.http()}/openapi.json").json()["paths"]
        routes = sum(len(methods) for path, methods in paths.items() if path not in SLOW)
        assert f"Tested: {routes}" in done.stdout, "every route"
        assert cluster.health()["status"] == "healthy"
