"""Words and sentences of jobs and live sessions against whole clips: python -m bench.file_quality [engine …]

Each recording is decoded as a whole, in chunks as a job, and live in segments. For recordings that are longer
than the engine's window, the whole is what Whisper says of them with its own way through long files. Nothing
depends on the machine's speed: live partials are at fixed samples, and finals are decoded without a deadline.
Recordings of some readers were used to choose the rules; those of the others are held out.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import jiwer
import numpy as np
from faster_whisper import WhisperModel
from whisper.normalizers import EnglishTextNormalizer

from bench.offline import BEAM
from bench.results import Table
from bench.sentence_breaks import Breaks, compare
from parlando import vad
from parlando.domain.audio import SAMPLE_RATE, Pcm16, to_float
from parlando.domain.job_options import JobOptions
from parlando.models.catalogue import MOONSHINE_TINY, find
from parlando.models.store import ModelStore
from parlando.vad import VadModel
from support.in_process import recognise
from support.jobs_in_process import transcribed
from support.speech import Clip, clips, load
from transcriber.engines.base import Engine, Window
from transcriber.engines.faster_whisper import FasterWhisperEngine
from transcriber.engines.moonshine import MoonshineEngine

WHISPER: Final = "whisper-tiny.en"
CHAPTERS: Final = ("1688-142285", "2609-156975", "533-1066")
"""Chapters whose clips follow one another; a fourth one is in the collection as a whole."""
CHOSEN_WITH: Final = ("1688", "3080", "libri-3080", "two_cities", "jfk", "LJ")
"""Beginnings of the names of the recordings with which the rules were chosen; other readers are held out."""
WAYS: Final = ("job", "live")
normal = EnglishTextNormalizer()


@dataclass(frozen=True)
class Recording:
    """`held_out`: not used to choose any rule."""

    name: str
    text: str
    pcm: Pcm16
    held_out: bool = False


def recordings() -> list[Recording]:
    """All read or spoken English with a known text, longest first."""
    read = clips("a_english_read")
    found = [(clip.name, clip.text, load(clip.path)) for clip in [*read, *_others()]]
    for chapter in CHAPTERS:
        parts = sorted((clip for clip in read if clip.name.startswith(chapter)), key=lambda clip: clip.name)
        if parts:
            text = " ".join(part.text for part in parts)
            found.append((chapter, text, np.concatenate([load(part.path) for part in parts])))
    found.sort(key=lambda one: (-len(one[2]), one[0]))
    return [Recording(*one, held_out=not one[0].startswith(CHOSEN_WITH)) for one in found]


def whisper_long(spoken: Sequence[Recording]) -> dict[str, str]:
    """The texts of recordings of any length, by their names, with Whisper's own way through them."""
    recogniser = WhisperModel(str(ModelStore().path(find(WHISPER))), device="cpu", compute_type="auto")
    texts = {}
    for one in spoken:
        segments, _ = recogniser.transcribe(to_float(one.pcm), language="en", beam_size=BEAM)
        texts[one.name] = " ".join(segment.text.strip() for segment in segments)
    return texts


def _others() -> list[Clip]:
    jfk = [clip for clip in clips("e_containers") if clip.path.name == "jfk.wav"]
    rest = [*clips("b_long", language="en"), *clips("d_8khz", language="en"), *jfk]
    return [clip for clip in rest if clip.text]


@dataclass
class Result:
    """The texts of one recording, and the processor seconds that each took."""

    recording: Recording
    whole: str
    texts: dict[str, str]
    seconds: dict[str, float]


def engine_of(name: str) -> Engine:
    """An engine by its name."""
    if name == "moonshine":
        return MoonshineEngine(ModelStore().path(MOONSHINE_TINY))
    return FasterWhisperEngine(str(ModelStore().path(find(WHISPER))))


def whole(engine: Engine, recording: Recording, long: str) -> str:
    """The text of a recording decoded in one window; `long` if it is longer than that."""
    seconds = len(recording.pcm) / SAMPLE_RATE
    if seconds > engine.info.max_window_s:
        return long
    window = Window(to_float(recording.pcm), language="en", final=True, voiced_s=seconds)
    return engine.transcribe([window])[0].text


def measure(engine: Engine, recording: Recording, detector: VadModel, long: str) -> Result:
    """Decode a recording in all ways."""
    texts, seconds = {}, {}
    started = time.process_time()
    options = JobOptions(language="en", words=True)
    texts["job"] = " ".join(each.text for each in transcribed(engine, recording.pcm, detector, options))
    seconds["job"] = time.process_time() - started
    started = time.process_time()
    tail = np.zeros(SAMPLE_RATE, np.int16)
    heard = asyncio.run(recognise(np.r_[recording.pcm, tail], engine, detector, frame_ms=100, language="en"))
    texts["live"] = heard.text
    seconds["live"] = time.process_time() - started
    return Result(recording, whole(engine, recording, long), texts, seconds)


def rate(results: Sequence[Result], texts: Sequence[str]) -> float:
    """The word error rate in per cent."""
    said = [normal(result.recording.text) for result in results]
    return 100 * jiwer.wer(said, [normal(text) for text in texts])


def summary(name: str, results: Sequence[Result]) -> list[tuple[str | int | float, ...]]:
    """The rows of some recordings: one for the whole clips, and one for each way."""
    rows: list[tuple[str | int | float, ...]] = []
    audio = sum(len(result.recording.pcm) for result in results) / SAMPLE_RATE
    rows.append((name, "whole", rate(results, [result.whole for result in results]), 0, 0, 0, 0, "–"))
    for way in WAYS:
        breaks = Breaks()
        for result in results:
            breaks += compare(result.texts[way], result.whole)
        cost = sum(result.seconds[way] for result in results) / audio
        errors = rate(results, [result.texts[way] for result in results])
        counts = [len(each) for each in (breaks.added, breaks.missing, breaks.stray)]
        rows.append((name, way, errors, *counts, breaks.shared, cost))
    return rows


def main() -> None:
    """Measure, and publish the table."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or ["moonshine", "whisper"]
    columns = (
        "recordings",
        "decoded",
        "word errors %",
        "breaks added",
        "missing",
        "full stop, then a small letter",
        "shared",
        "processor seconds a second",
    )
    table = Table("file_quality", "Words and sentences against whole clips", columns)
    spoken, detector = recordings(), vad.load("silero")
    long = [each for each in spoken if len(each.pcm) > 28 * SAMPLE_RATE]
    far = whisper_long(long)
    for name in names:
        engine = engine_of(name)
        results = [measure(engine, each, detector, far.get(each.name, "")) for each in spoken]
        for held_out in (False, True):
            some = [result for result in results if result.recording.held_out == held_out]
            title = f"{name}, {'held out' if held_out else 'for the choice'}"
            table.rows += summary(title, some)
        table.data[name] = [
            {
                "recording": result.recording.name,
                "held_out": result.recording.held_out,
                "whole": result.whole,
                **result.texts,
                "breaks": {way: vars(compare(result.texts[way], result.whole)) for way in WAYS},
            }
            for result in results
        ]
    table.publish()


if __name__ == "__main__":
    main()
