"""Sessions in real time against a running server, and the figures of what their clients saw."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

from bench.peers.server import Running, serving
from bench.peers.system import Dialect, System
from bench.streams import RATE, Stream, stream
from bench.traces import Trace, first_words, quantile, word_errors

FRAME = RATE // 10  # samples of a message
STAGGER_S, SPREAD_S = 0.37, 3.0  # between the starts of sessions; they start within SPREAD_S
WARM_UP, WARM_UP_S = 1000, 6.0  # seed and length of the session before the measured ones
OPEN_S = 600  # a guard against a server that hangs
PATIENCE_S = 120.0  # after the last frame: what comes later isn't waited for
WATCH_S = 2.0  # between two looks at the memory


async def talk(url: str, dialect: Dialect, said: Stream) -> Trace:
    """One session in real time, until the server closes it or `PATIENCE_S` after the last frame."""
    trace = Trace()
    try:
        async with websockets.connect(
            url + dialect.path, max_size=None, ping_interval=None, open_timeout=OPEN_S
        ) as socket:
            listening = asyncio.create_task(_listen(socket, dialect, trace))
            try:
                await _speak(socket, dialect, said, trace, listening)
            finally:
                listening.cancel()
                await asyncio.wait([listening])
    except (OSError, websockets.WebSocketException) as error:
        trace.failure = trace.failure or f"{type(error).__name__}: {error}"
    trace.failure = dialect.refused or trace.failure
    return trace


async def _listen(socket: Any, dialect: Dialect, trace: Trace) -> None:
    try:
        async for message in socket:
            dialect.take(json.loads(message))
            trace.show(time.monotonic(), dialect.text)
            if dialect.closed or dialect.refused:
                return
    except websockets.ConnectionClosed:
        return


async def _speak(
    socket: Any, dialect: Dialect, said: Stream, trace: Trace, listening: asyncio.Task[None]
) -> None:
    if dialect.greeting:
        await socket.send(dialect.greeting)
    while not dialect.ready:
        await asyncio.sleep(0.01)
        if listening.done():
            trace.failure = "closed before it was ready"
            return
    trace.started = time.monotonic()
    for at in range(0, len(said.pcm), FRAME):
        await socket.send(dialect.frame(said.pcm[at : at + FRAME]))
        wait = trace.started + (at + FRAME) / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if listening.done():
            trace.failure = "closed in the middle of the audio"
            return
    trace.ended = time.monotonic()
    deadline = trace.ended + PATIENCE_S
    while dialect.linger_s and not listening.done():
        last = trace.shown[-1][0] if trace.shown else trace.ended
        if time.monotonic() > min(deadline, max(last, trace.ended) + dialect.linger_s):
            break
        await asyncio.sleep(0.1)
    if not listening.done():
        await socket.send(dialect.ending)
        await asyncio.wait([listening], timeout=deadline - time.monotonic())


@dataclass(frozen=True)
class Figures:
    """What some sessions at a time have seen of one system; see `bench.traces` for the definitions.

    `failed`: sessions that were refused or broken off; the other figures are without them. `unseen`: clips
    of which nothing was shown, in per cent; `first_*`: of the others. `wer_offline`: the same clips, whole.
    """

    system: str
    sessions: int
    failed: int
    wer: float | None
    wer_offline: float | None
    missing: float | None
    unseen: float | None
    first_p50: float | None
    first_p95: float | None
    tail_p50: float | None
    tail_max: float | None
    cpu: float  # cores, while audio is sent
    memory_mb: float


def figures(
    name: str,
    said: Sequence[Stream],
    traces: Sequence[Trace],
    offline: Mapping[str, str],
    *,
    cpu: float,
    memory_mb: float,
) -> Figures:
    """The figures of one step. `offline`: the text of each clip, by its name, recognised as a whole."""
    pairs = [(each, trace) for each, trace in zip(said, traces, strict=True) if not trace.failure]
    delays = [delay for each, trace in pairs for delay in first_words(trace, each.texts, each.onsets)]
    seen = [delay for delay in delays if delay is not None]
    tails = [trace.tail_s for _, trace in pairs]
    clips = [clip for each, _ in pairs for clip in each.clips]
    live = whole = None
    if pairs:
        live = word_errors([" ".join(each.texts) for each, _ in pairs], [trace.text for _, trace in pairs])
        whole = word_errors([clip.text for clip in clips], [offline[clip.name] for clip in clips])
    return Figures(
        system=name,
        sessions=len(said),
        failed=len(said) - len(pairs),
        wer=live.rate if live else None,
        wer_offline=whole.rate if whole else None,
        missing=live.missing_rate if live else None,
        unseen=100 * (len(delays) - len(seen)) / len(delays) if delays else None,
        first_p50=quantile(seen, 0.5),
        first_p95=quantile(seen, 0.95),
        tail_p50=quantile(tails, 0.5),
        tail_max=max(tails, default=None),
        cpu=cpu,
        memory_mb=memory_mb,
    )


async def _watched(
    server: Running, system: System, said: Sequence[Stream]
) -> tuple[list[Trace], float, float]:
    """The traces, the cores used while audio was sent, and the most megabytes seen."""
    url = f"ws://127.0.0.1:{server.port}"
    most = 0.0

    async def later(number: int, each: Stream) -> Trace:
        await asyncio.sleep(number * STAGGER_S % SPREAD_S)
        return await talk(url, system.dialect(), each)

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(server.memory_mb))
            await asyncio.sleep(WATCH_S)

    async def count() -> float:
        seconds = min(len(each.pcm) for each in said) / RATE
        before, started = server.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        return (server.cpu_s() - before) / (time.monotonic() - started)

    watching = asyncio.create_task(watch())
    counting = asyncio.create_task(count())
    traces = await asyncio.gather(*(later(number, each) for number, each in enumerate(said)))
    watching.cancel()
    return list(traces), await counting, most


def measure(system: System, model: Path, said: Sequence[Stream], offline: Mapping[str, str]) -> Figures:
    """One step: a fresh server, a short session to warm it up, then all sessions together."""
    with serving(system, model) as server:
        url = f"ws://127.0.0.1:{server.port}"
        asyncio.run(talk(url, system.dialect(), stream(WARM_UP, WARM_UP_S)))
        traces, cpu, memory_mb = asyncio.run(_watched(server, system, said))
    for trace in traces:
        if trace.failure:
            print(f"{system.name}: {trace.failure}", flush=True)
    return figures(system.name, said, traces, offline, cpu=cpu, memory_mb=memory_mb)
