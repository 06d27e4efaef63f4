"""Processes, Redis included, are killed, paused or stopped at random: python -m bench.chaos [minutes [seed]]

Twelve live sessions of mixed formats at a time, with jobs beside them; half of the time Redis is in memory
only, half of the time it has an append-only file. The engine makes no mistakes, so every difference from the
undisturbed run is lost, duplicated or changed data.
"""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO

import httpx
import numpy as np
import soundfile

from bench.results import Table
from parlando.client import connect
from support.cluster import Cluster, Process
from support.jobs import wav
from support.perfect import PERFECT, script, silence, speak
from support.redis_server import RedisServer
from support.streaming import RATE

SESSIONS = 12
JOBS = 2  # jobs beside each round of sessions
PAUSE_S = (3.0, 9.0)  # between two faults
STOP_S = (0.5, 6.0)  # how long a process hangs
RETRY_S = 0.5  # how long Redis is stopped
KINDS = ("gateway", "transcriber", "audio-processor", "redis")
GIVE_UP_S = 180.0  # how long a client tries to reconnect
JOB_S = 300.0
WORDS = 108

PCM = np.concatenate([np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(WORDS // 9)])
FLOATS = (PCM / np.float32(32768)).astype("<f4")


def _contained(form: str) -> bytes:
    file = BytesIO()
    soundfile.write(file, PCM, RATE, format=form, subtype="PCM_16")
    return file.getvalue()


FORMATS: tuple[tuple[str, bytes, dict], ...] = (
    ("16-bit", PCM.tobytes(), {}),
    ("16-bit, word times", PCM.tobytes(), {"words": True}),
    ("float", FLOATS.tobytes(), {"encoding": "pcm_f32le"}),
    ("stereo", np.repeat(PCM, 2).tobytes(), {"channels": 2}),
    ("WAV", _contained("WAV"), {"encoding": "container"}),
    ("FLAC", _contained("FLAC"), {"encoding": "container"}),
)

Finals = list[tuple[int, str, float, float]]


@dataclass
class Outcome:
    """The results of the sessions and jobs of one mode."""

    faults: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    equal: int = 0
    """Sessions whose finals (segment, text, start, end) are those of the undisturbed run."""
    failed: list[str] = field(default_factory=list)
    """Why sessions ended early."""
    missing: int = 0
    doubled: int = 0
    """Words that appear twice."""
    silences: list[float] = field(default_factory=list)
    """The longest wait for an event in each session, in seconds."""
    jobs: int = 0
    right: int = 0
    again: int = 0
    """Jobs submitted again because Redis had lost them."""

    differs: list[str] = field(default_factory=list)
    """The finals of sessions that are not as expected."""

    def judge(self, name: str, finals: Finals, expected: Finals) -> None:
        """Compare one session's finals."""
        self.sessions += 1
        self.equal += finals == expected
        if finals != expected:
            extra, lacking = set(finals) - set(expected), set(expected) - set(finals)
            self.differs.append(f"{name}: got {sorted(extra)}, not {sorted(lacking)}")
        said = Counter(word for _, text, _, _ in finals for word in text.split())
        self.missing += sum((Counter(script(0, WORDS)) - said).values())
        self.doubled += sum((said - Counter(script(0, WORDS))).values())


async def live(cluster: Cluster, form: int, outcome: Outcome) -> Finals:
    """Run one session in real time. Returns its finals."""
    _, data, options = FORMATS[form % len(FORMATS)]
    urls = [cluster.url(gateway) for gateway in range(len(cluster.ports))]
    pieces = len(PCM) // (RATE // 10)
    step = -(-len(data) // pieces)
    step += -step % 8
    finals: Finals = []
    async with connect(urls, give_up_s=GIVE_UP_S, **options) as session:

        async def talk() -> None:
            started = time.monotonic()
            for number, at in enumerate(range(0, len(data), step)):
                await session.send(data[at : at + step])
                await asyncio.sleep(max(0.0, started + number / 10 - time.monotonic()))
            await session.end()

        talking = asyncio.create_task(talk())
        heard_at, longest = time.monotonic(), 0.0
        async for event in session:
            longest, heard_at = max(longest, time.monotonic() - heard_at), time.monotonic()
            if event["type"] == "final":
                finals.append((event["segment"], event["text"], event["start"], event["end"]))
        await talking
    outcome.silences.append(longest)
    return finals


async def job(cluster: Cluster, number: int, outcome: Outcome) -> None:
    """Submit one job and poll any gateway until the job has ended."""
    outcome.jobs += 1
    until = time.monotonic() + JOB_S
    body, name, state = wav(PCM), f"chaos-{number}-{random.random()}", "none"
    async with httpx.AsyncClient(timeout=30) as client:
        while time.monotonic() < until:
            base = f"{cluster.http(random.randrange(len(cluster.ports)))}/v1/stt/jobs"
            try:
                if state == "none":
                    files = {"file": ("audio.wav", body)}
                    answer = await client.post(base, files=files, headers={"Idempotency-Key": name})
                    if answer.status_code in (200, 202):
                        state = answer.json()["job_id"]
                else:
                    answer = await client.get(f"{base}/{state}/result")
                    if answer.status_code == 200:
                        outcome.right += answer.json()["text"].split() == script(0, WORDS)
                        return
                    if answer.status_code == 404:
                        outcome.again += 1
                        state = "none"
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.5)


async def havoc(cluster: Cluster, outcome: Outcome, chance: random.Random) -> None:
    """Kill, pause and terminate processes at random, and restart them, until cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        kind = chance.choice(KINDS)
        fault = chance.choice(
            ("SIGKILL", "SIGSTOP") if kind == "redis" else ("SIGKILL", "SIGTERM", "SIGSTOP")
        )
        outcome.faults[f"{kind} {fault}"] += 1
        if kind == "redis":
            await _redis(cluster, fault, chance)
            continue
        processes = {
            "gateway": cluster.gateways,
            "transcriber": cluster.transcribers,
            "audio-processor": cluster.processors,
        }[kind]
        victim = chance.choice([each for each in processes if each.process.poll() is None])
        if fault == "SIGSTOP":
            victim.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(*STOP_S))
            finally:
                victim.signal(signal.SIGCONT)
            continue
        if fault == "SIGKILL":
            victim.kill()
        else:
            await asyncio.to_thread(_end, victim)
        if kind == "gateway":
            cluster.restart_gateway(cluster.gateways.index(victim))
        elif kind == "transcriber":
            cluster.add_transcriber()
        else:
            cluster.add_processor()


def _end(process: Process) -> None:
    process.process.terminate()
    try:
        process.process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


async def _redis(cluster: Cluster, fault: str, chance: random.Random) -> None:
    if fault == "SIGKILL":
        cluster.redis.kill()
        await asyncio.sleep(RETRY_S)
        await asyncio.to_thread(cluster.redis.start)
        return
    cluster.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.uniform(*STOP_S))
    finally:
        cluster.redis.signal(signal.SIGCONT)


async def mode(cluster: Cluster, seconds: float, seed: int) -> Outcome:
    """Rounds of sessions and jobs under faults, for `seconds`."""
    outcome, calm = Outcome(), Outcome()
    expected = await asyncio.gather(*(live(cluster, form, calm) for form in range(len(FORMATS))))
    faults = asyncio.create_task(havoc(cluster, outcome, random.Random(seed)))
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        jobs = [asyncio.create_task(job(cluster, number + n, outcome)) for n in range(JOBS)]
        number += JOBS
        found = await asyncio.gather(
            *(live(cluster, form, outcome) for form in range(SESSIONS)), return_exceptions=True
        )
        for form, finals in enumerate(found):
            if isinstance(finals, BaseException):
                outcome.failed.append(f"{FORMATS[form % len(FORMATS)][0]}: {finals}")
                finals = []
            outcome.judge(FORMATS[form % len(FORMATS)][0], finals, expected[form % len(FORMATS)])
        await asyncio.gather(*jobs)
        if faults.done():
            faults.result()
    faults.cancel()
    await asyncio.wait([faults])
    return outcome


def main() -> None:
    """Measure, and publish the table."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 14
    outcomes = {}
    for name, durable in (("in memory", False), ("append-only file", True)):
        redis = RedisServer(durable=durable)
        with Cluster(gateways=2, transcribers=2, processors=2, redis=redis, **PERFECT) as cluster:
            outcomes[name] = asyncio.run(mode(cluster, minutes * 30, seed))
            for gateway in cluster.gateways:  # a fault of ours, if there is any, is in its log
                faults = [
                    line for line in gateway.log.read_text().splitlines() if "connection.failed" in line
                ]
                print("\n".join(faults), end="", file=sys.stderr)
    table = Table(
        "chaos",
        f"{SESSIONS} sessions at a time and jobs for {minutes:g} minutes with faults in every process",
        ("what", *outcomes),
    )
    each = list(outcomes.values())
    table.rows = [
        ("faults", *(sum(one.faults.values()) for one in each)),
        ("sessions", *(one.sessions for one in each)),
        ("… finals as in the undisturbed run: text, segments, times", *(one.equal for one in each)),
        ("… ended before their time", *(len(one.failed) for one in each)),
        ("words missing", *(one.missing for one in each)),
        ("words doubled", *(one.doubled for one in each)),
        ("longest wait for an event, median s", *(float(np.median(one.silences)) for one in each)),
        ("… the longest of all, s", *(float(max(one.silences)) for one in each)),
        ("jobs", *(one.jobs for one in each)),
        ("… with the right result", *(one.right for one in each)),
        ("… submitted again, as Redis had lost them", *(one.again for one in each)),
    ]
    kinds = sorted({kind for one in each for kind in one.faults})
    table.rows += [(kind, *(one.faults[kind] for one in each)) for kind in kinds]
    table.remarks.append(
        f"A fault every {PAUSE_S[0]:g} to {PAUSE_S[1]:g} s, seed {seed}; a stopped process goes on after "
        f"{STOP_S[0]:g} to {STOP_S[1]:g} s. A killed process is restarted at once, Redis after {RETRY_S:g} s."
    )
    table.data = {name: {"failed": one.failed, "differs": one.differs} for name, one in outcomes.items()}
    table.publish()
    for one in each:
        print("\n".join((*one.failed, *one.differs)), file=sys.stderr)
    if any(one.equal < one.sessions or one.right < one.jobs for one in each):
        sys.exit(1)


if __name__ == "__main__":
    main()
