"""The live sessions that two cores take, ours and the baseline's: python -m bench.capacity [100|50]

Sessions of held-out read English, in real time, with default settings and admission control on. The capacity
is the largest number of sessions for which all of `BARS` hold in one run. The numbers rise in steps until one
fails, or fall until none does. `--try N …` measures these numbers of our cluster, and publishes nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
import psutil

from bench.baseline_servers import servers
from bench.engines import trace
from bench.latency import shown_words
from bench.load import Session, talk
from bench.results import Table
from bench.streams import Stream, stream
from bench.traces import first_words, quantile, word_errors
from parlando import vad
from parlando.domain.transcript import bare
from support.cluster import Cluster
from support.in_process import recognise
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

SECONDS = 60  # of each session
SPREAD_S = 20.0  # within which the sessions begin
FRAME_MS = 100
ENDPOINT_S = 0.5
BARS = {"first_p50": 0.7, "first_p95": 1.5, "shown_mean": 0.6, "final_p95": 1.0, "wer": 0.5}
OURS = {100: (range(8, 100, 4), 24), 50: (range(16, 160, 6), 40)}  # numbers to try, the first one
THEIRS = {100: (range(2, 32, 2), 8), 50: (range(4, 64, 4), 16)}
GOAL = {100: 24, 50: 40}


@dataclass
class Step:
    """The results of one number of sessions. Seconds; `wer` and `alone` (without load) in per cent.

    `first`: from the start of a clip's speech until any of its text is shown. `shown`: from the end of a word
    until it is shown. `final`: after the endpoint. `lost`: sessions that lost anything or were refused.
    """

    sessions: int
    first_p50: float
    first_p95: float
    shown_mean: float
    final_p95: float
    wer: float
    alone: float
    lost: int
    refused: int
    cpu: dict[str, float]  # cores

    @property
    def missed(self) -> list[str]:
        """The names of the bars that don't hold."""
        values = {**asdict(self), "wer": self.wer - self.alone}
        late = [name for name, bar in BARS.items() if values[name] > bar]
        return late + (["lost"] if self.lost else [])


@dataclass(frozen=True)
class Said:
    """What a session says, and its text without load. `ends`: its words and the second at which each ends."""

    stream: Stream
    text: str
    ends: tuple[tuple[str, float], ...]


@cache
def said_by(number: int, share: int) -> Said:
    """What session `number` says: speech all the time, or silence after each clip that is as long as it."""
    return asyncio.run(_recognised(stream(number, SECONDS, speech=share / 100)))


async def _recognised(each: Stream) -> Said:
    engine, _ = load_engine(TranscriberSettings(stt_engine="moonshine"))
    log = await recognise(each.pcm, engine, vad.load("silero"), words=True)
    finals = [event for event in log.events if event["type"] == "final"]
    ends = ((bare(word["word"]), word["end"]) for final in finals for word in final.get("words") or ())
    return Said(each, log.text, tuple(ends))


async def _talk(ports: Sequence[int], said: Sequence[Said]) -> list[Session]:
    return await asyncio.gather(
        *(
            talk(ports[n % len(ports)], each.stream.pcm, frame_ms=FRAME_MS, delay=n * SPREAD_S / len(said))
            for n, each in enumerate(said)
        )
    )


def measure(ports: Sequence[int], processes: dict[str, list[int]], share: int, count: int) -> Step:
    """Run `count` sessions and measure their results."""

    def cpu() -> dict[str, float]:
        return {
            name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
            for name, pids in processes.items()
        }

    said = [said_by(number, share) for number in range(count)]
    before = cpu()
    sessions = asyncio.run(_talk(ports, said))
    spent = {name: (after - before[name]) / (SECONDS + SPREAD_S) for name, after in cpu().items()}
    step = figures(said, sessions, spent)
    print(step, "missed:", ", ".join(step.missed) or "nothing", file=sys.stderr, flush=True)
    return step


def figures(said: Sequence[Said], sessions: Sequence[Session], cpu: dict[str, float]) -> Step:
    """The figures of some sessions."""
    taken = [(s, session) for s, session in zip(said, sessions, strict=True) if not session.refused]
    traces = [trace(session) for _, session in taken]
    first = [
        delay
        for (each, _), seen in zip(taken, traces, strict=True)
        for delay in first_words(seen, each.stream.texts, each.stream.onsets)
        if delay is not None
    ]
    shown = [delay for each, session in taken for delay in _shown(each, session)]
    finals = [delay - ENDPOINT_S for _, session in taken for delay in session.final_delays()]
    texts = [" ".join(each.stream.texts) for each, _ in taken]
    lost = sum(bool(session.lost_ms) or not session.complete for session in sessions)
    return Step(
        sessions=len(sessions),
        first_p50=quantile(first, 0.5) or float("inf"),
        first_p95=quantile(first, 0.95) or float("inf"),
        shown_mean=float(np.mean(shown or [float("inf")])),
        final_p95=quantile(finals, 0.95) or float("inf"),
        wer=word_errors(texts, [seen.text for seen in traces]).rate,
        alone=word_errors(texts, [each.text for each, _ in taken]).rate,
        lost=lost,
        refused=len(sessions) - len(taken),
        cpu=cpu,
    )


