"""The comparison: python -m bench.peers [--sessions 1,2,4,8,10] [--seconds 60] [--only NAME]

It needs the environments that `make bench-peers` makes. An hour for everything.
"""

import argparse
from collections.abc import Sequence

from bench import offline, report
from bench.peers.measuring import Figures, measure
from bench.peers.parlando_native import PARLANDO
from bench.peers.system import System
from bench.peers.table import HOPELESS, comparison
from bench.peers.whisperlive import WHISPER_LIVE
from bench.peers.whisperlivekit import EVERY_SECOND, LOCAL_AGREEMENT, SIMUL_STREAMING
from bench.streams import Stream, stream
from parlando.models.catalogue import find
from parlando.models.store import ModelStore

SYSTEMS = (PARLANDO, WHISPER_LIVE, LOCAL_AGREEMENT, EVERY_SECOND, SIMUL_STREAMING)
MODEL = "whisper-tiny.en"


def steps(
    systems: Sequence[System], counts: Sequence[int], streams: Sequence[Stream], texts: dict[str, str]
) -> list[Figures]:
    """Every system with more and more sessions."""
    model = ModelStore().path(find(MODEL))
    found = []
    for system in systems:
        for count in counts:
            step = measure(system, model, streams[:count], texts)
            print(step, flush=True)
            if hopeless(step):  # by chance? A decoder that loops takes its server's time
                step = min(step, measure(system, model, streams[:count], texts), key=missing)
                print(step, flush=True)
            found.append(step)
            if hopeless(step):
                break
    return found


def missing(step: Figures) -> float:
    """Words missing in per cent; all of them if no session was served."""
    return 100.0 if step.missing is None else step.missing


def hopeless(step: Figures) -> bool:
    """Whether so many words are missing that more sessions aren't tried."""
    return missing(step) > HOPELESS


def main() -> None:
    """Measure, publish the table, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", default="1,2,4,8,10")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", action="append", help="a system's name; may be repeated")
    options = parser.parse_args()
    counts = sorted(int(count) for count in options.sessions.split(","))
    systems = [system for system in SYSTEMS if not options.only or system.name in options.only]
    streams = [stream(seed, options.seconds) for seed in range(counts[-1])]
    ModelStore().pull(find(MODEL))
    texts = offline.whisper(ModelStore().path(find(MODEL)), [clip for each in streams for clip in each.clips])
    versions = {system.distribution: system.version for system in systems}
    comparison(steps(systems, counts, streams, texts), systems, versions, options.seconds).publish()
    report.write()


if __name__ == "__main__":
    main()
