"""Ten thousand almost valid inputs for HTTP and for WebSockets each: python -m bench.fuzz [--seed N]

`--only NUMBER` repeats one input of both kinds and prints the results. `--keyless`: the gateway has no keys.
"""

import argparse
import asyncio
import sys
import time

from bench.results import Table
from support import fuzz, fuzz_http, fuzz_websocket
from support.cluster import Cluster

INPUTS = 10_000
WARM = 2000  # inputs before the reference measurement of memory
MAX_GROWTH_MB = 60
DOORS = {"raw HTTP": fuzz_http, "WebSocket messages": fuzz_websocket}


async def measure(cluster: Cluster, attack: fuzz.Attack, seed: int) -> tuple[list[str], list[object]]:
    """The faults, and a row of the table."""
    port, started = cluster.ports[0], time.monotonic()
    wrong = await fuzz.attack(port, attack, seed, range(WARM))
    before = fuzz.memory_mb(cluster)
    wrong += await fuzz.attack(port, attack, seed, range(WARM, INPUTS))
    left = await fuzz.settled(cluster)
    grown = fuzz.memory_mb(cluster) - before
    wrong += fuzz.log_faults(cluster)
    wrong += [f"{name}: {level:g} left" for name, level in left.items() if level]
    if grown > MAX_GROWTH_MB:
        wrong.append(f"memory grew by {grown:.0f} MB")
    took = time.monotonic() - started
    return wrong, [INPUTS, len(wrong), sum(left.values()), round(before), round(before + grown), round(took)]


def main() -> int:
    """Run both, publish the table and print the faults."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", type=int)
    arguments.add_argument("--keyless", action="store_true")
    given = arguments.parse_args()
    columns = ("inputs", "count", "faults", "left open", "MB before", "MB after", "s")
    environment = fuzz.KEYLESS if given.keyless else fuzz.ENVIRONMENT
    keys = "without" if given.keyless else "with"
    name_of_table = "fuzz-keyless" if given.keyless else "fuzz"
    table = Table(name_of_table, f"Malformed input, a gateway {keys} API keys", columns)
    faults: list[str] = []
    for name, door in DOORS.items():
        with Cluster(processors=1, **{**environment, **door.ENVIRONMENT}) as cluster:
            if given.only is not None:
                numbers = range(given.only, given.only + 1)
                print(name, asyncio.run(fuzz.attack(cluster.ports[0], door.attack, given.seed, numbers)))
                continue
            wrong, row = asyncio.run(measure(cluster, door.attack, given.seed))
            faults += wrong
            table.rows.append((name, *row))
    if given.only is None:
        table.remarks = [
            f"Seed {given.seed}. A fault: an answer 500, an error of the gateway's own, no end, no close "
            f"code, something left open, or {MAX_GROWTH_MB} MB more memory than after {WARM} inputs."
        ]
        table.data = {"faults": len(faults), "seed": given.seed}
        table.publish()
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
