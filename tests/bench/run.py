"""All measurements, and the report: python -m bench.run [--full] [--report]

`--report` writes docs/benchmarks.md from earlier results.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import plots
from bench.results import FOLDER, Table

QUICK = (
    ("latency",),
    ("capacity", "100"),
    ("intake",),
    ("failover",),
    ("long_file", "--quick"),
)
FULL = (
    ("latency", "20"),
    *QUICK[1:-1],
    ("long_file",),
    ("viewers",),
    ("capacity", "50"),
    ("costs",),
    ("accuracy",),
    ("intake_delay",),
    ("omi_webhook",),
    ("admission",),
    ("fuzz",),
    ("leavers",),
    ("chaos",),
    ("soak",),
    ("ten_thousand",),
)
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
IMAGES = REPORT.parent / "images"
ORDER = (
    "latency", "capacity_100", "capacity_50", "intake", "costs", "viewers", "failover", "long_file",
    "accuracy", "intake_delay", "omi_webhook", "admission", "fuzz", "leavers", "chaos",
    "soak", "ten_thousand",
)  # fmt: skip


def measure(scripts: tuple[tuple[str, ...], ...]) -> list[str]:
    """Run each script in a separate process. Returns those that failed."""
    failed = []
    for name, *arguments in scripts:
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], env=os.environ.copy())
        print(f"({name}: {time.monotonic() - started:.0f} s)\n", flush=True)
        if done.returncode:
            failed.append(name)
    return failed


def found() -> list[dict[str, Any]]:
    """The stored results, in the order of the report."""
    files = [FOLDER / f"{name}.json" for name in ORDER]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def write_report() -> None:
    """Write the tables and plots of all results."""
    results = found()
    day = datetime.now(UTC).date()
    parts = [
        "# Benchmarks\n",
        f"Written by `make bench` or `make bench-full` on {day}, on {results[0]['machine']}. "
        "The machine is shared and noisy: "
        "take ratios before figures. *Baseline* is the open peers' policy on our engine "
        "(`tests/bench/baseline.py`): the whole utterance decoded every 500 ms, LocalAgreement, no priming, "
        "no speculation, fixed cadence, one lock. What sends the load runs on the same two cores.\n",
    ]
    for result in results:
        kept = {key: value for key, value in result.items() if key != "machine"}
        parts.append(f"## {result['title']}\n\n{Table(**kept).markdown()}")
        if image := plots.draw(result, IMAGES):
            parts.append(f"![{result['title']}](images/{image})\n")
    REPORT.write_text("\n".join(parts).rstrip() + "\n")


def main() -> int:
    """Measure and write the report."""
    failed = [] if "--report" in sys.argv else measure(FULL if "--full" in sys.argv else QUICK)
    write_report()
    for name in failed:
        print(f"bench.{name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