def _shown(said: Said, session: Session) -> list[float]:
    """Seconds from the end of each word until it is shown, of words recognised as without load."""
    events = [(at - session.started, event) for at, event in session.events]
    return [at - end for end, at in shown_words(events, list(said.ends))]


def search(counts: Sequence[int], first: int, try_one: Callable[[int], Step]) -> list[Step]:
    """Steps up from `first` until one misses a bar, or down until one misses none."""
    at = counts.index(first)
    found = [try_one(first)]
    way = -1 if found[0].missed else 1
    while 0 <= at + way < len(counts) and bool(found[-1].missed) == bool(found[0].missed):
        at += way
        found.append(try_one(counts[at]))
    return sorted(found, key=lambda step: step.sessions)


def ours(share: int, counts: Sequence[int] = ()) -> list[Step]:
    """The steps of our cluster: a gateway and two transcribers, as `make run` starts them, each anew."""

    def try_one(count: int) -> Step:
        with Cluster(transcribers=2, WORKER_SESSIONS="0") as cluster:
            processes = {
                "gateway": [cluster.gateways[0].process.pid],
                "transcribers": [each.process.pid for each in cluster.transcribers],
                "redis": [cluster.redis.pid],
            }
            return measure([cluster.ports[0]], processes, share, count)

    return [try_one(count) for count in counts] if counts else search(*OURS[share], try_one)


def baseline(share: int) -> list[Step]:
    """The steps of the baseline: one process per core with half of the sessions each.

    Its word errors without load aren't known, so those with load aren't held against it.
    """

    def try_one(count: int) -> Step:
        step = measure(ports, {"servers": pids}, share, count)
        return replace(step, alone=step.wer)

    with servers(2) as (ports, pids):
        return search(*THEIRS[share], try_one)


def best_of(steps: Sequence[Step]) -> int:
    """The largest number of sessions that missed no bar."""
    return max((step.sessions for step in steps if not step.missed), default=0)


def table(share: int, found: dict[str, list[Step]]) -> Table:
    """The table of both."""
    columns = (
        "who", "sessions", "first words p50 s", "p95 s", "word shown, mean s",
        "final after the endpoint p95 s", "WER %", "without load %", "lost", "refused", "CPU, cores",
        "bars missed",
    )  # fmt: skip
    result = Table(f"capacity_{share}", f"Live sessions at {share} % speech", columns)
    best = {name: best_of(steps) for name, steps in found.items()}
    for name, step in ((name, step) for name, steps in found.items() for step in steps):
        *values, cpu = asdict(step).values()
        cores = ", ".join(f"{process} {share:.2f}" for process, share in cpu.items())
        result.rows.append((name, *values, cores, ", ".join(step.missed) or "–"))
    result.data = {
        "best": best,
        "bars": BARS,
        "steps": {k: [asdict(s) for s in v] for k, v in found.items()},
    }
    ratio = f"{best['ours'] / best['baseline']:.1f} times" if best["baseline"] else "it takes none"
    result.remarks += [
        f"{best['ours']} sessions against {best['baseline']} of the baseline: {ratio} (goal: {GOAL[share]}). "
        "The sender runs on the same two cores.",
        "Capacity is the largest number of sessions for which in one run: first words after at most "
        f"{BARS['first_p50']} s (p50) and {BARS['first_p95']} s (p95), a word is shown at most "
        f"{BARS['shown_mean']} s after its end (mean), finals come at most {BARS['final_p95']} s after the "
        f"endpoint (p95), there are at most {BARS['wer']} points more word errors than in the same audio "
        "without load (of the baseline any number), and nothing is lost or refused. "
        f"Default settings, {SECONDS} s a session, begun within {SPREAD_S:.0f} s.",
    ]
    return result


def main() -> None:
    """Measure both, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("share", nargs="?", type=int, choices=(100, 50), default=100)
    parser.add_argument("--try", dest="counts", nargs="+", type=int, default=[])
    options = parser.parse_args()
    if options.counts:
        ours(options.share, options.counts)
        return
    found = {"ours": ours(options.share), "baseline": baseline(options.share)}
    table(options.share, found).publish()


if __name__ == "__main__":
    main()
