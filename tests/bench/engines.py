"""What each engine costs and gives on two cores: python -m bench.engines [--quick] [--only ENGINE]

Live sessions of held-out read English in real time: one session, then more of them until they get their words
too late (`BAR_FIRST_S`, `BAR_FINAL_S`) or lose any. The same clips are also recognised as a whole, offline.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import psutil

from bench import offline
from bench.load import Session, talk
from bench.results import Table
from bench.streams import Stream, stream
from bench.traces import NativeText, Trace, first_words, quantile, word_errors
from parlando.models.catalogue import find
from parlando.models.store import ModelStore
from support.cluster import Cluster
from support.speech import Clip

ENDPOINT_S = 0.5
BAR_FINAL_S = 1.5  # p95, after the endpoint
BAR_FIRST_S = 2.5  # p95
STAGGER_S, SPREAD_S = 0.37, 3.0  # between the starts of sessions; they start within SPREAD_S
SECONDS = {"quick": 20, "full": 60}  # of speech in each session
COUNTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "moonshine": {"quick": (1, 32), "full": (1, 24, 40, 48, 56, 64)},
    "whisper-tiny.en": {"quick": (1, 4, 8), "full": (1, 4, 8, 10, 12, 16, 20)},
    "whisper-base": {"quick": (1, 2), "full": (1, 2, 4, 6)},
}


@dataclass(frozen=True)
class Step:
    """The figures of one number of sessions. Seconds; `wer` in per cent; `cpu` in cores.

    `memory_mb`: of one transcriber, the larger one.
    """

    engine: str
    sessions: int
    wer: float
    wer_offline: float
    first_p50: float | None
    first_p95: float | None
    final_p50: float | None
    final_p95: float | None
    lost: int
    memory_mb: float
    cpu: float

    @property
    def kept(self) -> bool:
        """Whether all sessions were served as they should be."""
        late = (self.first_p95 is None or self.first_p95 > BAR_FIRST_S) or (
            self.final_p95 is None or self.final_p95 > BAR_FINAL_S
        )
        return not late and not self.lost


def trace(session: Session) -> Trace:
    """What the client of a native session saw."""
    seen = Trace(started=session.started, ended=session.started + session.sent / session.rate)
    text = NativeText()
    for at, event in session.events:
        shown = text.take(event)
        if shown is not None:
            seen.show(at, shown)
    return seen


def step(
    engine: str,
    said: Sequence[Stream],
    sessions: Sequence[Session],
    whole: Mapping[str, str],
    *,
    memory_mb: float,
    cpu: float,
) -> Step:
    """The figures of some sessions. `whole`: the text of each clip, by its name, recognised offline."""
    traces = [trace(session) for session in sessions]
    delays = [
        delay
        for each, seen in zip(said, traces, strict=True)
        for delay in first_words(seen, each.texts, each.onsets)
        if delay is not None
    ]
    finals = [delay - ENDPOINT_S for session in sessions for delay in session.final_delays()]
    clips = [clip for each in said for clip in each.clips]
    return Step(
        engine=engine,
        sessions=len(sessions),
        wer=word_errors([" ".join(each.texts) for each in said], [seen.text for seen in traces]).rate,
        wer_offline=word_errors([clip.text for clip in clips], [whole[clip.name] for clip in clips]).rate,
        first_p50=quantile(delays, 0.5),
        first_p95=quantile(delays, 0.95),
        final_p50=quantile(finals, 0.5),
        final_p95=quantile(finals, 0.95),
        lost=sum(bool(session.lost_ms) or not session.complete for session in sessions),
        memory_mb=memory_mb,
        cpu=cpu,
    )


async def _talk(port: int, said: Sequence[Stream]) -> list[Session]:
    return await asyncio.gather(
        *(
            talk(port, each.pcm, frame_ms=100, delay=number * STAGGER_S % SPREAD_S, query="language=en")
            for number, each in enumerate(said)
        )
    )


def steps(
    engine: str, counts: Iterable[int], streams: Sequence[Stream], whole: Mapping[str, str]
) -> list[Step]:
    """More and more sessions, up to the first number that is too many."""
    found = []
    with Cluster(transcribers=2, WORKER_SESSIONS="100", **_settings(engine)) as cluster:
        workers = [psutil.Process(each.process.pid) for each in cluster.transcribers]
        for count in counts:
            said = streams[:count]
            before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
            sessions = asyncio.run(_talk(cluster.ports[0], said))
            spent = sum(sum(worker.cpu_times()[:2]) for worker in workers) - before
            seconds = max(session.events[-1][0] for session in sessions if session.events) - min(
                session.started for session in sessions
            )
            memory = max(worker.memory_info().rss for worker in workers) / 2**20
            found.append(step(engine, said, sessions, whole, memory_mb=memory, cpu=spent / seconds))
            print(found[-1], file=sys.stderr, flush=True)
            if not found[-1].kept:
                break
    return found


def _settings(engine: str) -> dict[str, str]:
    if engine == "moonshine":
        return {"STT_ENGINE": engine}
    return {"STT_ENGINE": "faster-whisper", "WHISPER_MODEL": str(ModelStore().path(find(engine)))}


def _whole(engine: str, clips: Iterable[Clip]) -> dict[str, str]:
    if engine == "moonshine":
        return offline.moonshine(clips)
    return offline.whisper(ModelStore().pull(find(engine)), clips)


def table(found: Sequence[Step], seconds: float) -> Table:
    """The table of all steps."""
    columns = (
        "engine", "sessions", "WER live %", "WER offline %", "first words p50 s", "p95 s",
        "final after the endpoint p50 s", "p95 s", "sessions that lost anything", "MB per transcriber",
        "CPU of both, cores",
    )  # fmt: skip
    best = {each.engine: 0 for each in found}
    best.update({each.engine: each.sessions for each in found if each.kept})
    result = Table("engines", "Engines, two transcribers on two cores", columns)
    result.rows = [tuple(asdict(each).values()) for each in found]
    result.remarks = [
        "Sessions served in time: "
        + ", ".join(f"{name} {count}" for name, count in best.items())
        + f" (bars, p95: first words {BAR_FIRST_S} s, finals endpoint + {BAR_FINAL_S} s; nothing lost).",
        f"Each session is {seconds} s of held-out read English, with 0.7 s of silence between clips. "
        "*First words*: from the start of a clip's speech until text of it is shown. *Offline*: the same "
        "clips, each as a whole; Whisper with its full context of 30 s and a beam of 5, Moonshine greedy, "
        "as live.",
    ]
    result.data = {
        "steps": [asdict(each) for each in found],
        "best": best,
        "bar_first_s": BAR_FIRST_S,
        "bar_final_s": BAR_FINAL_S,
    }
    return result


def main() -> None:
    """Measure, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sessions, a third of the speech")
    parser.add_argument("--only", choices=COUNTS, action="append", help="an engine; may be repeated")
    options = parser.parse_args()
    scope = "quick" if options.quick else "full"
    found = []
    for engine, counts in COUNTS.items():
        if options.only and engine not in options.only:
            continue
        streams = [stream(seed, SECONDS[scope]) for seed in range(max(counts[scope]))]
        whole = _whole(engine, [clip for each in streams for clip in each.clips])
        found += steps(engine, counts[scope], streams, whole)
    table(found, SECONDS[scope]).publish()


if __name__ == "__main__":
    main()
