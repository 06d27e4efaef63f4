"""All measurements, and the report: python -m bench.run [--full] [--report]

`--report` writes docs/benchmarks.md from earlier results.
"""

import os
import subprocess
import sys
import time

from bench import report

QUICK = (
    ("engines", "--quick"),
    ("latency",),
    ("capacity", "100"),
    ("intake",),
    ("failover",),
    ("languages",),
    ("long_file", "--quick"),
)
FULL = (
    ("engines",),
    ("latency", "20"),
    *QUICK[2:-1],
    ("long_file",),
    ("viewers",),
    ("capacity", "50"),
    ("costs",),
    ("accuracy",),
    ("speakers",),
    ("intake_delay",),
    ("omi_webhook",),
    ("doors",),
    ("admission",),
    ("fuzz",),
    ("leavers",),
    ("chaos",),
    ("soak",),
    ("ten_thousand",),
)


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


def main() -> int:
    """Measure and write the report."""
    failed = [] if "--report" in sys.argv else measure(FULL if "--full" in sys.argv else QUICK)
    report.write()
    for name in failed:
        print(f"bench.{name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
