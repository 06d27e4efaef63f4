"""Recognition of songs: `python -m bench.songs [--times | --speech]` in tests/. Prints the tables of
docs/songs.md. `--times`: only the query times. `--speech`: only what is named in the collection of speech,
four times, with windows that begin 1.25 s later each time.

Pieces: the audio files below the folder that `MUSIC_COLLECTION` names, filled up to 60 with synthetic music.
Each is registered, and excerpts are recognised after noise, codecs and rooms; alone, and among 10,000
synthetic songs, whose hashes are drawn from those of the pieces. Speech: the collection of `support.speech`.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from audio_processor.ffmpeg import find
from bench.machine import describe
from parlando.store.connection import connect
from parlando.store.song_index import MAX_RECORDS, RECORD_BYTES, SongIndex
from parlando.store.song_keys import bucket
from song_recognizer.landmarks import DEFAULT, landmarks
from song_recognizer.matching import best_match
from song_recognizer.recognition import Excerpt, Recogniser, is_clear
from song_recognizer.rule import NamedOnce, Rule, is_candidate, is_silent
from support.music import at_8_khz, in_a_room, music, pcm16, quieter, rms, under_speech
from support.redis_server import RedisServer
from support.speech import COLLECTION, RATE, rows

PIECES = 60
LONGEST_S = 240
SYNTHETIC = 10_000
SYNTHETIC_S = 240
PER_PIECE = 2
LENGTHS = (3, 5, 10, 15)
STEP = 5 * RATE
MUSIC = (".ogg", ".opus", ".mp3", ".flac", ".wav", ".m4a")


def decoded(path: Path, *options: str) -> np.ndarray:
    command = [
        find(),
        "-v",
        "error",
        "-i",
        str(path),
        *options,
        "-ac",
        "1",
        "-ar",
        str(RATE),
        "-f",
        "s16le",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=False).stdout, "<i2")


def pieces() -> list[tuple[str, np.ndarray]]:
    """Names and audio of the pieces."""
    found = []
    folder = os.environ.get("MUSIC_COLLECTION")
    for path in sorted(Path(folder).rglob("*")) if folder else []:
        if path.suffix.lower() in MUSIC and len(found) < PIECES:
            pcm = decoded(path, "-t", str(LONGEST_S))
            if len(pcm) > 40 * RATE:
                found.append((path.name, pcm))
    return found + [(f"synthetic {n}", music(n, 60.0)) for n in range(PIECES - len(found))]


def through_opus(pcm: np.ndarray) -> np.ndarray:
    """Opus at 16 kbit/s and 16 kHz, and back."""
    raw = ("-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "-")
    opus = subprocess.run(
        [find(), "-v", "error", *raw, "-c:a", "libopus", "-b:a", "16k", "-f", "ogg", "-"],
        input=pcm.tobytes(), capture_output=True, check=True,
    ).stdout  # fmt: skip
    back = [find(), "-v", "error", "-i", "-", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(back, input=opus, capture_output=True, check=True).stdout, "<i2")


def speech_of(category: str) -> np.ndarray:
    return np.concatenate([decoded(path) for path, _ in rows(category)])


def conditions(speech: np.ndarray) -> dict[str, Callable[[np.ndarray, int], np.ndarray]]:
    def over(db: float) -> Callable[[np.ndarray, int], np.ndarray]:
        def mixed(pcm: np.ndarray, seed: int) -> np.ndarray:
            at = np.random.default_rng(seed).integers(len(speech) - len(pcm))
            return under_speech(pcm, speech[at:], db)

        return mixed

    return {
        "clean": lambda pcm, _: pcm,
        "Opus, 16 kbit/s": lambda pcm, _: through_opus(pcm),
        "8 kHz": lambda pcm, _: at_8_khz(pcm),
        "speech, +5 dB": over(5),
        "speech, 0 dB": over(0),
        "speech, -5 dB": over(-5),
        "reverberation": lambda pcm, seed: in_a_room(pcm, seed),
        "-30 dB": lambda pcm, _: quieter(pcm),
    }


def excerpts(songs: list[np.ndarray], seconds: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(song, seed, excerpt) at random places; silent places are no excerpts."""
    for number, pcm in enumerate(songs):
        for take in range(PER_PIECE):
            seed = number * PER_PIECE + take
            at = np.random.default_rng(seed).integers(len(pcm) - seconds * RATE)
            excerpt = pcm[at : at + seconds * RATE]
            if rms(excerpt) > 50:
                yield number, seed, excerpt


