"""An hour of recordings as one job: its duration with one and two transcribers, its accuracy and memory.

The hour consists of real clips with silences between them, so the words and their times are known. The
latency of a live session is measured with and without a job beside it.
"""

import asyncio
import base64
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import jiwer
import numpy as np
import sherpa_onnx
import soundfile
from whisper.normalizers import EnglishTextNormalizer

from audio_processor.chunking import ChunkPlanner
from bench.memory import Watch
from bench.results import Table
from parlando import vad
from parlando.domain.audio import to_float
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from parlando.vad import FRAME
from support.cluster import Cluster
from support.jobs import events, look, submit
from support.speech import clips, fixture, load
from support.streaming import stream
from transcriber.engines.base import Window
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

Row = tuple[str, Any, Any]
BAR_S = 60
RUNS = 1 if "--quick" in sys.argv else 3
RATE = 16_000
HOUR_S = 3600
GAPS_S = (0.5, 0.8, 1.5, 3.0, 8.0)
NEAR_S = 0.2
normal = EnglishTextNormalizer()


def build(seconds: float) -> tuple[np.ndarray, list[tuple[float, int]], list]:
    """The recording, the start of each clip in it, and the clips."""
    rng, spoken = np.random.default_rng(7), clips("a_english_read")
    parts, places, length = [], [], 0
    while length < seconds * RATE:
        for number in rng.permutation(len(spoken)):
            pcm = load(spoken[number].path)
            gap = np.zeros(int(rng.choice(GAPS_S) * RATE), np.int16)
            places.append((length / RATE, int(number)))
            parts += [pcm, gap]
            length += len(pcm) + len(gap)
    return np.concatenate(parts), places, spoken


def onset(pcm: np.ndarray) -> float:
    """The start of speech in a single clip by the voice detector, in seconds."""
    padded = np.concatenate([np.zeros(RATE, np.int16), pcm, np.zeros(4 * RATE, np.int16)])
    padded = padded[: len(padded) // FRAME * FRAME]
    pieces = ChunkPlanner().push(padded, vad.load().stream().push(to_float(padded)))
    return pieces[0].speech[0][0] / RATE - 1 if pieces else 0.0


def timed(cluster: Cluster, data: bytes) -> tuple[float, dict]:
    started = time.monotonic()
    job = submit(cluster.http(), data, words="true")["job_id"]
    assert events(cluster.http(), job)[-1]["type"] == "completed"
    return time.monotonic() - started, look(cluster.http(), job)["result"]


async def live(cluster: Cluster, runs: int) -> str:
    """The median delays of a live session: first word to first partial, end of speech to last final."""
    firsts, lasts = [], []
    pcm = fixture("jfk.flac")
    padded = np.concatenate([pcm, np.zeros(2 * RATE, np.int16)])
    for _ in range(runs):
        heard = await stream(cluster.url(), padded, frame_ms=20)
        timed_events = list(zip(heard.events, heard.times, strict=True))
        begin = next(e["start"] for e in heard.events if e["type"] == "speech_started")
        firsts.append(next(at for e, at in timed_events if e["type"] == "partial") - begin)
        lasts.append(
            [at for e, at in timed_events if e["type"] == "final" and e["text"]][-1] - len(pcm) / RATE
        )
    return f"{1000 * median(firsts):.0f} / {1000 * median(lasts):.0f}"


def compare_live(cluster: Cluster, data: bytes) -> list[Row]:
    """The delays of a live session alone, and beside a job."""
    alone = asyncio.run(live(cluster, RUNS))
    submit(cluster.http(), data)
    beside = asyncio.run(live(cluster, RUNS))
    what = "a live session's first partial / last final after the end of speech, ms"
    return [(f"{what}: alone", alone, None), (f"{what}: beside the job", beside, None)]


def short_files() -> tuple[float, float]:
    """Real-time factors of our engine and of sherpa-onnx, one thread each, on the same clips and weights."""
    engine, _ = load_engine(TranscriberSettings(stt_engine="moonshine"))
    peer = sherpa(ModelStore().path(MOONSHINE_TINY))
    recordings = [to_float(load(clip.path)) for clip in clips("a_english_read")]
    seconds = sum(map(len, recordings)) / RATE
    started = time.monotonic()
    for samples in recordings:
        engine.transcribe([Window(samples, final=True, redecode=False, voiced_s=len(samples) / RATE)])
    ours = time.monotonic() - started
    started = time.monotonic()
    for samples in recordings:
        heard = peer.create_stream()
        heard.accept_waveform(RATE, samples)
        peer.decode_stream(heard)
    return ours / seconds, (time.monotonic() - started) / seconds


def sherpa(folder: Path) -> sherpa_onnx.OfflineRecognizer:
    """sherpa-onnx with its table of tokens generated from ours."""
    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as tokens:
        for piece, token in pieces.items():
            tokens.write(f"{base64.b64encode(piece.encode()).decode()} {token}\n")
        tokens.flush()
        return sherpa_onnx.OfflineRecognizer.from_moonshine_v2(
            encoder=str(folder / "encoder_model.onnx"),
            decoder=str(folder / "decoder_model_merged.onnx"),
            tokens=tokens.name,
            num_threads=1,
        )


def check_words(result: dict, places: list[tuple[float, int]], spoken: list) -> list[Row]:
    """The word errors, and the distance of each clip's first word from its true time."""
    words = [word for segment in result["segments"] for word in segment["words"]]
    starts = np.array([word["start"] for word in words])
    onsets = [onset(load(clip.path)) for clip in spoken]
    off = np.array([np.abs(starts - (place + onsets[number])).min() for place, number in places])
    said = normal(" ".join(spoken[number].text for _, number in places))
    return [
        ("word errors, %", 100 * jiwer.wer(said, normal(result["text"])), None),
        (
            f"first words within {NEAR_S} s of where their clip was put",
            f"{(off <= NEAR_S).sum()} of {len(off)}",
            None,
        ),
        ("… off by, ms, median", 1000 * float(np.median(off)), None),
        ("… p99", 1000 * float(np.percentile(off, 99)), None),
    ]


def main() -> None:
    """Measure, and publish the table."""
    pcm, places, spoken = build(HOUR_S)
    out = io.BytesIO()
    soundfile.write(out, pcm, RATE, format="FLAC")
    data = out.getvalue()
    table = Table(
        "long_file",
        f"One job of {len(pcm) / RATE:.0f} s: {len(data) >> 20} MB FLAC, {len(places)} clips",
        ("what", "figure", "bar"),
    )
    walls = {}
    for count in (1, 2):
        with Cluster(transcribers=count, processors=1) as cluster:
            watch = Watch(cluster)
            watch.start()
            walls[count], result = timed(cluster, data)
            watch.stop()
            if count == 2:
                table.rows += compare_live(cluster, data)
    ours, theirs = short_files()
    table.rows += [
        ("seconds with 1 transcriber", walls[1], None),
        ("seconds with 2", walls[2], BAR_S),
        ("times faster with 2", walls[1] / walls[2], None),
        ("real-time factor of the engine on 60 clips, one thread: ours", ours, None),
        ("… sherpa-onnx on the same weights", theirs, None),
        ("… times faster", theirs / ours, None),
        *((what, figure, None) for what, figure in watch.rows()),
        *check_words(result, places, spoken),
    ]
    table.data = {"wall": walls, "rtf": ours, "sherpa_rtf": theirs}
    table.publish()


if __name__ == "__main__":
    main()
