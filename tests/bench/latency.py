"""The latency of one session's words, of our cluster and of the baseline: python -m bench.latency [clips]

Real speech in real time, one session at a time, measured on the client's socket; with `clips` more recordings
of the larger collection, if present. The ends of words come from the model's cross-attention, in a separate
run.
"""

import asyncio
import sys
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from bench.baseline_servers import servers
from bench.load import RATE, Session, talk
from bench.results import Table
from parlando import vad
from parlando.domain.transcript import bare
from support.cluster import Cluster
from support.in_process import recognise
from support.speech import clips, fixture, load
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

CLIPS = (
    "two_cities.flac",
    "jfk.flac",
    "1688-142285-0001.flac",
    "1688-142285-0003.flac",
    "533-1066-0000.flac",
    "533-1066-0006.flac",
    "61-70968-0000.flac",
    "2609-156975-0001.flac",
    "3080-5032-0003.flac",
)
LONGEST_S = 12
ENDPOINT_MS = 500
BARS = {"first": (450, 800), "shown": 250, "final": ENDPOINT_MS + 60}


@dataclass
class Delays:
    """In ms: onset to first partial, end of a word to its first display, end of speech to the final."""

    first: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)

    def add(self, session: Session, length_s: float, ends: list[tuple[str, float]]) -> None:
        """Add the delays of a session. `ends`: the spoken words and the end of each, in seconds."""
        events = [(at - session.started, event) for at, event in session.events]
        partials = [(at, event) for at, event in events if event["type"] == "partial" and event["text"]]
        for at, event in events:
            if event["type"] == "final":
                seen = [when for when, partial in partials if partial["segment"] == event["segment"]]
                if seen:
                    self.first.append(1000 * (seen[0] - event["start"]))
                if event["text"] and at < length_s + 0.6:
                    self.final.append(1000 * (at - event["end"]))
        self.shown += [1000 * (at - end) for end, at in shown_words(events, ends)]


def shown_words(events: list[tuple[float, dict]], ends: list[tuple[str, float]]) -> list[tuple[float, float]]:
    """For the words of `ends` that the finals have: when each ends, and when a client first received it.

    `events`: with the second of the session at which each arrived.
    """
    shown = _shown(events)
    matcher = SequenceMatcher(a=[word for word, _ in ends], b=[word for word, _ in shown], autojunk=False)
    return [
        (ends[block.a + n][1], shown[block.b + n][1])
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    ]


def _shown(events: list[tuple[float, dict]]) -> list[tuple[str, float]]:
    """The words of the finals, and when a client first received each among its neighbours."""
    finals = {e["segment"]: [bare(w) for w in e["text"].split()] for _, e in events if e["type"] == "final"}
    seen: dict[tuple[int, int], float] = {}
    for at, event in events:
        if event["type"] in ("partial", "final"):
            words = [bare(word) for word in event["text"].split()]
            matcher = SequenceMatcher(a=finals.get(event["segment"], []), b=words, autojunk=False)
            for block in matcher.get_matching_blocks():
                for place in range(block.a, block.a + block.size):
                    seen.setdefault((event["segment"], place), at)
    return [(finals[segment][place], at) for (segment, place), at in sorted(seen.items())]


async def words_of(pcm: np.ndarray) -> list[tuple[str, float]]:
    """The words of a recording and the end of each, in seconds."""
    engine, _ = load_engine(TranscriberSettings(stt_engine="moonshine"))
    reference = await recognise(pcm, engine, vad.load("silero"), words=True)
    finals = [event for event in reference.events if event["type"] == "final"]
    return [(bare(word["word"]), word["end"]) for final in finals for word in final["words"] or []]


def recordings(more: int) -> list[np.ndarray]:
    """The clips, each followed by a second of silence."""
    spoken = [fixture(name) for name in CLIPS] + [load(clip.path) for clip in clips("a_english_read")[:more]]
    return [np.r_[pcm[: LONGEST_S * RATE], np.zeros(RATE, np.int16)] for pcm in spoken]


async def measure(port: int, spoken: list[np.ndarray], ends: list[list[tuple[str, float]]]) -> Delays:
    """One session after the other, in frames of 20 ms."""
    delays = Delays()
    for pcm, known in zip(spoken, ends, strict=True):
        session = await talk(port, pcm, frame_ms=20)
        delays.add(session, len(pcm) / RATE - 1, known)
        await asyncio.sleep(0.2)
    return delays


def quantiles(values: list[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99))
    return float(p50), float(p95), float(p99)


def main() -> None:
    """Measure both, and publish the table."""
    spoken = recordings(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    ends = [asyncio.run(words_of(pcm)) for pcm in spoken]
    with Cluster(transcribers=1) as cluster:
        ours = asyncio.run(measure(cluster.ports[0], spoken, ends))
    with servers(1) as (ports, _):
        theirs = asyncio.run(measure(ports[0], spoken, ends))
    table = Table("latency", "One session", ("milliseconds", "who", "p50", "p95", "p99", "mean", "n"))
    for name, title in (
        ("first", "first partial after onset"),
        ("shown", "word shown after it was said"),
        ("final", "final after the end of speech"),
    ):
        for who, delays in (("ours", ours), ("baseline", theirs)):
            values = getattr(delays, name)
            table.rows.append((title, who, *quantiles(values), float(np.mean(values)), len(values)))
    table.data = {
        "first_p50": quantiles(ours.first)[0],
        "first_p95": quantiles(ours.first)[1],
        "shown_mean": float(np.mean(ours.shown)),
        "final_p95": quantiles(ours.final)[1],
        "baseline": {
            "first_p50": quantiles(theirs.first)[0],
            "first_p95": quantiles(theirs.first)[1],
            "shown_mean": float(np.mean(theirs.shown)),
            "final_p95": quantiles(theirs.final)[1],
        },
    }
    table.remarks.append(
        f"Bars: first partial {BARS['first'][0]} / {BARS['first'][1]} (p50 / p95), word shown "
        f"{BARS['shown']} (mean), final {BARS['final']} (p95; the endpoint is {ENDPOINT_MS} of it)"
    )
    table.publish()


if __name__ == "__main__":
    main()