async def accuracy(
    recogniser: Recogniser,
    numbers: list[int],
    songs: list[np.ndarray],
    speech: np.ndarray,
    lengths: tuple[int, ...],
) -> None:
    rule = Rule()
    print(
        f"| excerpt | {' | '.join(f'{s} s' for s in lengths)} | matches at 10 s, p1 / p5 / p50 | wrong song |"
    )
    print("|---|" + "---|" * (len(lengths) + 2))
    for name, change in conditions(speech).items():
        cells, wrong, matches = [], 0, []
        for seconds in lengths:
            right = count = 0
            for number, seed, excerpt in excerpts(songs, seconds):
                match = await recogniser.best(pcm16(change(excerpt, seed)))
                count += 1
                if is_candidate(match, rule):
                    right += match.number == numbers[number]
                    wrong += match.number != numbers[number]
                if seconds == 10 and match and match.number == numbers[number]:
                    matches.append(match.matches)
            cells.append(f"{100 * right / count:.1f} %")
        p1, p5, p50 = np.percentile(matches, [1, 5, 50])
        print(f"| {name} | {' | '.join(cells)} | {p1:.0f} / {p5:.0f} / {p50:.0f} | {wrong} |", flush=True)


async def false_songs(recogniser: Recogniser, categories: list[str], begin_s: float = 0.0) -> None:
    """How many songs are named in speech and in music that is not registered, from second `begin_s` on."""
    windows = silent = candidates = named = 0
    seconds, best = 0.0, []
    for category in categories:
        for path, _ in rows(category):
            pcm = decoded(path)[int(begin_s * RATE) :]
            seconds += len(pcm) / RATE
            once = NamedOnce(recogniser.rule)
            for at in range(0, max(1, len(pcm) - 10 * RATE), STEP):
                window = pcm[at : at + 10 * RATE]
                windows += 1
                silent += is_silent(window)
                match = await recogniser.best(window) if len(window) else None
                best.append((match.matches, match.ratio) if match else (0, 0.0))
                found = await recogniser.candidate(window, start=at / RATE) if len(window) else None
                candidates += found is not None
                named += once.consider(found) is not None
    top = sorted(best, reverse=True)[:5]
    print(
        f"{seconds / 3600:.2f} h in {windows} windows ({silent} silent): "
        f"{candidates} candidates, {named} named; greatest matches and ratios {top}; "
        f"p99 of the matches {np.percentile([m for m, _ in best], 99):.0f}",
        flush=True,
    )


