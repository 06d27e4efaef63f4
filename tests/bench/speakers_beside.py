"""Whether speaker labels delay sessions without them: python -m bench.speakers_beside [ROUNDS]

Eight live sessions of read English, alone, beside eight more, and beside eight more with `diarize=true`. Each
situation has a fresh cluster (two transcribers, default settings) in each round. Default: three rounds.
"""

import asyncio
import sys
from collections.abc import Sequence

import numpy as np

from bench.capacity import FRAME_MS, SPREAD_S, Said, Step, figures, said_by
from bench.load import Session, talk
from bench.results import Table
from support.cluster import Cluster

SESSIONS = 8
ALONE, BESIDE, LABELLED = "8 alone", "8 beside 8 without labels", "8 beside 8 with labels"
QUERIES = {ALONE: None, BESIDE: "", LABELLED: "diarize=true"}
"""What the other eight ask for; None: there are none."""


async def talk_all(port: int, said: Sequence[Said], query: str | None) -> list[Session]:
    """All sessions, those without labels first. They begin alternately within `SPREAD_S` seconds."""
    queries = [""] * SESSIONS + ([] if query is None else [query] * SESSIONS)
    delays = [n % SESSIONS * SPREAD_S / SESSIONS + n // SESSIONS * 1.0 for n in range(len(queries))]
    return await asyncio.gather(
        *(
            talk(port, each.stream.pcm, frame_ms=FRAME_MS, delay=delay, query=query)
            for each, delay, query in zip(said, delays, queries, strict=True)
        )
    )


def measure(query: str | None) -> tuple[Step, Step | None]:
    """The figures of the eight sessions without labels, and of those beside them."""
    said = [said_by(number, 100) for number in range(SESSIONS if query is None else 2 * SESSIONS)]
    with Cluster(transcribers=2) as cluster:
        sessions = asyncio.run(talk_all(cluster.ports[0], said, query))
    measured = figures(said[:SESSIONS], sessions[:SESSIONS], {})
    others = None if query is None else figures(said[SESSIONS:], sessions[SESSIONS:], {})
    print(query, measured, others, file=sys.stderr, flush=True)
    if query:
        labels = {
            event.get("speaker")
            for session in sessions[SESSIONS:]
            for _, event in session.of("final")
            if event["text"]
        }
        assert labels - {None}, "the sessions with labels have none"
    return measured, others


def main() -> None:
    """Measure in turn, and publish the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    found: dict[str, list[tuple[Step, Step | None]]] = {name: [] for name in QUERIES}
    for _ in range(rounds):
        for name, query in QUERIES.items():
            found[name].append(measure(query))
    columns = (
        "situation",
        "first words p95 s",
        "final after the endpoint p95 s",
        "of the others p95 s",
        "lost",
    )
    table = Table("speakers_beside", "Sessions without speaker labels beside others", columns)
    for name, steps in found.items():
        ours = [step for step, _ in steps]
        others = [step for _, step in steps if step is not None]
        table.rows.append(
            (
                name,
                float(np.median([step.first_p95 for step in ours])),
                float(np.median([step.final_p95 for step in ours])),
                float(np.median([step.final_p95 for step in others])) if others else None,
                sum(step.lost for step in [*ours, *others]),
            )
        )
    table.remarks.append(f"Medians of {rounds} rounds in turn. The sender runs on the same two cores.")
    table.publish()


if __name__ == "__main__":
    main()
