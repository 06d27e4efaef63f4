"""The delay of audio by the conversion with FFmpeg: python -m bench.intake_delay

Measured from bytes in Redis to their samples in Redis; sent in real time in pieces of 20 ms.
"""

import asyncio
import time

import numpy as np

from bench.results import Table
from parlando.store.connection import connect
from support.cluster import Cluster
from support.conversion import Stream, form_of
from support.encoding import RECIPES, Recipe, encoded
from support.pools import PLACE
from support.speech import JFK

SECONDS = 11.0
PIECE_S = 0.02
BARS = {"webm_opus": 200, "ogg_opus": 200}
PCM_BAR = 60
NAMES = (
    *("s16le_8000_1", "s16le_24000_1", "s16le_44100_2", "s16le_48000_1", "f32le_48000_2", "mulaw_8000"),
    *("wav", "webm_opus", "ogg_opus", "mp3", "mp4_aac", "flac"),
)

# Constant bit rate, so that a byte's offset determines its time; blocks as short as MediaRecorder's.
RECIPES["webm_opus"] = Recipe(
    (
        "-c:a",
        "libopus",
        "-vbr",
        "off",
        "-b:a",
        "32k",
        "-f",
        "webm",
        "-cluster_time_limit",
        "20",
        "-live",
        "1",
    ),
    (("encoding", "container"),),
)
RECIPES["ogg_opus"] = Recipe(
    ("-c:a", "libopus", "-vbr", "off", "-b:a", "32k", "-f", "ogg", "-page_duration", "20000"),
    (("encoding", "container"),),
)


async def delays(url: str, name: str) -> np.ndarray:
    """The delay in ms of every 10 ms of audio, without the first second, in which FFmpeg starts."""
    redis, reader = connect(url), connect(url)
    data = encoded(JFK, name)
    stream = Stream(redis, f"delay-{name}", form_of(name))
    started = time.monotonic()
    there: list[tuple[float, int]] = []

    async def watch() -> None:
        last = "0-0"
        while True:
            for _, entries in await reader.xread({stream.keys.pcm: last}, block=1000) or []:
                for identifier, _fields in entries:
                    last = identifier.decode()
                    there.append((time.monotonic() - started, int(last.split("-")[0])))

    watching = asyncio.create_task(watch())
    step = len(data) / SECONDS * PIECE_S
    stream.writer = await stream.sessions.open(
        stream.sid, places=[PLACE], config={}, token="t", form=stream.form
    )
    pieces = int(SECONDS / PIECE_S)
    for n in range(pieces):
        await asyncio.sleep(max(0.0, started + (n + 1) * PIECE_S - time.monotonic()))
        await stream.writer.append(data[int(n * step) : int((n + 1) * step)], 1 << 30)
    await asyncio.sleep(0.3)
    watching.cancel()
    times, ends = np.array([t for t, _ in there]), np.array([e for _, e in there]) / 16_000
    moments = np.arange(1.0, SECONDS - 0.6, 0.01)
    moments = moments[moments <= ends[-1]]
    available = times[np.searchsorted(ends, moments)]
    sent = np.ceil(moments / PIECE_S) * PIECE_S
    await redis.aclose()
    await reader.aclose()
    return (available - sent) * 1000


def main() -> None:
    """Measure, and publish the table."""
    table = Table("intake_delay", "Delay that FFmpeg adds", ("format", "p50 ms", "p95 ms", "bar"))
    with Cluster(gateways=0, transcribers=0, processors=1) as cluster:
        time.sleep(2)
        for name in NAMES:
            found = asyncio.run(delays(cluster.redis.url, name))
            bar = BARS.get(name, PCM_BAR if "_" in name and name != "mp4_aac" else "")
            table.rows.append((name, *map(float, np.percentile(found, [50, 95])), bar or None))
    table.publish()


if __name__ == "__main__":
    main()