def synthetic_records(hashes: np.ndarray, per_song: int, first: int) -> Iterator[tuple[int, bytes]]:
    """The records of `SYNTHETIC` songs with hashes drawn from `hashes`, by hash."""
    random = np.random.default_rng(0)
    total = SYNTHETIC * per_song
    drawn = random.choice(hashes, total).astype(np.int32)
    order = np.argsort(drawn, kind="stable")
    drawn = drawn[order]
    records = np.empty((total, RECORD_BYTES), np.uint8)
    songs = (np.arange(total) // per_song + first)[order]
    frames = random.integers(0, int(SYNTHETIC_S / DEFAULT.frame_s), total)
    for byte in range(3):
        records[:, byte] = songs >> (8 * byte) & 255
    for byte in range(2):
        records[:, 3 + byte] = frames >> (8 * byte) & 255
    edges = np.flatnonzero(np.diff(drawn)) + 1
    for start, stop in zip(np.r_[0, edges], np.r_[edges, total], strict=True):
        yield int(drawn[start]), records[start : min(stop, start + MAX_RECORDS)].tobytes()


async def fill(redis, index: SongIndex, hashes: np.ndarray, per_song: int, first: int) -> None:
    """Add the synthetic songs, with SET as `song_append.lua` does."""
    for batch in batched(synthetic_records(hashes, per_song, first), 2000):
        before = await index.records(value for value, _ in batch)
        async with redis.pipeline(transaction=False) as pipe:
            for value, records in batch:
                pipe.set(bucket(value), (before.get(value, b"") + records)[: MAX_RECORDS * RECORD_BYTES])
            await pipe.execute()


def batched(pairs: Iterator[tuple[int, bytes]], size: int) -> Iterator[list[tuple[int, bytes]]]:
    while batch := list(islice(pairs, size)):
        yield batch


async def main() -> None:
    print(describe())
    server = RedisServer()
    server.start()
    redis = connect(server.url)
    index = SongIndex(redis)
    thread = ThreadPoolExecutor(1)
    try:
        named = pieces()
        songs = [pcm for _, pcm in named]
        print(
            f"{len(songs)} pieces, {sum(name.startswith('synthetic') for name, _ in named)} of them synthetic"
        )
        speech = speech_of("a_english_read")
        numbers, hashes, seconds, began = [], [], 0.0, time.process_time()
        for at, pcm in enumerate(songs):
            found = landmarks(pcm)
            number, _ = await index.begin(
                content=str(at), fields={"title": str(at), "duration": len(pcm) / RATE}
            )
            await index.append(number, found.by_hash())
            await index.finish(number)
            numbers.append(number)
            hashes.append(found.hashes)
            seconds += len(pcm) / RATE
        took = time.process_time() - began
        pool = np.concatenate(hashes)
        print(
            f"registering: {seconds / took:.0f} x real time; {len(pool) / seconds:.1f} hashes/s", flush=True
        )
        recogniser = Recogniser(index, thread)
        categories = sorted({row["category"] for row in manifest()})
        quick = "--times" in sys.argv or "--speech" in sys.argv
        if not quick:
            await accuracy(recogniser, numbers, songs, speech, LENGTHS)
            await false_songs(recogniser, categories)
        before = (await redis.info("memory"))["used_memory"]
        await fill(redis, index, pool, int(len(pool) / seconds * SYNTHETIC_S), max(numbers) + 1)
        after = (await redis.info("memory"))["used_memory"]
        print(f"{SYNTHETIC} more songs of {SYNTHETIC_S} s: {(after - before) / SYNTHETIC / 1000:.1f} KB each")
        if "--speech" in sys.argv:
            for phase in range(4):
                await false_songs(recogniser, categories, phase * STEP / RATE / 4)
            return
        await query_times(index, songs, speech)
        await accuracy(recogniser, numbers, songs, speech, (10,))
        if not quick:
            await false_songs(recogniser, categories)
    finally:
        await redis.aclose()
        server.stop(check=False)


def manifest() -> list[dict]:
    import json

    return [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text().splitlines()]


async def query_times(index: SongIndex, songs: list[np.ndarray], speech: np.ndarray) -> None:
    """Wall time and this process's CPU time of queries of 10 s, and how many need few landmarks only."""
    for name, change in conditions(speech).items():
        parts: dict[str, list[np.ndarray]] = {"landmarks": [], "index": [], "match": []}
        few = 0
        for _, seed, excerpt in excerpts(songs, 10):
            spent, clear = await query(index, pcm16(change(excerpt, seed)))
            few += clear
            for part, seconds in spent.items():
                parts[part].append(seconds)
        together = np.sum(list(parts.values()), axis=0)
        print(f"queries of 10 s, {name}: {few} of {len(together)} by few landmarks")
        for part, times in {**parts, "together": together}.items():
            (wall50, cpu50), (wall95, cpu95) = np.percentile(times, [50, 95], axis=0) * 1000
            print(
                f"  {part}: wall p50 {wall50:.0f} ms, p95 {wall95:.0f} ms; "
                f"CPU p50 {cpu50:.0f} ms, p95 {cpu95:.0f} ms",
                flush=True,
            )


async def query(index: SongIndex, pcm: np.ndarray) -> tuple[dict[str, np.ndarray], bool]:
    """The steps of `Recogniser.best`: seconds of wall and CPU time of each, and whether few sufficed."""
    spent = {part: np.zeros(2) for part in ("landmarks", "index", "match")}
    zero = clocks()
    excerpt = Excerpt(pcm)
    for landmarks_of in (excerpt.few, excerpt.many):
        found = landmarks_of()
        one = clocks()
        records = await index.records(np.unique(found.hashes).tolist())
        two = clocks()
        match = best_match(found, records)
        three = clocks()
        for part, seconds in zip(spent, (one - zero, two - one, three - two), strict=True):
            spent[part] += seconds
        if is_clear(match):
            break
        zero = clocks()
    return spent, landmarks_of == excerpt.few


def clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    asyncio.run(main())
